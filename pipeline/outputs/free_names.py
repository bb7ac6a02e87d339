"""Names for the files that a run saves: none of one run takes another's place, or an input's."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ...core.errors import FacepipeError

LONGEST = 150
"""Letters of a source's name that a new name takes over; file systems end at 255 bytes."""


class FreeNames:
    """Gives out the names in a folder, each once. What an earlier run has left does not count as taken.

    Args:
        folder: where the files go.
        inputs: paths that must not be overwritten.
        taken: names that this run, before it was interrupted, has given out.
    """

    def __init__(self, folder: Path, inputs: Iterable[str], taken: Iterable[str] = ()):
        self.folder = folder
        within = os.path.realpath(folder)
        places = (os.path.realpath(path) for path in inputs)
        self._taken = {place for place in places if os.path.dirname(place) == within}
        self._within = within
        self._taken |= {os.path.join(within, name) for name in taken}
        self._taken = {place.casefold() for place in self._taken}  # some file systems do not tell X from x
        self._last: dict[str, int] = {}

    def take(self, stem: str, suffix: str) -> Path:
        """A path that ends in this suffix: the stem's, or the first of stem-2, stem-3, … that is free."""
        wanted = (stem + suffix).casefold()
        number = self._last.get(wanted, 0)
        while True:
            number += 1
            name = stem + (f"-{number}" if number > 1 else "") + suffix
            place = os.path.realpath(os.path.join(self._within, name)).casefold()
            if place not in self._taken:
                self._taken.add(place)
                self._last[wanted] = number
                return self.folder / name


def stem_of(source: str | None) -> str:
    """What a saved file is called after: the source's name without its suffix."""
    return Path(source or "").stem[:LONGEST] or "picture"


def put(target: Path, content: bytes) -> None:
    """Write a file in one step that either happens or does not.

    Raises:
        FacepipeError: it cannot be written.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        part.write_bytes(content)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise FacepipeError(f"{target}: cannot be written ({error.strerror})") from error
