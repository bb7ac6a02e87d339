"""Names for the files that a run saves, so that none overwrites an input or the file of another picture or run.

A folder that facepipe saves into has a record, ``.facepipe.jsonl``, of the picture that each name was given to (a hash
of its path, because such folders may be published). A later run gives the same picture the same name again; a file of
another picture, or an unknown file, is never replaced. A run locks the record while it writes, so a second run is
refused.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
from collections.abc import Iterable
from io import FileIO
from pathlib import Path

from ...core.errors import FacepipeError, os_errors_as
from .journal import lock

RECORD = ".facepipe.jsonl"
LONGEST = 150
"""Maximum bytes of a source's name that a new name takes over; file systems allow 255 bytes in all."""


class FreeNames:
    """Assigns the names in a folder, each once.

    Args:
        folder: where the files go; it exists.
        inputs: paths that must not be overwritten.
        taken: names that this run gave out before it was interrupted.
        root: keep the subfolders that sources have below this folder; None keeps none.

    Raises:
        FacepipeError: another run is writing into the folder, or the folder cannot be written.
    """

    def __init__(self, folder: Path, inputs: Iterable[str], taken: Iterable[str] = (), root: str | None = None):
        self.folder = folder
        self._root = root
        within = os.path.realpath(folder)
        self._taken = {os.path.realpath(path) for path in inputs}
        self._within = within
        self._taken |= {os.path.join(within, name) for name in taken}
        self._taken = {place.casefold() for place in self._taken}  # some file systems ignore case
        self._last: dict[str, int] = {}
        with os_errors_as(FacepipeError, f"{folder / RECORD}: cannot be written"):
            self._record = FileIO(folder / RECORD, "a+")
        try:
            lock(self._record, folder)
            self._owned = self._read()
        except BaseException:
            self._record.close()
            raise

    def _read(self) -> dict[str, list[str]]:
        """Read the names by owner; a name given out twice belongs to the later owner."""
        owners: dict[str, str] = {}
        self._record.seek(0)
        for line in self._record.read().splitlines():
            try:
                name, owner = json.loads(line)
                owners[str(name)] = str(owner)
            except (ValueError, TypeError):  # truncated when a run was killed
                continue
        owned: dict[str, list[str]] = {}
        for name, owner in owners.items():
            owned.setdefault(owner, []).append(name)
        return owned

    def close(self) -> None:
        """Let other runs write into the folder."""
        self._record.close()

    def take(self, stem: str, suffix: str, source: str | None) -> Path:
        """A path with this suffix for a picture: its stem, or the first of stem-2, stem-3, … that is free.

        Args:
            stem: of the name.
            suffix: with its dot.
            source: the picture that the file belongs to.

        Raises:
            FacepipeError: the record cannot be written.
        """
        owner = hashlib.sha256(os.path.realpath(source or "").encode("utf-8", "surrogateescape")).hexdigest()[:32]
        stem = _below(self._root, source) + stem
        ours = re.compile(re.escape(stem) + r"(-\d+)?" + re.escape(suffix))
        for name in self._owned.get(owner, ()):
            if ours.fullmatch(name) and (place := self._place(name)) not in self._taken:
                self._taken.add(place)
                return self.folder / name
        wanted = (stem + suffix).casefold()
        number = self._last.get(wanted, 0)
        while True:
            number += 1
            name = stem + (f"-{number}" if number > 1 else "") + suffix
            place = self._place(name)
            if place not in self._taken and not os.path.lexists(os.path.join(self._within, name)):
                break
        self._taken.add(place)
        self._last[wanted] = number
        self._owned.setdefault(owner, []).append(name)
        with os_errors_as(FacepipeError, f"{self.folder / RECORD}: cannot be written"):
            self._record.write(json.dumps([name, owner]).encode("ascii") + b"\n")
        return self.folder / name

    def _place(self, name: str) -> str:
        return os.path.realpath(os.path.join(self._within, name)).casefold()


def _below(root: str | None, source: str | None) -> str:
    """A source's folder relative to the root, with a trailing slash; "" if it lies elsewhere or is not a file."""
    if root is None or source is None or "://" in source or source.startswith("camera:"):
        return ""
    found = os.path.relpath(os.path.dirname(os.path.abspath(source)), root)
    return "" if found == os.curdir or found.startswith(os.pardir) else found.replace(os.sep, "/") + "/"


def shared_folder(named: Iterable[str]) -> str | None:
    """The folder that holds all files, folders and globs that a user names, or None."""
    folders = set()
    for text in named:
        if "://" in text or text.startswith("camera:"):
            continue
        path = os.path.abspath(text)
        folder = path if os.path.isdir(path) else os.path.dirname(path)
        while glob.has_magic(folder) and not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        folders.add(folder)
    try:
        return os.path.commonpath(folders) if folders else None
    except ValueError:  # on different drives
        return None


def stem_of(source: str | None) -> str:
    """The stem for a saved file: the source's name without its suffix."""
    stem = os.fsencode(Path(source or "").stem)[:LONGEST].decode("utf-8", "ignore")
    return stem or "picture"


def put(target: Path, content: bytes) -> None:
    """Write a file atomically.

    Raises:
        FacepipeError: it cannot be written.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise FacepipeError(f"{target}: cannot be written ({error.strerror})") from error
