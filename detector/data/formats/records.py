"""The common form of all label formats, one record per picture, and the search for the pictures that labels name."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath, PurePosixPath

from ....core.errors import DataError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
SPLITS = ("train", "val", "test")
"""``test`` is optional."""
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Names of the splits in folders, columns and keys, in lower case."""
LONGEST_NAME = 255
"""Most bytes of a file name."""
LARGEST_TEXT = 2**30
"""Most bytes of a label file for many pictures."""
LABEL_FOLDERS = ("annotations", "labels", "wider_face_split")
"""Folders of label files whose pictures are in a sibling folder."""


@dataclass(frozen=True)
class Box:
    """One labelled box, as the format states it: it may reach out of the picture or have swapped corners.

    Attributes:
        corners: x1, y1, x2, y2; in pixels, or as fractions of the picture if the record says so.
        name: the class name in the format.
        ignore: an ignore region, which counts neither as object nor as background (crowd, difficult, invalid).
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
        path: the picture; if it does not exist, the first path where it was expected.
        boxes: its boxes.
        where: file and line or field that names the picture, for messages.
        size: width and height according to the format, or None.
        fractions: the boxes are fractions of the upright picture, because the format does not state its size (YOLO).
        split: ``train``, ``val`` or ``test``, if the format knows it.
        source: the data set that it comes from, if the format knows it.
        labelled: the classes labelled in this picture, if the format knows them.
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
    """A data set as described by its labels.

    Attributes:
        format: its name in ``formats.FORMATS``.
        path: what was read.
        classes: names in the format's order, or in order of appearance; some may have no box.
        records: one per picture.
        notes: remarks for the user, one sentence each.
        terms: terms of use by source (``*`` for all), if the format states them.
    """

    format: str
    path: Path
    classes: tuple[str, ...]
    records: tuple[Record, ...]
    notes: tuple[str, ...] = ()
    terms: Mapping[str, str] = field(default_factory=dict)


def read_text(path: Path, largest: int = LARGEST_TEXT) -> str:
    """Read a text file, without its byte order mark.

    Raises:
        DataError: it is missing, cannot be read, is larger than ``largest`` bytes, or is not UTF-8.
    """
    try:
        if path.stat().st_size > largest:
            raise DataError(f"{path}: too large: over {largest:,} bytes")
        content = path.read_bytes() if path.is_file() else b""  # reading a pipe might never end
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise DataError(f"{path}: {reason}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}: line {line}: not UTF-8 text; save the file as UTF-8") from error


def number(value: object, where: str, what: str) -> float:
    """Convert text or a JSON value to a finite number.

    Args:
        value: a cell's text, or a JSON value.
        where: file and line, for the message.
        what: name of the value, for the message.

    Raises:
        DataError: it is not a finite number.
    """
    try:
        found = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise DataError(f"{where}: {what} must be a number, got {value!r}")
    return found


def whole(value: object, where: str, what: str) -> int:
    """Convert text or a JSON value to a whole number of at least 0.

    Args:
        value: a cell's text, or a JSON value.
        where: file and line, for the message.
        what: name of the value, for the message.

    Raises:
        DataError: it is not such a number.
    """
    found = number(value, where, what)
    if found < 0 or found != int(found):
        raise DataError(f"{where}: {what} must be a whole number of at least 0, got {value!r}")
    return int(found)


def size(width: object, height: object, where: str) -> tuple[int, int] | None:
    """Width and height as stated by a format; None for zeros and blanks, with which some tools mark an unknown size.

    Args:
        width: stated value, in pixels.
        height: stated value, in pixels.
        where: file and line, for the message.

    Raises:
        DataError: the values are not whole numbers.
    """
    if width in (None, "", "0", 0) or height in (None, "", "0", 0):
        return None
    return whole(width, where, "width"), whole(height, where, "height")


def split_of(parts: Iterable[str]) -> str | None:
    """The split that the last matching word stands for, among a path's folders or a file name's words."""
    found = [SPLIT_NAMES[part.lower()] for part in parts if part.lower() in SPLIT_NAMES]
    return found[-1] if found else None


def split_of_path(path: PurePath, top: PurePath) -> str | None:
    """The split given by a file's folders below ``top``, such as ``images/train`` or ``valid/images``."""
    try:
        return split_of(path.relative_to(top).parent.parts)
    except ValueError:
        return None


def split_of_stem(stem: str) -> str | None:
    """The split given by a label file's name, such as ``instances_val2017`` or ``wider_face_train_bbx_gt``."""
    words = "".join(letter if letter.isalpha() else " " for letter in stem).split()
    return split_of(words)


@dataclass(frozen=True)
class LabelledLine:
    """One line of the CSV of labelled classes.

    Attributes:
        file: the picture, relative to the data set's root.
        source: the data set that it comes from.
        labelled: for each class, whether all its objects in this picture are labelled.
    """

    file: str
    source: str
    labelled: tuple[bool, ...]


def labelled_lines(path: Path, classes: tuple[str, ...]) -> Iterator[tuple[int, LabelledLine | str]]:
    """Yield each line number of the CSV of labelled classes with its content, or with a description of what is wrong.

    Raises:
        DataError: the file cannot be read as a CSV, or a column is missing.
    """
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""), restkey="")
    try:
        if missing := {"file", "labelled_classes"} - set(rows.fieldnames or ()):
            raise DataError(f"{path}: line 1: no column {', '.join(sorted(missing))}")
        for row in rows:
            named = {name for name in (row["labelled_classes"] or "").split(";") if name}
            file = (row["file"] or "").replace("\\", "/")  # for files written on Windows
            if unknown := named - set(classes):
                known = f"unknown class {', '.join(sorted(unknown))}; DATA.yaml has {', '.join(classes)}"
                yield rows.line_num, known
            else:
                labelled = tuple(name in named for name in classes)
                yield rows.line_num, LabelledLine(file, row.get("source") or path.stem, labelled)
    except csv.Error as error:
        raise DataError(f"{path}: line {rows.line_num}: not valid CSV: {error}") from error


def is_picture(path: Path) -> bool:
    """Whether a file name is a picture's."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def pictures_below(folder: Path) -> list[Path]:
    """Every picture below a folder, sorted by name; hidden folders are skipped."""
    return sorted(
        path
        for path in folder.rglob("*")
        if is_picture(path)
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def source_folder(path: Path) -> Path:
    """The data set's folder, given that folder, its folder of label files, or a file in either."""
    folder = path if path.is_dir() else path.parent
    return folder.absolute().parent if folder.absolute().name.lower() in LABEL_FOLDERS else folder


class Pictures:
    """The pictures that a data set's labels may refer to: those below its folder or below the one given by the user.

    Args:
        source: the data set's folder or one of its label files. A picture that is in none of the expected places is
            searched by name below the data set's folder.
        given: a folder given by the user; searched first.

    Raises:
        DataError: ``given`` is not a folder.
    """

    def __init__(self, source: Path, given: Path | None = None):
        """"""
        if given is not None and not given.is_dir():
            raise DataError(f"{given}: not a folder of pictures")
        self.top = source_folder(source)
        self.given = given
        self._real = [folder.resolve() for folder in (self.top, given) if folder is not None]

    def require_within(self, path: Path, where: str) -> None:
        """Check that a picture or folder belongs to the data set, because untrusted labels may name any file.

        Raises:
            DataError: it lies outside the data set's folder and the one given by the user.
        """
        real = path.resolve()
        if not any(real.is_relative_to(folder) for folder in self._real):
            raise DataError(f"{where}: {path} points outside {self.top}; if intended, name its folder with --images")

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for top in (self.top, self.given):
            for path in pictures_below(top) if top is not None else ():
                found.setdefault(path.name, []).append(path)
        return found

    def find(self, name: str, folders: Sequence[Path], where: str, split: str | None = None) -> Path:
        """Find the picture that a label file names.

        Args:
            name: as in the label file; may be a path of the machine that wrote it.
            folders: where the format stores pictures, most likely first.
            where: file and line, for messages.
            split: the split of the labels; pictures in folders of other splits are excluded.

        Returns:
            The picture; if there is none, its path in the most likely folder.

        Raises:
            DataError: the name is empty or invalid, leads out of the data set, or is ambiguous.
        """
        asked = PurePosixPath(name.strip().replace("\\", "/"))
        if not asked.name:
            raise DataError(f"{where}: the picture has no name")
        if not _can_be_file(asked):
            raise DataError(f"{where}: not a valid file name: {name[:100]!r}")
        places = [*([self.given] if self.given else []), *folders]
        outside = None
        for folder in places:
            if (folder / asked).is_file():
                if any((folder / asked).resolve().is_relative_to(real) for real in self._real):
                    return folder / asked
                outside = folder / asked
        alike = [
            path
            for path in dict.fromkeys(self._by_name.get(asked.name, ()))
            if split is None or split_of_path(path, self.top) in (None, split)
        ]
        for words in range(len(asked.parts), 0, -1):  # prefer the one with the most folders in common
            ends = [path for path in alike if path.parts[-words:] == asked.parts[-words:]]
            if len(ends) == 1:
                return ends[0]
            if ends:
                raise DataError(f"{where}: {name} could be {ends[0]} or {ends[1]}; name their folder with --images")
        if outside is not None:
            self.require_within(outside, where)
        return places[0] / asked.name


def _can_be_file(path: PurePosixPath) -> bool:
    """Whether a path has no NUL, is valid Unicode, and has no name too long for a file system."""
    try:
        return "\0" not in str(path) and max(len(each.encode()) for each in path.parts) <= LONGEST_NAME
    except UnicodeEncodeError:
        return False
