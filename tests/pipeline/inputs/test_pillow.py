"""The reader gives what Pillow gives, over a corpus made here; and eight threads may ask for Pillow at once."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facepipe import ImageError, read_frame
from facepipe.pipeline.inputs.heif_boxes import read_boxes
from facepipe.pipeline.inputs.pillow import as_frame
from PIL import Image, ImageOps

ASTRONAUT = Path(__file__).parents[3] / "examples" / "astronaut.jpg"
RGB = Image.open(ASTRONAUT).convert("RGB").resize((96, 64))
COMPRESSIONS = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "group3", "group4", "tiff_jpeg", "lzma", "zstd")


def _modes() -> dict[str, Image.Image]:
    clear = RGB.copy()
    clear.putalpha(128)
    grey = RGB.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    return {
        "RGB": RGB,
        "palette": RGB.quantize(64),
        "bits": RGB.convert("1"),
        "grey": grey,
        "RGBA": clear,
        "LA": clear.convert("LA"),
        "CMYK": RGB.convert("CMYK"),
        "YCbCr": RGB.convert("YCbCr"),
        "16 bits": deep,
    }


def _stored(image: Image.Image, format: str, **options: Any) -> bytes:
    stored = io.BytesIO()
    image.save(stored, format, **options)
    return stored.getvalue()


def _corpus() -> Iterator[tuple[str, bytes]]:
    modes = _modes()
    tiff = ("RGB", "palette", "bits", "grey", "RGBA", "CMYK", "16 bits")
    for compression in COMPRESSIONS:
        for mode in tiff:
            if (compression.startswith("group") and mode != "bits") or (
                compression == "tiff_jpeg" and mode in ("palette", "bits", "16 bits")
            ):
                continue
            yield f"TIFF {compression} {mode}", _stored(modes[mode], "TIFF", compression=compression)
    for mode in ("RGB", "palette", "bits", "grey", "RGBA"):
        yield f"BigTIFF {mode}", _stored(modes[mode], "TIFF", big_tiff=True)
        yield f"GIF {mode}", _stored(modes[mode], "GIF")
        yield f"PNG {mode}", _stored(modes[mode], "PNG")
        yield f"WebP {mode}", _stored(modes[mode], "WEBP", lossless=True, exact=True)
        if mode != "RGBA":
            yield f"BMP {mode}", _stored(modes[mode], "BMP")
    yield "GIF animated", _stored(RGB, "GIF", save_all=True, append_images=[RGB.rotate(180)])
    for range_ in ("full", "limited"):
        for mode in ("RGB", "grey", "RGBA"):
            yield f"AVIF {range_} {mode}", _stored(modes[mode], "AVIF", range=range_, quality=95, subsampling="4:4:4")
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        block = exif.tobytes().removeprefix(b"Exif\0\0")
        yield f"TIFF turned {orientation}", _stored(RGB, "TIFF", exif=exif)
        yield f"BigTIFF turned {orientation}", _stored(RGB, "TIFF", exif=exif, big_tiff=True)
        yield f"TIFF zstd turned {orientation}", _stored(RGB, "TIFF", exif=exif, compression="zstd")
        yield f"PNG turned {orientation}", _stored(RGB, "PNG", exif=exif)
        yield f"WebP turned {orientation}", _stored(RGB, "WEBP", exif=block, lossless=True)
        yield f"WebP Exif00 turned {orientation}", _stored(RGB, "WEBP", exif=b"Exif\0\0" + block, lossless=True)
        yield f"AVIF turned {orientation}", _stored(RGB, "AVIF", exif=exif, quality=100, subsampling="4:4:4")


CORPUS = dict(_corpus())


@pytest.mark.parametrize("name", CORPUS)
def test_sizes_orientation_and_pixels_are_pillows(name: str) -> None:
    content = CORPUS[name]
    expected = as_frame(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    assert expected is not None
    frame = read_frame(content)
    assert frame.shape == expected.shape
    assert np.abs(frame.astype(int) - expected).mean() < (2.5 if "AVIF" in name or "jpeg" in name else 0.6)


@pytest.mark.parametrize("kind", [b"Exif", b"mime"])
def test_an_avif_whose_metadata_lie_behind_the_picture(kind: bytes) -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 200
    content = _stored(RGB, "AVIF", exif=exif, xmp=b"<x:xmpmeta>" + b" " * 300 + b"</x:xmpmeta>")
    item = next(each for each in read_boxes(content).items.values() if each.kind == kind)
    ((begin, end),) = item.spans
    entry = content.find(struct.pack(">II", begin, end - begin), content.find(b"iloc"))
    moved = bytearray(content + struct.pack(">I4s", 8 + end - begin, b"mdat") + content[begin:end])
    moved[entry : entry + 8] = struct.pack(">II", len(content) + 8, end - begin)
    np.testing.assert_array_equal(read_frame(bytes(moved)), read_frame(content))


@pytest.mark.parametrize("kind", [np.float32, np.int32, np.float64])
def test_tiffs_of_32_bits_are_said_to_be_of_a_kind_that_is_not_read(kind: type, tmp_path: Path) -> None:
    path = tmp_path / "deep.tif"
    assert cv2.imwrite(str(path), np.ones((8, 8), kind))
    with pytest.raises(ImageError, match=r"deep\.tif: a TIFF with (32|64) bits per sample, which is not supported"):
        read_frame(path)


def test_a_bigtiff_without_pillow_names_what_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from facepipe.pipeline.inputs import image_reader, pillow

    monkeypatch.setattr(pillow, "optional", lambda name: None)
    monkeypatch.setattr(image_reader, "optional", lambda name: None)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: None)
    with pytest.raises(ImageError, match="of a kind that is read with Pillow only"):
        read_frame(CORPUS["BigTIFF RGB"])


RACE = """
import sys, threading
from pathlib import Path
folder = Path(sys.argv[1])
files = sorted(folder.iterdir())
start, failed = threading.Barrier(8), []
def work(number):
    start.wait()
    try:
        from facepipe import read_frame
        for path in files[number:] + files[:number]:
            assert read_frame(path).shape[2] == 3
            assert read_frame(path.read_bytes()).shape[2] == 3
    except BaseException as error:
        failed.append(repr(error))
threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(failed)
sys.exit(bool(failed))
"""


def test_eight_threads_of_a_fresh_process_read_every_kind_at_once(tmp_path: Path) -> None:
    """HEIC and BigTIFF have Pillow imported while others ask whether something is a Pillow image."""
    for name, content in {
        "a.tif": CORPUS["BigTIFF RGB"],
        "b.webp": CORPUS["WebP Exif00 turned 6"],
        "c.avif": CORPUS["AVIF limited grey"],
        "d.jpg": ASTRONAUT.read_bytes(),
        "e.png": CORPUS["PNG RGB"],
        "f.tif": CORPUS["TIFF raw RGBA"],
    }.items():
        (tmp_path / name).write_bytes(content)
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(RGB).save(tmp_path / "g.heic")
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", RACE, str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
