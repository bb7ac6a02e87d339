"""Attribute schemas: read from YAML for training; a released classifier carries its own in the manifest."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field, ValidationError

from ...core.errors import DataError
from ...core.optional_yaml import require_yaml
from ...weights.manifest import Attribute, Record

FOLDER = Path(__file__).parent / "schemas"
"""Of the shipped schemas."""
DEFAULT = FOLDER / "face.yaml"


class Schema(Record):
    """The attributes that a classifier learns, in the order of its outputs."""

    attributes: tuple[Attribute, ...] = Field(min_length=1, strict=False)


def find_schema(name: str, beside: Path | None = None) -> Path:
    """The file of a schema that a recipe or an option names.

    Args:
        name: a shipped schema's name, or the path of a YAML file.
        beside: the folder that a relative path starts from, such as the recipe's; None means the working folder.

    Raises:
        DataError: a name without ``.yaml`` is not a shipped schema's.
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
        path: YAML with a list ``attributes``; each entry is a record of ``weights/manifest.py`` by its ``kind``.

    Raises:
        DataError: the file is missing, is not YAML, or an entry breaks the record; the message names the entry.
        MissingExtraError: PyYAML is not installed.
    """
    yaml = require_yaml()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: the schema cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not YAML: {error}") from error
    try:
        attributes = Schema.model_validate_json(json.dumps(content)).attributes  # JSON has no tuples: lists will do
    except TypeError as error:
        raise DataError(f"{path}: holds something that is not text, number or list: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{path}: {'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}") from error
    columns: dict[str, str] = {}
    for attribute in attributes:
        for name in (attribute.name, *(attribute.points if attribute.kind == "points" else ())):
            if name in columns:
                raise DataError(f"{path}: {name!r} is the name of two things, in {columns[name]} and {attribute.name}")
            columns[name] = attribute.name
    return attributes
