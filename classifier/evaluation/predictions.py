"""A classifier's raw outputs for labelled crops, together with the labels: the input of every metric."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ...weights.manifest import Attribute, CropRecipe
from ..data.loader import BrokenPictures, CropSource, exact_batches
from ..data.table import FACE_SIDE, FaceTable
from ..inference.classifier import AttributeClassifier

BATCH = 32
SIDES = (12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0)
"""Longer sides of face boxes in pixels at which classifiers are measured and calibrated."""


@dataclass(frozen=True)
class Predictions:
    """The rows of a table with a classifier's outputs.

    Attributes:
        attributes: from the classifier's manifest; they decode ``outputs``.
        table: the rows.
        outputs: by attribute, float32 (n, width).
        targets: by attribute, as in FaceTable, points as fractions of the crop's side.
        milliseconds: classifier time per crop, without reading and cutting.
        sides: longer sides of the face boxes in pixels, (n,), if known; None treats every face as large.
    """

    attributes: tuple[Attribute, ...]
    table: FaceTable
    outputs: dict[str, np.ndarray]
    targets: dict[str, np.ndarray]
    milliseconds: float
    sides: np.ndarray | None = None

    def rows(self, chosen: np.ndarray) -> Predictions:
        """Select rows by index or mask.

        Args:
            chosen: int (k,) or bool (n,).
        """
        return replace(
            self,
            table=self.table.rows(chosen),
            outputs={name: values[chosen] for name, values in self.outputs.items()},
            targets={name: values[chosen] for name, values in self.targets.items()},
            sides=None if self.sides is None else self.sides[chosen],
        )

    def read_as(self, attributes: tuple[Attribute, ...]) -> Predictions:
        """Return the same outputs to be decoded by other attributes of the same names, such as calibrated ones."""
        return replace(self, attributes=attributes)


def predict(
    classifier: AttributeClassifier,
    table: FaceTable,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
    report: Callable[[str], None] = print,
) -> Predictions:
    """Run a classifier over all rows of a table without augmentation, as in serving.

    Args:
        classifier: has attributes of the same names and kinds as the table.
        table: rows that are crops, cut with the classifier's recipe.
        workers: threads that read and cut the crops.
        progress: called with the number of rows done and their total.
        report: receives a line for each unreadable picture; its row counts as unlabelled.

    Raises:
        DataError: the rows are not crops, were cut with another recipe, or over 1 % of the pictures cannot be read.
    """
    return _predict(classifier, table, (None,), workers, progress, report)[0]


def predict_sizes(
    classifier: AttributeClassifier,
    table: FaceTable,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
    report: Callable[[str], None] = print,
) -> dict[float, Predictions]:
    """Run a classifier over the rows of a table as faces of each size; see :func:`seen_small`.

    If the column ``face_side`` says that a row's crop was enlarged from a smaller face, the row counts as unlabelled at
    larger sizes.

    Args:
        classifier: has attributes of the same names and kinds as the table.
        table: rows that are crops, cut with the classifier's recipe.
        workers: threads that read and cut the crops.
        progress: called with the number of rows done and their total.
        report: receives a line for each unreadable picture; its row counts as unlabelled.

    Returns:
        Predictions by the longer side of the face box in pixels: those of :func:`sides_of`, then :func:`whole_side`
        for the unchanged crops.

    Raises:
        DataError: as :func:`predict`.
    """
    whole = whole_side(classifier.crop)
    shrunk = sides_of(classifier.crop)
    found = _predict(classifier, table, (*shrunk, None), workers, progress, report)
    cells = table.columns.get(FACE_SIDE, np.full(len(table), ""))
    native = np.array([float(cell) if cell else np.inf for cell in cells.tolist()])
    sized = {}
    for side, seen in zip((*shrunk, whole), found, strict=True):
        targets = {name: values.copy() for name, values in seen.targets.items()}
        for values in targets.values():
            values[native < side] = np.nan
        sized[side] = replace(seen, targets=targets, sides=np.full(len(table), float(side)))
    return sized


def sides_of(recipe: CropRecipe) -> tuple[float, ...]:
    """Return the sizes in ``SIDES`` at which a face's crop is smaller than the recipe's and must be enlarged."""
    return tuple(side for side in SIDES if _crop_side(side, recipe) < recipe.size)


def whole_side(recipe: CropRecipe) -> float:
    """Compute the longer side in pixels of a face box whose crop is neither enlarged nor shrunk."""
    return recipe.size / (1 + 2 * recipe.margin)


def size_name(side: float, recipe: CropRecipe) -> str:
    """Format a size as ``16 px``, or as ``whole`` from :func:`whole_side` on."""
    return "whole" if side >= whole_side(recipe) else f"{side:g} px"


def seen_small(crops: np.ndarray, side: float, recipe: CropRecipe) -> np.ndarray:
    """Simulate crops of small faces: shrink each crop by area averaging, then enlarge it again.

    Args:
        crops: uint8, (n, size, size, 3).
        side: longer side of the face box in the photo, in pixels; the crop's side is that times 1 + 2 * margin.
        recipe: the one that the crops were cut with.

    Returns:
        uint8, (n, size, size, 3), enlarged linearly as ``crop.cut_face`` does.
    """
    small, full = (_crop_side(side, recipe),) * 2, crops.shape[2:0:-1]
    found = np.empty_like(crops)
    for slot, crop in enumerate(crops):
        shrunk = cv2.resize(crop, small, interpolation=cv2.INTER_AREA)
        found[slot] = cv2.resize(shrunk, full, interpolation=cv2.INTER_LINEAR)
    return found


def _crop_side(side: float, recipe: CropRecipe) -> int:
    return max(round(side * (1 + 2 * recipe.margin)), 1)


def _predict(
    classifier: AttributeClassifier,
    table: FaceTable,
    sides: Sequence[float | None],
    workers: int,
    progress: Callable[[int, int], None] | None,
    report: Callable[[str], None],
) -> list[Predictions]:
    """Predict the rows at each size, reading each picture once; None leaves the crops unchanged."""
    table.require_crops(classifier.crop)
    broken = BrokenPictures(len(table), report)
    source = CropSource(table, classifier.crop.size, classifier.crop.border, broken=broken)
    attributes = classifier.release.manifest.attributes  # the face check among them
    names = [attribute.name for attribute in attributes]
    outputs: list[dict[str, list[np.ndarray]]] = [{name: [] for name in names} for _ in sides]
    targets: dict[str, list[np.ndarray]] = {name: [] for name in names}
    seconds, done = 0.0, 0
    for batch in exact_batches(source, BATCH, workers=workers):
        for side, parts in zip(sides, outputs, strict=True):
            images = batch.images if side is None else seen_small(batch.images, side, classifier.crop)
            started = time.perf_counter()
            found = classifier.outputs(images)
            seconds += time.perf_counter() - started
            for name in names:
                parts[name].append(found[name])
        for name in names:
            targets[name].append(batch.targets[name])
        done += len(batch.images)
        if progress is not None:
            progress(done, len(table))
    labels = {name: np.concatenate(parts) for name, parts in targets.items()}
    return [
        Predictions(
            attributes=attributes,
            table=table,
            outputs={name: np.concatenate(each) for name, each in parts.items()},
            targets=labels,
            milliseconds=1000 * seconds / max(done * len(sides), 1),
        )
        for parts in outputs
    ]
