"""Metrics for each kind of attribute. Unlabelled rows (NaN) do not count."""

from __future__ import annotations

import numpy as np

from ...weights.manifest import (
    Attribute,
    AttributeBase,
    ClassesBase,
    Metric,
    NumericAttribute,
    OrdinalAttribute,
    PointsAttribute,
)
from ..inference.attributes import numbers, probabilities

NEAR = 0.05
"""``cs5`` counts numbers with an error of at most this share of their range: 5 years for 0 to 100."""
CLEAR = 0.1
"""A point error up to this share of the eye distance is good enough for most uses."""


def scores(
    attribute: Attribute,
    output: np.ndarray,
    target: np.ndarray,
    detailed: bool = False,
    sides: np.ndarray | None = None,
) -> list[Metric]:
    """Compute the metrics of one attribute.

    Args:
        attribute: the schema entry.
        output: (n, width) as returned by the classifier.
        target: as in FaceTable; points as fractions of the crop's side.
        detailed: compute all metrics; otherwise only those that show the progress of training.
        sides: longer sides of the face boxes in pixels, (n,); None treats every face as large.

    Returns:
        Metrics with the number of rows behind each; metrics without rows are left out.

        Classes: ``accuracy``, ``balanced_accuracy`` and, for two classes, ``auc`` of the second. Detailed:
        ``precision``, ``recall`` and ``f1`` of the second of two classes, or of each of several as ``.../class=NAME``;
        ``mae_classes`` for ordinal classes; with abstention ``answered`` (the share of rows with a value) and
        ``accuracy_of_answered``.

        Numbers, over rows with a number: ``mae``, ``mae_normalised`` (of the range) and ``interval_coverage``.
        Detailed: ``interval_width`` and ``cs5`` (share within 5 % of the range). Over rows with a range: ``range_hit``
        and ``range_within_one`` (by the range that holds the prediction, among the ranges in the data).

        Points: ``eye_error``, the mean distance of the first mirrored pair from its labels over the true distance
        within the pair, and ``point_error``, the same for all points. Without a mirrored pair:
        ``point_error_of_side``, the mean distance as a fraction of the crop's side. Detailed, with a pair:
        ``eye_error_median``; ``eye_error_below_0.1``, a share of rows; ``eye_offset_x`` and ``eye_offset_y``, the
        median offset of the pair to the right of and below its labels; and ``eye_error_less_offset``, the error
        without that offset, because annotators of different data sets place points differently.
    """
    if isinstance(attribute, PointsAttribute):
        return _point_scores(attribute, output, target, detailed)
    if isinstance(attribute, NumericAttribute):
        return _number_scores(attribute, output, target, detailed, sides)
    return _class_scores(attribute, output, target, detailed, sides)


def area_under_curve(values: np.ndarray, positive: np.ndarray) -> float:
    """Compute the area under the ROC curve from ranks, with shared ranks for ties (Mann-Whitney).

    Args:
        values: scores, (n,).
        positive: bool (n,).
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    hits = int(positive.sum())
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * (len(values) - hits)))


def confusions(attribute: ClassesBase, output: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Count rows by true class (down) and likeliest class (across), int64 (classes, classes).

    Args:
        attribute: with its classes.
        output: (n, classes) as returned by the classifier.
        target: class indices, (n,), NaN where unlabelled.
    """
    known = ~np.isnan(target)
    count = len(attribute.classes)
    if not known.any():
        return np.zeros((count, count), np.int64)
    pairs = target[known].astype(int) * count + np.asarray(output)[known].argmax(axis=1)
    return np.bincount(pairs, minlength=count * count).reshape(count, count)


def row_errors(
    attribute: Attribute, output: np.ndarray, target: np.ndarray, sides: np.ndarray | None = None
) -> np.ndarray:
    """Compute the error of each row, (n,), NaN where unknown; its means are the metrics.

    Classes: 0 or 1, so that 1 minus the mean is the accuracy. Numbers: the absolute error of rows with a number, in the
    attribute's unit. Points: the mean error of the first mirrored pair over its true distance, or, without mirrored
    points, the mean error of all points as a fraction of the crop's side.

    Args:
        attribute: the schema entry.
        output: (n, width) as returned by the classifier.
        target: as in FaceTable; points as fractions of the crop's side.
        sides: as in :func:`scores`.
    """
    if isinstance(attribute, PointsAttribute):
        distances, between, pair = _point_distances(attribute, output, target)
        if not pair:
            known = ~np.isnan(distances).all(axis=1)
            found = np.full(len(distances), np.nan)
            found[known] = np.nanmean(distances[known], axis=1)
            return found
        return np.where(between > 0, distances[:, pair].mean(axis=1) / np.where(between > 0, between, 1), np.nan)
    if isinstance(attribute, NumericAttribute):
        return np.abs(numbers(attribute, output, sides)[0] - target[:, 0])
    wrong = np.asarray(output).argmax(axis=1) != target
    return np.where(np.isnan(target), np.nan, wrong)


def _metrics(attribute: AttributeBase, found: dict[str, float], count: int) -> list[Metric]:
    return [Metric(name=f"{attribute.name}.{name}", value=float(value), count=count) for name, value in found.items()]


def _class_scores(
    attribute: ClassesBase, output: np.ndarray, target: np.ndarray, detailed: bool, sides: np.ndarray | None
) -> list[Metric]:
    known = ~np.isnan(target)
    if not known.any():
        return []
    truth = target[known].astype(int)
    likely = probabilities(attribute, output[known], None if sides is None else sides[known])
    right = likely.argmax(axis=1) == truth
    recalls = [right[truth == index].mean() for index in np.unique(truth)]
    found = {"accuracy": right.mean(), "balanced_accuracy": np.mean(recalls)}
    two = len(attribute.classes) == 2
    if two and len(recalls) == 2:
        found["auc"] = area_under_curve(likely[:, 1], truth == 1)
    if not detailed:
        return _metrics(attribute, found, len(truth))
    matrix = confusions(attribute, output, target)
    if two:
        found |= _hits(matrix, 1)
    if isinstance(attribute, OrdinalAttribute):
        found["mae_classes"] = np.abs(likely.argmax(axis=1) - truth).mean()
    if attribute.abstain_below:
        answered = likely.max(axis=1) >= attribute.abstain_below
        found["answered"] = answered.mean()
        if answered.any():
            found["accuracy_of_answered"] = right[answered].mean()
    metrics = _metrics(attribute, found, len(truth))
    if not two:
        for index, name in enumerate(attribute.classes):
            each = {f"{measure}/class={name}": value for measure, value in _hits(matrix, index).items()}
            metrics += _metrics(attribute, each, int(matrix[index].sum()))
    return metrics


def _hits(matrix: np.ndarray, index: int) -> dict[str, float]:
    """Compute precision, recall and F1 of one class, leaving out those without rows."""
    hits, predicted, true = matrix[index, index], matrix[:, index].sum(), matrix[index].sum()
    found = {}
    if predicted:
        found["precision"] = hits / predicted
    if true:
        found["recall"] = hits / true
        found["f1"] = 2 * hits / (predicted + true)
    return found


def _number_scores(
    attribute: NumericAttribute, output: np.ndarray, target: np.ndarray, detailed: bool, sides: np.ndarray | None
) -> list[Metric]:
    values, intervals = numbers(attribute, output, sides)
    metrics = []
    exact = ~np.isnan(target[:, 0])
    if exact.any():
        truth, (low, high) = target[exact, 0], intervals[exact].T
        off, span = np.abs(values[exact] - truth), attribute.high - attribute.low
        found = {
            "mae": off.mean(),
            "mae_normalised": off.mean() / span,
            "interval_coverage": ((truth >= low) & (truth <= high)).mean(),
        }
        if detailed:
            found |= {"interval_width": (high - low).mean(), "cs5": (off <= NEAR * span).mean()}
        metrics += _metrics(attribute, found, int(exact.sum()))
    ranged = ~exact & ~np.isnan(target[:, 1])
    if ranged.any():
        starts = np.unique(target[ranged, 1])
        truth = np.searchsorted(starts, target[ranged, 1], side="right")
        apart = np.abs(np.searchsorted(starts, values[ranged], side="right") - truth)
        found = {"range_hit": (apart == 0).mean(), "range_within_one": (apart <= 1).mean()}
        metrics += _metrics(attribute, found, int(ranged.sum()))
    return metrics


def _point_distances(
    attribute: PointsAttribute, output: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Compute point errors, (n, points), and the true distance of the first mirrored pair, (n,), NaN where unlabelled.

    The third value holds the indices of that pair, empty if no points are mirrored.
    """
    distances = np.linalg.norm(np.asarray(output).reshape(target.shape) - target, axis=-1)
    pair = [attribute.points.index(name) for name in (attribute.mirror[0] if attribute.mirror else ())]
    if not pair:
        return distances, np.full(len(target), np.nan), []
    return distances, np.linalg.norm(target[:, pair[0]] - target[:, pair[1]], axis=-1), pair


def _point_scores(attribute: PointsAttribute, output: np.ndarray, target: np.ndarray, detailed: bool) -> list[Metric]:
    distances, between, pair = _point_distances(attribute, output, target)
    if not pair:
        labelled = ~np.isnan(distances)
        found = {"point_error_of_side": distances[labelled].mean()} if labelled.any() else {}
        return _metrics(attribute, found, int(labelled.any(axis=1).sum()))
    known = between > 0  # False where a point of the pair is unlabelled
    if not known.any():
        return []
    relative = distances[known] / between[known, None]
    eyes = relative[:, pair].mean(axis=1)
    found = {"eye_error": eyes.mean(), "point_error": np.nanmean(relative)}
    if detailed:
        found |= {"eye_error_median": np.median(eyes), f"eye_error_below_{CLEAR:g}": (eyes < CLEAR).mean()}
        shifts = (np.asarray(output).reshape(target.shape) - target)[known][:, pair] / between[known, None, None]
        offset = np.median(shifts, axis=(0, 1))
        found |= {"eye_offset_x": offset[0], "eye_offset_y": offset[1]}
        found["eye_error_less_offset"] = np.linalg.norm(shifts - offset, axis=-1).mean()
    return _metrics(attribute, found, int(known.sum()))
