from __future__ import annotations

import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facepipe.core.errors import FacepipeError, FrameError, ImageError, ImageTooLargeError
from facepipe.pipeline.inputs.image_reader import Limits, read_frame, source_name
from PIL import Image, ImageOps

MESSAGES = {
    "empty": (ImageError, "is empty"),
    "text": (ImageError, "not a picture"),
    "truncated": (ImageError, "cut short"),
    "bomb": (ImageTooLargeError, "30000 x 30000"),
    "missing": (ImageError, "no such file"),
    "folder": (ImageError, "is a folder"),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_bad_files_say_what_is_wrong_and_where(
    case: str, bad_inputs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded although the header tells"))
    kind, message = MESSAGES[case]
    for source in (bad_inputs[case], str(bad_inputs[case])):
        with pytest.raises(kind, match=message) as caught:
            read_frame(source)
        assert str(bad_inputs[case]) in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_the_bomb_is_small_and_refused_as_bytes_too(bomb: bytes) -> None:
    assert len(bomb) < 120_000
    with pytest.raises(ImageTooLargeError, match="100,000,000"):
        read_frame(bomb)
    with pytest.raises(ImageTooLargeError):
        read_frame(memoryview(bomb))


def test_limits_are_inclusive(encode: Callable[..., bytes], tmp_path: Path) -> None:
    content = encode(".png", np.zeros((10, 20, 3), np.uint8))
    assert read_frame(content, Limits(bytes=len(content), pixels=200)).shape == (10, 20, 3)
    with pytest.raises(ImageTooLargeError, match="199"):
        read_frame(content, Limits(pixels=199))
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for source in (content, path):
        with pytest.raises(ImageTooLargeError, match="bytes"):
            read_frame(source, Limits(bytes=len(content) - 1))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".gif", ".tiff"])
def test_damaged_pictures_give_an_error_and_no_noise(
    suffix: str, encode: Callable[..., bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    content = encode(suffix)
    for length in (len(content) // 3, len(content) * 2 // 3, len(content) - 30):
        with pytest.raises(ImageError):
            read_frame(content[:length])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_picture_upright(format: str, orientation: int, photo: Callable[..., np.ndarray]) -> None:
    stored, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    kinds: dict[str, Any] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}
    options = kinds.get(format, {})
    Image.fromarray(np.ascontiguousarray(photo(3)[..., ::-1])).save(stored, format, exif=exif, **options)
    upright = ImageOps.exif_transpose(Image.open(stored)).convert("RGB")
    expected = np.asarray(upright)[..., ::-1]
    assert expected.shape == ((160, 120, 3) if orientation > 4 else (120, 160, 3))
    np.testing.assert_allclose(read_frame(stored.getvalue()).astype(int), expected, atol=2)
    np.testing.assert_array_equal(read_frame(Image.open(stored)), expected)


def test_odd_pictures_become_bgr(odd_inputs: dict[str, Path], photo: Callable[..., np.ndarray]) -> None:
    frame = photo(1)
    read = {name: read_frame(path) for name, path in odd_inputs.items()}
    for name, picture in read.items():
        assert picture.dtype == np.uint8, name
        assert picture.shape[2:] == (3,), name
        assert picture.flags.c_contiguous, name
    np.testing.assert_array_equal(read["sixteen"], np.repeat(frame[..., 1:2], 3, axis=2))
    np.testing.assert_array_equal(read["rgba"], frame)
    np.testing.assert_allclose(read["grey"][..., 0].astype(int), cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), atol=1)
    assert np.abs(read["cmyk"].astype(int) - frame).mean() < 6
    assert read["one"].shape == (1, 1, 3)
    assert "größe 名" in read


def test_transparency_is_dropped_and_the_colour_kept() -> None:
    stored = io.BytesIO()
    picture = Image.new("RGBA", (4, 4), (200, 10, 30, 0))
    picture.save(stored, "PNG")
    for source in (stored.getvalue(), picture, np.full((4, 4, 4), (30, 10, 200, 0), np.uint8)):
        assert read_frame(source)[0, 0].tolist() == [30, 10, 200]


def test_arrays(photo: Callable[..., np.ndarray]) -> None:
    frame = photo(1)
    assert np.shares_memory(read_frame(frame), frame)
    grey = frame[..., 0]
    for source in (grey, grey[..., None]):
        np.testing.assert_array_equal(read_frame(source), np.stack([grey] * 3, axis=2))
    np.testing.assert_array_equal(read_frame(np.dstack([frame, grey])), frame)
    mirrored = read_frame(frame[::2, ::-1])
    assert mirrored.flags.c_contiguous
    np.testing.assert_array_equal(mirrored, frame[::2, ::-1])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((4, 4, 3), np.uint16), "uint16"),
        (np.zeros((4, 4), bool), "bool"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
        (np.zeros((4, 4, 2), np.uint8), r"\(4, 4, 2\)"),
        (np.zeros((4,), np.uint8), r"\(4,\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), "as a list"),
        (np.array("a"), "shape"),
    ],
)
def test_wrong_arrays_say_what_was_expected_and_what_came(array: np.ndarray, message: str) -> None:
    with pytest.raises(FrameError, match="expected uint8.*" + message):
        read_frame(array)
    with pytest.raises(TypeError):
        read_frame(array)


def test_pil_images(photo: Callable[..., np.ndarray], encode: Callable[..., bytes]) -> None:
    frame = photo(1)
    rgb = Image.fromarray(np.ascontiguousarray(frame[..., ::-1]))
    np.testing.assert_array_equal(read_frame(rgb), frame)
    for mode in ("L", "P", "1", "RGBA", "CMYK", "YCbCr", "LA"):
        assert read_frame(rgb.convert(mode)).shape == frame.shape
    deep = Image.fromarray(frame[..., 0].astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_frame(deep)[..., 0], frame[..., 0])
    with pytest.raises(FrameError, match="mode F"):
        read_frame(rgb.convert("F"))
    with pytest.raises(ImageTooLargeError):
        read_frame(rgb, Limits(pixels=100))
    with pytest.raises(ImageError, match="PIL"):
        read_frame(Image.open(io.BytesIO(encode(".png")[:200])))


@pytest.mark.parametrize("source", [None, 7, 1.5, {"path": "a.jpg"}])
def test_anything_else_is_refused(source: object) -> None:
    with pytest.raises(FrameError, match=type(source).__name__):
        read_frame(source)  # type: ignore[arg-type]


def test_strange_paths(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        read_frame("a\0b.jpg")
    with pytest.raises(ImageError):
        read_frame(tmp_path / ("long" * 200))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ImageError, match="regular"):
        read_frame(pipe)


def test_names_are_valid_unicode(tmp_path: Path) -> None:
    assert source_name(np.zeros(3)) is None
    assert source_name(Path("größe") / "名.jpg") == os.path.join("größe", "名.jpg")
    name = os.fsdecode(b"caf\xe9.jpg")
    assert source_name(name) == "caf\ufffd.jpg"
    with pytest.raises(FacepipeError, match="caf\ufffd"):
        read_frame(name)


def test_the_log_is_held_back_while_any_thread_reads_and_no_longer(encode: Callable[..., bytes]) -> None:
    before = cv2.utils.logging.getLogLevel()
    damaged = encode(".bmp")[:200]

    def read(_: int) -> None:
        with pytest.raises(ImageError):
            read_frame(damaged)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(read, range(400)))
    assert cv2.utils.logging.getLogLevel() == before


def test_what_ultralytics_puts_in_place_of_pillows_open_is_not_asked(
    encode: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It prints what it would like to have installed where a picture is damaged, and fails where that is not there."""
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")

    def patched(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'pi_heif'")

    monkeypatch.setattr(image, "open", patched)
    for suffix in (".tiff", ".bmp", ".gif", ".jpg"):
        content = encode(suffix)
        assert read_frame(content).ndim == 3
        with pytest.raises(ImageError):
            read_frame(content[: len(content) * 2 // 3])
