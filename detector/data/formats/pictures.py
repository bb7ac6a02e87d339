"""Finding the pictures that label files name, wherever an export or an unpacked archive has put them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from ....core.errors import DataError
from ..dataset import IMAGE_SUFFIXES
from .text import split_of_path

LONGEST_NAME = 255
"""Bytes."""


def is_picture(path: Path) -> bool:
    """Whether a file's name is a picture's."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def pictures_below(folder: Path) -> list[Path]:
    """Every picture below a folder, in order of name."""
    return sorted(path for path in folder.rglob("*") if is_picture(path) and path.is_file())


class Pictures:
    """The pictures that a data set's labels may mean.

    Args:
        top: below this folder a picture is looked for by its name where it is in none of the expected places.
        given: a folder that the user named; it comes before all others.
    """

    def __init__(self, top: Path, given: Path | None = None):
        if given is not None and not given.is_dir():
            raise DataError(f"{given}: not a folder of pictures")
        self.top = top
        self.given = given

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for top in (self.top, self.given):
            for path in pictures_below(top) if top is not None else ():
                found.setdefault(path.name, []).append(path)
        return found

    def find(self, name: str, folders: Sequence[Path], where: str, split: str | None = None) -> Path:
        """The picture that a label file names.

        Args:
            name: as the label file has it, possibly a path of the machine where it was written.
            folders: where the format puts pictures, the likeliest first.
            where: file and line, for messages.
            split: the split that the labels are of; pictures in folders of other splits are not meant.

        Returns:
            The picture; where there is none, the path in the likeliest folder.

        Raises:
            DataError: the name is empty, or several pictures could be meant.
        """
        asked = PurePosixPath(name.strip().replace("\\", "/"))
        if not asked.name:
            raise DataError(f"{where}: the picture has no name")
        if not _can_be_file(asked):
            raise DataError(f"{where}: no file can have the name {name[:100]!r}")
        places = [*([self.given] if self.given else []), *folders]
        for folder in places:
            if (folder / asked).is_file():
                return folder / asked
        alike = [
            path
            for path in dict.fromkeys(self._by_name.get(asked.name, ()))
            if split is None or split_of_path(path, self.top) in (None, split)
        ]
        for words in range(len(asked.parts), 0, -1):  # the one with the most folders in common
            ends = [path for path in alike if path.parts[-words:] == asked.parts[-words:]]
            if len(ends) == 1:
                return ends[0]
            if ends:
                raise DataError(f"{where}: {name} could be {ends[0]} or {ends[1]}; name their folder with --images")
        return places[0] / asked.name


def _can_be_file(path: PurePosixPath) -> bool:
    """Whether a path is free of NUL, of what is no Unicode, and of names that no file system takes."""
    try:
        return "\0" not in str(path) and max(len(each.encode()) for each in path.parts) <= LONGEST_NAME
    except UnicodeEncodeError:
        return False
