"""Large pictures in few bytes, for fuzz_reader.py. Each is built and read in its own process."""

from __future__ import annotations

import io
import struct
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from fuzz_files import png_chunk
from PIL import Image

Image.MAX_IMAGE_PIXELS = None
FAST: dict[str, Any] = {"quality": 10, "enc_params": {"preset": "ultrafast"}}
"""Fast HEIC encoder settings, because encoding takes long."""


def png(side: int) -> bytes:
    """Black, one bit per pixel."""
    packer, row = zlib.compressobj(9), bytes(1 + (side + 7) // 8)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")


def saved(form: str, side: int, mode: str = "RGB", **options: Any) -> bytes:
    stored = io.BytesIO()
    if form == "HEIF":
        from pillow_heif import register_heif_opener

        register_heif_opener()
    Image.new("L" if form in ("JPEG", "TIFF") else mode, (side, side)).save(stored, form, **options)
    return stored.getvalue()


def resized(content: bytes, old: bytes, new: bytes) -> bytes:
    """The same file with another size written in its header."""
    if old not in content:
        raise ValueError("the size is not where it was")
    return content.replace(old, new)


def box_says_64(content: bytes, side: int) -> bytes:
    return resized(content, b"ispe" + struct.pack(">III", 0, side, side), b"ispe" + struct.pack(">III", 0, 64, 64))


def gif_canvas(side: int) -> bytes:
    small = cv2.imencode(".gif", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    return small[:6] + struct.pack("<HH", side, side) + small[10:]


def jpeg_without_data(side: int, mode: str) -> bytes:
    """A progressive 64 x 64 JPEG whose header claims more. The data ends at once, but the scans cover all of it."""
    stored = io.BytesIO()
    subsampling = {} if mode == "CMYK" else {"subsampling": 0}
    Image.new(mode, (64, 64)).save(stored, "JPEG", progressive=True, **subsampling)
    small = stored.getvalue()
    place = small.index(b"\xff\xc2")
    return small[: place + 5] + struct.pack(">HH", side, side) + small[place + 9 :]


def moving_png(side: int) -> bytes:
    """An animation of one whole frame, 16-bit RGBA."""
    packer, row = zlib.compressobj(1), bytes(1 + 8 * side)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 16, 6, 0, 0, 0)
    moving = png_chunk(b"acTL", struct.pack(">II", 2, 0))
    moving += png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, side, side, 0, 0, 1, 10, 0, 0))
    chunks = png_chunk(b"IHDR", header) + moving + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def deep_tiff(side: int, samples: int) -> bytes:
    """16 bits per sample, deflated, in one strip."""
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(bytes(2 * samples * side)) for _ in range(side)) + packer.flush()
    long, short, place = 4, 3, 8 + 2 + 9 * 12 + 4
    entries = [
        (256, long, 1, side),
        (257, long, 1, side),
        (258, short, samples, place),
        (259, short, 1, 8),
        (262, short, 1, 2),
        (273, long, 1, place + 2 * samples),
        (277, short, 1, samples),
        (278, long, 1, side),
        (279, long, 1, len(packed)),
    ]
    directory = struct.pack("<H", 9) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return b"II*\0\x08\0\0\0" + directory + struct.pack("<H", 16) * samples + packed


def deep_heic(side: int) -> bytes:
    from pillow_heif import encode

    stored = io.BytesIO()
    encode("RGBA;16", (side, side), bytes(8 * side * side), stored, **FAST)
    return stored.getvalue()


def deep_avif(side: int) -> bytes:
    settings = [cv2.IMWRITE_AVIF_DEPTH, 12, cv2.IMWRITE_AVIF_SPEED, 10]
    return cv2.imencode(".avif", np.zeros((side, side, 4), np.uint16), settings)[1].tobytes()


BOMBS: dict[str, Callable[[], bytes]] = {
    "PNG 30,000 x 30,000": lambda: png(30_000),
    "PNG 9,999 x 9,999": lambda: png(9_999),
    "APNG of 16 bits, 6,300 x 6,300": lambda: moving_png(6_300),
    "APNG of 16 bits, 9,999 x 9,999": lambda: moving_png(9_999),
    "JPEG 9,999 x 9,999": lambda: saved("JPEG", 9_999, quality=10),
    "JPEG 64 x 64 that says 9,999 x 9,999": lambda: jpeg_without_data(9_999, "RGB"),
    "JPEG CMYK 64 x 64 that says 9,000 x 9,000": lambda: jpeg_without_data(9_000, "CMYK"),
    "JPEG CMYK 64 x 64 that says 9,999 x 9,999": lambda: jpeg_without_data(9_999, "CMYK"),
    "WebP 9,999 x 9,999": lambda: saved("WEBP", 9_999, quality=1, method=0),
    "WebP lossless 9,999 x 9,999": lambda: saved("WEBP", 9_999, lossless=True, method=0, quality=0),
    "TIFF 30,000 x 30,000": lambda: saved("TIFF", 30_000, compression="tiff_adobe_deflate"),
    "TIFF 9,999 x 9,999": lambda: saved("TIFF", 9_999, compression="tiff_adobe_deflate"),
    "TIFF RGBA of 16 bits, 8,600 x 8,600": lambda: deep_tiff(8_600, 4),
    "TIFF RGBA of 16 bits, 9,999 x 9,999": lambda: deep_tiff(9_999, 4),
    "GIF 8 x 8 that says 65,535 x 65,535": lambda: gif_canvas(65_535),
    "GIF 8 x 8 that says 9,999 x 9,999": lambda: gif_canvas(9_999),
    "HEIC 8,600 x 8,600": lambda: saved("HEIF", 8_600, **FAST),
    "HEIC 5,000 x 5,000 that says 64 x 64": lambda: box_says_64(saved("HEIF", 5_000, **FAST), 5_000),
    "AVIF 6,700 x 6,700": lambda: saved("AVIF", 6_700, quality=10, speed=10, subsampling="4:4:4"),
    "AVIF RGBA of 12 bits, 4,700 x 4,700": lambda: deep_avif(4_700),
    "AVIF 9,000 x 9,000": lambda: saved("AVIF", 9_000, quality=10, speed=10),
    "AVIF 9,000 x 9,000 that says 64 x 64": lambda: box_says_64(saved("AVIF", 9_000, quality=10, speed=10), 9_000),
    "HEIC RGBA of 10 bits, 6,300 x 6,300": lambda: deep_heic(6_300),
    "AVIF RGBA 4,700 x 4,700": lambda: saved("AVIF", 4_700, "RGBA", quality=10, speed=10, subsampling="4:4:4"),
}


def peak() -> float:
    """Peak memory of this process so far, in MB. (getrusage may report its parent's, from before.)"""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def read(path: Path) -> None:
    """Print the CPU time in ms, the memory in MB, and the outcome."""
    from facepipe.core.errors import FacepipeError
    from facepipe.pipeline.inputs.image_reader import read_frame

    began = time.process_time()
    try:
        height, width, _ = read_frame(path).shape
        became = f"read: {width} x {height}"
    except FacepipeError as error:
        became = "refused: " + str(error).removeprefix(f"{path}: ")
    print(f"{1000 * (time.process_time() - began):.0f} {peak():.0f} {became}")


if __name__ == "__main__":
    if sys.argv[1] == "build":
        Path(sys.argv[3]).write_bytes(BOMBS[sys.argv[2]]())
    else:
        read(Path(sys.argv[2]))
