"""Calibration: it helps on rows that it has not seen, and leaves alone what it cannot judge."""

from __future__ import annotations

import numpy as np
import pytest
from facepipe.classifier.config.schema import read_schema
from facepipe.classifier.data.table import read_faces
from facepipe.classifier.evaluation.reliability import (
    BINS,
    Answers,
    answers,
    coverage_curve,
    interval_curve,
    interval_now,
    reliability,
)
from facepipe.classifier.export.calibration import (
    LEAST_ROWS,
    Abstention,
    calibrate,
    calibration_metrics,
    conformal,
    halves,
    least_confidence,
)
from facepipe.weights.manifest import BinaryAttribute, CategoricalAttribute, NumericAttribute, PointsAttribute

GENDER = BinaryAttribute(name="gender", classes=("female", "male"))
SHIRT = CategoricalAttribute(name="shirt", classes=("red", "green", "blue"))
AGE = NumericAttribute(name="age", unit="years", low=0, high=100, bins=101)
HEIGHT = NumericAttribute(name="height", unit="m", low=0, high=2)
EYES = PointsAttribute(name="eyes", points=("a", "b"))
NAN = np.nan


def over_confident(count: int, classes: int, factor: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are ``factor`` times as sure as their labels allow."""
    random = np.random.default_rng(seed)
    true = random.normal(0, 1.5, (count, classes))
    chances = np.exp(true) / np.exp(true).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) > random.random((count, 1))).argmax(axis=1)
    return (true * factor).astype(np.float32), labels.astype(np.float32)


def ages(count: int, spread: float, told: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Distributions over 101 years of width ``told`` whose labels lie ``spread`` around; each fourth is a range."""
    random = np.random.default_rng(seed)
    middle = random.uniform(25, 75, count)
    truth = np.clip(middle + random.normal(0, spread, count), 0, 100).round()
    output = -0.5 * ((np.arange(101) - middle[:, None]) / told) ** 2
    target = np.full((count, 3), NAN)
    target[:, 0] = truth
    target[::4] = np.stack([np.full(count, NAN), truth // 10 * 10, truth // 10 * 10 + 9], axis=1)[::4]
    return output.astype(np.float32), target.astype(np.float32)


@pytest.mark.parametrize("factor", [3.0, 0.6])
def test_temperatures_improve_ece_on_rows_that_were_held_back(factor: float) -> None:
    outputs, targets = {}, {}
    for attribute in (GENDER, SHIRT):
        outputs[attribute.name], targets[attribute.name] = over_confident(4000, len(attribute.classes), factor, 3)
    first = np.arange(4000) < 2000
    half = [{name: values[first] for name, values in each.items()} for each in (outputs, targets)]
    rest = [{name: values[~first] for name, values in each.items()} for each in (outputs, targets)]
    fitted = calibrate((GENDER, SHIRT), *half)
    assert [attribute.temperature for attribute in fitted] == pytest.approx([factor, factor], rel=0.15)
    told = {metric.name: metric.value for metric in calibration_metrics((GENDER, SHIRT), fitted, *rest)}
    for name in ("gender", "shirt"):
        assert told[f"{name}.ece/after calibration"] < 0.5 * told[f"{name}.ece/before calibration"]
        assert told[f"{name}.ece/after calibration"] < 0.035


def test_an_age_s_distribution_gets_its_width_and_its_interval_its_coverage() -> None:
    output, target = ages(3000, spread=6.0, told=2.5, seed=1)
    (fitted,) = calibrate((AGE,), {"age": output[:1500]}, {"age": target[:1500]})
    assert fitted.temperature == pytest.approx((6 / 2.5) ** 2, rel=0.15)
    metrics = calibration_metrics((AGE,), (fitted,), {"age": output[1500:]}, {"age": target[1500:]})
    told = {metric.name: (metric.value, metric.count) for metric in metrics}
    before, after = (told[f"age.interval_coverage/{word} calibration"] for word in ("before", "after"))
    assert before[0] < 0.5
    assert after[0] == pytest.approx(0.8, abs=0.04)
    assert after[1] == 1125, "rows with a range have no number that an interval could hold"
    curve = interval_curve(fitted, output[1500:], target[1500:])
    assert all(abs(nominal - coverage) < 0.06 for nominal, coverage, _ in curve)
    assert [width for _, _, width in curve] == sorted(width for _, _, width in curve)


def test_too_wide_an_interval_is_narrowed() -> None:
    output, target = ages(2000, spread=3.0, told=5.0, seed=2)
    sharp = AGE.model_copy(update={"temperature": 1.0})
    (fitted,) = calibrate((sharp,), {"age": output}, {"age": target})
    assert fitted.temperature == 0.5, "the search ends there"
    assert fitted.widen < 0
    told = interval_now(fitted, output, target)
    assert told is not None
    assert told[0] == pytest.approx(0.8, abs=0.03)


def test_regression_gets_the_quantile_of_its_errors() -> None:
    random = np.random.default_rng(0)
    output = random.uniform(0.2, 0.8, (2000, 1))
    target = np.full((2000, 3), NAN)
    target[:, 0] = 2 * output[:, 0] + random.normal(0, 0.1, 2000)
    (fitted,) = calibrate((HEIGHT,), {"height": output[:1000]}, {"height": target[:1000]})
    assert fitted.widen == pytest.approx(1.2816 * 0.1, abs=0.02)
    assert fitted.temperature == 1.0
    told = interval_now(fitted, output[1000:], target[1000:])
    assert told is not None
    assert told[0] == pytest.approx(0.8, abs=0.04)
    assert interval_curve(fitted, output, target) == []


def test_the_quantile_counts_one_row_more() -> None:
    assert conformal(np.arange(1.0, 10.0), 0.8) == 8.0  # ceil(10 * 0.8) = 8th smallest
    assert conformal(np.arange(1.0, 5.0), 0.8) == 4.0
    assert conformal(np.array([1.0, 2.0]), 0.9) == 2.0  # there is no third
    assert conformal(np.array([0.123, 0.124]), 0.5) == 0.13


def test_few_rows_and_points_are_left_alone() -> None:
    output, truth = over_confident(200, 2, 3.0, 5)
    truth[LEAST_ROWS - 1 :] = NAN
    age, years = ages(200, 6.0, 2.5, 5)
    years[LEAST_ROWS - 1 :] = NAN
    places = np.zeros((200, 4), np.float32)
    outputs = {"gender": output, "age": age, "eyes": places}
    targets = {"gender": truth, "age": years, "eyes": places.reshape(-1, 2, 2)}
    assert calibrate((GENDER, AGE, EYES), outputs, targets) == (GENDER, AGE, EYES)
    nothing = {name: np.full_like(values, NAN) for name, values in targets.items()}
    assert calibrate((GENDER, AGE), outputs, nothing) == (GENDER, AGE)
    assert calibration_metrics((GENDER, AGE), (GENDER, AGE), outputs, nothing) == []


def test_the_least_confidence_follows_its_rule() -> None:
    confidence = np.linspace(0.5, 0.9995, 1000)
    right = np.random.default_rng(0).random(1000) < confidence
    found = Answers(confidence, right)
    level = least_confidence(found, Abstention(accuracy=0.9, answered=0.1))
    said = confidence >= level
    assert right[said].mean() == pytest.approx(0.9, abs=0.001)  # it is rounded down
    assert 0.7 < level < 0.9
    lower = confidence >= level - 0.01
    assert right[lower].mean() < 0.9, "it is the lowest such confidence"
    kept = least_confidence(found, Abstention(accuracy=0.999, answered=0.95))
    assert (confidence >= kept).mean() == pytest.approx(0.95, abs=0.003)
    assert least_confidence(found, Abstention(accuracy=0.5)) == 0.0
    assert least_confidence(Answers(np.zeros(0), np.zeros(0, bool)), Abstention()) == 0.0
    saturated = Answers(np.ones(100), np.arange(100) > 30)
    assert least_confidence(saturated, Abstention()) < 1


def test_the_default_rule_keeps_nearly_all_answers() -> None:
    output, truth = over_confident(2000, 2, 1.0, 9)
    (fitted,) = calibrate((GENDER,), {"gender": output}, {"gender": truth})
    given = answers(fitted, output, truth)
    assert fitted.abstain_below > 0.5
    assert (given.confidence >= fitted.abstain_below).mean() >= 0.95


def test_ece_by_hand() -> None:
    found = reliability(Answers(np.array([0.91, 0.95, 0.55, 1.0]), np.array([True, False, True, True])))
    assert found.counts.sum() == 4
    assert len(found.counts) == BINS
    # 0.91 and 0.55 are alone in their bins; 0.95 and 1.0 share the last one.
    assert found.error == pytest.approx((abs(0.91 - 1) + abs(0.55 - 1) + 2 * abs(0.975 - 0.5)) / 4)
    with pytest.raises(ValueError, match="no answers"):
        reliability(Answers(np.zeros(0), np.zeros(0, bool)))


def test_the_coverage_curve_counts_ties_together() -> None:
    thresholds, answered, accuracy = coverage_curve(
        Answers(np.array([0.9, 0.6, 0.9, 0.7]), np.array([True, False, False, True]))
    )
    assert thresholds.tolist() == [0.9, 0.7, 0.6]
    assert answered.tolist() == [0.5, 0.75, 1.0]
    assert accuracy == pytest.approx([1 / 2, 2 / 3, 1 / 2])


def test_halves_keep_groups_together_and_are_the_same_each_time(faces) -> None:
    table = read_faces(faces, read_schema())
    first = halves(table)
    assert 10 < first.sum() < 38
    assert (first == halves(table)).all()
    table.columns["group"] = np.array([f"g{index // 4}" for index in range(len(table))])
    grouped = halves(table).reshape(-1, 4)
    assert (grouped == grouped[:, :1]).all()
    assert 0 < grouped.sum() < grouped.size
    assert (halves(table.rows(np.arange(7, 30))) == grouped.ravel()[7:30]).all(), "other rows change nothing"
