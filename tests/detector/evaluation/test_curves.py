"""The curves of an evaluation, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from facepipe.detector.evaluation.curves import precision_at_recalls, rates, reliability
from facepipe.detector.evaluation.matching import Scored


def test_calibration_by_hand() -> None:
    # Bins of 0.5: below it two boxes of mean 0.3 of which none is right, above it two of mean 0.8, of which one is.
    scored = Scored(np.array([0.9, 0.7, 0.4, 0.2, 0.01]), np.array([True, False, False, False, True]), 5)
    bins = reliability(scored, least=0.05, bins=2)
    assert bins.counts.tolist() == [2, 2]
    assert bins.confidence.tolist() == pytest.approx([0.3, 0.8])
    assert bins.precision.tolist() == [0, 0.5]
    assert bins.error == pytest.approx(0.3)


def test_a_calibrated_detector_has_no_error_and_one_without_boxes_none() -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.05, 1, 40000)
    honest = reliability(Scored(confidence, random.random(40000) < confidence, 40000))
    assert honest.error is not None
    assert honest.error < 0.02
    nothing = reliability(Scored(np.array([0.01]), np.array([True]), 1))
    assert nothing.error is None
    assert np.isnan(nothing.precision).all()


def test_the_highest_confidence_is_in_the_last_bin() -> None:
    assert reliability(Scored(np.array([1.0]), np.array([True]), 1), bins=4).counts.tolist() == [0, 0, 0, 1]


def test_the_curve_is_the_one_under_which_average_precision_lies() -> None:
    scored = Scored(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), 4)
    recalls, precisions = precision_at_recalls(scored, 5)
    assert recalls.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert precisions.tolist() == pytest.approx([1, 1, 2 / 3, 0, 0])
    random = np.random.default_rng(1)
    many = Scored(random.random(500), random.random(500) < 0.6, 400)
    average = many.average_precision()
    assert precision_at_recalls(many, 20001)[1].mean() == pytest.approx(average, abs=1e-3)


def test_rates_at_thresholds() -> None:
    scored = Scored(np.array([0.9, 0.5, 0.5]), np.array([True, True, False]), 4)
    precision, recall = rates(scored, np.array([0.5, 0.6, 0.95]))
    assert precision[:2].tolist() == pytest.approx([2 / 3, 1])
    assert np.isnan(precision[2])
    assert recall.tolist() == [0.5, 0.25, 0]
