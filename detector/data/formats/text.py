"""Label files as text: numbers, splits' names, and errors that say file and line."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path, PurePath

from ....core.errors import DataError

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
