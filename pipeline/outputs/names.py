"""Names for the files that a run saves: none takes another picture's place, an input's, or that of another run's file.

A folder that facepipe saves into has a record, ``.facepipe.jsonl``: of each name the picture that it was given to (a
hash of its path, for such folders are made to be published). The same picture gets the same name again in a later run;
a file of another one, or one that nothing is known of, is never replaced. While a run writes there it holds the
record, so a second run is refused.
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
"""Bytes of a source's name that a new name takes over; file systems end at 255 bytes."""


class FreeNames:
    """Gives out the names in a folder, each once.

    Args:
        folder: where the files go; it is there.
        inputs: paths that must not be overwritten.
        taken: names that this run, before it was interrupted, has given out.
        root: the folders that sources have below this one are kept; None keeps none.

    Raises:
        FacepipeError: another run is writing into the folder, or it cannot be written.
    """

    def __init__(self, folder: Path, inputs: Iterable[str], taken: Iterable[str] = (), root: str | None = None):
        self.folder = folder
        self._root = root
        within = os.path.realpath(folder)
        self._taken = {os.path.realpath(path) for path in inputs}
        self._within = within
        self._taken |= {os.path.join(within, name) for name in taken}
        self._taken = {place.casefold() for place in self._taken}  # some file systems do not tell X from x
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
        """The names by owner; one that was given to two is the later one's."""
        owners: dict[str, str] = {}
        self._record.seek(0)
        for line in self._record.read().splitlines():
            try:
                name, owner = json.loads(line)
                owners[str(name)] = str(owner)
            except (ValueError, TypeError):  # torn, by a run that was killed
                continue
        owned: dict[str, list[str]] = {}
        for name, owner in owners.items():
            owned.setdefault(owner, []).append(name)
        return owned

    def close(self) -> None:
        """Let other runs write into the folder."""
        self._record.close()

    def take(self, stem: str, suffix: str, source: str | None) -> Path:
        """A path that ends in this suffix: the stem's, or the first of stem-2, stem-3, … that is free for a picture.

        Args:
            stem: of the name.
            suffix: with its dot.
            source: the picture whose file it is to be.

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
    """The folder of a source from the root, with a stroke at its end; "" of what lies elsewhere, or is no file."""
    if root is None or source is None or "://" in source or source.startswith("camera:"):
        return ""
    found = os.path.relpath(os.path.dirname(os.path.abspath(source)), root)
    return "" if found == os.curdir or found.startswith(os.pardir) else found.replace(os.sep, "/") + "/"


def shared_folder(named: Iterable[str]) -> str | None:
    """The folder that holds all files, folders and globs that a user names; None where there is none."""
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
    except ValueError:  # on several drives
        return None


def stem_of(source: str | None) -> str:
    """What a saved file is called after: the source's name without its suffix."""
    stem = os.fsencode(Path(source or "").stem)[:LONGEST].decode("utf-8", "ignore")
    return stem or "picture"


def put(target: Path, content: bytes) -> None:
    """Write a file in one step that either happens or does not.

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
