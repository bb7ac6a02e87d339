"""Metrics against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from facepipe.classifier.evaluation.metrics import area_under_curve, scores
from facepipe.weights.manifest import BinaryAttribute, NumericAttribute, PointsAttribute

GLASSES = BinaryAttribute(name="glasses", classes=("no", "yes"))
AGE = NumericAttribute(name="age", unit="years", low=0, high=100, bins=101)
EYES = PointsAttribute(name="eyes", points=("left", "right", "nose"), mirror=(("left", "right"),))


def found(attribute, output, target) -> dict[str, tuple[float, int]]:
    return {m.name.partition(".")[2]: (m.value, m.count) for m in scores(attribute, np.asarray(output, float), target)}


def sharp(ages) -> np.ndarray:
    logits = np.full((len(ages), 101), -50.0)
    logits[np.arange(len(ages)), ages] = 50
    return logits


def test_classes():
    output = [[0, 1], [0, 2], [3, 0], [1, 0], [0, 5]]
    target = np.array([1, 0, 0, 0, np.nan])
    metrics = found(GLASSES, output, target)
    assert metrics["accuracy"] == (0.75, 4)
    assert metrics["balanced_accuracy"] == (pytest.approx((1 + 2 / 3) / 2), 4)
    assert metrics["auc"] == (pytest.approx(2 / 3), 4)


def test_one_class_alone_has_no_curve():
    assert "auc" not in found(GLASSES, [[0, 1]], np.array([1.0]))


def test_nothing_labelled_nothing_measured():
    assert found(GLASSES, [[0, 1]], np.array([np.nan])) == {}
    assert found(AGE, np.zeros((1, 101)), np.full((1, 3), np.nan)) == {}
    assert found(EYES, np.zeros((1, 6)), np.full((1, 3, 2), np.nan)) == {}


def test_area_under_curve_shares_ties():
    values, positive = np.array([0.1, 0.5, 0.5, 0.9]), np.array([False, True, False, True])
    pairs = [(a > b) + 0.5 * (a == b) for a in values[positive] for b in values[~positive]]
    assert area_under_curve(values, positive) == pytest.approx(np.mean(pairs))


def test_numbers_and_ranges():
    nan = np.nan
    target = np.array([[30, nan, nan], [40, nan, nan], [nan, 0, 9], [nan, 10, 19], [nan, 20, 29], [nan, nan, nan]])
    metrics = found(AGE, sharp([33, 35, 5, 25, 3, 99]), target)
    assert metrics["mae"] == (pytest.approx(4), 2)
    assert metrics["range_hit"] == (pytest.approx(1 / 3), 3)
    assert metrics["range_within_one"] == (pytest.approx(2 / 3), 3)
    assert metrics["interval_coverage"] == (0, 2)


def test_points_are_measured_in_distances_of_the_eyes():
    target = np.array([[(0.3, 0.4), (0.5, 0.4), (0.4, 0.5)]])
    output = [[0.3, 0.42, 0.5, 0.4, 0.4, 0.6]]
    metrics = found(EYES, output, target)
    assert metrics["eye_error"] == (pytest.approx(0.05), 1)
    assert metrics["point_error"] == (pytest.approx((0.1 + 0 + 0.5) / 3), 1)
