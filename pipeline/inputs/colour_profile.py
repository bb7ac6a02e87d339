"""Reads the ICC profile of a stored picture and embeds it in a JPEG written from the picture's pixels.

Pixels are passed on as they are stored, so saving a picture without its profile would change its colours.
(ICC.1:2022, annex B; PNG ``iCCP``; RFC 9649, 2.7.1.4; TIFF tag 34675; ISO/IEC 23008-12, ``colr``.)
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from ...core.errors import ImageError
from .heif_boxes import is_boxed, read_boxes

MARK = b"ICC_PROFILE\0"
LARGEST = 4 * 2**20
"""Maximum size of a profile in bytes; larger ones are dropped."""
PART = 65_519
"""Maximum number of profile bytes in one JPEG segment."""
TIFF_TAG = 34_675


def read_profile(path: str) -> bytes | None:
    """The RGB profile in a picture's file; None if there is none, it is grey or CMYK, or the file cannot be read."""
    try:
        content = Path(path).read_bytes()
        profile = profile_of(content)
    except (OSError, ValueError, struct.error, IndexError, zlib.error, ImageError):
        return None
    return profile if profile and len(profile) <= LARGEST and profile[16:20] == b"RGB " else None


def profile_of(content: bytes) -> bytes | None:
    """The profile in a JPEG, PNG, WebP, TIFF, HEIC or AVIF.

    Raises:
        ImageError, struct.error, IndexError, zlib.error: the file is damaged.
    """
    if content.startswith(b"\xff\xd8"):
        return _of_jpeg(content)
    if content.startswith(b"\x89PNG"):
        return _of_png(content)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _of_webp(content)
    if content[:4] in (b"II*\0", b"MM\0*"):
        return _of_tiff(content)
    if is_boxed(content):
        file = read_boxes(content)
        for name, (begin, end) in file.items[file.main].properties:
            if name == b"colr" and content[begin : begin + 4] in (b"prof", b"rICC"):
                return content[begin + 4 : end]
    return None


def _of_jpeg(content: bytes) -> bytes | None:
    parts: dict[int, bytes] = {}
    place = 2
    while content[place] == 0xFF and content[place + 1] not in (0xDA, 0xD9):
        (length,) = struct.unpack_from(">H", content, place + 2)
        segment = content[place + 4 : place + 2 + length]
        if content[place + 1] == 0xE2 and segment.startswith(MARK):
            parts[segment[12]] = segment[14:]
        place += 2 + length
    return b"".join(parts[number] for number in sorted(parts)) or None


def _of_png(content: bytes) -> bytes | None:
    place = 8
    while place + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, place)
        if name == b"IDAT":
            return None
        if name == b"iCCP":
            packed = content[place + 8 : place + 8 + length]
            return zlib.decompressobj().decompress(packed[packed.index(b"\0") + 2 :], LARGEST + 1)
        place += 12 + length
    return None


def _of_webp(content: bytes) -> bytes | None:
    place = 12
    while place + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, place)
        if name == b"ICCP":
            return content[place + 8 : place + 8 + length]
        place += 8 + length + length % 2
    return None


def _of_tiff(content: bytes) -> bytes | None:
    order = "<" if content[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "I", content, 4)
    (count,) = struct.unpack_from(order + "H", content, directory)
    for place in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, _, length, at = struct.unpack_from(order + "HHII", content, place)
        if tag == TIFF_TAG:
            return content[at : at + length]
    return None


def with_profile(jpeg: bytes, profile: bytes) -> bytes:
    """Add a profile to a JPEG.

    Args:
        jpeg: one without a profile.
        profile: at most 255 parts of 65,519 bytes.
    """
    place = 2
    while jpeg[place : place + 2] == b"\xff\xe0":  # after the JFIF segment
        place += 2 + struct.unpack_from(">H", jpeg, place + 2)[0]
    parts = [profile[start : start + PART] for start in range(0, len(profile), PART)]
    segments = [
        b"\xff\xe2" + struct.pack(">H", 16 + len(part)) + MARK + bytes((number, len(parts))) + part
        for number, part in enumerate(parts, start=1)
    ]
    return jpeg[:place] + b"".join(segments) + jpeg[place:]
