"""Rows of a table back into the result that they were made from, as far as they tell it (``rows.py`` is the way there).

Rows have rounded numbers and no heads, and the reasons of several classifiers in one text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from ...weights.manifest import Attribute, NumericAttribute, PointsAttribute
from ..results import Result
from .columns import Cell, model_names, read_models
from .rows import RowForm, attribute_names


def result_of(form: RowForm, rows: Sequence[Sequence[Cell]]) -> Result:
    """The result that gave some rows: all of one picture, in order.

    Args:
        form: of the table.
        rows: of cells of the kinds that the columns say.

    Raises:
        ValueError: the rows contradict themselves or the form, or lack a number that must be there.
    """
    first = rows[0]
    source, error, width, height = first[:4]
    frame, time = first[4:6] if form.video else (None, None)
    names = [column.name for column in form.columns]
    tail = len(model_names(form.classifiers)) + 1
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
            "models": read_models(names[-tail:-1], first[-tail:-1]),
            "error": error,
            "frame": frame,
            "time": time,
            "source_sha256": first[-1],
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
    """An attribute's value as plain data, None where its cells are empty; takes its cells."""
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
    """A result as its own rows would give it back."""
    return result_of(form, list(form.rows(result)))
