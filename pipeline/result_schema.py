"""The JSON Schema of results: a line of ``facepipe detect --json``, what ``Result.model_dump_json`` gives."""

from __future__ import annotations

import ast
import inspect
from types import ModuleType
from typing import Any

from ..classifier.inference import attributes as values
from ..core.version import __version__
from . import result_data
from .results import Result

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one result, as plain data.

    Every key but ``saved`` is there in each result, and no other. ``Face.features`` are never a part of the JSON.
    Attributes are not named: they follow from the classifiers, whose manifests list them; each is one of three kinds
    of value.

    >>> import facepipe
    >>> schema = facepipe.schema()
    >>> sorted(schema["properties"])[:4]
    ['error', 'faces', 'frame', 'heads']
    >>> schema["$defs"]["Box"]["required"]
    ['x1', 'y1', 'x2', 'y2']
    """
    described = Result.model_json_schema(mode="serialization")
    fields = {**_docstrings(values), **_docstrings(result_data)}
    for name, part in {"Result": described, **described["$defs"]}.items():
        part["required"] = [each for each in part["properties"] if each != "saved"]  # written only where there is one
        form = Result if name == "Result" else getattr(result_data, name, None) or getattr(values, name)
        for field, entry in part["properties"].items():
            if text := next(filter(None, (fields.get((base.__name__, field)) for base in form.__mro__)), None):
                entry["description"] = text
    return {"$schema": DIALECT, "$comment": f"facepipe {__version__}", **described}


def _docstrings(module: ModuleType) -> dict[tuple[str, str], str]:
    """What stands below the fields of a module's classes, by class and field."""
    found = {}
    for part in ast.parse(inspect.getsource(module)).body:
        if not isinstance(part, ast.ClassDef):
            continue
        for field, below in zip(part.body, part.body[1:], strict=False):
            if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
                continue
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                found[part.name, field.target.id] = " ".join(str(below.value.value).replace("``", "").split())
    return found
