"""A folder of faces as the classifiers see them, with a CSV to correct by hand and train on.

``images/`` holds the crops, ``crop.json`` says how they were cut, and ``crops.csv`` has one row per crop with the
columns of ``facepipe data crop``: ``file``, ``source``, ``split`` (blank), ``group`` (the picture, so that its faces
stay on one side of a split), ``framing`` (``crop``), and the predicted attributes, blank where the classifier was
unsure; points are in pixels of the crop. ``picture``, ``face`` and ``confidence`` follow. These labels are the
classifier's own: a model trained on them uncorrected learns its mistakes. With several classifiers, each gets a
subfolder of its name.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...classifier.config.schema import label_columns
from ...classifier.data.table import SIDECAR, CropSet
from ...classifier.inference.attributes import AttributeValue, ClassValue, PointsValue
from ...classifier.inference.classifier import AttributeClassifier
from ...classifier.inference.crop import cut_region
from ...core.errors import FacepipeError, os_errors_as
from ...core.files import replacing, write_whole
from ...weights.manifest import Attribute, NumericAttribute, PointsAttribute
from ..inputs.image_reader import Frame
from ..results import Box, Face, Result
from .coco import plain_values
from .journal import Entry
from .names import FreeNames, put, stem_of
from .tabular import plain_text

KEYS = ("file", "source", "split", "group", "framing")
EXTRA = ("picture", "face", "confidence")
"""Columns of the index besides those of the attributes; an attribute of the same name replaces one in ``EXTRA``."""
INDEX, IMAGES = "crops.csv", "images"
SOURCE = "detect"
"""Value of the column ``source``: facepipe detect made the row."""

Cut = dict[str, Any]
"""What the journal keeps of a crop: ``file``, and ``place``: scale, x and y that map frame pixels to crop pixels."""


class CropFolder:
    """Cuts every face for every classifier, exactly as the classifier itself does.

    Args:
        folder: an existing folder.
        classifiers: by name.
        detector: version of the detector.
        taken: by classifier, the names that this run gave out before it was interrupted.

    Raises:
        FacepipeError: a folder cannot be created.
    """

    def __init__(
        self,
        folder: Path,
        classifiers: Mapping[str, AttributeClassifier],
        detector: str,
        taken: Mapping[str, Iterable[str]],
    ):
        self.folder = folder
        self._classifiers = classifiers
        self._detector = detector
        several = len(classifiers) > 1
        self._folders = {name: folder / name if several else folder for name in classifiers}
        self._names: dict[str, FreeNames] = {}
        for name, place in self._folders.items():
            with os_errors_as(FacepipeError, f"{place / IMAGES}: the folder cannot be created"):
                (place / IMAGES).mkdir(parents=True, exist_ok=True)
            self._names[name] = FreeNames(place / IMAGES, (), taken.get(name, ()))

    def save(self, frame: Frame, result: Result) -> dict[str, list[Cut | None]]:
        """Write the crops of one picture.

        Returns:
            By classifier, a crop for each face, or None if there is none.

        Raises:
            FacepipeError: a crop cannot be written.
        """
        return {
            name: [self._cut(name, frame, result, number) for number in range(len(result.faces))]
            for name in self._classifiers
        }

    def _cut(self, name: str, frame: Frame, result: Result, number: int) -> Cut | None:
        face = result.faces[number]
        head = None if face.head is None else _corners(result.heads[face.head].box)
        crop = cut_region(frame, _corners(face.box), head, self._classifiers[name].served_crop)
        if crop.image is None:
            return None
        target = self._names[name].take(f"{stem_of(result.source)}-{number}", ".jpg", result.source)
        put(target, cv2.imencode(".jpg", crop.image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())
        return {"file": target.name, "place": [crop.matrix[0, 0], crop.matrix[0, 2], crop.matrix[1, 2]]}

    def close(self) -> None:
        """Let other runs write into the folders."""
        for names in self._names.values():
            names.close()

    def write_indices(self, entries: Callable[[], Iterable[Entry]]) -> None:
        """Write ``crops.csv`` and ``crop.json`` for each classifier.

        Args:
            entries: returns the run's entries anew on each call.

        Raises:
            OSError: a file cannot be written.
        """
        for name, classifier in self._classifiers.items():
            crops = CropSet(recipe=classifier.crop, context=0.0, detector=self._detector)
            write_whole(self._folders[name] / SIDECAR, (crops.model_dump_json(indent=2) + "\n").encode())
            labels = [column for attribute in classifier.attributes for column in label_columns(attribute)]
            names = dict.fromkeys((*KEYS, *labels, *EXTRA))
            with (
                replacing(self._folders[name] / INDEX) as part,
                part.open("w", newline="", encoding="utf-8", errors="replace") as file,
            ):
                writer = csv.DictWriter(file, list(names))
                writer.writeheader()
                for entry in entries():
                    writer.writerows(_rows(entry, name, classifier.attributes, labels))


def _rows(
    entry: Entry, name: str, attributes: Sequence[Attribute], labels: Sequence[str]
) -> Iterator[dict[str, object]]:
    if "crops" not in entry.files:  # the picture could not be read
        return
    result = entry.result
    picture = plain_text(result.source)
    for number, (face, cut) in enumerate(zip(result.faces, entry.files["crops"][name], strict=True)):
        if cut is None:
            continue
        keys = dict(zip(KEYS, (f"{IMAGES}/{cut['file']}", SOURCE, "", picture, "crop"), strict=True))
        extra = dict(zip(EXTRA, (picture, number, round(face.confidence, 4)), strict=True))
        yield {**extra, **keys, **dict(zip(labels, _labels(face, attributes, cut["place"]), strict=True))}


def _labels(face: Face, attributes: Sequence[Attribute], place: Sequence[float]) -> list[Any]:
    plain = plain_values(face.attributes, attributes)
    cells: list[Any] = []
    for attribute in attributes:
        value = (face.attributes or {}).get(attribute.name)
        if isinstance(attribute, PointsAttribute):
            cells += _points(value, attribute, place)
        elif isinstance(attribute, NumericAttribute):
            cells += [plain.get(attribute.name, ""), "", ""]  # a range is for what a person cannot know exactly
        else:
            unsure = isinstance(value, ClassValue) and value.value is None
            cells.append("" if unsure else plain.get(attribute.name, ""))
    return cells


def _points(value: AttributeValue | None, attribute: PointsAttribute, place: Sequence[float]) -> list[str]:
    if not isinstance(value, PointsValue):
        return [""] * (2 * len(attribute.points))
    scale, *shift = place
    return [
        f"{scale * side + moved:.2f}"
        for point in attribute.points
        for side, moved in zip(value.points[point], shift, strict=True)
    ]


def _corners(box: Box) -> np.ndarray:
    """Convert a box to the detector's array form, float32 (4,)."""
    return np.array([box.x1, box.y1, box.x2, box.y2], np.float32)
