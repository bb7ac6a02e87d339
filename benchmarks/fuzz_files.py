"""The files of fuzz_reader.py: valid pictures of every kind, built here, and the mutations applied to them.

Blind damage alone seldom reaches a decoder, because checksums and sizes stop it early. So half of the files are
repaired where a kind has a checksum or a total length; in many HEIC and AVIF files only the coded data is damaged; and
each kind's own parts (PNG chunks, JPEG segments, boxes, …) are duplicated, dropped, swapped and altered.
"""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

PHOTO = Path(__file__).parent.parent / "examples" / "astronaut.jpg"
KINDS = (
    "JPEG baseline",
    "JPEG progressive",
    "PNG 8 bit",
    "PNG 16 bit",
    "PNG palette",
    "PNG interlaced",
    "WebP lossy",
    "WebP lossless",
    "BMP",
    "GIF",
    "TIFF",
    "HEIC",
    "AVIF",
)
NUMBERS = (0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 10_000, 30_000, 100_000, 2**24 - 1)
LARGE = (2**31 - 1, 2**31, 2**32 - 1, 0x40000000, 0x01010101)
Span = tuple[int, int]


def sound_files(kind: str) -> list[bytes]:
    """Several small pictures of a kind: the astronaut, and drawn ones."""
    photo = Image.open(PHOTO).convert("RGB").resize((96, 80))
    drawn = np.full((61, 45, 3), 230, np.uint8)
    cv2.circle(drawn, (20, 30), 15, (30, 90, 200), -1)
    cv2.putText(drawn, "a7", (2, 50), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (0, 0, 0), 1)
    pictures = [photo, Image.fromarray(drawn)]
    return [_save(picture, form, **options) for form, each, options in _forms(kind) for picture in map(each, pictures)]


def _forms(kind: str) -> Iterator[tuple[str, Callable[[Image.Image], Image.Image], dict[str, Any]]]:
    def same(image: Image.Image) -> Image.Image:
        return image

    def to(mode: str) -> Callable[[Image.Image], Image.Image]:
        return lambda image: image.convert(mode)

    turned = Image.Exif()
    turned[0x0112] = 6
    match kind:
        case "JPEG baseline" | "JPEG progressive":
            progressive = kind.endswith("progressive")
            for each, options in (
                (same, {"exif": turned}),
                (to("L"), {}),
                (to("CMYK"), {}),
                (same, {"subsampling": 0}),
            ):
                yield "JPEG", each, {"progressive": progressive, **options}
            yield "JPEG", same, {"progressive": progressive, "restart_marker_blocks": 3}
        case "PNG 8 bit":
            yield from (("PNG", to(mode), {}) for mode in ("RGB", "RGBA", "L", "LA", "1"))
            yield "PNG", same, {"exif": turned}
        case "PNG 16 bit":
            yield "PNG", lambda image: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), {}
            yield "cv2.png", same, {"deep": True}
        case "PNG palette":
            yield from (("PNG", lambda image, n=n: image.quantize(n), {}) for n in (2, 4, 16, 256))
        case "PNG interlaced":
            yield from (("interlaced", to(mode), {}) for mode in ("RGB", "L"))
        case "WebP lossy":
            yield from (("WEBP", to(mode), {"quality": 60, "exif": turned}) for mode in ("RGB", "RGBA"))
            yield "WEBP", same, {"quality": 20}
        case "WebP lossless":
            yield from (("WEBP", to(mode), {"lossless": True}) for mode in ("RGB", "RGBA"))
        case "BMP":
            yield from (("BMP", to(mode), {}) for mode in ("RGB", "RGBA", "L", "P", "1"))
            yield "rle.bmp", same, {}
        case "GIF":
            yield "GIF", same, {}
            yield "GIF", same, {"save_all": True, "several": True}
        case "TIFF":
            for packing in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
                yield "TIFF", same, {"compression": packing}
            yield from (("TIFF", to("1"), {"compression": packing}) for packing in ("group3", "group4", "tiff_ccitt"))
            yield "TIFF", to("L"), {"compression": "tiff_lzw", "tiffinfo": {317: 2, 274: 6}}
            yield "TIFF", to("RGBA"), {"compression": "tiff_adobe_deflate"}
            yield "cv2.tiff", same, {"deep": True}
        case "HEIC":
            yield "HEIF", same, {"exif": turned.tobytes()}
            yield "HEIF", to("RGBA"), {}
            yield "HEIF", to("L"), {}
            yield "HEIF", same, {"tile_size": 64}
        case "AVIF":
            yield "AVIF", same, {"exif": turned, "speed": 10}
            yield "AVIF", to("RGBA"), {"speed": 10}
            yield "AVIF", same, {"speed": 10, "subsampling": "4:4:4", "quality": 95}
            yield "cv2.avif", same, {"deep": True}


def _save(picture: Image.Image, form: str, deep: bool = False, several: bool = False, **settings: Any) -> bytes:
    stored = io.BytesIO()
    if form.startswith("cv2"):
        pixels = np.asarray(picture.convert("RGB"))
        options = [cv2.IMWRITE_AVIF_DEPTH, 10, cv2.IMWRITE_AVIF_SPEED, 10] if form == "cv2.avif" else []
        pixels = pixels.astype(np.uint16) * 257 if deep else pixels
        encoded = cv2.imencode(form.removeprefix("cv2"), pixels >> 6 if form == "cv2.avif" else pixels, options)[1]
        return encoded.tobytes()
    if form == "interlaced":
        return _interlaced(np.asarray(picture))
    if form == "rle.bmp":
        return _rle_bitmap(np.asarray(picture.convert("L")))
    if form == "HEIF":
        from pillow_heif import register_heif_opener

        register_heif_opener()
    if several:
        settings["append_images"] = [picture.rotate(90), picture.rotate(180)]
    picture.save(stored, form, **settings)
    return stored.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk with its length and checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _interlaced(pixels: np.ndarray) -> bytes:
    """A PNG in Adam7 order (ISO/IEC 15948, 8.2), which no available encoder writes."""
    rows = bytearray()
    for top, left, down, across in (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ):
        part = pixels[top::down, left::across]
        for row in part if part.shape[1] else ():
            rows += b"\0" + row.tobytes()
    colour = 2 if pixels.ndim == 3 else 0
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, colour, 0, 0, 1)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(rows))) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _rle_bitmap(grey: np.ndarray) -> bytes:
    """A run-length encoded BMP of 8 bits per pixel (BI_RLE8)."""
    packed = bytearray()
    for row in grey[::-1]:
        for value in row:
            packed += bytes((1, int(value)))
        packed += b"\0\0"
    packed += b"\0\1"
    palette = b"".join(bytes((each, each, each, 0)) for each in range(256))
    info = struct.pack("<IiiHHIIiiII", 40, grey.shape[1], grey.shape[0], 1, 8, 1, len(packed), 0, 0, 256, 0)
    start = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(packed), 0, 0, start) + info + palette + bytes(packed)


def mutated(kind: str, files: list[bytes], seed: int, index: int) -> bytes:
    """The mutated file with this index; always the same for the same seed."""
    chance = random.Random(f"{seed}/{kind}/{index}")
    content = bytearray(chance.choice(files))
    if content[4:8] == b"ftyp" and chance.random() < 0.4:
        return _coded_data_changed(content, chance)
    changes = (flip, set_bytes, set_number, truncate, zero, move_range, insert, splice, *[change_part] * 3)
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 5))):
        chance.choice(changes)(content, chance, files)
    if chance.random() < 0.02:
        content[chance.randrange(4, 40) :] = chance.randbytes(chance.randrange(2000))
    if chance.random() < 0.5:
        put_right(content)
    return bytes(content)


def _coded_data_changed(content: bytearray, chance: random.Random) -> bytes:
    """Damage the contents of the box ``mdat``, keeping its length."""
    begin = content.rindex(b"mdat") + 4
    data = content[begin:]
    for _ in range(chance.choice((1, 1, 2, 4))):
        chance.choice((flip, set_bytes, zero))(data, chance, [])
    return bytes(content[:begin] + data)


def _place(content: bytearray, chance: random.Random) -> int:
    """A random offset in the file; half of the time in its first part, where headers are."""
    return chance.randrange(min(len(content), 400) if chance.random() < 0.5 else len(content)) if content else 0


def _range(content: bytearray, chance: random.Random) -> slice:
    begin = _place(content, chance)
    return slice(begin, begin + chance.choice((1, 2, 4, 8, 16, 64, 256, 1024)))


def flip(content: bytearray, chance: random.Random, _: list[bytes]) -> None:
    for _time in range(chance.choice((1, 1, 2, 4, 16)) if content else 0):
        content[_place(content, chance)] ^= 1 << chance.randrange(8)


def set_bytes(content: bytearray, chance: random.Random, _: list[bytes]) -> None:
    for _time in range(chance.choice((1, 2, 4)) if content else 0):
        content[_place(content, chance)] = chance.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF, chance.randrange(256)))


def set_number(content: bytearray, chance: random.Random, _: list[bytes]) -> None:
    form = chance.choice((">H", "<H", ">I", "<I"))
    number = chance.choice(NUMBERS if form[1] == "H" or chance.random() < 0.6 else LARGE) & (
        2 ** (8 * struct.calcsize(form)) - 1
    )
    begin = _place(content, chance)
    content[begin : begin + struct.calcsize(form)] = struct.pack(form, number)


def truncate(content: bytearray, chance: random.Random, _: list[bytes]) -> None:
    del content[_place(content, chance) :]


def zero(content: bytearray, chance: random.Random, _: list[bytes]) -> None:
    where = _range(content, chance)
    content[where] = bytes(len(content[where]))


def move_range(content: bytearray, chance: random.Random, _: list[bytes]) -> None:
    where = _range(content, chance)
    piece = bytes(content[where])
    if chance.random() < 0.6:
        del content[where]
    if chance.random() < 0.6:
        begin = _place(content, chance)
        content[begin:begin] = piece * chance.choice((1, 1, 2, 9))


def insert(content: bytearray, chance: random.Random, _: list[bytes]) -> None:
    begin = _place(content, chance)
    content[begin:begin] = chance.randbytes(chance.choice((1, 2, 3, 4, 16, 100)))


def splice(content: bytearray, chance: random.Random, files: list[bytes]) -> None:
    other = chance.choice(files)
    content[_place(content, chance) :] = other[_place(bytearray(other), chance) :]


def change_part(content: bytearray, chance: random.Random, files: list[bytes]) -> None:
    """Duplicate, drop, swap or alter one of the file's parts, or take one from another file."""
    spans = list(parts(bytes(content)))
    if not spans:
        return
    begin, end = chance.choice(spans)
    match chance.randrange(6):
        case 0:
            content[end:end] = content[begin:end] * chance.choice((1, 1, 3))
        case 1:
            del content[begin:end]
        case 2:
            first, last = chance.choice(spans)
            content[begin:end], content[first:last] = content[first:last], content[begin:end]
        case 3:
            other = chance.choice(files)
            if borrowed := list(parts(other)):
                content[begin:end] = other[slice(*chance.choice(borrowed))]
        case _:
            part = content[begin : min(end, begin + 64)]
            chance.choice((flip, set_bytes, set_number))(part, chance, files)
            content[begin : begin + len(part)] = part


def parts(content: bytes) -> Iterator[Span]:
    """Start and end of the chunks, segments, directory entries or boxes of a file, as far as they can be parsed."""
    try:
        if content.startswith(b"\x89PNG"):
            yield from _png_parts(content)
        elif content.startswith(b"\xff\xd8"):
            yield from _jpeg_parts(content)
        elif content.startswith(b"RIFF"):
            yield from _riff_parts(content)
        elif content[4:8] == b"ftyp":
            yield from _box_parts(content, 0, len(content), 0)
        elif content[:2] in (b"II", b"MM"):
            yield from _tiff_parts(content)
        elif content.startswith(b"BM"):
            yield from ((place, place + 4) for place in range(2, 54, 4))
        elif content.startswith(b"GIF"):
            yield from ((place, place + 8) for place in range(len(content)) if content[place] in b"!,")
    except (struct.error, IndexError):
        return


def _png_parts(content: bytes) -> Iterator[Span]:
    place = 8
    while place + 12 <= len(content):
        end = place + 12 + struct.unpack_from(">I", content, place)[0]
        yield place, end
        place = end


def _jpeg_parts(content: bytes) -> Iterator[Span]:
    place = 2
    while (place := content.find(b"\xff", place)) >= 0:
        if content[place + 1] in (0, 0xFF, 1) or 0xD0 <= content[place + 1] <= 0xD9:
            place += 2
            continue
        end = place + 2 + struct.unpack_from(">H", content, place + 2)[0]
        yield place, end
        place = end


def _riff_parts(content: bytes) -> Iterator[Span]:
    place = 12
    while place + 8 <= len(content):
        length = struct.unpack_from("<I", content, place + 4)[0]
        yield place, place + 8 + length + length % 2
        place += 8 + length + length % 2


def _box_parts(content: bytes, place: int, end: int, depth: int) -> Iterator[Span]:
    within = {b"meta": 12, b"iprp": 8, b"ipco": 8, b"iinf": 14, b"dinf": 8, b"moov": 8, b"trak": 8, b"mdia": 8}
    while place + 8 <= end:
        length, kind = struct.unpack_from(">I4s", content, place)
        if length < 8:
            return
        yield place, place + length
        if kind in within and depth < 8:
            yield from _box_parts(content, place + within[kind], min(place + length, end), depth + 1)
        place += length


def _tiff_parts(content: bytes) -> Iterator[Span]:
    order = "<" if content[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "I", content, 4)
    (count,) = struct.unpack_from(order + "H", content, directory)
    yield from ((place, place + 12) for place in range(directory + 2, directory + 2 + 12 * min(count, 50), 12))


def put_right(content: bytearray) -> None:
    """Fix what would get a damaged file rejected early: PNG checksums, the JPEG end marker, the length of a WebP."""
    if content.startswith(b"\x89PNG"):
        for begin, end in _png_parts(bytes(content)):
            if end <= len(content):
                content[end - 4 : end] = struct.pack(">I", zlib.crc32(content[begin + 4 : end - 4]))
        if b"IEND" not in content:
            content += png_chunk(b"IEND", b"")
    elif content.startswith(b"\xff\xd8"):
        content += b"\xff\xd9"
    elif content.startswith(b"RIFF"):
        content[4:8] = struct.pack("<I", max(len(content) - 8, 0))
