"""Reliability of probabilities and intervals, and the gain in accuracy from abstention."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...weights.manifest import ClassesBase, NumericAttribute
from ..inference.attributes import central_interval, numbers, probabilities

BINS = 15
"""Number of bins of equal width over 0 to 1 (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017)."""
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Nominal coverages at which intervals are measured."""


@dataclass(frozen=True)
class Answers:
    """The labelled rows of a class attribute.

    Attributes:
        confidence: probability of the likeliest class, (n,).
        right: whether that class is correct, bool (n,).
    """

    confidence: np.ndarray
    right: np.ndarray


@dataclass(frozen=True)
class Reliability:
    """Confidence and accuracy by bin, NaN in empty bins.

    Attributes:
        edges: (BINS + 1,).
        counts, confidence, accuracy: (BINS,).
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: the mean gap between confidence and accuracy, weighted by the rows per bin."""
        some = self.counts > 0
        gaps = np.abs(self.confidence[some] - self.accuracy[some])
        return float((self.counts[some] * gaps).sum() / self.counts.sum())


def answers(attribute: ClassesBase, output: np.ndarray, target: np.ndarray, sides: np.ndarray | None = None) -> Answers:
    """Compute confidence and correctness of the labelled rows, with the attribute's temperature.

    Args:
        attribute: the schema entry.
        output: (n, classes) logits.
        target: (n,) class index, NaN where unlabelled.
        sides: longer sides of the face boxes in pixels, (n,); None treats every face as large.
    """
    known = ~np.isnan(target)
    likely = probabilities(attribute, np.asarray(output)[known], None if sides is None else sides[known])
    return Answers(likely.max(axis=1), likely.argmax(axis=1) == target[known])


def reliability(found: Answers) -> Reliability:
    """Sort answers into bins by confidence.

    Raises:
        ValueError: there are no answers.
    """
    if not len(found.right):
        raise ValueError("no answers")
    edges = np.linspace(0, 1, BINS + 1)
    places = np.clip(np.digitize(found.confidence, edges[1:-1], right=True), 0, BINS - 1)
    counts = np.bincount(places, minlength=BINS)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(places, found.confidence, BINS) / counts
        accuracy = np.bincount(places, found.right, BINS) / counts
    return Reliability(edges, counts, confidence, accuracy)


def coverage_curve(found: Answers) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute coverage and accuracy when only answers from a confidence threshold on count.

    Returns:
        The occurring thresholds in falling order, the share of rows answered, and their accuracy, (m,) each.
    """
    order = np.argsort(-found.confidence, kind="stable")
    confidence, hits = found.confidence[order], np.cumsum(found.right[order])
    last = np.append(confidence[1:] < confidence[:-1], True) if len(order) else np.zeros(0, bool)
    answered = np.flatnonzero(last) + 1
    return confidence[last], answered / max(len(order), 1), hits[last] / answered


def interval_curve(
    attribute: NumericAttribute, output: np.ndarray, target: np.ndarray
) -> list[tuple[float, float, float]]:
    """Compute (nominal coverage, coverage, mean width) of intervals over rows with a number.

    The intervals are the distribution's central intervals at ``LEVELS``, not widened; :func:`interval_now` measures the
    attribute's own ``interval``. The list is empty without bins or rows.

    Args:
        attribute: with its bins.
        output: (n, bins) as returned by the classifier.
        target: number, low and high, (n, 3), NaN where unlabelled.
    """
    known = ~np.isnan(target[:, 0])
    if attribute.bins is None or not known.any():
        return []
    likely = probabilities(attribute, np.asarray(output)[known])
    found = []
    for level in LEVELS:
        ends = central_interval(likely, attribute.model_copy(update={"interval": level}))
        found.append((level, *_coverage(ends, target[known, 0])))
    return found


def interval_now(attribute: NumericAttribute, output: np.ndarray, target: np.ndarray) -> tuple[float, float] | None:
    """Compute coverage and mean width of the served interval over rows with a number; None without rows.

    Args:
        attribute: with its interval.
        output: (n, bins) as returned by the classifier.
        target: number, low and high, (n, 3), NaN where unlabelled.
    """
    known = ~np.isnan(target[:, 0])
    if not known.any():
        return None
    return _coverage(numbers(attribute, np.asarray(output)[known])[1], target[known, 0])


def miss(attribute: NumericAttribute, output: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Compute how far each true number lies outside the interval before widening, (n,); negative inside.

    Args:
        attribute: with its interval.
        output: (n, bins) as returned by the classifier.
        truth: numbers, (n,).
    """
    ends = numbers(attribute.model_copy(update={"widen": 0.0}), output)[1]
    return np.maximum(ends[:, 0] - truth, truth - ends[:, 1])


def _coverage(ends: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    inside = (truth >= ends[:, 0]) & (truth <= ends[:, 1])
    return float(inside.mean()), float((ends[:, 1] - ends[:, 0]).mean())
