"""How well outputs agree with labels, for each kind of attribute. Unlabelled rows (NaN) do not count."""

from __future__ import annotations

import numpy as np

from ..weights.manifest import Attribute, Metric, NumericAttribute, PointsAttribute
from .values import expectation, quantiles, softmax


def scores(attribute: Attribute, output: np.ndarray, target: np.ndarray) -> list[Metric]:
    """Metrics of one attribute.

    Args:
        output: (n, width) as the classifier gives it.
        target: as in FaceTable; points as fractions of the crop's side.

    Returns:
        Classes: ``accuracy``, ``balanced_accuracy`` and, for two classes, ``auc`` of the second. Numbers: ``mae`` and
        ``interval_coverage`` over rows with a number; over rows with a range, ``range_hit`` and ``range_within_one``
        (the range that holds the prediction, among the ranges in the data). Points: ``eye_error``, the mean distance of
        the first mirrored pair over the true distance of that pair, and ``point_error``, the same for all points.
        Each with the number of rows behind it, and none without rows.
    """
    if isinstance(attribute, PointsAttribute):
        return _point_scores(attribute, output, target)
    if isinstance(attribute, NumericAttribute):
        return _number_scores(attribute, output, target)
    known = ~np.isnan(target)
    if not known.any():
        return []
    truth = target[known].astype(int)
    probabilities = softmax(output[known], attribute.temperature)
    right = probabilities.argmax(axis=1) == truth
    recalls = [right[truth == index].mean() for index in np.unique(truth)]
    found = {"accuracy": right.mean(), "balanced_accuracy": np.mean(recalls)}
    if len(attribute.classes) == 2 and len(recalls) == 2:
        found["auc"] = area_under_curve(probabilities[:, 1], truth == 1)
    return _metrics(attribute, found, len(truth))


def area_under_curve(values: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve, from ranks with ties shared (Mann-Whitney)."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    hits = int(positive.sum())
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * (len(values) - hits)))


def _metrics(attribute: Attribute, found: dict[str, float], count: int) -> list[Metric]:
    return [Metric(name=f"{attribute.name}.{name}", value=float(value), count=count) for name, value in found.items()]


def _number_scores(attribute: NumericAttribute, output: np.ndarray, target: np.ndarray) -> list[Metric]:
    probabilities = softmax(output, attribute.temperature)
    values = expectation(probabilities, attribute)
    metrics = []
    exact = ~np.isnan(target[:, 0])
    if exact.any():
        truth = target[exact, 0]
        low, high = quantiles(probabilities[exact], attribute).T
        found = {
            "mae": np.abs(values[exact] - truth).mean(),
            "interval_coverage": ((truth >= low) & (truth <= high)).mean(),
        }
        metrics += _metrics(attribute, found, int(exact.sum()))
    ranged = ~exact & ~np.isnan(target[:, 1])
    if ranged.any():
        starts = np.unique(target[ranged, 1])
        truth = np.searchsorted(starts, target[ranged, 1], side="right")
        apart = np.abs(np.searchsorted(starts, values[ranged], side="right") - truth)
        found = {"range_hit": (apart == 0).mean(), "range_within_one": (apart <= 1).mean()}
        metrics += _metrics(attribute, found, int(ranged.sum()))
    return metrics


def _point_scores(attribute: PointsAttribute, output: np.ndarray, target: np.ndarray) -> list[Metric]:
    distances = np.linalg.norm(output.reshape(target.shape) - target, axis=-1)
    pair = [attribute.points.index(name) for name in (attribute.mirror[0] if attribute.mirror else ())]
    if not pair:
        known = ~np.isnan(distances)
        found = {"point_error_of_side": distances[known].mean()} if known.any() else {}
        return _metrics(attribute, found, int(known.any(axis=1).sum()))
    between = np.linalg.norm(target[:, pair[0]] - target[:, pair[1]], axis=-1)
    known = between > 0  # False where a point of the pair is unlabelled
    if not known.any():
        return []
    relative = distances[known] / between[known, None]
    found = {"eye_error": relative[:, pair].mean(), "point_error": np.nanmean(relative)}
    return _metrics(attribute, found, int(known.sum()))
