"""Curves of an evaluation as numbers: precision over recall, rates over the threshold, confidence against precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .evaluate import Evaluation
from .matching import Scored, Sizes

BINS = 20
LEAST = 0.05
"""Least confidence of a box that calibration is about: below it lie thousands of boxes that nobody is shown."""
THRESHOLDS = np.round(np.linspace(0.01, 0.99, 99), 2)


@dataclass(frozen=True)
class Reliability:
    """How far a confidence can be taken for the probability that the box is right; by bins of confidence.

    Attributes:
        confidence: mean in each bin, shape (n,); nan where the bin has no box.
        precision: share of right boxes in each bin, shape (n,); nan likewise.
        counts: boxes in each bin, shape (n,).
        edges: of the bins, shape (n + 1,).
        error: expected calibration error: mean of ``|confidence - precision|`` over the bins, weighted by their boxes;
            None without a box.
    """

    confidence: np.ndarray
    precision: np.ndarray
    counts: np.ndarray
    edges: np.ndarray
    error: float | None


def reliability(scored: Scored, least: float = LEAST, bins: int = BINS) -> Reliability:
    """Calibration of detections (Küppers et al. 2020, "Multivariate Confidence Calibration for Object Detection", by
    confidence alone): the expected calibration error of Guo et al. 2017 with precision in place of accuracy, over the
    found boxes that count, since boxes that were not found have no confidence.

    Args:
        scored: the found boxes of one class that count.
        least: boxes below this confidence are left out.
        bins: bins of equal width from 0 to 1.
    """
    keep = scored.confidence >= least
    confidence, correct = scored.confidence[keep].astype(float), scored.correct[keep]
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    some = counts > 0
    means = np.full((2, bins), np.nan)
    for row, values in enumerate((confidence, correct.astype(float))):
        means[row, some] = np.bincount(place, values, minlength=bins)[some] / counts[some]
    gaps = np.abs(means[0, some] - means[1, some])
    error = float((gaps * counts[some]).sum() / counts.sum()) if some.any() else None
    return Reliability(means[0], means[1], counts, edges, error)


def precision_at_recalls(scored: Scored, points: int = 101) -> tuple[np.ndarray, np.ndarray]:
    """The interpolated precision-recall curve: recalls from 0 to 1, and the best precision at each or beyond it, 0
    past the last; both of shape (points,)."""
    recall, precision, _ = scored.curve()
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    recalls = np.linspace(0, 1, points)
    return recalls, envelope[np.searchsorted(recall, recalls - 1e-12)]


def rates(scored: Scored, thresholds: np.ndarray = THRESHOLDS) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall at each threshold, shapes (n,); nan where undefined."""
    told = [scored.at(float(threshold)) for threshold in thresholds]
    precision, recall = (np.array([np.nan if pair[i] is None else pair[i] for pair in told], float) for i in (0, 1))
    return precision, recall


def alarm_rate(evaluation: Evaluation, name: str, thresholds: np.ndarray = THRESHOLDS) -> np.ndarray | None:
    """Boxes of one class at each threshold, shape (n,), a picture without any; None where there is no such picture."""
    if not evaluation.empty:
        return None
    confidence = np.sort(evaluation.alarms(name))
    return (len(confidence) - np.searchsorted(confidence, thresholds, side="left")) / len(evaluation.empty)


def numbers(evaluation: Evaluation, sizes: Sizes) -> dict[str, dict[str, Any]]:
    """All curves by class, ready for JSON."""
    found: dict[str, dict[str, Any]] = {}
    for name in evaluation.classes:
        scored = evaluation.scores[name, sizes]
        recalls, precisions = precision_at_recalls(scored)
        precision, recall = rates(scored)
        bins = reliability(scored)
        alarms = alarm_rate(evaluation, name)
        found[name] = {
            "pr_recall": _listed(recalls),
            "pr_precision": _listed(precisions),
            "threshold": _listed(THRESHOLDS),
            "precision": _listed(precision),
            "recall": _listed(recall),
            "alarms_a_picture": None if alarms is None else _listed(alarms),
            "bin_edges": _listed(bins.edges),
            "bin_boxes": bins.counts.tolist(),
            "bin_confidence": _listed(bins.confidence),
            "bin_precision": _listed(bins.precision),
            "calibration_error": None if bins.error is None else round(bins.error, 4),
        }
    return found


def _listed(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 4) for value in values]
