"""Decoding of outputs."""

from __future__ import annotations

import numpy as np
import pytest
from facepipe.classifier.inference.attributes import AttributeValue, bin_centres, calibration_at, decode
from facepipe.weights.manifest import BinaryAttribute, NumericAttribute, OrdinalAttribute, PointsAttribute, SizeBand
from pydantic import TypeAdapter, ValidationError

AGE = NumericAttribute(name="age", unit="years", low=0, high=100, bins=101, interval=0.8)


def test_classes_sum_to_one_and_follow_the_temperature():
    sure = BinaryAttribute(name="gender", classes=("female", "male"))
    unsure = sure.model_copy(update={"temperature": 4.0})
    logits = np.array([[0.0, 2.0], [800.0, -800.0]])
    (a, big), (b, _) = decode(sure, logits, 32), decode(unsure, logits, 32)
    assert (a.value, big.value) == ("male", "female")
    assert a.probability == pytest.approx(1 / (1 + np.exp(-2)))
    assert 0.5 < b.probability < a.probability
    assert sum(a.probabilities.values()) == pytest.approx(1)


def test_three_ordered_classes():
    attribute = OrdinalAttribute(name="blur", classes=("low", "middle", "high"))
    assert decode(attribute, np.array([[0, 3, 1.0]]), 32)[0].value == "middle"


def test_a_number_is_the_expectation_with_its_interval():
    logits = np.full((1, 101), -40.0)
    logits[0, [30, 40]] = np.log([0.25, 0.75])
    value = decode(AGE, logits, 32)[0]
    assert value.value == pytest.approx(37.5)
    low, high = value.interval
    assert 29.5 <= low <= 30.5
    assert 39.5 <= high <= 40.5
    assert value.unit == "years"


def test_the_interval_holds_its_share_of_a_flat_distribution():
    low, high = decode(AGE, np.zeros((1, 101)), 32)[0].interval
    assert (low, high) == (pytest.approx(9.6, abs=0.01), pytest.approx(90.4, abs=0.01))


def test_intervals_stay_in_the_range():
    logits = np.full((1, 101), -40.0)
    logits[0, 0] = 0
    assert decode(AGE, logits, 32)[0].interval[0] == 0
    assert bin_centres(AGE)[-1] == 100


def test_points_are_pixels_of_the_crop():
    attribute = PointsAttribute(name="eyes", points=("left_eye", "right_eye"))
    value = decode(attribute, np.array([[0.25, 0.5, 0.75, 0.5]]), 200)[0]
    assert value.points == {"left_eye": (50.0, 100.0), "right_eye": (150.0, 100.0)}


def test_values_survive_json():
    adapter = TypeAdapter(AttributeValue)
    for value in (
        decode(AGE, np.zeros((1, 101)), 32)[0],
        decode(BinaryAttribute(name="m", classes=("no", "yes")), np.zeros((1, 2)), 32)[0],
        decode(PointsAttribute(name="p", points=("a",)), np.zeros((1, 2)), 32)[0],
    ):
        assert adapter.validate_json(value.model_dump_json()) == value


def test_a_row_reads_the_same_whatever_stands_beside_it() -> None:
    """To the last digit: a run that is resumed batches its faces otherwise."""
    attribute = NumericAttribute(name="age", unit="years", low=0.0, high=100.0, bins=101)
    logits = np.random.default_rng(0).normal(0, 3, (40, 101)).astype(np.float32)
    together = decode(attribute, logits, 224)
    assert [decode(attribute, row[None], 224)[0] for row in logits] == together
    assert decode(attribute, logits[:7], 224) == together[:7]


BANDS = (SizeBand(side=10, temperature=4.0, widen=8.0), SizeBand(side=40, temperature=1.0, widen=2.0))


def test_calibration_is_interpolated_in_the_logarithm_of_the_size() -> None:
    age = AGE.model_copy(update={"bands": BANDS})
    temperature, widen = calibration_at(age, np.array([5, 10, 20, 40, 400.0]))
    assert temperature.ravel() == pytest.approx([4, 4, 2, 1, 1])
    assert widen.ravel() == pytest.approx([8, 8, 5, 2, 2])
    plain = AGE.model_copy(update={"temperature": 3.0, "widen": 1.5})
    assert [each.ravel().tolist() for each in calibration_at(plain, np.array([5.0, 50]))] == [[3, 3], [1.5, 1.5]]


def test_a_small_face_is_less_sure_and_has_a_wider_interval() -> None:
    gender = BinaryAttribute(name="gender", classes=("female", "male"), bands=BANDS)
    logits = np.array([[0.0, 2.0]] * 3)
    small, middle, large = decode(gender, logits, 32, np.array([8.0, 20, 100]))
    assert [each.probability for each in (small, middle, large)] == pytest.approx(
        [1 / (1 + np.exp(-2 / heat)) for heat in (4, 2, 1)]
    )
    assert decode(gender, logits[:1], 32)[0] == large, "without a size, as one seen large"
    age = AGE.model_copy(update={"bands": BANDS})
    peaks = np.full((2, 101), -40.0)
    peaks[:, 50] = 0
    widths = [high - low for low, high in (each.interval for each in decode(age, peaks, 32, np.array([10.0, 40])))]
    assert widths[0] - widths[1] == pytest.approx(12, abs=0.1)


def test_bands_ascend() -> None:
    with pytest.raises(ValidationError, match="must ascend"):
        BinaryAttribute(name="gender", classes=("female", "male"), bands=BANDS[::-1])
