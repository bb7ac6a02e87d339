"""Converts results to table rows, one row per face, and rows back to results.

A picture without faces has one row with an empty ``face``; a picture that could not be read has one row with its
``error``. Missing values are None. The columns, in this order:

- ``source``, ``error``, ``width``, ``height``; for videos also ``frame`` and ``time``;
- ``face`` (its index in the result), ``x1``, ``y1``, ``x2``, ``y2`` in pixels, ``confidence``, ``head`` (the index of
  its head), ``reason`` (why attributes are missing); for videos also ``track``;
- for each attribute: for classes ``gender`` (None if the classifier is unsure), ``gender_probability`` of the likeliest
  class, and ``gender_female``, ``gender_male``; for numbers ``age``, ``age_low``, ``age_high``; for points
  ``eyes_left_eye_x``, ``eyes_left_eye_y`` and so on;
- what made the row: the fields of ``DetectorUsed`` and ``ClassifierUsed`` as ``FIELD_MODEL``: ``version_detector``,
  ``sha256_face``, …; then ``facepipe`` (its version), ``source_sha256`` (the picture's), ``warning`` and, if pictures
  are saved, ``saved``.

A name that is already taken gets the suffix ``_2``. Numbers are rounded: pixels to hundredths, probabilities to six
decimals, an attribute's number to two decimals more than its bins need; JSON is not rounded. A result read back from
rows has rounded numbers, no heads, and the reasons of several classifiers in one text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from ...classifier.inference.attributes import AttributeValue, ClassValue, NumericValue, PointsValue
from ...weights.manifest import Attribute, NumericAttribute, PointsAttribute
from ..results import ClassifierUsed, DetectorUsed, Face, Models, ModelUsed, Result
from .coco import decimals

SOURCE_SHA256 = "source_sha256"
WARNING = "warning"
SAVED = "saved"
"""The last columns; ``saved`` only if pictures are saved."""
Cell = str | int | float | None
Kind = Literal["text", "whole", "real"]
FACEPIPE = "facepipe"
KINDS: dict[str, Kind] = {
    "confidence": "real",
    "iou": "real",
    "imgsz": "whole",
    "tiles": "whole",
    "reduced_to": "whole",
}
"""Kinds of a model's fields; all others are text."""


class RowForm:
    """The columns of a run, and the conversion of results to rows.

    Args:
        attributes: of each classifier in use, by the classifier's name.
        video: add the columns ``frame``, ``time`` and ``track``.
        saved: add the column ``saved``, last.

    Attributes:
        columns: of every row, in order.
        attributes: of all classifiers, in order.
        classifiers: their names.
        video, saved: as given.
    """

    def __init__(self, attributes: Mapping[str, Sequence[Attribute]], video: bool = False, saved: bool = False):
        self.attributes = tuple(each for found in attributes.values() for each in found)
        self.classifiers = tuple(attributes)
        self.video, self.saved = video, saved
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
        names += [*model_names(self.classifiers), (SOURCE_SHA256, "text"), (WARNING, "text")]
        names += [(SAVED, "text")] if saved else []
        taken: set[str] = set()
        self.columns = tuple(Column(_free(name, taken), kind) for name, kind in names)

    def rows(self, result: Result) -> Iterator[list[Cell]]:
        """The rows of a result, at least one, each with a cell for every column."""
        start: list[Cell] = [result.source, result.error, result.width, result.height]
        if self.video:
            start += [result.frame, None if result.time is None else round(result.time, 6)]
        end = [*model_cells(result.models, self.classifiers), result.source_sha256, result.warning]
        end += [result.saved] if self.saved else []
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
    """The cells of an attribute's columns; all None if there is no value."""
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


@dataclass(frozen=True)
class Column:
    """A column: its name and the kind of its cells (each may be None)."""

    name: str
    kind: Kind


def model_names(classifiers: Sequence[str]) -> list[tuple[str, Kind]]:
    """Names and kinds of the columns that describe the models and facepipe."""
    forms: list[tuple[str, type[ModelUsed]]] = [("detector", DetectorUsed)]
    forms += [(name, ClassifierUsed) for name in classifiers]
    names = [(f"{field}_{name}", KINDS.get(field, "text")) for name, form in forms for field in form.model_fields]
    return [*names, (FACEPIPE, "text")]


def model_cells(models: Models, classifiers: Sequence[str]) -> list[Cell]:
    """The cells for :func:`model_names`."""
    used = [models.detector, *(models.classifiers[name] for name in classifiers)]
    return [*(getattr(each, field) for each in used for field in type(each).model_fields), models.facepipe]


def read_models(names: Sequence[str], cells: Sequence[Cell]) -> Models:
    """Read the models from the columns that :func:`model_names` gave and their cells.

    Raises:
        ValueError: the columns are different ones, or a cell is invalid.
    """
    wide, narrow = len(DetectorUsed.model_fields), len(ClassifierUsed.model_fields)
    classifiers = [
        name.removeprefix("version_") for name in names[wide:-1:narrow] if name.startswith("version_")
    ]  # the first field of each model
    if list(names) != [name for name, _ in model_names(classifiers)]:
        raise ValueError("the columns do not name the models")
    groups = {
        name: dict(zip(ClassifierUsed.model_fields, cells[start : start + narrow], strict=True))
        for name, start in zip(classifiers, range(wide, len(names), narrow), strict=False)
    }
    return Models.model_validate(
        {
            "detector": dict(zip(DetectorUsed.model_fields, cells[:wide], strict=True)),
            "classifiers": groups,
            "facepipe": cells[-1],
        }
    )


def result_of(form: RowForm, rows: Sequence[Sequence[Cell]]) -> Result:
    """Rebuild the result from its rows: all rows of one picture, in order.

    Args:
        form: of the table; it must not have the column ``saved``.
        rows: with cells of the kinds that the columns declare.

    Raises:
        ValueError: the rows contradict each other or the form, or lack a required number.
    """
    first = rows[0]
    source, error, width, height = first[:4]
    frame, time = first[4:6] if form.video else (None, None)
    names = [column.name for column in form.columns]
    tail = len(model_names(form.classifiers)) + 2
    empty = first[6 if form.video else 4] is None
    faces = [] if empty else [_face(form, row, number) for number, row in enumerate(rows)]
    if empty and len(rows) > 1:
        raise ValueError("several rows without a face")
    return Result.model_validate(
        {
            "source": source,
            "width": width,
            "height": height,
            "faces": faces,
            "heads": (),
            "models": read_models(names[-tail:-2], first[-tail:-2]),
            "error": error,
            "frame": frame,
            "time": time,
            "source_sha256": first[-2],
            "warning": first[-1],
        }
    )


def _face(form: RowForm, row: Sequence[Cell], expected: int) -> dict[str, Any]:
    cells = iter(row[6 if form.video else 4 :])
    number, x1, y1, x2, y2, confidence, head, reason = islice(cells, 8)
    if number != expected:
        raise ValueError(f"face {expected} is missing; its row says {number}")
    track = next(cells) if form.video else None
    found = {attribute.name: _value(attribute, cells) for attribute in form.attributes}
    attributes = {name: value for name, value in found.items() if value is not None}
    return {
        "box": {"x1": x1, "y1": y1, "x2": x2, "y2": y2},
        "confidence": confidence,
        "head": head,
        "attributes": attributes or None,
        "reason": reason,
        "track": track,
    }


def _value(attribute: Attribute, cells: Iterator[Cell]) -> dict[str, Any] | None:
    """Take an attribute's cells and return its value as plain data; None if they are empty."""
    own = list(islice(cells, len(attribute_names(attribute))))
    if all(cell is None for cell in own):
        return None
    if isinstance(attribute, PointsAttribute):
        return {"points": dict(zip(attribute.points, zip(own[::2], own[1::2], strict=True), strict=True))}
    if isinstance(attribute, NumericAttribute):
        return {"value": own[0], "unit": attribute.unit, "interval": (own[1], own[2])}
    return {
        "value": own[0],
        "probability": own[1],
        "probabilities": dict(zip(attribute.classes, own[2:], strict=True)),
    }


def same_digits(form: RowForm, result: Result) -> Result:
    """A result as it would be read back from its own rows."""
    return result_of(form, list(form.rows(result)))
