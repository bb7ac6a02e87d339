"""Decodes HEIC with pillow-heif (the extra ``heif``), and AVIF with OpenCV or, if it lacks AVIF, with Pillow.

Since version 1, pillow-heif leaves AVIF to Pillow. OpenCV's wheels decode AVIF but do not rotate it, which is done
here. For builds that do not decode it, Pillow (11.3 and later) comes with the same extra.
"""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from typing import Any

import cv2
import numpy as np

from ...core.errors import ImageError, ImageTooLargeError
from ...core.extras import optional
from .avif import is_full_range_grey, stream_sizes
from .heif_boxes import HeifFile, read_boxes
from .pillow import FAULTS, decode_by_pillow

FULL_RANGE = np.clip(np.rint((np.arange(256) - 16.0) * 255 / 219), 0, 255).astype(np.uint8)
"""Lookup table that maps luma from 16–235 to 0–255."""
PIP = "pip install 'facepipe[heif]'"


def decode_heic(content: bytes) -> np.ndarray | None:
    """Decode the main picture of a HEIC file. libheif crops, rotates and mirrors it as the file says.

    libheif refuses a stream that is larger than its box says, so the pixel limit holds. The EXIF orientation is not
    applied again: in HEIC it only repeats what the boxes say. Thumbnails and depth maps are ignored.

    Returns:
        uint8, shape (height, width, 3) BGR or (height, width, 4) BGRA or (height, width); None if it is damaged.

    Raises:
        ImageError: pillow-heif is not installed.
    """
    module: Any = optional("pillow_heif")
    if module is None:
        raise ImageError(f"is a HEIC; to read these: {PIP}")
    try:
        stored = np.array(module.open_heif(io.BytesIO(content), convert_hdr_to_8bit=True, bgr_mode=True))
    except FAULTS:
        return None
    return (stored >> 8).astype(np.uint8) if stored.dtype == np.uint16 else stored  # deep grey was not converted


def decode_avif(content: bytes, most: int) -> np.ndarray | None:
    """Decode an AVIF picture, cropped, rotated and mirrored as its boxes say; its EXIF orientation is ignored.

    Args:
        content: the file.
        most: maximum number of pixels; the caller has checked the boxes, this function checks the streams.

    Returns:
        uint8, shape (height, width, 3), BGR; None if it is damaged.

    Raises:
        ImageError: an animation; or neither OpenCV nor an installed Pillow reads AVIF.
        ImageTooLargeError: a stream is over the limit.
    """
    file = read_boxes(content)
    if file.moving:
        raise ImageError("an animated AVIF; facepipe reads still ones")
    check_stream(content, file, most)
    if cv2.haveImageWriter("a.avif"):  # the build has libavif, for reading and writing
        pixels = np.frombuffer(_without_metadata(content, file), np.uint8)
        frame = cv2.imdecode(pixels, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if frame is not None and _is_limited_grey(content, file):
            frame = cv2.LUT(frame, FULL_RANGE)
    else:
        frame = _by_pillow(content, most)
    if frame is None or frame.shape[:2] != (file.height, file.width):
        return None
    return upright(frame, file)


def _without_metadata(content: bytes, file: HeifFile) -> bytes:
    """Relabel EXIF and XMP items as free space, because OpenCV fails if they lie after the picture."""
    places = [item.kind_at for item in file.items.values() if item.kind in (b"Exif", b"mime")]
    if not places:
        return content
    changed = bytearray(content)
    for place in places:
        changed[place : place + 4] = b"free"
    return bytes(changed)


def _is_limited_grey(content: bytes, file: HeifFile) -> bool:
    """Whether the picture is grey with luma from 16 to 235, which OpenCV does not expand, as it does for colour."""
    properties = dict(file.items[file.main].properties)
    if b"av1C" not in properties:
        return False
    begin, end = properties[b"av1C"]
    if not content[begin + 2] & 0x10:  # monochrome
        return False
    if b"colr" in properties and content[slice(*properties[b"colr"])][:4] == b"nclx":
        return not content[properties[b"colr"][0] + 10] & 0x80
    stream = content[begin + 4 : end] or b"".join(content[slice(*span)] for span in file.items[file.main].spans)
    try:
        return not is_full_range_grey(stream)
    except IndexError:
        return False


def check_stream(content: bytes, file: HeifFile, most: int) -> None:
    """Check the sizes that an AVIF's streams declare: the picture's own, its tiles' and its alpha channel's.

    Args:
        content: the whole file.
        file: what its boxes say.
        most: maximum number of pixels.

    Raises:
        ImageTooLargeError: one stream is over ``most`` pixels, or all together are over twice that.
        ImageError: a stream is damaged.
    """
    total = 0
    for item in file.items.values():
        if item.kind != b"av01":
            continue
        stream = b"".join(content[begin:end] for begin, end in item.spans)
        configured = b"".join(content[begin + 4 : end] for name, (begin, end) in item.properties if name == b"av1C")
        largest = 0
        try:
            for width, height in (*stream_sizes(configured), *stream_sizes(stream)):
                largest = max(largest, width * height)
                if largest > most:
                    text = f"{width} x {height} pixels in its stream, over the limit of {most:,} for such an AVIF"
                    raise ImageTooLargeError(text)
        except IndexError as error:
            raise ImageError("the AVIF's stream is damaged or cut short") from error
        total += largest
    if total > 2 * most:
        raise ImageTooLargeError(f"{total:,} pixels in its tiles, over the limit of {2 * most:,} for such an AVIF")


def upright(frame: np.ndarray, file: HeifFile) -> np.ndarray:
    """Crop, rotate and mirror a decoded picture as its boxes say (ISO/IEC 23008-12, 6.5.9, 6.5.10, 6.5.12).

    Args:
        frame: BGR, uint8, (height, width, 3), as decoded.
        file: what its boxes say.

    Raises:
        ImageError: the crop lies outside the picture.
    """
    for kind, content in file.changes:
        if not content:
            raise ImageError(f"the {file.format} is damaged: an empty {kind.decode()}")
        if kind == b"irot":  # counter-clockwise quarter turns
            frame = np.rot90(frame, content[0] & 3)
        elif kind == b"imir":  # 0 swaps top and bottom, 1 left and right
            frame = frame[:, ::-1] if content[0] & 1 else frame[::-1]
        else:
            frame = _clean_aperture(frame, content, file.format)
    return np.ascontiguousarray(frame)


def _clean_aperture(frame: np.ndarray, content: bytes, format: str) -> np.ndarray:
    """Crop to ``clap``: a size, and the offset of its centre from the picture's (ISO/IEC 14496-12, 12.1.4)."""
    try:
        across, down, right, below = (Fraction(*pair) for pair in struct.iter_unpack(">iI", content[:32]))
    except (struct.error, ValueError, ZeroDivisionError) as error:
        raise ImageError(f"the {format} is damaged: its clean aperture is invalid") from error
    height, width = frame.shape[:2]
    left, top = round((width - across) / 2 + right), round((height - down) / 2 + below)
    columns, rows = round(across), round(down)
    if left < 0 or top < 0 or columns < 1 or rows < 1 or left + columns > width or top + rows > height:
        raise ImageError(f"the {format} is damaged: its clean aperture lies outside of it")
    return frame[top : top + rows, left : left + columns]


def _by_pillow(content: bytes, most: int) -> np.ndarray | None:
    features: Any = optional("PIL.features")
    if features is None or not features.check("avif"):
        raise ImageError(f"is an AVIF, which this OpenCV cannot read; to read it: {PIP}")
    return decode_by_pillow(content, "AVIF", most)
