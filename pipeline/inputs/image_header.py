"""Reads a picture's format and size, and whether the file is complete, without decoding a pixel.

The layouts are those of PNG (ISO/IEC 15948, 5.2 and 11.2.2), JPEG (ITU-T T.81, B.1 and B.2), WebP (RFC 9649, 2.5 to
2.7), GIF89a (18), BMP (Windows DIB headers) and TIFF 6.0 (2). HEIC and AVIF are in ``heif_boxes``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from ...core.errors import ImageError, ImageTypeError
from .heif_boxes import is_boxed, is_transparent, read_boxes

FORMATS = "JPEG, PNG, WebP, BMP, GIF, TIFF, HEIC and AVIF"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers SOF0 to SOF15; the other three in that range are DHT, JPG and DAC."""
TIFF_TAGS = (256, 257, 258, 277, 322, 323, 338)
"""ImageWidth, ImageLength, BitsPerSample, SamplesPerPixel, TileWidth, TileLength, ExtraSamples (2: transparency)."""
START_OF_SCAN, END_OF_IMAGE, APP1 = 0xDA, b"\xff\xd9", 0xE1


@dataclass(frozen=True)
class ImageHeader:
    """Format and size of a stored picture.

    Attributes:
        format: ``JPEG``, ``PNG``, ``WebP``, ``BMP``, ``GIF``, ``TIFF``, ``HEIC`` or ``AVIF``.
        width: stored columns, before any EXIF rotation.
        height: stored rows.
        cost: maximum bytes of memory per pixel during decoding, measured with the decoders in use (see
            benchmarks/fuzz_bombs.py); 9 stands for everything that takes less.
        pillow_first: a BigTIFF, which OpenCV does not read, or a TIFF whose colours OpenCV would darken by
            transparency.
    """

    format: str
    width: int
    height: int
    cost: int = 9
    pillow_first: bool = False


def read_header(content: bytes) -> ImageHeader:
    """Read the header of an encoded picture.

    Raises:
        ImageError: an unknown format, or an invalid header. The message does not name the file.
    """
    try:
        header = _read_header(content)
    except (struct.error, IndexError) as error:
        raise ImageError("the header is cut short or damaged") from error
    if header.width < 1 or header.height < 1:
        raise ImageError(f"the {header.format} header says {header.width} x {header.height} pixels")
    return header


def _read_header(content: bytes) -> ImageHeader:
    if content.startswith(PNG_SIGNATURE):
        if content[12:16] != b"IHDR":
            raise ImageError("a PNG that does not begin with its header")
        return _png(content)
    if content.startswith(b"\xff\xd8\xff"):
        return _jpeg(content)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _webp(content)
    if content[:6] in (b"GIF87a", b"GIF89a"):
        return ImageHeader("GIF", *struct.unpack_from("<HH", content, 6))
    if content[:2] == b"BM":
        (size,) = struct.unpack_from("<I", content, 14)
        width, height = struct.unpack_from("<HH" if size == 12 else "<ii", content, 18)
        return ImageHeader("BMP", width, abs(height))  # a negative height means top-down rows
    if content[:4] in (b"II*\0", b"MM\0*"):
        return _tiff(content)
    if content[:4] in (b"II+\0", b"MM\0+"):
        return _tiff(content, big=True)
    if is_boxed(content):
        return _boxed(content)
    raise ImageTypeError(f"not a picture that facepipe reads ({FORMATS})")


def _png(content: bytes) -> ImageHeader:
    width, height, depth = struct.unpack_from(">IIB", content, 16)
    moving = content.find(b"acTL", 33, max(content.find(b"IDAT"), 33)) > 0
    return ImageHeader("PNG", width, height, (22 if depth == 16 else 12) if moving else 9)


def _jpeg(content: bytes) -> ImageHeader:
    for marker, start in jpeg_segments(content):
        if marker in START_OF_FRAME:
            height, width, components = struct.unpack_from(">HHB", content, start + 3)
            return ImageHeader("JPEG", width, height, 9 if marker in (0xC0, 0xC1) or components < 4 else 11)
    raise ImageError("a JPEG without a frame header: damaged or cut short")


def jpeg_segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Marker and position (of its length field) of each segment up to the first scan, or as far as the file goes."""
    place = 2
    while 0 <= (place := content.find(b"\xff", place)) <= len(content) - 4:  # decoders skip bytes in between too
        marker = content[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:  # standalone marker
            place += 2
        else:
            yield marker, place + 2
            if marker == START_OF_SCAN:
                return
            place += 2 + struct.unpack_from(">H", content, place + 2)[0]


def _webp(content: bytes) -> ImageHeader:
    chunk = content[12:16]
    if chunk == b"VP8X":
        width = int.from_bytes(content[24:27], "little") + 1
        height = int.from_bytes(content[27:30], "little") + 1
    elif chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif chunk == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", content, 26))
    else:
        raise ImageError("a WebP that does not begin with a picture")
    return ImageHeader("WebP", width, height)


def _tiff(content: bytes, big: bool = False) -> ImageHeader:
    """Read the first directory; BigTIFF differs in the width of its counts and offsets."""
    order = "<" if content[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "Q", content, 8) if big else struct.unpack_from(order + "I", content, 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), content, directory)
    first, step = directory + (8 if big else 2), 20 if big else 12
    inline = 8 if big else 4
    found: dict[int, int] = {}
    for place in range(first, first + step * min(count, len(content) // step), step):
        tag, kind, several = struct.unpack_from(order + ("HHQ" if big else "HHI"), content, place)
        size = {3: 2, 4: 4, 16: 8}.get(kind, 0)  # SHORT, LONG, LONG8
        if tag in TIFF_TAGS and size and tag not in found:
            at = place + step - inline
            if inline < several * size <= len(content):  # the values are elsewhere: read the first of them
                (at,) = struct.unpack_from(order + ("Q" if big else "I"), content, at)
            (found[tag],) = struct.unpack_from(order + {2: "H", 4: "I", 8: "Q"}[size], content, at)
    width, height, depth = found.get(256, 0), found.get(257, 0), found.get(258, 1)
    if depth > 16:
        raise ImageError(f"a TIFF with {depth} bits per sample, which is not supported; convert it to 8 or 16 bits")
    if found.get(322, 0) * found.get(323, 0) > max(4 * width * height, 2**24):
        raise ImageError("a TIFF with tiles much larger than the picture")
    return ImageHeader(
        "TIFF", width, height, max(9, 4 + found.get(277, 1) * (depth + 7 >> 3)), big or found.get(338) == 2
    )


def _boxed(content: bytes) -> ImageHeader:
    try:
        file = read_boxes(content)
    except ImageError as error:
        raise ImageError(f"{error}; facepipe reads {FORMATS}") from error
    cost = {"HEIC": (12, 22), "AVIF": (20, 40)}[file.format][is_transparent(content, file)]
    return ImageHeader(file.format, file.width, file.height, cost)


def check_whole(content: bytes, header: ImageHeader) -> None:
    """Check that a picture is complete. Bytes after the end are ignored; cameras and phones leave some.

    Decoders treat truncated files differently (some silently fill the rest with grey), so JPEG, PNG and WebP are
    checked here, PNG chunks also by their checksums; ``read_header`` has already checked HEIC and AVIF. Damage inside
    the other formats is left to the decoder.

    Raises:
        ImageError: the file is truncated or damaged.
    """
    if header.format == "JPEG":
        scan = next((start for marker, start in jpeg_segments(content) if marker == START_OF_SCAN), len(content))
        # Within a scan 0xFF is followed by a stuffed zero, so the marker's two bytes can only mean the end.
        whole = content.find(END_OF_IMAGE, scan) >= 0
    elif header.format == "PNG":
        whole = _png_whole(content)
    elif header.format == "WebP":
        whole = len(content) >= struct.unpack_from("<I", content, 4)[0] + 8
    else:
        whole = True
    if not whole:
        raise ImageError(f"the {header.format} is cut short: its end is missing")


def _png_whole(content: bytes) -> bool:
    place = len(PNG_SIGNATURE)
    view = memoryview(content)
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        end = place + 12 + length
        if end > len(content):
            return False
        if zlib.crc32(view[place + 4 : end - 4]) != struct.unpack_from(">I", content, end - 4)[0]:
            raise ImageError("the PNG is damaged: a checksum does not match")
        if content[place + 4 : place + 8] == b"IEND":
            return True
        place = end
    return False


def jpeg_exif(content: bytes) -> bytes:
    """The first EXIF block of a JPEG (Exif 2.32, 4.7.2), or b"" if there is none."""
    for marker, start in jpeg_segments(content):
        if marker == APP1 and content[start + 2 : start + 8] == b"Exif\0\0":
            return content[start + 2 : start + int.from_bytes(content[start : start + 2], "big")]
    return b""


def webp_exif(content: bytes) -> bytes:
    """The EXIF chunk of a WebP (RFC 9649, 2.7.1.5), or b"" if there is none."""
    place = 12
    while place + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, place)
        if name == b"EXIF":
            return content[place + 8 : place + 8 + length]
        place += 8 + length + length % 2
    return b""
