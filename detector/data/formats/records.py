"""What every label format is read into, one record a picture, and how the pictures that labels name are found."""

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
"""``test`` may be missing."""
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
"""What folders, columns and keys call the splits, in lower case."""
LONGEST_NAME = 255
"""Bytes of a file's name."""
LARGEST_TEXT = 2**30
"""Bytes of a label file of many pictures."""
LABEL_FOLDERS = ("annotations", "labels", "wider_face_split")
"""Folders of label files whose pictures lie beside them."""


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


def read_text(path: Path, largest: int = LARGEST_TEXT) -> str:
    """A text file's content, without a byte order mark.

    Raises:
        DataError: it is missing, cannot be read, is over ``largest`` bytes, or is not UTF-8.
    """
    try:
        if path.stat().st_size > largest:
            raise DataError(f"{path}: too large: over {largest:,} bytes")
        content = path.read_bytes() if path.is_file() else b""  # a pipe has no end
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise DataError(f"{path}: {reason}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}: line {line}: not UTF-8 text; save the file as UTF-8") from error


def number(value: object, where: str, what: str) -> float:
    """A finite number from text, or from what JSON gives.

    Args:
        value: a cell's text, or a JSON value.
        where: file and line, for the message.
        what: name of the value, for the message.

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

    Args:
        value: a cell's text, or a JSON value.
        where: file and line, for the message.
        what: name of the value, for the message.

    Raises:
        DataError: it is none.
    """
    found = number(value, where, what)
    if found < 0 or found != int(found):
        raise DataError(f"{where}: {what} must be a whole number of at least 0, got {value!r}")
    return int(found)


def size(width: object, height: object, where: str) -> tuple[int, int] | None:
    """Width and height where a format states them; zeros and blanks are how some tools say that they do not know.

    Args:
        width: as the format states it, in pixels.
        height: the same.
        where: file and line, for the message.

    Raises:
        DataError: something else than two whole numbers.
    """
    if width in (None, "", "0", 0) or height in (None, "", "0", 0):
        return None
    return whole(width, where, "width"), whole(height, where, "height")


def split_of(parts: Iterable[str]) -> str | None:
    """The split that the last telling one of some names stands for: of the folders of a path, or of a file's words."""
    found = [SPLIT_NAMES[part.lower()] for part in parts if part.lower() in SPLIT_NAMES]
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


@dataclass(frozen=True)
class LabelledLine:
    """One line of the CSV of labelled classes.

    Attributes:
        file: the picture, relative to the data set's root.
        source: the set that it is from.
        labelled: for each class, whether all its objects in this picture are labelled.
    """

    file: str
    source: str
    labelled: tuple[bool, ...]


def labelled_lines(path: Path, classes: tuple[str, ...]) -> Iterator[tuple[int, LabelledLine | str]]:
    """Number of each line of the CSV of labelled classes, and what it says, or in words what is wrong with it.

    Raises:
        DataError: the file cannot be read as a CSV, or a column is missing.
    """
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""), restkey="")
    try:
        if missing := {"file", "labelled_classes"} - set(rows.fieldnames or ()):
            raise DataError(f"{path}: line 1: no column {', '.join(sorted(missing))}")
        for row in rows:
            named = {name for name in (row["labelled_classes"] or "").split(";") if name}
            file = (row["file"] or "").replace("\\", "/")  # written on Windows
            if unknown := named - set(classes):
                known = f"unknown class {', '.join(sorted(unknown))}; DATA.yaml has {', '.join(classes)}"
                yield rows.line_num, known
            else:
                labelled = tuple(name in named for name in classes)
                yield rows.line_num, LabelledLine(file, row.get("source") or path.stem, labelled)
    except csv.Error as error:
        raise DataError(f"{path}: line {rows.line_num}: not CSV: {error}") from error


def is_picture(path: Path) -> bool:
    """Whether a file's name is a picture's."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def pictures_below(folder: Path) -> list[Path]:
    """Every picture below a folder, in order of name; hidden folders are passed over."""
    return sorted(
        path
        for path in folder.rglob("*")
        if is_picture(path)
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def source_folder(path: Path) -> Path:
    """The folder of a data set, given it, its folder of label files, or one of these."""
    folder = path if path.is_dir() else path.parent
    return folder.absolute().parent if folder.absolute().name.lower() in LABEL_FOLDERS else folder


class Pictures:
    """The pictures that a data set's labels may mean: those below its folder, or below the one that the user named.

    Args:
        source: the data set's folder or a label file of it; below its folder a picture is looked for by its name where
            it is in none of the expected places.
        given: a folder that the user named; it comes before all others.

    Raises:
        DataError: ``given`` is no folder.
    """

    def __init__(self, source: Path, given: Path | None = None):
        """"""
        if given is not None and not given.is_dir():
            raise DataError(f"{given}: not a folder of pictures")
        self.top = source_folder(source)
        self.given = given
        self._real = [folder.resolve() for folder in (self.top, given) if folder is not None]

    def require_within(self, path: Path, where: str) -> None:
        """Check that a picture or a folder of pictures is the data set's: labels from elsewhere may name any file.

        Raises:
            DataError: it leads out of the data set's folder and of the one that the user named.
        """
        real = path.resolve()
        if not any(real.is_relative_to(folder) for folder in self._real):
            raise DataError(f"{where}: {path} leads out of {self.top}; if it is meant, name its folder with --images")

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
            DataError: the name is empty, leads out of the data set, or several pictures could be meant.
        """
        asked = PurePosixPath(name.strip().replace("\\", "/"))
        if not asked.name:
            raise DataError(f"{where}: the picture has no name")
        if not _can_be_file(asked):
            raise DataError(f"{where}: no file can have the name {name[:100]!r}")
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
        for words in range(len(asked.parts), 0, -1):  # the one with the most folders in common
            ends = [path for path in alike if path.parts[-words:] == asked.parts[-words:]]
            if len(ends) == 1:
                return ends[0]
            if ends:
                raise DataError(f"{where}: {name} could be {ends[0]} or {ends[1]}; name their folder with --images")
        if outside is not None:
            self.require_within(outside, where)
        return places[0] / asked.name


def _can_be_file(path: PurePosixPath) -> bool:
    """Whether a path is free of NUL, of what is no Unicode, and of names that no file system takes."""
    try:
        return "\0" not in str(path) and max(len(each.encode()) for each in path.parts) <= LONGEST_NAME
    except UnicodeEncodeError:
        return False
