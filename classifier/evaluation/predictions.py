"""A classifier's raw outputs for labelled crops, beside the labels: every figure is made from them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ...weights.manifest import Attribute
from ..data.loader import BrokenPictures, CropSource, exact_batches
from ..data.table import FaceTable
from ..inference.classifier import AttributeClassifier

BATCH = 32


@dataclass(frozen=True)
class Predictions:
    """The rows of a table with a classifier's outputs.

    Attributes:
        attributes: as the classifier's manifest has them; they decode ``outputs``.
        table: the rows.
        outputs: of each attribute, float32 (n, width).
        targets: of each, as in FaceTable, points as fractions of the crop's side.
        milliseconds: a crop in the classifier, reading and cutting not counted.
        sides: longer sides of the faces' boxes in pixels, (n,), where they are known; None reads every face as one
            seen large.
    """

    attributes: tuple[Attribute, ...]
    table: FaceTable
    outputs: dict[str, np.ndarray]
    targets: dict[str, np.ndarray]
    milliseconds: float
    sides: np.ndarray | None = None

    def rows(self, chosen: np.ndarray) -> Predictions:
        """Those of some rows, by index or by mask."""
        return replace(
            self,
            table=self.table.rows(chosen),
            outputs={name: values[chosen] for name, values in self.outputs.items()},
            targets={name: values[chosen] for name, values in self.targets.items()},
            sides=None if self.sides is None else self.sides[chosen],
        )

    def read_as(self, attributes: tuple[Attribute, ...]) -> Predictions:
        """The same outputs, decoded by other attributes of the same names, such as calibrated ones."""
        return replace(self, attributes=attributes)


def predict(
    classifier: AttributeClassifier,
    table: FaceTable,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
    report: Callable[[str], None] = print,
) -> Predictions:
    """Run a classifier over all rows of a table, without augmentation, as it serves.

    Args:
        classifier: reads attributes of the same names and kinds as the table's.
        table: rows that are crops; they are cut by the classifier's recipe.
        progress: told how many rows of how many are done.
        report: takes a line on each picture that cannot be read; its row counts as unlabelled.

    Raises:
        DataError: the rows are no crops, were cut by another recipe, or over 1 % of the pictures cannot be read.
    """
    table.require_crops(classifier.crop)
    broken = BrokenPictures(len(table), report)
    source = CropSource(table, classifier.crop.size, classifier.crop.border, broken=broken)
    names = [attribute.name for attribute in classifier.attributes]
    outputs: dict[str, list[np.ndarray]] = {name: [] for name in names}
    targets: dict[str, list[np.ndarray]] = {name: [] for name in names}
    seconds, done = 0.0, 0
    for batch in exact_batches(source, BATCH, workers=workers):
        started = time.perf_counter()
        found = classifier.outputs(batch.images)
        seconds += time.perf_counter() - started
        for name in names:
            outputs[name].append(found[name])
            targets[name].append(batch.targets[name])
        done += len(batch.images)
        if progress is not None:
            progress(done, len(table))
    return Predictions(
        attributes=classifier.attributes,
        table=table,
        outputs={name: np.concatenate(parts) for name, parts in outputs.items()},
        targets={name: np.concatenate(parts) for name, parts in targets.items()},
        milliseconds=1000 * seconds / max(done, 1),
    )
