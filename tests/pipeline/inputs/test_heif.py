from __future__ import annotations

import io
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from facepipe.core.errors import FacepipeError, ImageError, ImageTooLargeError
from facepipe.pipeline.datasets.check import open_stored
from facepipe.pipeline.inputs import heif
from facepipe.pipeline.inputs.avif import stream_sizes
from facepipe.pipeline.inputs.heif_boxes import HeifFile, read_boxes
from facepipe.pipeline.inputs.image_header import read_header
from facepipe.pipeline.inputs.image_reader import Limits, read_frame
from PIL import Image

pillow_heif = pytest.importorskip("pillow_heif", reason="needs the extra 'heif'")
needs_avif = pytest.mark.skipif(not cv2.haveImageWriter("a.avif"), reason="this OpenCV has no AVIF")
FORMATS = ["HEIF", pytest.param("AVIF", marks=needs_avif)]


def stored(frame: np.ndarray, form: str, orientation: int = 1, mode: str = "RGB", **options: Any) -> bytes:
    """A HEIC or AVIF that is turned by its boxes, as cameras write them."""
    pillow_heif.register_heif_opener()
    image, exif, content = Image.fromarray(frame[..., ::-1].copy()).convert(mode), Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    image.save(content, form, exif=exif.tobytes(), quality=95, **options)
    return content.getvalue()


def patched(content: bytes, width: int, height: int, new: tuple[int, int]) -> bytes:
    """The same file whose boxes say another size."""
    size = b"ispe" + struct.pack(">III", 0, width, height)
    assert size in content
    return content.replace(size, b"ispe" + struct.pack(">III", 0, *new))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright_once(form: str, orientation: int, photo: Callable[..., np.ndarray]) -> None:
    frame = cv2.GaussianBlur(photo(3), (0, 0), 2)
    content = stored(frame, form, orientation)
    jpeg, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(frame[..., ::-1].copy()).save(jpeg, "JPEG", exif=exif, quality=100)
    expected = read_frame(jpeg.getvalue())
    assert expected.shape == ((160, 120, 3) if orientation > 4 else (120, 160, 3))
    read = read_frame(content)
    assert read.flags.c_contiguous
    assert read.flags.writeable
    assert read.shape == expected.shape
    assert np.abs(read.astype(int) - expected).mean() < 4
    header = read_header(content)
    assert (header.format, header.width, header.height) == ({"HEIF": "HEIC"}.get(form, form), 160, 120)
    assert open_stored(content).turned == (orientation > 4)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_grey_and_transparent(form: str, mode: str, photo: Callable[..., np.ndarray]) -> None:
    frame = cv2.GaussianBlur(photo(3), (0, 0), 2)
    read = read_frame(stored(frame, form, mode=mode))
    expected = frame if mode == "RGBA" else np.repeat(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)[..., None], 3, axis=2)
    assert np.abs(read.astype(int) - expected).mean() < 4


def test_ten_bits_keep_the_upper_eight(photo: Callable[..., np.ndarray]) -> None:
    frame = cv2.GaussianBlur(photo(3), (0, 0), 2)
    for mode, pixels in (("RGB;16", frame[..., ::-1]), ("L;16", frame[..., 0])):
        content = io.BytesIO()
        deep = np.ascontiguousarray(pixels).astype(np.uint16) * 257
        pillow_heif.encode(mode, (160, 120), deep.tobytes(), content, quality=95)
        read = read_frame(content.getvalue())
        expected = frame if mode == "RGB;16" else np.repeat(frame[..., :1], 3, axis=2)
        assert np.abs(read.astype(int) - expected).mean() < 4


@needs_avif
def test_ten_bits_of_an_avif(photo: Callable[..., np.ndarray]) -> None:
    frame = cv2.GaussianBlur(photo(3), (0, 0), 2)
    deep = frame.astype(np.uint16) * 4
    content = cv2.imencode(".avif", deep, [cv2.IMWRITE_AVIF_DEPTH, 10])[1].tobytes()
    assert np.abs(read_frame(content).astype(int) - frame).mean() < 4


def test_tiles_and_thumbnails(photo: Callable[..., np.ndarray]) -> None:
    frame = cv2.GaussianBlur(photo(3), (0, 0), 2)
    content = stored(frame, "HEIF", 6, tile_size=64, thumbnails=[64])
    assert content.count(b"hvc1") > 5
    assert (read_header(content).width, read_header(content).height) == (160, 120)
    assert read_frame(content).shape == (160, 120, 3)


@pytest.mark.parametrize("form", FORMATS)
def test_limits_are_checked_before_decoding(
    form: str, photo: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = stored(photo(3), form)
    cost = read_header(content).cost
    most = -(-160 * 120 * cost // 9)
    assert read_frame(content, Limits(pixels=most)).shape == (120, 160, 3)
    for name in ("decode_heic", "decode_avif"):
        monkeypatch.setattr(heif, name, lambda *_: pytest.fail("decoded although the boxes tell"))
    with pytest.raises(ImageTooLargeError, match="160 x 120"):
        read_frame(content, Limits(pixels=most - cost))
    with pytest.raises(ImageTooLargeError, match="30000 x 20000"):
        read_frame(patched(content, 160, 120, (30_000, 20_000)))


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_says_less_than_its_stream_is_refused(form: str, photo: Callable[..., np.ndarray]) -> None:
    content = patched(stored(photo(3), form), 160, 120, (16, 16))
    with pytest.raises(ImageError, match=r"160 x 120 pixels in its stream|cannot be decoded"):
        read_frame(content, Limits(pixels=16 * 16 * 9))


@needs_avif
def test_an_av1_stream_tells_its_size(photo: Callable[..., np.ndarray]) -> None:
    content = stored(photo(3), "AVIF")
    file = read_boxes(content)
    (item,) = (item for item in file.items.values() if item.kind == b"av01")
    stream = b"".join(content[begin:end] for begin, end in item.spans)
    assert list(stream_sizes(stream)) == [(160, 120)]
    for length in range(1, len(stream), 7):
        try:
            assert set(stream_sizes(stream[:length])) <= {(160, 120)}
        except IndexError:
            assert length < 30, "a header that ends early"


def test_a_sequence_header_of_video() -> None:
    """Timing, a decoder model and two operating points stand before the size (AV1 specification, 5.5.1)."""
    fields = [(0, 3), (0, 1), (0, 1), (1, 1), (1, 32), (30, 32), (1, 1), (0b0010, 3 + 1), (1, 1), (9, 5), (1, 32)]
    fields[7:8] = [(0b011, 3)]  # ue(1): zero, one, zero more bit set
    fields += [(9, 5), (9, 5), (1, 1), (1, 5)]
    fields += [(0, 12), (8, 5), (1, 1), (1, 1), (5, 10), (5, 10), (0, 1), (1, 1), (3, 4)]
    fields += [(0, 12), (4, 5), (0, 1), (0, 1)]
    fields += [(11, 4), (10, 4), (1919, 12), (1079, 11), (0, 20)]
    bits = "".join(f"{value:0{width}b}" for value, width in fields)
    payload = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8))
    assert list(stream_sizes(b"\x12\0\x0a" + bytes([len(payload)]) + payload + b"\x32\1\0")) == [(1920, 1080)]


def clap(width: int, height: int, right: tuple[int, int], below: tuple[int, int]) -> bytes:
    return struct.pack(">iIiIiIiI", width, 1, height, 1, *right, *below)


def test_the_clean_aperture_is_cut_before_turning() -> None:
    frame = np.arange(10 * 20 * 3, dtype=np.uint8).reshape(10, 20, 3)

    def file(*changes: tuple[bytes, bytes]) -> HeifFile:
        return HeifFile("AVIF", False, 20, 10, changes, {})

    cut = heif.upright(frame, file((b"clap", clap(8, 4, (-2, 1), (1, 1)))))
    np.testing.assert_array_equal(cut, frame[4:8, 4:12])
    turned = heif.upright(frame, file((b"clap", clap(8, 4, (-2, 1), (1, 1))), (b"irot", b"\1"), (b"imir", b"\1")))
    np.testing.assert_array_equal(turned, np.rot90(frame[4:8, 4:12])[:, ::-1])
    for bad in (clap(30, 4, (0, 1), (0, 1)), clap(8, 4, (-9, 1), (0, 1)), clap(8, 4, (0, 0), (0, 1)), b"\0" * 5):
        with pytest.raises(ImageError, match="clean aperture"):
            heif.upright(frame, file((b"clap", bad)))


@pytest.mark.parametrize("form", FORMATS)
def test_every_cut_is_an_error(form: str, photo: Callable[..., np.ndarray]) -> None:
    content = stored(photo(3), form)
    for length in [*range(1, 900, 13), len(content) // 2, len(content) - 1]:
        with pytest.raises(ImageError):
            read_frame(content[:length])


@needs_avif
def test_an_animated_avif_is_said(photo: Callable[..., np.ndarray]) -> None:
    content = io.BytesIO()
    frames = [Image.fromarray(photo(seed)) for seed in (1, 2)]
    frames[0].save(content, "AVIF", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="animated"):
        read_frame(content.getvalue())


def test_a_video_is_said() -> None:
    with pytest.raises(ImageError, match="bytes: a video, or"):
        read_frame(b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(99))


def test_without_the_extra_the_pip_line_is_said(
    photo: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    heic, avif = stored(photo(3), "HEIF"), stored(photo(3), "AVIF")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"bytes: is a HEIC.*pip install 'facepipe\[heif\]'"):
        read_frame(heic)
    monkeypatch.setattr(cv2, "haveImageWriter", lambda _: False)
    by_pillow = read_frame(avif)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImageError, match=r"bytes: is an AVIF.*pip install 'facepipe\[heif\]'"):
        read_frame(avif)
    monkeypatch.undo()
    assert np.abs(by_pillow.astype(int) - read_frame(avif)).mean() < 1


@pytest.mark.parametrize("form", FORMATS)
def test_random_boxes_never_escape(form: str, photo: Callable[..., np.ndarray]) -> None:
    content, random = stored(photo(3), form), np.random.default_rng(5)
    end = content.rindex(b"mdat")
    for _ in range(400):
        damaged = bytearray(content)
        for place in random.integers(8, end, 3):
            damaged[place] = random.integers(0, 256)
        try:
            read_header(bytes(damaged))
        except FacepipeError:
            continue


@needs_avif
def test_avif_is_read_without_pillow(photo: Callable[..., np.ndarray], tmp_path: Any) -> None:
    (tmp_path / "a.avif").write_bytes(stored(photo(3), "AVIF", 6))
    code = (
        "import sys\nfrom facepipe.pipeline.inputs.image_reader import read_frame\n"
        f"assert read_frame({str(tmp_path / 'a.avif')!r}).shape == (160, 120, 3)\n"
        "loaded = {'PIL', 'pillow_heif', 'ssl', 'http.client'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
