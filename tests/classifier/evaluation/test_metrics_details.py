"""The detailed scores against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from facepipe.classifier.evaluation.metrics import area_under_curve, confusions, row_errors, scores
from facepipe.weights.manifest import (
    Attribute,
    BinaryAttribute,
    CategoricalAttribute,
    NumericAttribute,
    OrdinalAttribute,
    PointsAttribute,
)

NAN = np.nan
GENDER = BinaryAttribute(name="gender", classes=("female", "male"))
SHIRT = CategoricalAttribute(name="shirt", classes=("red", "green", "blue"))
BLUR = OrdinalAttribute(name="blur", classes=("none", "some", "much"))
AGE = NumericAttribute(name="age", unit="years", low=0, high=100)
EYES = PointsAttribute(name="eyes", points=("left", "right", "nose"), mirror=(("left", "right"),))


def found(attribute: Attribute, output: np.ndarray, target: np.ndarray, detailed: bool = True) -> dict[str, float]:
    return {metric.name: metric.value or 0.0 for metric in scores(attribute, output, target, detailed)}


def one_hot(classes: list[int], width: int, logit: float = 2.0) -> np.ndarray:
    return logit * np.eye(width, dtype=np.float32)[classes]


def test_binary() -> None:
    said, truth = [1, 1, 1, 0, 0, 0], np.array([1, 1, 0, 1, 0, NAN], np.float32)
    values = found(GENDER, one_hot(said, 2), truth)
    assert values["gender.accuracy"] == pytest.approx(3 / 5)
    assert values["gender.balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert values["gender.precision"] == pytest.approx(2 / 3)
    assert values["gender.recall"] == pytest.approx(2 / 3)
    assert values["gender.f1"] == pytest.approx(2 / 3)
    assert values["gender.auc"] == pytest.approx((2 * 1 + 2 * 0.5 + 0.5) / 6)
    assert confusions(GENDER, one_hot(said, 2), truth).tolist() == [[1, 1], [1, 2]]
    assert {metric.count for metric in scores(GENDER, one_hot(said, 2), truth)} == {5}
    assert set(found(GENDER, one_hot(said, 2), truth, False)) == {
        "gender.accuracy",
        "gender.balanced_accuracy",
        "gender.auc",
    }
    assert "gender.answered" not in values


def test_what_is_left_unsaid() -> None:
    careful = GENDER.model_copy(update={"abstain_below": 0.7})
    output = np.array([[3, 0], [0, 3], [0.1, 0], [0, 0.1]], np.float32)
    values = found(careful, output, np.array([0, 1, 1, 1], np.float32))
    assert values["gender.answered"] == 0.5
    assert values["gender.accuracy_of_answered"] == 1.0
    assert values["gender.accuracy"] == 0.75, "the accuracy itself is of all rows"


def test_several_classes_and_ordered_ones() -> None:
    said, truth = [0, 0, 1, 2, 2], np.array([0, 1, 1, 2, 0], np.float32)
    values = found(SHIRT, one_hot(said, 3), truth)
    assert values["shirt.precision/class=red"] == pytest.approx(1 / 2)
    assert values["shirt.recall/class=red"] == pytest.approx(1 / 2)
    assert values["shirt.f1/class=green"] == pytest.approx(2 / 3)
    assert "shirt.auc" not in values
    assert "shirt.mae_classes" not in values
    assert found(BLUR, one_hot(said, 3), truth)["blur.mae_classes"] == pytest.approx((0 + 1 + 0 + 0 + 2) / 5)


def test_numbers() -> None:
    output = np.array([[0.30], [0.50], [0.72], [0.25], [0.21]], np.float32)
    target = np.array(
        [[33, NAN, NAN], [44, NAN, NAN], [70, NAN, NAN], [NAN, 20, 29], [NAN, 30, 39]],
        np.float32,
    )
    values = found(AGE.model_copy(update={"widen": 4.0}), output, target)
    assert values["age.mae"] == pytest.approx((3 + 6 + 2) / 3)
    assert values["age.mae_normalised"] == pytest.approx((3 + 6 + 2) / 300)
    assert values["age.cs5"] == pytest.approx(2 / 3)
    assert values["age.interval_coverage"] == pytest.approx(2 / 3)
    assert values["age.interval_width"] == pytest.approx(8)
    assert values["age.range_hit"] == pytest.approx(1 / 2)
    assert values["age.range_within_one"] == 1.0
    assert row_errors(AGE, output, target)[:3] == pytest.approx([3, 6, 2], abs=1e-4)
    assert np.isnan(row_errors(AGE, output, target)[3:]).all()


def test_points() -> None:
    truth = np.array([[[0.3, 0.4], [0.7, 0.4], [0.5, 0.6]], [[NAN, NAN]] * 3], np.float32)
    output = np.array([[0.3, 0.44, 0.7, 0.4, 0.5, 0.8], [0.0] * 6], np.float32)
    values = found(EYES, output, truth)
    assert values["eyes.eye_error"] == pytest.approx(0.05)
    assert values["eyes.eye_error_median"] == pytest.approx(0.05)
    assert values["eyes.point_error"] == pytest.approx((0.1 + 0 + 0.5) / 3)
    assert values["eyes.eye_error_below_0.1"] == 1.0
    assert row_errors(EYES, output, truth)[0] == pytest.approx(0.05)
    assert np.isnan(row_errors(EYES, output, truth)[1])
    alone = EYES.model_copy(update={"mirror": ()})
    assert found(alone, output, truth) == pytest.approx({"eyes.point_error_of_side": 0.08})
    assert row_errors(alone, output, truth)[0] == pytest.approx(0.08)


def test_an_offset_that_all_labels_share_is_told_apart_from_the_error() -> None:
    truth = np.tile(np.array([[[0.3, 0.4], [0.7, 0.4], [0.5, 0.6]]], np.float32), (5, 1, 1))
    output = (truth + np.array([0.04, -0.02])).reshape(5, 6)
    output[4, :4] += 0.04  # one row is off by more than that
    values = found(EYES, output, truth)
    assert values["eyes.eye_offset_x"] == pytest.approx(0.1)
    assert values["eyes.eye_offset_y"] == pytest.approx(-0.05)
    assert values["eyes.eye_error_less_offset"] == pytest.approx(np.hypot(0.1, 0.1) / 5)


def test_nothing_is_said_without_labels() -> None:
    assert scores(GENDER, one_hot([0], 2), np.array([NAN]), True) == []
    assert scores(AGE, np.zeros((1, 1)), np.full((1, 3), NAN), True) == []
    assert scores(EYES, np.zeros((1, 6)), np.full((1, 3, 2), NAN), True) == []


def test_ties_are_shared_in_the_area_under_the_curve() -> None:
    assert area_under_curve(np.array([0.5, 0.5]), np.array([True, False])) == 0.5
