"""Which version of a stage is used where none is named: ``current.json`` in the user's root.

The file holds a version by stage, or by stage and name: ``{"detector": "1.0.0", "classifier/shirt": "0.1.0"}``. What it
does not name uses its newest release.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, RootModel, ValidationError

from ..core.errors import WeightsError
from ..core.files import write_whole
from .manifest import Stage
from .records import JSON_BYTES, Version, first_error, parse_json, read_regular, warn_once

CURRENT = "current.json"
Key = Annotated[str, Field(pattern=r"^(detector|classifier(/[a-z][a-z0-9_]*)?)$")]


class Pins(RootModel[dict[Key, Version]]):
    """The content of ``current.json``: a version by what :func:`pin_key` gives."""

    model_config = ConfigDict(frozen=True, strict=True)


def pin_key(stage: Stage, name: str = "") -> str:
    """``detector``, ``classifier`` or ``classifier/shirt``."""
    return f"{stage}/{name}" if name else stage


def read_pins(root: Path) -> dict[str, str]:
    """The pinned version by :func:`pin_key`; empty where nothing is pinned.

    Args:
        root: the user's folder of releases.

    Raises:
        WeightsError: the file cannot be read or is not as described above; the message says how to mend it.
    """
    path = root / CURRENT
    try:
        content = read_regular(path, JSON_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        if not os.access(root, os.X_OK):
            warn_once(f"{root}: cannot be read ({error.strerror}); which versions it says to use is not known")
            return {}
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        parse_json(content)
        return Pins.model_validate_json(content).root
    except ValueError as error:
        cause = first_error(error) if isinstance(error, ValidationError) else str(error)
        raise WeightsError(
            f"{path}: does not say which versions to use, {cause}; "
            f"remove the file, and the newest versions are used again"
        ) from error


def write_pin(root: Path, stage: Stage, version: str | None, name: str = "") -> None:
    """Pin a stage, or one name in it, to a version. The file is replaced as one step.

    Args:
        root: the user's folder of releases.
        stage: detector or classifier.
        version: None lets the newest be used again.
        name: of a classifier with a name.

    Raises:
        WeightsError: the file that is there is damaged, or the folder cannot be written to.
    """
    pins = read_pins(root)
    if version is None:
        pins.pop(pin_key(stage, name), None)
    else:
        pins[pin_key(stage, name)] = version
    path = root / CURRENT
    content = Pins(dict(sorted(pins.items()))).model_dump_json(indent=2) + "\n"
    try:
        write_whole(path, content.encode())
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written ({error.strerror})") from error
