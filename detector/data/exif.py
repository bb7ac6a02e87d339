"""EXIF orientation of pictures, and whether their labels refer to the stored or the upright picture.

A picture may be stored rotated, with its orientation in the EXIF data. OpenCV, browsers and current labelling tools
turn it upright, and so do training and detection. Older tools labelled the stored pixels. If the labels state a width
and height that match only the stored picture, the boxes refer to the stored pixels and are turned with them. In all
other cases they refer to the upright picture.
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
"""By EXIF orientation (Exif 2.32, tag 274): functions that turn the stored pixels upright, and that map a point of a
stored picture of width w and height h."""
ORIENTATION = 274
"""Orientation tag of EXIF and TIFF."""


@dataclass(frozen=True)
class Seen:
    """Facts of a picture that was read.

    Attributes:
        width: of the upright picture.
        height: of the upright picture.
        fingerprint: its perceptual hash.
        turn: EXIF orientation by which the labels must be turned; 1 if they are upright.
    """

    width: int
    height: int
    fingerprint: int
    turn: int = 1

    def upright(self, corners: Corners) -> Corners:
        """Map a box of the labels to the upright picture, both in pixels."""
        if self.turn == 1:
            return corners
        stored = (self.width, self.height) if self.turn < 5 else (self.height, self.width)
        point = TURNS[self.turn][1]
        (xa, ya), (xb, yb) = point(*corners[:2], *stored), point(*corners[2:], *stored)
        return (min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb))


def read_upright(path: Path) -> np.ndarray:
    """Read a picture and turn it upright by its EXIF orientation: BGR, uint8, shape (height, width, 3).

    Raises:
        ImageError: the file is missing or not a picture. The message does not contain the path.
    """
    return _decode(_content(path), cv2.IMREAD_COLOR)


def look(path: Path, stated: tuple[int, int] | None = None, mode: str = "auto") -> Seen:
    """Read a picture and find out whether its labels are upright.

    Args:
        path: the picture.
        stated: width and height according to the labels; None if they state none.
        mode: ``auto`` to decide as this module describes; ``upright`` or ``stored`` to force one.

    Raises:
        ImageError: the file is missing or not a picture, or its size is not the stated one. The message does not
            contain the path.
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
    """Read a file's bytes. OpenCV gets bytes because it cannot read a rotated TIFF from a path."""
    with os_errors_as(ImageError, "cannot be read"):
        if not path.is_file():
            raise ImageError("no such picture")
        return np.fromfile(path, np.uint8)


def _decode(content: np.ndarray, flags: int) -> np.ndarray:
    try:
        frame = cv2.imdecode(content, flags) if len(content) else None
    except cv2.error as error:  # more pixels than OpenCV accepts
        raise ImageError(f"cannot be decoded: {error.err or error}") from error
    if frame is None:
        raise ImageError("not a picture that OpenCV can read")
    return frame


def _orientation(content: np.ndarray, upright: np.ndarray) -> int:
    """The EXIF orientation that OpenCV applied: the one that turns the stored pixels into the upright ones."""
    if (tag := _tiff_orientation(content.tobytes())) is not None:
        return tag  # OpenCV always returns a TIFF's pixels upright
    stored = _decode(content, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    for orientation, (turn, _) in TURNS.items():
        if np.array_equal(turn(stored), upright):
            return orientation
    return 1


def _tiff_orientation(content: bytes) -> int | None:
    """Tag 274 in the first directory of a TIFF (TIFF 6.0, sections 2 and 8); 1 if missing, None for other formats."""
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
    except struct.error:  # truncated
        return 1
    return 1
