"""The results folder of a run, on disk or in a bucket: its settings, its parts, and whether it is complete.

``_facepipe.json`` is written first: the settings that the rows depend on and the number of pictures per block.
``part-000000-….parquet`` files appear in any order. ``_SUCCESS`` is written last, with the counts. Parquet readers skip
names that begin with an underscore or a dot, and read the parts in the order of their names.

Files are written atomically, so everything in the folder is complete.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...core.errors import FacepipeError, RemoteError
from ...core.files import write_whole
from ...weights.registry.push import FLAT
from ...weights.registry.source import described, redacted
from ..inputs.sources import is_store
from ..outputs.journal import require_same_settings
from .listing import Stores, scheme_of

RECORD, SUCCESS = "_facepipe.json", "_SUCCESS"
PART = re.compile(r"part-\d{6,}-[0-9a-f]{12}\.parquet\Z")
FORM = 1
"""Format version of the record. Other versions are rejected."""

Settings = Mapping[str, Any]
SUFFIX = ".parquet"


@dataclass(frozen=True)
class Counts:
    """Counts over some pictures: how many, faces in them, and how many could not be read."""

    pictures: int = 0
    faces: int = 0
    failed: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.pictures + other.pictures, self.faces + other.faces, self.failed + other.failed)


def begin_or_resume(
    folder: ResultsFolder, settings: Settings, block: int | None, usual_block: int, restart: bool
) -> int:
    """Start a run in a folder, or check that the run started there is this one.

    Args:
        folder: of the results.
        settings: everything that the rows depend on, JSON-native.
        block: pictures per block requested by the user; None if any will do.
        usual_block: default for a new run.
        restart: discard what is done.

    Returns:
        Pictures per block.

    Raises:
        FacepipeError: the folder holds another run's results or unrelated files, or cannot be read or written.
    """
    names = folder.names()
    if names and RECORD not in names:
        raise FacepipeError(f"{folder.label}: is not empty, but has no {RECORD} of an earlier run; give another name")
    parts = sorted(name for name in names if PART.match(name))
    if parts and not restart:
        before = _read(folder)
        require_same_settings(folder.label, before["settings"], json.loads(json.dumps(settings)), "Continue")
        if block not in (None, before["block"]):
            raise FacepipeError(
                f"{folder.label}: was started with --block {before['block']}; omit it, or start over with --restart"
            )
        return int(before["block"])
    # Remove _SUCCESS first: if this is interrupted, the rest must not look finished.
    for name in [*(names & {SUCCESS}), *parts]:
        folder.remove(name)
    size = block or usual_block
    content = json.dumps({"form": FORM, "block": size, "settings": settings}, indent=1)
    folder.write(RECORD, content.encode("ascii") + b"\n")
    return size


def write_success(folder: ResultsFolder, counts: Counts, parts: int) -> None:
    """Mark the run as complete.

    Args:
        folder: of the results.
        counts: over all parts.
        parts: number of parts.

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
        counts = json.loads(folder.read(SUCCESS))
        return Counts(counts["pictures"], counts["faces"], counts["failed"])
    except (ValueError, KeyError, TypeError) as error:
        raise FacepipeError(
            f"{folder.label}/{SUCCESS}: is not from this facepipe; start over with --restart"
        ) from error


def _read(folder: ResultsFolder) -> dict[str, Any]:
    try:
        record = json.loads(folder.read(RECORD))
        if record["form"] != FORM or not isinstance(record["settings"], dict):
            raise ValueError
        return {"block": int(record["block"]), "settings": record["settings"]}
    except (ValueError, KeyError, TypeError) as error:
        raise FacepipeError(
            f"{folder.label}/{RECORD}: cannot be read by this version of facepipe; give --out another name, or start "
            "over with --restart"
        ) from error


class ResultsFolder:
    """A folder of files.

    Args:
        address: a path, or an address such as ``s3://bucket/results.parquet``; ends in ``.parquet``.

    Attributes:
        label: the address for messages.

    Raises:
        FacepipeError: a different suffix, a store that cannot be used, or a password in the address.
    """

    def __init__(self, address: str):
        address = address.rstrip("/")
        self.label = redacted(address) if is_store(address) else address
        if not address.lower().endswith(SUFFIX):
            raise FacepipeError(f"{self.label}: --out takes a name that ends in {SUFFIX}; it becomes a folder of parts")
        self._local: Path | None = None
        self._system: Any = None
        if is_store(address) and scheme_of(address) != "file":
            self._system, self._path = Stores().open(address)
            self._flat = scheme_of(address) in FLAT
        elif is_store(address):
            self._local = Path(Stores().open(address)[1])
        else:
            self._local = Path(address).expanduser()

    def names(self) -> set[str]:
        """The names of the files in the folder; empty if it does not exist.

        Raises:
            FacepipeError: it cannot be listed, or is a file.
        """
        if self._local is not None:
            with self._asking("listed"):
                try:
                    return set(os.listdir(self._local))
                except FileNotFoundError:
                    return set()
                except NotADirectoryError as error:
                    raise FacepipeError(
                        f"{self.label}: is a file; --out creates a folder of that name, so give another one"
                    ) from error
        with self._asking("listed"):
            self._system.invalidate_cache()
            try:
                listed = self._system.ls(self._path, detail=False)
            except FileNotFoundError:
                return set()
        names = {str(each).rstrip("/").rpartition("/")[2] for each in listed if str(each).rstrip("/") != self._path}
        if names == {self._path.rpartition("/")[2]} and self._system.isfile(self._path):
            raise FacepipeError(f"{self.label}: is a file; --out creates a folder of that name, so give another one")
        return names

    def read(self, name: str) -> bytes:
        """Read a whole file.

        Raises:
            FacepipeError: it cannot be read.
        """
        with self._asking("read", name):
            if self._local is not None:
                return (self._local / name).read_bytes()
            content: bytes = self._system.cat_file(f"{self._path}/{name}")
            return content

    @contextmanager
    def open(self, name: str) -> Iterator[Any]:
        """Open a file for random access.

        Raises:
            FacepipeError: it cannot be read.
        """
        with self._asking("read", name):
            if self._local is not None:
                with (self._local / name).open("rb") as file:
                    yield file
            else:
                with self._system.open(f"{self._path}/{name}", "rb", cache_type="none") as file:
                    yield file

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically: a bucket's put is atomic; elsewhere the complete file is renamed into place.

        Raises:
            FacepipeError: it cannot be written.
        """
        with self._asking("written", name):
            if self._local is not None:
                write_whole(self._local / name, content)
                return
            place = f"{self._path}/{name}"
            if self._flat:
                self._system.pipe_file(place, content)
                return
            self._system.makedirs(self._path, exist_ok=True)
            part = f"{self._path}/.{name}-{uuid.uuid4().hex[:8]}"
            self._system.pipe_file(part, content)
            self._system.mv(part, place)

    def remove(self, name: str) -> None:
        """Remove a file.

        Raises:
            FacepipeError: it cannot be removed.
        """
        with self._asking("removed", name):
            if self._local is not None:
                (self._local / name).unlink()
            else:
                self._system.rm_file(f"{self._path}/{name}")

    @contextmanager
    def _asking(self, what: str, name: str = "") -> Iterator[None]:
        """Convert errors of the disk and of the store's library to ours."""
        place = f"{self.label}/{name}" if name else self.label
        try:
            yield
        except FacepipeError:
            raise
        except OSError as error:
            kind = FacepipeError if self._local is not None else RemoteError
            raise kind(f"{place}: cannot be {what} ({error.strerror or error})") from error
        except Exception as error:  # each store's library has its own errors
            raise RemoteError(f"{place}: cannot be {what}: {described(error)}") from error
