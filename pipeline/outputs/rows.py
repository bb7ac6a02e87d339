"""Results as rows of a table: one row a face, columns from the attributes of the classifiers in use.

A picture without a face has one row whose ``face`` is empty; a picture that could not be read has one row with its
``error``. What is missing is None. The columns, in this order:

- ``source``, ``error``, ``width``, ``height``; of a video also ``frame`` and ``time``;
- ``face`` (its place in the result), ``x1``, ``y1``, ``x2``, ``y2`` in pixels, ``confidence``, ``head`` (the index of
  its head), ``reason`` (why attributes are missing); of a video also ``track``;
- for each attribute: of classes ``gender`` (None where the classifier is unsure), ``gender_probability`` of the
  likeliest, and ``gender_female``, ``gender_male``; of numbers ``age``, ``age_low``, ``age_high``; of points
  ``eyes_left_eye_x``, ``eyes_left_eye_y`` and so on;
- what made the row (``columns.py``): for the detector ``version_detector``, ``sha256_detector``, ``device_detector``,
  ``confidence_detector``, ``iou_detector``, ``imgsz_detector``, ``tiles_detector``; for each classifier
  ``version_NAME``, ``sha256_NAME``, ``device_NAME``, ``crop_sha256_NAME``; ``facepipe``, its version; and
  ``source_sha256``, that of the picture.

A name that is taken already gets ``_2`` at its end. Numbers are rounded: pixels to hundredths, probabilities to six
decimals, an attribute's number to two more decimals than tell its bins apart. JSON has them whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ...classifier.inference.attributes import AttributeValue, ClassValue, NumericValue, PointsValue
from ...weights.manifest import Attribute, NumericAttribute, PointsAttribute
from ..results import Face, Result
from .coco_entries import decimals
from .columns import Cell, Column, Kind, model_cells, model_names

SOURCE_SHA256 = "source_sha256"
"""The last column."""


class RowForm:
    """The columns of a run, and how a result becomes rows of them.

    Args:
        attributes: of each classifier in use, by the classifier's name.
        video: have the columns ``frame``, ``time`` and ``track``.

    Attributes:
        columns: of every row, in order.
        attributes: of all classifiers, in order.
        classifiers: their names.
        video: as given.
    """

    def __init__(self, attributes: Mapping[str, Sequence[Attribute]], video: bool = False):
        self.attributes = tuple(each for found in attributes.values() for each in found)
        self.classifiers = tuple(attributes)
        self.video = video
        names: list[tuple[str, Kind]] = [
            ("source", "text"),
            ("error", "text"),
            ("width", "whole"),
            ("height", "whole"),
            *((("frame", "whole"), ("time", "real")) if video else ()),
            ("face", "whole"),
            *((side, "real") for side in ("x1", "y1", "x2", "y2")),
            ("confidence", "real"),
            ("head", "whole"),
            ("reason", "text"),
            *((("track", "whole"),) if video else ()),
        ]
        for attribute in self.attributes:
            names += attribute_names(attribute)
        names += [*model_names(self.classifiers), (SOURCE_SHA256, "text")]
        taken: set[str] = set()
        self.columns = tuple(Column(_free(name, taken), kind) for name, kind in names)

    def rows(self, result: Result) -> Iterator[list[Cell]]:
        """A result's rows, at least one; each has a cell for every column."""
        start: list[Cell] = [result.source, result.error, result.width, result.height]
        if self.video:
            start += [result.frame, None if result.time is None else round(result.time, 6)]
        end = [*model_cells(result.models, self.classifiers), result.source_sha256]
        if not result.faces:
            yield [*start, *[None] * (len(self.columns) - len(start) - len(end)), *end]
        for number, face in enumerate(result.faces):
            yield [*start, *self._face(number, face), *end]

    def _face(self, number: int, face: Face) -> list[Cell]:
        box = face.box
        reason = face.reason or "; ".join(f"{name}: {text}" for name, text in face.reasons.items())
        cells: list[Cell] = [number, *(round(side, 2) for side in (box.x1, box.y1, box.x2, box.y2))]
        cells += [round(face.confidence, 6), face.head, reason or None]
        if self.video:
            cells.append(face.track)
        for attribute in self.attributes:
            cells += attribute_cells(attribute, (face.attributes or {}).get(attribute.name))
        return cells


def attribute_names(attribute: Attribute) -> list[tuple[str, Kind]]:
    """Names and kinds of an attribute's columns."""
    name = attribute.name
    if isinstance(attribute, PointsAttribute):
        return [(f"{name}_{point}_{axis}", "real") for point in attribute.points for axis in "xy"]
    if isinstance(attribute, NumericAttribute):
        return [(name, "real"), (f"{name}_low", "real"), (f"{name}_high", "real")]
    return [
        (name, "text"),
        (f"{name}_probability", "real"),
        *((f"{name}_{each}", "real") for each in attribute.classes),
    ]


def attribute_cells(attribute: Attribute, value: AttributeValue | None) -> list[Cell]:
    """The cells of an attribute's columns; all None where there is no value."""
    if isinstance(attribute, PointsAttribute):
        places = value.points if isinstance(value, PointsValue) else {}
        return (
            [round(side, 2) for point in attribute.points for side in places[point]]
            if places
            else ([None] * (2 * len(attribute.points)))
        )
    if isinstance(attribute, NumericAttribute):
        if not isinstance(value, NumericValue):
            return [None] * 3
        fine = decimals(attribute) + 2
        return [round(each, fine) for each in (value.value, *value.interval)]
    if not isinstance(value, ClassValue):
        return [None] * (2 + len(attribute.classes))
    shares = [round(value.probabilities[each], 6) for each in attribute.classes]
    return [value.value, round(value.probability, 6), *shares]


def _free(name: str, taken: set[str]) -> str:
    number, wanted = 1, name
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name
