"""Calibration after training: a temperature per head, abstention thresholds, and intervals with correct coverage.

The fitted values go into the manifest and change how outputs are decoded, not the network. They are fitted on one half
of the validation rows and reported on the other.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.extras import require
from ...weights.manifest import Attribute, ClassesBase, Metric, NumericAttribute, PointsAttribute
from ..data.table import FaceTable
from ..evaluation.reliability import Answers, answers, coverage_curve, interval_now, miss, reliability
from ..inference.attributes import bin_centres, softmax

TEMPERATURES = (0.5, 50.0)
"""Search bounds. The lower one keeps a head without mistakes on a few rows from becoming certain of everything. The
upper one is high because a network can be many times too confident on very small faces."""
LEAST_ROWS = 50
"""Minimum number of labelled rows to fit anything."""
HIGHEST = 0.999
"""Maximum abstention threshold; above it, no row would be answered."""


@dataclass(frozen=True)
class Abstention:
    """The rule for abstention.

    ``abstain_below`` is the lowest confidence from which at least ``accuracy`` of the answers are right, but never so
    high that less than ``answered`` of the rows get an answer. It is 0 if all answers together are accurate enough.
    """

    accuracy: float = 0.98
    answered: float = 0.98

    def __str__(self) -> str:
        return (
            f"the lowest confidence at or above which {100 * self.accuracy:g} % of the answers are right, "
            f"with at least {100 * self.answered:g} % of the rows answered"
        )


def calibrate(
    attributes: tuple[Attribute, ...],
    outputs: dict[str, np.ndarray],
    targets: dict[str, np.ndarray],
    abstention: Abstention | None = None,
) -> tuple[Attribute, ...]:
    """Return the attributes with fitted ``temperature``, ``abstain_below`` and ``widen``.

    Temperatures minimise the negative log-likelihood of the labels (Guo et al., ICML 2017); for a number with bins,
    that of the bin that holds the number or of the bins within its range. ``widen`` is the conformal correction of
    split conformalised quantile regression (Romano et al., NeurIPS 2019); for regression it is the quantile of the
    absolute errors. An attribute with fewer than ``LEAST_ROWS`` labelled rows stays unchanged; points have nothing to
    fit.

    Args:
        attributes: from the manifest.
        outputs: by attribute, (n, width).
        targets: by attribute, as in FaceTable.
        abstention: None means the default rule.
    """
    rule = abstention or Abstention()
    return tuple(_fitted(each, outputs[each.name], targets[each.name], rule) for each in attributes)


def halves(table: FaceTable) -> np.ndarray:
    """Select the rows to fit on, bool (n,): about half, deterministically, keeping groups together.

    The choice depends on the first bit of the SHA-256 of the group name, or of the file name if there is no group.
    """
    groups = table.columns.get("group", np.full(len(table), ""))
    keys = [f"group {group}" if group else f"file {file}" for group, file in zip(groups, _names(table), strict=True)]
    return np.array([hashlib.sha256(key.encode()).digest()[0] < 128 for key in keys], bool)


def calibration_metrics(
    before: tuple[Attribute, ...],
    after: tuple[Attribute, ...],
    outputs: dict[str, np.ndarray],
    targets: dict[str, np.ndarray],
) -> list[Metric]:
    """Measure the effect of calibration on held-out rows.

    The metrics are ``ece``, ``answered`` and ``accuracy_of_answered`` for classes, and ``interval_coverage`` and
    ``interval_width`` for numbers, each with ``/before calibration`` and ``/after calibration``.

    Args:
        before: the attributes before calibration.
        after: the attributes after calibration.
        outputs: by attribute, (n, width).
        targets: by attribute, as in FaceTable.
    """
    found: list[Metric] = []
    for old, new in zip(before, after, strict=True):
        output, target = outputs[new.name], targets[new.name]
        if isinstance(new, PointsAttribute):
            continue
        for word, attribute in (("before", old), ("after", new)):
            values, count = _reading_figures(attribute, output, target)
            found += [
                Metric(name=f"{new.name}.{name}/{word} calibration", value=value, count=count)
                for name, value in values.items()
            ]
    return found


def _reading_figures(attribute: Attribute, output: np.ndarray, target: np.ndarray) -> tuple[dict[str, float], int]:
    """Compute the figures of one attribute and the number of rows behind them."""
    if isinstance(attribute, NumericAttribute):
        interval = interval_now(attribute, output, target)
        names = ("interval_coverage", "interval_width")
        return ({} if interval is None else dict(zip(names, interval, strict=True))), int(
            (~np.isnan(target[:, 0])).sum()
        )
    assert isinstance(attribute, ClassesBase)
    given = answers(attribute, output, target)
    if not len(given.right):
        return {}, 0
    found = {"ece": reliability(given).error}
    answered = given.confidence >= attribute.abstain_below
    found |= {"answered": float(answered.mean())}
    if answered.any():
        found["accuracy_of_answered"] = float(given.right[answered].mean())
    return found, len(given.right)


def fit_reading(attribute: Attribute, output: np.ndarray, target: np.ndarray) -> Attribute | None:
    """Fit temperature and widening of an attribute; None if too few rows are labelled to fit either.

    Args:
        attribute: a class or numeric attribute.
        output: (n, width) as returned by the classifier.
        target: (n,) class index, or (n, 3) number, low, high; NaN where unlabelled.
    """
    update: dict[str, Any] = {}
    if isinstance(attribute, NumericAttribute):
        if attribute.bins is not None:
            labelled = ~np.isnan(target[:, :2]).all(axis=1)
            if labelled.sum() >= LEAST_ROWS:
                update["temperature"] = _temperature(
                    lambda heat: _number_loss(attribute, output[labelled], target[labelled], heat)
                )
        exact = ~np.isnan(target[:, 0])
        if exact.sum() >= LEAST_ROWS:
            warm = attribute.model_copy(update=update)
            update["widen"] = conformal(miss(warm, output[exact], target[exact, 0]), attribute.interval)
    elif isinstance(attribute, ClassesBase):
        known = ~np.isnan(target)
        if known.sum() >= LEAST_ROWS:
            truth = target[known].astype(int)
            update["temperature"] = _temperature(lambda heat: _class_loss(output[known], truth, heat))
    return type(attribute).model_validate({**attribute.model_dump(), **update}) if update else None


def _fitted(attribute: Attribute, output: np.ndarray, target: np.ndarray, rule: Abstention) -> Attribute:
    fitted = fit_reading(attribute, output, target)
    if fitted is None:
        return attribute
    if isinstance(fitted, ClassesBase):
        return fitted.model_copy(update={"abstain_below": least_confidence(answers(fitted, output, target), rule)})
    return fitted


def _temperature(loss: Callable[[float], float]) -> float:
    """Find the temperature with the lowest loss, to three significant digits; the search is over its logarithm."""
    minimize_scalar = require("scipy.optimize").minimize_scalar
    low, high = (math.log(bound) for bound in TEMPERATURES)
    found = minimize_scalar(lambda place: loss(math.exp(place)), bounds=(low, high), method="bounded")
    return float(f"{math.exp(found.x):.3g}")


def _class_loss(output: np.ndarray, truth: np.ndarray, heat: float) -> float:
    likely = softmax(output, heat)[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(likely, 1e-12)).mean())


def _number_loss(attribute: NumericAttribute, output: np.ndarray, target: np.ndarray, heat: float) -> float:
    """Compute the negative log-likelihood of the bin nearest to a number, or of all bins that a range touches."""
    centres = bin_centres(attribute)
    half = (centres[1] - centres[0]) / 2
    exact = ~np.isnan(target[:, 0])
    ends = np.where(exact[:, None], target[:, :1], target[:, 1:3])
    ends = np.clip(ends, attribute.low, attribute.high)
    nearest = np.abs(centres - ends[:, :1]).argmin(axis=1)
    inside = (centres > ends[:, :1] - half) & (centres < ends[:, 1:] + half)
    inside[exact] = np.arange(len(centres)) == nearest[exact, None]
    likely = (softmax(output, heat) * inside).sum(axis=1)
    return float(-np.log(np.maximum(likely, 1e-12)).mean())


def conformal(misses: np.ndarray, share: float) -> float:
    """Compute how much to widen intervals on both sides to cover ``share`` of new numbers.

    This is the ``ceil((n + 1) * share)``-th smallest miss (Romano et al., 2019, equation 8), rounded up to two
    decimals; with too few rows for that, it is the largest miss.

    Args:
        misses: see :func:`~facepipe.classifier.evaluation.reliability.miss`, (n,).
        share: the desired coverage, 0 to 1.
    """
    place = min(math.ceil((len(misses) + 1) * share), len(misses))
    return math.ceil(float(np.sort(misses)[place - 1]) * 100) / 100


def least_confidence(found: Answers, rule: Abstention) -> float:
    """Compute the abstention threshold by the rule, rounded down to three decimals."""
    if not len(found.right) or found.right.mean() >= rule.accuracy:
        return 0.0
    thresholds, answered, accuracy = coverage_curve(found)
    good = np.flatnonzero(accuracy >= rule.accuracy)
    enough = np.flatnonzero(answered >= rule.answered)
    place = max(good[-1] if len(good) else 0, enough[0])
    return min(math.floor(float(thresholds[place]) * 1000) / 1000, HIGHEST)


def _names(table: FaceTable) -> np.ndarray:
    return table.columns.get("file", np.array([str(file) for file in table.files]))
