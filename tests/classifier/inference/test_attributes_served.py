"""Values from outputs: regression, intervals that are widened, and classes that are left unsaid."""

from __future__ import annotations

import numpy as np
import pytest
from facepipe.classifier.inference.attributes import ClassValue, NumericValue, decode, numbers, output_width, softmax
from facepipe.weights.manifest import BinaryAttribute, NumericAttribute

GENDER = BinaryAttribute(name="gender", classes=("female", "male"), abstain_below=0.8)
BINNED = NumericAttribute(name="age", unit="years", low=0, high=100, bins=101)
LINEAR = NumericAttribute(name="age", unit="years", low=20, high=60)


def logits(*probabilities: float) -> np.ndarray:
    return np.log([[1 - p, p] for p in probabilities]).astype(np.float32)


def test_a_class_is_unsaid_below_the_limit_and_its_probabilities_stay() -> None:
    sure, unsure, edge = decode(GENDER, logits(0.9, 0.7, 0.8001), 64)
    assert isinstance(sure, ClassValue)
    assert sure.value == "male"
    assert isinstance(unsure, ClassValue)
    assert unsure.value is None
    assert unsure.probability == pytest.approx(0.7)
    assert unsure.probabilities == pytest.approx({"female": 0.3, "male": 0.7})
    assert isinstance(edge, ClassValue)
    assert edge.value == "male"
    always = GENDER.model_copy(update={"abstain_below": 0.0})
    assert [value.value for value in decode(always, logits(0.51, 0.49), 64)] == ["male", "female"]  # type: ignore[union-attr]


def test_regression_reads_a_share_of_the_range() -> None:
    attribute = LINEAR.model_copy(update={"widen": 5.0})
    assert output_width(attribute) == 1
    found = decode(attribute, np.array([[0.5], [-0.3], [1.4], [0.95]], np.float32), 64)
    assert [value.value for value in found] == pytest.approx([40, 20, 60, 58])  # type: ignore[union-attr]
    assert isinstance(found[0], NumericValue)
    assert [value.interval for value in found] == [  # type: ignore[union-attr]
        pytest.approx((35, 45)),
        pytest.approx((20, 25)),
        pytest.approx((55, 60)),
        pytest.approx((53, 60)),
    ]


def test_intervals_of_bins_are_widened_and_never_cross() -> None:
    assert output_width(BINNED) == 101
    output = -0.5 * ((np.arange(101) - 50) / 4.0) ** 2
    values, plain = numbers(BINNED, output[None])
    assert values == pytest.approx([50])
    assert plain[0] == pytest.approx([50 - 1.2816 * 4, 50 + 1.2816 * 4], abs=0.1)
    _, wider = numbers(BINNED.model_copy(update={"widen": 3.0}), output[None])
    assert wider[0] == pytest.approx(plain[0] + [-3, 3])
    _, clipped = numbers(BINNED.model_copy(update={"widen": 80.0}), output[None])
    assert clipped[0].tolist() == [0, 100]
    values, crossed = numbers(BINNED.model_copy(update={"widen": -40.0}), output[None])
    assert crossed[0] == pytest.approx([50, 50])


def test_the_median_is_read_where_the_schema_says_so() -> None:
    output = np.full((1, 101), -40.0)
    output[0, [30, 31, 90]] = np.log([0.3, 0.3, 0.4])
    mean, _ = numbers(BINNED, output)
    median, _ = numbers(BINNED.model_copy(update={"estimate": "median"}), output)
    assert mean == pytest.approx([0.3 * 30 + 0.3 * 31 + 0.4 * 90])
    assert median == pytest.approx([30.5 + 2 / 3])


def test_no_rows_are_no_values() -> None:
    assert decode(BINNED, np.zeros((0, 101), np.float32), 64) == []
    assert decode(LINEAR, np.zeros((0, 1), np.float32), 64) == []
    assert softmax(np.zeros((0, 2))).shape == (0, 2)
