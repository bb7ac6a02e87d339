"""Attribute schemas and the label columns of their attributes.

Training reads schemas from YAML; a released classifier carries its own in the manifest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError

from ...core.errors import DataError
from ...core.yaml import read_yaml
from ...weights.manifest import Attribute, NumericAttribute, PointsAttribute
from ...weights.records import Record

FOLDER = Path(__file__).parent / "schemas"
"""Folder of the shipped schemas."""
DEFAULT = FOLDER / "face.yaml"
BOX = ("x1", "y1", "x2", "y2")
"""Columns of a face box."""


class Schema(Record):
    """The attributes of a classifier, in output order."""

    attributes: tuple[Attribute, ...] = Field(min_length=1, strict=False)


def find_schema(name: str, beside: Path | None = None) -> Path:
    """Find the file of a schema named by a recipe or an option.

    Args:
        name: name of a shipped schema, or the path of a YAML file.
        beside: the folder that a relative path starts from, such as the recipe's; None means the working folder.

    Raises:
        DataError: a name without ``.yaml`` is not a shipped schema.
    """
    if Path(name).suffix in (".yaml", ".yml"):
        return (beside or Path()) / name
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
        raise DataError(f"no schema is called {name!r}; give a .yaml file, or one of: {shipped}")
    return path


def read_schema(path: Path = DEFAULT) -> tuple[Attribute, ...]:
    """Read a schema file.

    Args:
        path: YAML with a list ``attributes``; the ``kind`` of an entry selects its record in ``weights/manifest.py``.

    Raises:
        DataError: the file is missing or not YAML, or an entry is invalid; the message names the entry.
        MissingExtraError: PyYAML is not installed.
    """
    content = read_yaml(path)
    try:
        attributes = Schema.model_validate_json(json.dumps(content)).attributes  # JSON mode accepts lists as tuples
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{path}: {'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}") from error
    columns: dict[str, str] = {}
    for attribute in attributes:
        for name in (attribute.name, *(attribute.points if attribute.kind == "points" else ())):
            if name in columns:
                raise DataError(f"{path}: {name!r} is used twice, in {columns[name]} and {attribute.name}")
            columns[name] = attribute.name
    return attributes


def label_columns(attribute: Attribute) -> tuple[str, ...]:
    """Return an attribute's columns in the order in which :func:`target` reads them."""
    if isinstance(attribute, PointsAttribute):
        return tuple(f"{point}_{axis}" for point in attribute.points for axis in "xy")
    if isinstance(attribute, NumericAttribute):
        return (attribute.name, f"{attribute.name}_lo", f"{attribute.name}_hi")
    return (attribute.name,)


def number(cell: str, name: str, where: str) -> float:
    """Parse a cell as a number, NaN if it is blank.

    Args:
        cell: the text.
        name: of the column, for the message.
        where: file and line, for the message.

    Raises:
        DataError: the text is not a number.
    """
    if not cell:
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        hint = " (with a decimal point)" if "," in cell else ""
        raise DataError(f"{where}: {name} must be a number{hint}, got {cell!r}")
    return value


def target(attribute: Attribute, cells: Mapping[str, str], where: str) -> np.ndarray:
    """Parse one row's label as float32, NaN where unlabelled.

    The shape is () for a class index, (3,) for number, low and high, or (points, 2) for pixels.

    Args:
        attribute: the schema entry.
        cells: the row's cells by column.
        where: file and line, for the message.

    Raises:
        DataError: a cell does not fit the schema, or a range or point is incomplete; the message begins with ``where``.
    """
    names = label_columns(attribute)
    if isinstance(attribute, PointsAttribute):
        places = np.array([number(cells.get(name, ""), name, where) for name in names], np.float32).reshape(-1, 2)
        if (np.isnan(places).sum(axis=1) == 1).any():
            raise DataError(f"{where}: a point of {attribute.name} has only one of x and y")
        return places
    if isinstance(attribute, NumericAttribute):
        value, low, high = (number(cells.get(name, ""), name, where) for name in names)
        if math.isnan(low) != math.isnan(high):
            raise DataError(f"{where}: a range of {attribute.name} needs both {names[1]} and {names[2]}")
        if low > high:
            raise DataError(f"{where}: {names[1]} is above {names[2]}")
        return np.array([value, low, high], np.float32)
    cell = cells.get(attribute.name, "")
    if cell and cell not in attribute.classes:
        raise DataError(f"{where}: {attribute.name} must be one of {', '.join(attribute.classes)}, got {cell!r}")
    return np.array(attribute.classes.index(cell) if cell else math.nan, np.float32)


def given_box(cells: Mapping[str, str], where: str) -> np.ndarray:
    """Parse one row's face box in pixels of its picture, float32 (4,), NaN if none is given.

    Raises:
        DataError: a cell is not a number, or the box is incomplete.
    """
    box = np.array([number(cells.get(name, ""), name, where) for name in BOX], np.float32)
    if np.isnan(box).any() != np.isnan(box).all():
        raise DataError(f"{where}: a box needs all of {', '.join(BOX)}, or none")
    return box
