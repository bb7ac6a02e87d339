"""YOLO label files: where they are, and how to read their lines.

A line is ``class cx cy w h`` in fractions of the picture, optionally followed by keypoints (``kpt_shape`` in
data.yaml), or ``class`` followed by the points of a polygon, which is replaced by its bounding box. Conversion, check,
training and evaluation all read label files through this module.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from ....core.errors import DataError

IMAGES, LABELS = "images", "labels"
NEAR = (-0.01, 1.01)
"""Allowed range of coordinates: rounding may put them slightly outside the picture, as in ultralytics."""
FAR = (-2.0, 2.0)
"""Coordinates beyond this range are pixels or corrupt, not a box that reaches out of the picture."""
LARGEST = 2**24
"""Most bytes of a label file."""
Row = tuple[int, float, float, float, float]
"""Class, centre x, centre y, width, height."""


def label_file(picture: Path, folder: str = LABELS) -> Path:
    """A picture's label file by ultralytics' rule: ``folder`` replaces the last ``images`` in its path.

    Args:
        picture: its full path; if no folder in it is named ``images``, the labels lie beside the picture.
        folder: ``labels``, or another folder that mirrors ``images``.
    """
    parts = list(picture.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == IMAGES:
            parts[place] = folder
            break
    return Path(*parts).with_suffix(".txt")


def has_mirror(picture: Path) -> bool:
    """Whether a folder in the path is named ``images``, so that labels and ignore regions have their own folders."""
    return IMAGES in picture.parts[:-1]


class LabelReader:
    """Reads the label files of a data set.

    Args:
        classes: class names; empty if unknown, which allows any number.
        points: number of keypoints per box and values per keypoint (2, or 3 with visibility), as in ``kpt_shape`` of
            data.yaml; None if not stated, (0, 0) if stated as none.
        files: all label files of the set, since a single long line may be either a polygon or a box with keypoints.
        limits: least and greatest coordinate.
    """

    def __init__(
        self,
        classes: Sequence[str],
        points: tuple[int, int] | None = None,
        files: Iterable[Path] = (),
        limits: tuple[float, float] = NEAR,
    ):
        self.classes = tuple(classes)
        self.points = points
        self.files = tuple(files)
        self.limits = limits

    def rows(self, path: Path) -> Iterator[tuple[int, Row | str]]:
        """Yield the number of each non-blank line with its box, or with a description of what is wrong.

        Raises:
            OSError: the file cannot be read.
        """
        for number, line in _lines(path):
            try:
                yield number, self._row(line)
            except ValueError as error:
                yield number, str(error)

    def boxes(self, path: Path | None) -> np.ndarray:
        """The boxes of a label file: float32, shape (n, 5): class, centre x, centre y, width, height, normalised.

        Args:
            path: a missing file has no boxes.

        Raises:
            DataError: a line is invalid; the message names file and line.
        """
        rows = []
        try:
            for number, row in self.rows(path) if path is not None else ():
                if isinstance(row, str):
                    raise DataError(f"{path}: line {number}: {row}")
                rows.append(row)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        return np.array(rows, np.float32).reshape(-1, 5)

    def _row(self, line: str) -> Row:
        """Read a line.

        Raises:
            ValueError: the line is invalid.
        """
        parts = line.split()
        values = [_number(part, "a coordinate" if place else "the class") for place, part in enumerate(parts)]
        label, given = values[0], values[1:]
        if label < 0 or label != int(label) or (self.classes and label >= len(self.classes)):
            known = f"0 to {len(self.classes) - 1} ({', '.join(self.classes)})" if self.classes else "a whole number"
            raise ValueError(f"class {parts[0]} is not one of {known}")
        number, each = self.points or (0, 0)
        if len(given) == 4 or (number and len(given) == 4 + number * each):
            given = given[:4]
            box = (given[0], given[1], given[2], given[3])
        elif number:
            raise ValueError(
                f"expected class cx cy w h and {number} points of {each} numbers (kpt_shape), got {line!r}"
            )
        elif len(given) >= 6 and len(given) % 2 == 0:
            if self.points is None and self._uncertain:
                raise ValueError(
                    f"a box with points or a polygon? set in data.yaml: kpt_shape: [{len(given) // 2 - 2}, 2] (how "
                    f"many points, and numbers per point), or kpt_shape: [0, 0] for polygons; got {line!r}"
                )
            box = _around(given)
        else:
            more = "" if self.points else "; a box with points needs kpt_shape in data.yaml"
            raise ValueError(f"expected class cx cy w h, or class and a polygon's points{more}, got {line!r}")
        low, high = self.limits
        if not all(low <= value <= high for value in given):
            raise ValueError(f"coordinates are fractions of the picture, 0 to 1, got {line!r}")
        return int(label), *box

    @cached_property
    def _uncertain(self) -> bool:
        """Whether the long lines of all label files could be either boxes with keypoints or polygons.

        Polygons differ in length, and if read as boxes with keypoints, their points rarely lie in the box. A polygon
        whose four corners form a parallelogram is certainly a polygon.
        """
        lengths, parallel = set(), True
        for path in self.files:
            try:
                for _, line in _lines(path):
                    parts = line.split()
                    if len(parts) < 7:
                        continue
                    values = [_number(part, "") for part in parts[1:]]
                    lengths.add(len(values))
                    parallel = parallel and _is_parallelogram(values)
                    if len(lengths) > 1 or not _could_be_points(values):
                        return False
            except (OSError, ValueError):  # reported when that line is read
                continue
        return not (lengths and parallel)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the non-blank lines with their numbers.

    Raises:
        OSError: the file cannot be read, or is too large.
    """
    if path.stat().st_size > LARGEST or not path.is_file():
        raise OSError(None, f"not a file, or over {LARGEST:,} bytes")
    for number, line in enumerate(path.read_bytes().decode("utf-8-sig", "replace").splitlines(), 1):
        if line.strip():
            yield number, line


def _number(text: str, what: str) -> float:
    if "\N{REPLACEMENT CHARACTER}" in text:
        raise ValueError("not UTF-8 text; save the file as UTF-8")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{what} must be a number, got {text!r}")
    return value


def _around(values: Sequence[float]) -> tuple[float, float, float, float]:
    """Centre and size of a polygon's bounding box."""
    xs, ys = values[::2], values[1::2]
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def _could_be_points(values: Sequence[float]) -> bool:
    """Whether the values form a box within the picture with at least half of the keypoints in or near it."""
    x, y, width, height = values[:4]
    low, high = NEAR
    inside = low <= x - width / 2 and x + width / 2 <= high and low <= y - height / 2 and y + height / 2 <= high
    if not inside or width <= 0 or height <= 0:
        return False
    rest = values[4:]
    for each in (2, 3):
        points = [rest[at : at + each] for at in range(0, len(rest), each)]
        if len(rest) % each or (each == 3 and any(point[2] not in (0, 1, 2) for point in points)):
            continue
        near = [(abs(px - x) <= width and abs(py - y) <= height) or (px <= 0 and py <= 0) for px, py, *_ in points]
        if 2 * sum(near) >= len(near):
            return True
    return False


def _is_parallelogram(values: Sequence[float]) -> bool:
    if len(values) != 8:
        return False
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = zip(values[::2], values[1::2], strict=True)
    return abs(ax + cx - bx - dx) < 0.004 and abs(ay + cy - by - dy) < 0.004
