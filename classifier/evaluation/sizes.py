"""Metrics by face size: the same rows are measured at each size."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...weights.manifest import Attribute, ClassesBase, CropRecipe, Metric
from ..data.table import FaceTable
from .metrics import scores
from .predictions import Predictions, size_name
from .reliability import answers, reliability

ROWS = 2000
"""Number of rows to measure at each size."""
MEASURES = (
    "accuracy",
    "balanced_accuracy",
    "ece",
    "mae",
    "range_hit",
    "interval_coverage",
    "interval_width",
    "eye_error",
    "point_error",
    "point_error_of_side",
)
"""Metrics in the table by size."""


def size_sample(table: FaceTable, count: int = ROWS, seed: int = 0) -> np.ndarray:
    """Sample rows to measure at each size, giving every attribute its share of labelled rows as far as possible.

    Args:
        table: the rows.
        count: size of the sample; a smaller table is used whole.
        seed: of the sampling.

    Returns:
        Row indices, int (k,), ascending.
    """
    order = np.random.default_rng(seed).permutation(len(table))
    if count >= len(table):
        return np.sort(order)
    chosen: dict[int, None] = {}
    for number, values in enumerate(table.targets.values()):
        labelled = ~np.isnan(values.reshape(len(table), -1)).all(axis=1)
        have = sum(bool(labelled[row]) for row in chosen)
        share = (count - len(chosen)) // (len(table.targets) - number) + have
        for row in order[labelled[order]][:share].tolist():
            if len(chosen) < count:
                chosen[row] = None
    for row in order.tolist():
        if len(chosen) >= count:
            break
        chosen[row] = None
    return np.sort(np.array(list(chosen), int))


def size_metrics(sized: Mapping[float, Predictions], recipe: CropRecipe) -> list[Metric]:
    """Compute the metrics of every attribute at every size, named ``<attribute>.<measure>/<size>``.

    Args:
        sized: as returned by ``predict_sizes``.
        recipe: the classifier's; it determines the size from which a crop is whole.
    """
    first = next(iter(sized.values()), None)
    found: list[Metric] = []
    for attribute in () if first is None else first.attributes:
        rows = [(size_name(side, recipe), measured(attribute, seen)) for side, seen in sized.items()]
        for measure in MEASURES:
            for name, figures in rows:
                if (metric := figures.get(measure)) is not None:
                    found.append(metric.model_copy(update={"name": f"{attribute.name}.{measure}/{name}"}))
    return found


def measured(attribute: Attribute, seen: Predictions) -> dict[str, Metric]:
    """Compute the metrics of one attribute at one size, by measure; empty without labelled rows."""
    output, target = seen.outputs[attribute.name], seen.targets[attribute.name]
    metrics = scores(attribute, output, target, True, seen.sides)
    found = {metric.name.removeprefix(f"{attribute.name}."): metric for metric in metrics}
    if isinstance(attribute, ClassesBase) and len((given := answers(attribute, output, target, seen.sides)).right):
        found["ece"] = Metric(name="ece", value=reliability(given).error, count=len(given.right))
    return found
