"""Pictures with an EXIF orientation: which way up their labels are meant.

A picture may be stored lying and say so in its EXIF; OpenCV, browsers and today's labelling tools turn it upright, and
so do training and detection. Older tools labelled the stored pixels. Where a format states width and height and they
are those of the stored picture alone, its boxes are of the stored pixels and are turned along; in all other cases they
are those of the upright picture.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ...core.errors import ImageError, os_errors_as
from ...core.near_duplicates import perceptual_hash

Corners = tuple[float, float, float, float]
TURNS: dict[int, tuple[Callable[[np.ndarray], np.ndarray], Callable[[float, float, int, int], tuple[float, float]]]] = {
    1: (lambda a: a, lambda x, y, w, h: (x, y)),
    2: (lambda a: a[:, ::-1], lambda x, y, w, h: (w - x, y)),
    3: (lambda a: a[::-1, ::-1], lambda x, y, w, h: (w - x, h - y)),
    4: (lambda a: a[::-1], lambda x, y, w, h: (x, h - y)),
    5: (lambda a: a.transpose(1, 0, 2), lambda x, y, w, h: (y, x)),
    6: (lambda a: a[::-1].transpose(1, 0, 2), lambda x, y, w, h: (h - y, x)),
    7: (lambda a: a[::-1, ::-1].transpose(1, 0, 2), lambda x, y, w, h: (h - y, w - x)),
    8: (lambda a: a[:, ::-1].transpose(1, 0, 2), lambda x, y, w, h: (y, w - x)),
}
"""By EXIF orientation (Exif 2.32, tag 274): the stored pixels turned upright, and a point of the stored picture of
width w and height h."""
ORIENTATION = 274
"""Tag of EXIF and TIFF."""


@dataclass(frozen=True)
class Seen:
    """What was seen of a picture.

    Attributes:
        width: of the upright picture.
        height: of the upright picture.
        fingerprint: its perceptual hash.
        turn: EXIF orientation by which the labels have to be turned; 1 where they are upright.
    """

    width: int
    height: int
    fingerprint: int
    turn: int = 1

    def upright(self, corners: Corners) -> Corners:
        """A box of the labels in the upright picture, both in pixels."""
        if self.turn == 1:
            return corners
        stored = (self.width, self.height) if self.turn < 5 else (self.height, self.width)
        point = TURNS[self.turn][1]
        (xa, ya), (xb, yb) = point(*corners[:2], *stored), point(*corners[2:], *stored)
        return (min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb))


def read_upright(path: Path) -> np.ndarray:
    """Read a picture: BGR, uint8, shape (height, width, 3), turned upright by its EXIF orientation.

    Raises:
        ImageError: it is missing or not a picture. The message has no path.
    """
    return _decode(_content(path), cv2.IMREAD_COLOR)


def look(path: Path, stated: tuple[int, int] | None = None, mode: str = "auto") -> Seen:
    """Read a picture and find out which way up its labels are meant.

    Args:
        path: the picture.
        stated: width and height that the labels state, None where they state none.
        mode: ``auto``, as this module says; ``upright`` or ``stored`` where the user knows.

    Raises:
        ImageError: it is missing or not a picture, or its size is not the stated one. The message has no path.
    """
    content = _content(path)
    frame = _decode(content, cv2.IMREAD_COLOR)
    height, width = frame.shape[:2]
    turn = 1
    if mode == "stored" or (mode == "auto" and stated == (height, width) and height != width):
        turn = _orientation(content, frame)
    expected = (height, width) if turn >= 5 else (width, height)
    if stated is not None and stated != expected:
        raise ImageError(f"{width} x {height} pixels, but its labels are for {stated[0]} x {stated[1]}")
    return Seen(width, height, perceptual_hash(frame), turn)


def _content(path: Path) -> np.ndarray:
    """A file's bytes. OpenCV is given these, not the path: by that it cannot read a TIFF that has to be turned."""
    with os_errors_as(ImageError, "cannot be read"):
        if not path.is_file():
            raise ImageError("no such picture")
        return np.fromfile(path, np.uint8)


def _decode(content: np.ndarray, flags: int) -> np.ndarray:
    try:
        frame = cv2.imdecode(content, flags) if len(content) else None
    except cv2.error as error:  # more pixels than OpenCV takes
        raise ImageError(f"cannot be decoded: {error.err or error}") from error
    if frame is None:
        raise ImageError("not a picture that OpenCV can read")
    return frame


def _orientation(content: np.ndarray, upright: np.ndarray) -> int:
    """The EXIF orientation that OpenCV applied: the turn that makes the stored pixels the upright ones."""
    if (tag := _tiff_orientation(content.tobytes())) is not None:
        return tag  # a TIFF's pixels are given upright in any case
    stored = _decode(content, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    for orientation, (turn, _) in TURNS.items():
        if np.array_equal(turn(stored), upright):
            return orientation
    return 1


def _tiff_orientation(content: bytes) -> int | None:
    """Tag 274 of a TIFF's first directory (TIFF 6.0, sections 2 and 8), 1 where it has none; None for other files."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(content[:4])
    if order is None:
        return None
    try:
        (at,) = struct.unpack_from(f"{order}I", content, 4)
        (count,) = struct.unpack_from(f"{order}H", content, at)
        for place in range(at + 2, at + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", content, place)
            if tag == ORIENTATION:
                return value if value in TURNS else 1
    except struct.error:  # cut short
        return 1
    return 1
