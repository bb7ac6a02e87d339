from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from facepipe.core.errors import ImageError, ImageTooLargeError
from facepipe.pipeline.inputs.image_header import check_whole, read_header
from facepipe.pipeline.inputs.image_reader import Limits, read_frame
from PIL import Image

SUFFIXES = {".jpg": "JPEG", ".png": "PNG", ".webp": "WebP", ".bmp": "BMP", ".gif": "GIF", ".tiff": "TIFF"}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("shape", [(1, 1), (37, 300), (300, 37)])
def test_size_is_read_from_every_format(suffix: str, shape: tuple[int, int], encode: Callable[..., bytes]) -> None:
    content = encode(suffix, np.full((*shape, 3), 99, np.uint8))
    header = read_header(content)
    assert (header.format, header.height, header.width) == (SUFFIXES[suffix], *shape)
    check_whole(content, header)


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {"progressive": True}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"quality": 50, "exif": Image.Exif()}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"big_tiff": False}),
    ],
)
def test_size_is_read_as_pillow_writes_it(format: str, options: dict) -> None:
    stored = io.BytesIO()
    Image.new("RGB", (77, 33), "red").save(stored, format, **options)
    header = read_header(stored.getvalue())
    assert (header.width, header.height) == (77, 33)
    check_whole(stored.getvalue(), header)


def test_webp_with_alpha_has_an_extended_header() -> None:
    stored = io.BytesIO()
    Image.new("RGBA", (77, 33), (255, 0, 0, 100)).save(stored, "WEBP")
    assert b"VP8X" in stored.getvalue()[:16]
    assert read_header(stored.getvalue()).width == 77


def test_motorola_tiff_and_top_down_bitmap() -> None:
    entries = struct.pack(">HHII", 256, 4, 1, 70_000) + struct.pack(">HHIHH", 257, 3, 1, 9, 0)
    tiff = b"MM\0*" + struct.pack(">IH", 8, 2) + entries + bytes(4)
    assert (read_header(tiff).width, read_header(tiff).height) == (70_000, 9)
    bitmap = b"BM" + bytes(12) + struct.pack("<Iii", 40, 5, -7)
    assert (read_header(bitmap).width, read_header(bitmap).height) == (5, 7)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_cut_gives_a_typed_error_or_leaves_it_to_the_decoder(suffix: str, encode: Callable[..., bytes]) -> None:
    content = encode(suffix)
    for length in [*range(60), *range(60, len(content), 97)]:
        cut = content[:length]
        try:
            header = read_header(cut)
        except ImageError:
            continue
        if suffix in (".jpg", ".png", ".webp"):
            with pytest.raises(ImageError, match="cut short"):
                check_whole(cut, header)


def test_bytes_after_the_end_are_fine(encode: Callable[..., bytes]) -> None:
    for suffix in (".jpg", ".png", ".webp"):
        content = encode(suffix) + b"left by a phone" * 9
        check_whole(content, read_header(content))


def test_junk_and_fill_bytes_between_jpeg_segments_are_passed_over(encode: Callable[..., bytes]) -> None:
    content = encode(".jpg")
    assert content[2:6] == b"\xff\xe0\x00\x10", "a first segment of 18 bytes"
    loose = content[:20] + b"junk\xff" + content[20:]
    assert read_header(loose) == read_header(content)
    check_whole(loose, read_header(loose))
    assert cv2.imdecode(np.frombuffer(loose, np.uint8), cv2.IMREAD_COLOR) is not None


def test_a_thumbnail_s_end_is_not_the_picture_s(encode: Callable[..., bytes]) -> None:
    """The EXIF block of a camera holds a whole small JPEG, with an end marker of its own."""
    content, thumbnail = encode(".jpg"), encode(".jpg", np.zeros((8, 8, 3), np.uint8))
    block = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    camera = content[:2] + block + content[2:]
    assert read_header(camera) == read_header(content)
    with pytest.raises(ImageError, match="cut short"):
        check_whole(camera[:-2], read_header(camera))


def test_a_flipped_bit_in_a_png_is_noticed(encode: Callable[..., bytes]) -> None:
    content = bytearray(encode(".png"))
    content[len(content) // 2] ^= 1
    with pytest.raises(ImageError, match="checksum"):
        check_whole(bytes(content), read_header(bytes(content)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello", "not a picture"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "HEIC"),
        (b"\xff\xd8\xff\xd9" + bytes(40), "frame header"),
        (b"\xff\xd8" + b"\xff\xe0\0\0" * 9, "frame header|damaged"),
        (b"GIF89a\0\0\0\0" + bytes(40), "0 x 0"),
        (b"BM" + bytes(6), "cut short"),
        (b"II*\0\xff\xff\xff\xff", "cut short|damaged"),
        (b"RIFF\x10\0\0\0WEBPJUNK" + bytes(40), "WebP"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "PNG"),
    ],
)
def test_what_is_wrong_is_said(content: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_header(content)


def test_random_bytes_behind_every_signature_never_escape() -> None:
    random = np.random.default_rng(3)
    signatures = [
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"GIF89a",
        b"BM",
        b"II*\0",
        b"MM\0*",
        b"RIFF____WEBPVP8X",
    ]
    for _ in range(300):
        for signature in signatures:
            content = signature + random.bytes(int(random.integers(0, 200)))
            try:
                header = read_header(content)
                check_whole(content, header)
            except ImageError:
                continue
            assert header.width > 0
            assert header.height > 0


def test_header_agrees_with_opencv_on_rotated_pictures(encode: Callable[..., bytes]) -> None:
    content = encode(".jpg")
    decoded: Any = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape[:2] == (read_header(content).height, read_header(content).width)


@pytest.mark.parametrize(
    ("form", "mode", "options", "cost"),
    [
        ("JPEG", "RGB", {"progressive": True}, 9),
        ("JPEG", "CMYK", {}, 9),
        ("JPEG", "CMYK", {"progressive": True}, 11),
        ("PNG", "RGBA", {}, 9),
        ("PNG", "RGBA", {"save_all": True}, 12),
        ("TIFF", "RGBA", {}, 9),
        ("TIFF", "1", {}, 9),
        ("WEBP", "RGBA", {}, 9),
    ],
)
def test_what_takes_more_memory_is_told(form: str, mode: str, options: dict[str, Any], cost: int) -> None:
    stored = io.BytesIO()
    if options.get("save_all"):
        options = {**options, "append_images": [Image.new(mode, (9, 7), (1, 2, 3, 4))]}
    Image.new(mode, (9, 7)).save(stored, form, **options)
    header = read_header(stored.getvalue())
    assert (header.width, header.height, header.cost) == (9, 7, cost)


@pytest.mark.parametrize(("channels", "cost"), [(1, 9), (3, 10), (4, 12)])
def test_deep_tiffs_take_more(channels: int, cost: int) -> None:
    content = cv2.imencode(".tiff", np.zeros((7, 9, channels), np.uint16))[1].tobytes()
    header = read_header(content)
    assert (header.width, header.height, header.cost) == (9, 7, cost)
    if cost == 9:
        assert read_frame(content, Limits(pixels=63)).shape == (7, 9, 3)
        return
    with pytest.raises(ImageTooLargeError, match="more memory"):
        read_frame(content, Limits(pixels=63))


def test_tiles_much_larger_than_the_picture_are_refused() -> None:
    def tiff(side: int) -> bytes:
        sides = ((256, 64), (257, 64), (322, side), (323, side))
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sides)
        return b"II*\0" + struct.pack("<IH", 8, 4) + entries + bytes(4)

    assert read_header(tiff(4096)).width == 64
    with pytest.raises(ImageError, match="tiles much larger"):
        read_header(tiff(4112))
