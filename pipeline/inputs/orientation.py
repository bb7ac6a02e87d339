"""The eight orientations of a stored picture or frame, numbered as in EXIF (Exif 2.32, tag 274, 1 to 8)."""

from __future__ import annotations

import struct

import numpy as np

TAG = 0x0112
"""Tag of the orientation in a TIFF directory, the format of EXIF."""
MATRICES = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}
"""a, b, c, d of ISO/IEC 14496-12 (6.2.2), by orientation: a stored (x, y), y down, is shown at (ax + cy, bx + dy)."""


def turned(frame: np.ndarray, orientation: int) -> np.ndarray:
    """Turn a stored picture upright.

    Args:
        frame: shape (height, width, ...).
        orientation: 1 to 8; other values leave it unchanged.

    Returns:
        Contiguous; shape (width, height, ...) for 5 to 8.
    """
    if orientation in (5, 6, 7, 8):
        frame = frame.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        frame = frame[:, ::-1]
    if orientation in (3, 4, 7, 8):
        frame = frame[::-1]
    return np.ascontiguousarray(frame)


def exif_orientation(exif: bytes) -> int:
    """The orientation in an EXIF block, or 1 if it has none; the block may begin with ``Exif\\0\\0``."""
    block = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, directory)
        for place in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", block, place)
            if tag == TAG and kind == 3:  # SHORT
                return value if value in MATRICES else 1
    except struct.error:
        return 1
    return 1


def matrix_orientation(matrix: bytes) -> int:
    """The orientation closest to a display matrix.

    Args:
        matrix: nine little-endian 32-bit numbers, as FFmpeg gives them: a, b, u, c, d, v, x, y, w of ISO/IEC 14496-12.
    """
    a, b, _, c, d, *_ = (int(each) for each in np.frombuffer(matrix[:36], "<i4"))
    return max(MATRICES, key=lambda key: sum(x * y for x, y in zip((a, b, c, d), MATRICES[key], strict=True)))
