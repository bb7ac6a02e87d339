"""Calibration in every band of size, on rows that it was not fitted on, and the least sizes that follow."""

from __future__ import annotations

import numpy as np
import pytest
from facepipe.classifier.evaluation.predictions import Predictions
from facepipe.classifier.evaluation.sizes import measured
from facepipe.classifier.export.calibration import LEAST_ROWS, calibrate
from facepipe.classifier.export.size_bands import calibrate_sizes, choose_least_sides
from facepipe.weights.manifest import BinaryAttribute, CropRecipe, NumericAttribute, PointsAttribute

GENDER = BinaryAttribute(name="gender", classes=("female", "male"))
AGE = NumericAttribute(name="age", unit="years", low=0, high=100, bins=101)
EYES = PointsAttribute(name="eyes", points=("left", "right"), mirror=(("left", "right"),))
RECIPE = CropRecipe(margin=0.0, size=128)
SIDES = {12.0: 6.0, 24.0: 2.0, 48.0: 1.2, 128.0: 1.0}
"""How much harder each size is than whole crops."""


def rows(count: int, hardness: float, side: float, seed: int) -> Predictions:
    """Rows of a model that does not know that small faces are hard: as sure of them as of large ones."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, count).astype(np.float32)
    score = 1.6 * np.where(truth == 1, 1, -1) + random.normal(0, 1.2 * hardness, count)
    middle = random.uniform(25, 75, count)
    ages = np.full((count, 3), np.nan)
    ages[:, 0] = np.clip(middle + random.normal(0, 3 * hardness, count), 0, 100)
    places = np.tile([[0.3, 0.4], [0.7, 0.4]], (count, 1, 1))
    outputs = {
        "gender": np.stack([-score, score], axis=1),
        "age": -0.5 * ((np.arange(101) - middle[:, None]) / 3) ** 2,
        "eyes": (places + random.normal(0, 0.01 * hardness, places.shape)).reshape(count, 4),
    }
    targets = {"gender": truth, "age": ages, "eyes": places}
    return Predictions((GENDER, AGE, EYES), None, outputs, targets, 0.0, np.full(count, side))


@pytest.fixture(scope="module")
def calibrated() -> tuple[tuple, dict[float, Predictions]]:
    """The attributes, fitted on one half, and the other half."""
    fit = {side: rows(2000, hard, side, 1) for side, hard in SIDES.items()}
    held = {side: rows(2000, hard, side, 2) for side, hard in SIDES.items()}
    whole = fit[128.0]
    attributes = calibrate((GENDER, AGE, EYES), whole.outputs, whole.targets)
    attributes = calibrate_sizes(attributes, fit, RECIPE)
    return attributes, {side: seen.read_as(attributes) for side, seen in held.items()}


def test_each_band_holds_on_rows_that_were_held_back(calibrated) -> None:
    (gender, age, eyes), held = calibrated
    for side, seen in held.items():
        assert measured(gender, seen)["ece"].value <= 0.03, side
        assert 0.75 <= measured(age, seen)["interval_coverage"].value <= 0.85, side
    assert [band.side for band in gender.bands] == list(SIDES)
    temperatures = [band.temperature for band in gender.bands]
    assert temperatures == sorted(temperatures, reverse=True)
    assert temperatures[-1] == gender.temperature, "whole crops keep the calibration that more rows were fitted on"
    assert age.bands[-1].widen == age.widen
    assert eyes.bands == ()
    one = {side: seen.read_as((gender.model_copy(update={"bands": ()}),)) for side, seen in held.items()}
    assert measured(one[12.0].attributes[0], one[12.0])["ece"].value > 0.1, "one temperature does not fit every size"


def test_the_least_size_is_where_it_is_good_from_then_on(calibrated) -> None:
    attributes, held = calibrated
    chosen, lines = choose_least_sides(attributes, held)
    gender, _, eyes = chosen
    good = [side for side, seen in held.items() if measured(gender, seen)["balanced_accuracy"].value >= 0.85]
    assert gender.min_side == min(good) == 48
    assert eyes.min_side == 24, "at 12 px the eyes are off by a fifth of their distance"
    assert "gender: read from 48 px up" in lines
    worse = {**held, 48.0: rows(2000, 20.0, 48.0, 5).read_as(attributes)}
    assert choose_least_sides(attributes, worse)[0][0].min_side == 128, "what fails above does not count below"


def test_few_rows_leave_all_as_it_is() -> None:
    few = {side: rows(LEAST_ROWS - 1, hard, side, 1) for side, hard in SIDES.items()}
    assert calibrate_sizes((GENDER, AGE, EYES), few, RECIPE) == (GENDER, AGE, EYES)
    assert choose_least_sides((GENDER, AGE, EYES), few) == ((GENDER, AGE, EYES), [])
    assert calibrate_sizes((GENDER,), {}, RECIPE) == (GENDER,)


def test_an_attribute_that_is_never_good_is_held_to_what_it_reaches() -> None:
    weak = {side: rows(4000, 3 * hard, side, 3) for side, hard in SIDES.items()}
    (gender,), lines = choose_least_sides((GENDER,), weak)
    whole = measured(GENDER, weak[128.0])["balanced_accuracy"].value
    assert whole < 0.85
    assert gender.min_side in SIDES
    assert measured(GENDER, weak[gender.min_side])["balanced_accuracy"].value >= 0.95 * whole
    assert lines == [f"gender: read from {gender.min_side:g} px up"]
