"""Figures of hand-made predictions: what is lost where, and intervals by picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facepipe.pipeline.evaluation.metrics import STEPS, Figures, mean_figures, right_rows
from facepipe.weights.manifest import NumericAttribute, PointsAttribute

from .conftest import hand_made

AGE = NumericAttribute(name="age", unit="years", low=0.0, high=100.0, bins=None)


EYES = PointsAttribute(name="eyes", points=("left_eye", "right_eye"), mirror=(("left_eye", "right_eye"),))


def test_the_arithmetic(tmp_path: Path) -> None:
    figures = Figures(hand_made(tmp_path))
    (gender,) = figures.losses
    assert gender.on_true.value == pytest.approx(3 / 6)
    assert {step: gender.steps[step].value * 6 for step in STEPS} == pytest.approx(
        {"unread": 1, "classifier": 2, "missed": 1, "shifted": 0}  # one lost, one won
    )
    assert gender.end.value == pytest.approx(2 / 6)
    assert (gender.on_true_found.value, gender.on_true_found.count) == (pytest.approx(2 / 4), 4)
    assert gender.on_found.value == pytest.approx(2 / 4)
    assert (figures.found.value, figures.found.count) == (pytest.approx(4 / 6), 6)
    assert figures.overlap.value == pytest.approx(0.8)
    assert (figures.alarms.value, figures.alarms.count) == (pytest.approx(1 / 3), 3)
    assert [(part.name, part.found.count) for part in figures.parts] == [
        ("0-8 px", 1), ("8-16 px", 1), ("16-32 px", 1), ("32-96 px", 2), (">= 96 px", 1)
    ]  # fmt: skip
    assert figures.convention == pytest.approx({"width": 1, "height": 1, "right": 0, "down": 0})
    metrics = {metric.name: metric for metric in figures.scores()["true boxes"]}
    assert (metrics["gender.accuracy"].value, metrics["gender.accuracy"].count) == (pytest.approx(3 / 5), 5)


def test_intervals_are_of_pictures() -> None:
    random = np.random.default_rng(3)
    values = random.integers(0, 2, (300, 1)).astype(float)
    (single,) = mean_figures(values, np.arange(300))
    assert single.value == values.mean()
    assert single.high - single.low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(300), rel=0.15)
    # Four rows of one picture that say the same tell no more than one.
    (four,) = mean_figures(np.repeat(values, 4, axis=0), np.repeat(np.arange(300), 4))
    assert (four.value, four.low, four.high, four.count) == (single.value, single.low, single.high, 1200)
    # A paired difference that is always the same has no width, however scattered its parts are.
    scattered = random.normal(0, 10, 300)
    (pair,) = mean_figures(((scattered + 1) - scattered)[:, None], np.arange(300))
    assert pair.high - pair.low == pytest.approx(0, abs=1e-9)
    (nothing,) = mean_figures(np.full((3, 1), np.nan), np.arange(3))
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()
    assert nothing.count == 0


def test_what_is_right() -> None:
    target = np.array([[30, np.nan, np.nan], [30, np.nan, np.nan], [np.nan, 20, 29], [np.nan, 20, 29], [np.nan] * 3])
    output = np.array([[0.35], [0.36], [0.297], [0.301], [0.5]])
    right = right_rows(AGE, output, target, np.array([20.0, 30.0]))
    assert np.array_equal(right, [1, 0, 1, 0, np.nan], equal_nan=True)
    points = np.array([[[0.3, 0.5], [0.7, 0.5]], [[0.3, 0.5], [0.7, 0.5]], [[np.nan, np.nan], [0.7, 0.5]]])
    said = points.copy()
    said[0, :, 0] += 0.03
    said[1, :, 0] += 0.05
    right = right_rows(EYES, np.nan_to_num(said).reshape(3, 4), points, np.zeros(0))
    assert np.array_equal(right, [1, 0, np.nan], equal_nan=True)
