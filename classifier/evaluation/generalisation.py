"""The generalisation gap: how much better a model does on training rows than on validation rows, in words.

Training rows are measured without augmentation, through the same file as the validation rows. A difference counts if it
exceeds ``NOISE`` standard errors. It is *some* gap if the validation accuracy is lower by more than 2 points (``SOME``)
or the validation error is more than 1.15 times as large, and a *large* gap beyond 5 points or 1.4 times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...weights.manifest import Attribute, ClassesBase, Metric, NumericAttribute
from ..data.table import FaceTable
from .metrics import row_errors

ROWS = 600
"""Number of training rows to measure."""
FEWEST = 30
"""Attributes with fewer labelled rows on either side are skipped."""
NOISE = 2.0
SOME, MUCH = 0.02, 0.05
"""Thresholds for accuracies, absolute."""
SOME_FACTOR, MUCH_FACTOR = 1.15, 1.4
"""Thresholds for errors, as factors."""
HELP = "more data, more augmentation or stronger regularisation would help more than longer training"


@dataclass(frozen=True)
class Fit:
    """One attribute's measure on training and validation rows.

    Attributes:
        attribute: its name.
        measure: ``accuracy``, ``mae``, ``eye_error`` or ``point_error_of_side``.
        unit: of the measure, for the text.
        train, val: the values.
        noise: standard error of their difference.
        rows: number of training rows.
        val_rows: number of validation rows.
    """

    attribute: str
    measure: str
    unit: str
    train: float
    val: float
    noise: float
    rows: int
    val_rows: int

    @property
    def degree(self) -> int:
        """Size of the gap: 0 none, 1 some, 2 large."""
        worse = self.train - self.val if self.measure == "accuracy" else self.val - self.train
        if worse <= NOISE * self.noise:
            return 0
        if self.measure == "accuracy":
            return int(worse > SOME) + int(worse > MUCH)
        factor = self.val / self.train if self.train > 0 else math.inf
        return int(factor > SOME_FACTOR) + int(factor > MUCH_FACTOR)

    def __str__(self) -> str:
        digits = ".1f" if self.unit else ".3f"
        figures = (
            f"{self.attribute} {self.measure.replace('_', ' ')} {self.train:{digits}}{self.unit} on training rows, "
            f"{self.val:{digits}}{self.unit} on validation rows"
        )
        if self.degree == 0:
            better = self.val > self.train if self.measure == "accuracy" else self.val < self.train
            if better and abs(self.val - self.train) > NOISE * self.noise:
                return f"{figures}: the validation rows are easier"
            return f"{figures}: no sign of a generalisation gap"
        size = "some" if self.degree == 1 else "large"
        return f"{figures}: {size} generalisation gap (overfitting, or harder validation rows); {HELP}"

    def metric(self) -> Metric:
        """Return the training value as the metric ``<attribute>.<measure>/training rows``."""
        return Metric(name=f"{self.attribute}.{self.measure}/training rows", value=self.train, count=self.rows)


def training_sample(train: FaceTable, val: FaceTable, count: int = ROWS, seed: int = 0) -> FaceTable:
    """Sample training rows in the validation rows' proportions of sources.

    Args:
        train: the training rows.
        val: the validation rows.
        count: maximum number of rows.
        seed: of the sampling.
    """
    order = np.random.default_rng(seed).permutation(len(train))
    sources = train.columns["source"][order]
    wanted = val.columns["source"]
    chosen: list[int] = []
    for source in np.unique(wanted):
        share = math.ceil(count * (wanted == source).mean())
        chosen += order[sources == source][:share].tolist()
    return train.rows(np.sort(np.array(chosen[:count] if chosen else order[:count].tolist(), int)))


def measure_of(attribute: Attribute) -> str:
    """Return the metric that is the mean of ``metrics.row_errors``, or 1 minus that mean for accuracy."""
    if isinstance(attribute, ClassesBase):
        return "accuracy"
    if isinstance(attribute, NumericAttribute):
        return "mae"
    return "eye_error" if attribute.mirror else "point_error_of_side"


def compare(
    attributes: tuple[Attribute, ...],
    train: tuple[dict[str, np.ndarray], dict[str, np.ndarray]],
    val: tuple[dict[str, np.ndarray], dict[str, np.ndarray]],
) -> list[Fit]:
    """Compare each attribute that is labelled on both sides.

    Args:
        attributes: the schema.
        train: outputs, (n, width), and targets by attribute, as in ``Predictions``.
        val: the same for the validation rows.
    """
    found = []
    for attribute in attributes:
        sides = [
            row_errors(attribute, outputs[attribute.name], targets[attribute.name]) for outputs, targets in (train, val)
        ]
        sides = [errors[~np.isnan(errors)] for errors in sides]
        if min(map(len, sides)) < FEWEST:
            continue
        noise = math.hypot(*(errors.std(ddof=1) / math.sqrt(len(errors)) for errors in sides))
        means = [float(errors.mean()) for errors in sides]
        measure = measure_of(attribute)
        if measure == "accuracy":
            means = [1 - mean for mean in means]
        unit = f" {attribute.unit}" if isinstance(attribute, NumericAttribute) else ""
        train_rows, val_rows = map(len, sides)
        found.append(Fit(attribute.name, measure, unit, means[0], means[1], noise, train_rows, val_rows))
    return found
