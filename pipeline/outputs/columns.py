"""Columns of tables, and those that name what made a row.

For the detector and for each classifier a table has the fields of ``results.DetectorUsed`` and ``ClassifierUsed`` as
columns, ``FIELD_MODEL``: ``version_detector``, ``sha256_face``. After them stands ``facepipe``, its version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..results import ClassifierUsed, DetectorUsed, Models, ModelUsed

Cell = str | int | float | None
Kind = Literal["text", "whole", "real"]
FACEPIPE = "facepipe"
KINDS: dict[str, Kind] = {"confidence": "real", "iou": "real", "imgsz": "whole", "tiles": "whole"}
"""Of a model's fields; the others are text."""


@dataclass(frozen=True)
class Column:
    """A column: its name, and what its cells are (or None)."""

    name: str
    kind: Kind


def model_names(classifiers: Sequence[str]) -> list[tuple[str, Kind]]:
    """Names and kinds of the columns that name the models and facepipe."""
    forms: list[tuple[str, type[ModelUsed]]] = [("detector", DetectorUsed)]
    forms += [(name, ClassifierUsed) for name in classifiers]
    names = [(f"{field}_{name}", KINDS.get(field, "text")) for name, form in forms for field in form.model_fields]
    return [*names, (FACEPIPE, "text")]


def model_cells(models: Models, classifiers: Sequence[str]) -> list[Cell]:
    """The cells of :func:`model_names`."""
    used = [models.detector, *(models.classifiers[name] for name in classifiers)]
    return [*(getattr(each, field) for each in used for field in type(each).model_fields), models.facepipe]


def read_models(names: Sequence[str], cells: Sequence[Cell]) -> Models:
    """The models that a row names, from the columns that :func:`model_names` gave and their cells.

    Raises:
        ValueError: the columns are not those, or a cell does not say what it should.
    """
    wide, narrow = len(DetectorUsed.model_fields), len(ClassifierUsed.model_fields)
    classifiers = [
        name.removeprefix("version_") for name in names[wide:-1:narrow] if name.startswith("version_")
    ]  # the first field of each
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
