"""Decodes JPEGs, upright, at full or reduced size, and reports damage within them.

libjpeg tolerates damage: it fills the missing parts with grey and continues. OpenCV does not report this; simplejpeg,
which uses the same library, does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import simplejpeg

from .image_header import START_OF_SCAN, ImageHeader, jpeg_exif, jpeg_segments
from .orientation import exif_orientation, turned

REDUCTIONS = (8, 4, 2)
"""Factors by which a JPEG can be decoded smaller: the inverse cosine transform then gives 1, 2 or 4 pixels for a
block's 8 (libjpeg's scaled IDCT), in less time and a fraction of the memory."""
PROGRESSIVE = 0xC2
"""Frame marker of a progressive picture, ITU-T T.81, B.1."""
END_EARLY = ("premature end", "Premature end")
DAMAGE = (*END_EARLY, "Corrupt JPEG data", "Inconsistent progression")
"""Substrings of libjpeg's warnings about damage; its other warnings are about odd but harmless headers (jerror.h)."""
EXTRA = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
FILL = 128
"""The value that libjpeg gives a block without data."""


@dataclass(frozen=True)
class Jpeg:
    """A decoded JPEG.

    Attributes:
        frame: BGR, uint8, upright.
        width, height: of the whole picture, upright, in pixels.
        reduction: factor by which the frame is smaller.
        damage: ``damaged: …`` for people, or None if none is found. Data that is wrong but well-formed is not found.
    """

    frame: np.ndarray
    width: int
    height: int
    reduction: int
    damage: str | None


def decode_jpeg(content: bytes, header: ImageHeader, least: int | None = None) -> Jpeg | None:
    """Decode a JPEG that is not truncated.

    Args:
        content: the file.
        header: its header, whose size was checked.
        least: the frame may be smaller than the picture if its longer side keeps at least this many pixels; None
            decodes it in full.

    Returns:
        None if another decoder has to try: CMYK, more than 8 bits, or nothing that can be decoded.
    """
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content, strict=False)
        if colours not in ("YCbCr", "RGB", "Gray") or (width, height) != (header.width, header.height):
            return None
        times = next((each for each in REDUCTIONS if least and max(height, width) >= each * least), 1)
        size = {"min_height": -(-height // times), "min_width": -(-width // times)}
        problem = ""
        try:
            stored = simplejpeg.decode_jpeg(content, "BGR", **size)
        except ValueError as error:
            problem = str(error)
            stored = simplejpeg.decode_jpeg(content, "BGR", **size, strict=False)
    except (ValueError, KeyError):  # KeyError: a colour space that it has no name for
        return None
    damage = _damage(content, problem, stored, height, times)
    if exif := jpeg_exif(content):
        orientation = exif_orientation(exif)
        stored = turned(stored, orientation)
        if orientation > 4:  # stored sideways
            height, width = width, height
    return Jpeg(stored, width, height, times, damage)


def _damage(content: bytes, problem: str, stored: np.ndarray, height: int, times: int) -> str | None:
    """Describe the damage that libjpeg reported, with the number of lost rows, or damage that it does not report."""
    if any(each in problem for each in DAMAGE) and not _padded(content, problem):
        sound = np.flatnonzero((stored != FILL).any(axis=(1, 2)))
        lost = height - times * (int(sound[-1]) + 1) if len(sound) else height
        if not any(each in problem for each in END_EARLY):
            return f"damaged: the JPEG's picture data are broken ({problem.removeprefix('Corrupt JPEG data: ')})"
        how_much = f"about {lost} of {height} rows" if lost >= 8 else "a part"
        return f"damaged: data are missing within the JPEG; {how_much} of it came out grey or blurred"
    if not _scans_complete(content):
        return "damaged: the JPEG's later scans are missing, so it is blurred"
    return None


def _padded(content: bytes, problem: str) -> bool:
    """Whether all extra bytes are zeros before the end, which some cameras add as padding."""
    if (extra := EXTRA.search(problem)) is None:
        return False
    end = content.rfind(b"\xff\xd9")
    return not content[end - int(extra[1]) : end].strip(b"\0")


def _scans_complete(content: bytes) -> bool:
    """Whether a progressive picture's first component has all its coefficients in full precision (T.81, G.1.1.1)."""
    first, place = None, -1
    for marker, start in jpeg_segments(content):
        if marker == PROGRESSIVE:
            first = content[start + 8]
        if marker == START_OF_SCAN:
            place = start - 2
    if first is None:
        return True
    missing = np.full(64, 16)  # bits
    while 0 <= place < len(content) - 12:
        count = content[place + 4]
        parts = content[place + 5 : place + 5 + 2 * count : 2]
        begin, end, bits = content[place + 5 + 2 * count : place + 8 + 2 * count]
        if first in parts:
            missing[begin : end + 1] = bits & 15
        place = content.find(bytes((0xFF, START_OF_SCAN)), place + 4)
    return not missing.any()
