"""What a folder of results says of itself: what its run was begun with, which parts are there, and whether that is all.

``_facepipe.json`` is written first: the settings that the rows depend on and the number of pictures in a block.
``part-000000-….parquet`` appear in any order. ``_SUCCESS`` is written last, with the counts. Readers of Parquet pass
over names that begin with an underscore or a dot, and take the parts in the order of their names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ...core.errors import FacepipeError
from ..outputs.same_settings import require_same_settings
from .results_folder import ResultsFolder

RECORD, SUCCESS = "_facepipe.json", "_SUCCESS"
PART = re.compile(r"part-\d{6,}-[0-9a-f]{12}\.parquet\Z")
FORM = 1
"""Of the record; another one is not read."""

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Counts:
    """Of some pictures: how many, faces in them, how many could not be read."""

    pictures: int = 0
    faces: int = 0
    failed: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.pictures + other.pictures, self.faces + other.faces, self.failed + other.failed)


def take_up(folder: ResultsFolder, settings: Settings, block: int | None, usual_block: int, restart: bool) -> int:
    """Begin a run in a folder, or see that the one which was begun there is this one.

    Args:
        folder: of the results.
        settings: all that the rows depend on, JSON-native.
        block: pictures in a block, as the user wants it; None where any will do.
        usual_block: what a new run then takes.
        restart: drop what is done.

    Returns:
        Pictures in a block.

    Raises:
        FacepipeError: another run's results, or files that no run of this engine has made; it cannot be read or
            written.
    """
    names = folder.names()
    if names and RECORD not in names:
        raise FacepipeError(
            f"{folder.told}: is not empty, and holds no {RECORD} of a run that was begun there; give another name"
        )
    parts = sorted(name for name in names if PART.match(name))
    if parts and not restart:
        before = _read(folder)
        require_same_settings(folder.told, before["settings"], json.loads(json.dumps(settings)), "Go on")
        if block not in (None, before["block"]):
            raise FacepipeError(
                f"{folder.told}: was begun with --block {before['block']}; leave it out, or begin anew with --restart"
            )
        return int(before["block"])
    # The closing entry goes first: what is left when this is interrupted must not look finished.
    for name in [*(names & {SUCCESS}), *parts]:
        folder.remove(name)
    size = block or usual_block
    content = json.dumps({"form": FORM, "block": size, "settings": settings}, indent=1)
    folder.write(RECORD, content.encode("ascii") + b"\n")
    return size


def write_success(folder: ResultsFolder, counts: Counts, parts: int) -> None:
    """Say that all is there.

    Raises:
        FacepipeError: it cannot be written.
    """
    folder.write(SUCCESS, json.dumps({**asdict(counts), "parts": parts}).encode("ascii") + b"\n")


def read_success(folder: ResultsFolder) -> Counts:
    """The counts of a finished run.

    Raises:
        FacepipeError: it cannot be read.
    """
    try:
        told = json.loads(folder.read(SUCCESS))
        return Counts(told["pictures"], told["faces"], told["failed"])
    except (ValueError, KeyError, TypeError) as error:
        raise FacepipeError(f"{folder.told}/{SUCCESS}: is none of this facepipe; begin anew with --restart") from error


def _read(folder: ResultsFolder) -> dict[str, Any]:
    try:
        told = json.loads(folder.read(RECORD))
        if told["form"] != FORM or not isinstance(told["settings"], dict):
            raise ValueError
        return {"block": int(told["block"]), "settings": told["settings"]}
    except (ValueError, KeyError, TypeError) as error:
        raise FacepipeError(
            f"{folder.told}/{RECORD}: is none that this version of facepipe reads; give --out another name, or begin "
            "anew with --restart"
        ) from error
