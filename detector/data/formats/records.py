"""What every label format is read into: one record a picture.

Label files as text: numbers, splits' names, and errors that say file and line.

Finding the pictures that label files name, wherever an export or an unpacked archive has put them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath, PurePosixPath

from ....core.errors import DataError
from ..dataset import IMAGE_SUFFIXES


@dataclass(frozen=True)
class Box:
    """One labelled box, as the format states it: it may reach out of the picture or be turned inside out.

    Attributes:
        corners: x1, y1, x2, y2; in pixels, or as fractions of the picture where the record says so.
        name: the class as the format calls it.
        ignore: a region that counts neither as object nor as background (crowd, difficult, invalid).
        where: file and line or field, for messages.
    """

    corners: tuple[float, float, float, float]
    name: str
    ignore: bool
    where: str


@dataclass(frozen=True)
class Record:
    """One picture and its boxes.

    Attributes:
        path: the picture; where the labels name one that is not there, where it was looked for first.
        boxes: of it.
        where: file and line or field that names the picture, for messages.
        size: width and height that the format states, None where it states none.
        fractions: the boxes are fractions of the upright picture, for the format does not know its size (YOLO).
        split: ``train``, ``val`` or ``test`` if the format knows one.
        source: the set that it is from, if the format knows it.
        labelled: the classes that are labelled in this picture, if the format knows them.
    """

    path: Path
    boxes: tuple[Box, ...]
    where: str
    size: tuple[int, int] | None = None
    fractions: bool = False
    split: str | None = None
    source: str | None = None
    labelled: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Annotations:
    """A data set as its labels describe it.

    Attributes:
        format: its name in ``formats.FORMATS``.
        path: what was read.
        classes: names in the format's own order, or as they come; some may have no box.
        records: one a picture.
        notes: what a user should know of the reading, a sentence each.
        terms: under which its sources may be used, by source (``*``: all of them), where the format says so.
    """

    format: str
    path: Path
    classes: tuple[str, ...]
    records: tuple[Record, ...]
    notes: tuple[str, ...] = ()
    terms: Mapping[str, str] = field(default_factory=dict)


SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""What folders and columns call the splits, in lower case."""


def read_text(path: Path) -> str:
    """A text file's content, without a byte order mark.

    Raises:
        DataError: it is missing, cannot be read or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise DataError(f"{path}: {reason}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}: line {line}: not UTF-8 text; save the file as UTF-8") from error


def number(value: object, where: str, what: str) -> float:
    """A finite number from text, or from what JSON gives.

    Raises:
        DataError: it is none.
    """
    try:
        found = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise DataError(f"{where}: {what} must be a number, got {value!r}")
    return found


def whole(value: object, where: str, what: str) -> int:
    """A whole number of at least 0.

    Raises:
        DataError: it is none.
    """
    found = number(value, where, what)
    if found < 0 or found != int(found):
        raise DataError(f"{where}: {what} must be a whole number of at least 0, got {value!r}")
    return int(found)


def size(width: object, height: object, where: str) -> tuple[int, int] | None:
    """Width and height where a format states them; zeros and blanks are how some tools say that they do not know.

    Raises:
        DataError: something else than two whole numbers.
    """
    if width in (None, "", "0", 0) or height in (None, "", "0", 0):
        return None
    return whole(width, where, "width"), whole(height, where, "height")


def split_of(parts: Iterable[str]) -> str | None:
    """The split that the last telling one of some names stands for: of the folders of a path, or of a file's words."""
    found = [SPLITS[part.lower()] for part in parts if part.lower() in SPLITS]
    return found[-1] if found else None


def split_of_path(path: PurePath, top: PurePath) -> str | None:
    """The split that the folders of a file below ``top`` tell, such as ``images/train`` or ``valid/images``."""
    try:
        return split_of(path.relative_to(top).parent.parts)
    except ValueError:
        return None


def split_of_stem(stem: str) -> str | None:
    """The split that a label file's name tells, such as ``instances_val2017`` or ``wider_face_train_bbx_gt``."""
    words = "".join(letter if letter.isalpha() else " " for letter in stem).split()
    return split_of(words)


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
