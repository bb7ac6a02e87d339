"""Pictures on disk (good, odd and bad ones), small clips, a small sound data set, and the command line."""

from __future__ import annotations

import io
import shutil
import struct
import zlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facepipe import Pipeline
from facepipe.pipeline.cli import main
from PIL import Image

Clip = Callable[..., Path]


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


@pytest.fixture(scope="session")
def bomb() -> bytes:
    """A sound PNG of 30000 x 30000 black pixels, one bit each, in about 109 KB."""
    packer, row = zlib.compressobj(9), bytes(1 + 30000 // 8)
    packed = b"".join(packer.compress(row * 300) for _ in range(100)) + packer.flush()
    header = struct.pack(">IIBBBBB", 30000, 30000, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


@pytest.fixture
def encode(photo: Callable[..., np.ndarray]) -> Callable[..., bytes]:
    """``encode(".jpg", frame=None)``: a picture's bytes in the format of a suffix."""

    def make(suffix: str, frame: np.ndarray | None = None) -> bytes:
        return cv2.imencode(suffix, photo(0) if frame is None else frame)[1].tobytes()

    return make


@pytest.fixture
def bad_inputs(tmp_path: Path, bomb: bytes, encode: Callable[..., bytes]) -> dict[str, Path]:
    """What cannot be read, by what is wrong with it."""
    folder = tmp_path / "bad"
    folder.mkdir()
    contents = {
        "empty": b"",
        "text": b"once upon a time\n" * 20,
        "truncated": encode(".jpg")[:-400],
        "bomb": bomb,
    }
    for name, content in contents.items():
        (folder / f"{name}.jpg").write_bytes(content)
    return {name: folder / f"{name}.jpg" for name in contents} | {"missing": folder / "missing.jpg", "folder": folder}


@pytest.fixture
def odd_inputs(tmp_path: Path, photo: Callable[..., np.ndarray]) -> dict[str, Path]:
    """What looks unusual and can be read, by what is unusual in it."""
    frame = photo(1)
    rgb = Image.fromarray(np.ascontiguousarray(frame[..., ::-1]))
    folder = tmp_path / "odd"
    folder.mkdir()
    pictures = {
        "grey.png": rgb.convert("L"),
        "sixteen.png": Image.fromarray(frame[..., 1].astype(np.uint16) * 257),
        "rgba.png": rgb.convert("RGBA"),
        "cmyk.jpg": rgb.convert("CMYK"),
        "one.png": rgb.resize((1, 1)),
        "blank.jpg": Image.new("RGB", (200, 150), "white"),
        "größe 名.jpg": rgb,
    }
    for name, picture in pictures.items():
        picture.save(folder / name)
    for orientation in range(1, 9):
        (folder / f"exif{orientation}.jpg").write_bytes(_rotated(rgb, orientation))
    return {path.stem: path for path in sorted(folder.iterdir())}


def _rotated(picture: Image.Image, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = io.BytesIO()
    picture.save(stored, "JPEG", exif=exif, quality=95)
    return stored.getvalue()


YAML = "train: images/train\nval: images/val\nnames: {0: face, 1: head}\nlabelled: labelled.csv\n"


@pytest.fixture(scope="session")
def _data_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    rows = ["file,source,labelled_classes"]
    for split, count in (("train", 4), ("val", 2)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for number in range(count):
            random = np.random.default_rng(10 * number + count)
            coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            blocks = cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_NEAREST)
            frame = np.clip(blocks + random.integers(-25, 26, (120, 160, 1)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(root / "images" / split / f"p{number}.png"), frame)
            (root / "labels" / split / f"p{number}.txt").write_text("0 0.5 0.5 0.2 0.3\n1 0.5 0.5 0.3 0.5\n")
            rows.append(f"images/{split}/p{number}.png,some,face;head")
    (root / "labelled.csv").write_text("\n".join(rows) + "\n")
    (root / "data.yaml").write_text(YAML)
    return root


@pytest.fixture
def data(tmp_path: Path, _data_template: Path) -> Path:
    """DATA.yaml of 4 + 2 pictures without a fault."""
    shutil.copytree(_data_template, tmp_path / "set")
    return tmp_path / "set" / "data.yaml"


@pytest.fixture
def run(tiny_weights: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """``run("data", "check", path, ...)`` gives the exit code, standard output and standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.fixture
def pipeline(tiny_weights: Path) -> Pipeline:
    return Pipeline()


@pytest.fixture
def clip(tmp_path: Path, photo: Callable[..., np.ndarray]) -> Clip:
    """``clip("a.mp4", frames=10, …)``: the random detector finds something in every frame.

    ``times`` in milliseconds; ``rotate`` in degrees; ``sound`` a codec's name; ``cut`` bytes of the file's end that are
    missing.
    """
    av: Any = pytest.importorskip("av", reason="PyAV is not installed: pip install 'facepipe[video]'")

    def make(
        name: str = "clip.mp4",
        frames: int = 10,
        times: Sequence[int] | None = None,
        size: tuple[int, int] = (160, 120),
        rotate: int = 0,
        sound: str | None = None,
        codec: str = "mpeg4",
        pictures: Sequence[np.ndarray] | None = None,
        cut: int = 0,
    ) -> Path:
        path = tmp_path / name
        tick = Fraction(1, 1000)
        with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as file:
            stream = file.add_stream(codec, rate=25, options={} if codec == "libx264" else {"qscale": "2"})
            stream.width, stream.height, stream.pix_fmt = *size, "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.codec_context.time_base = tick
            if rotate:
                stream.set_display_rotation(rotate)
            track = None if sound is None else file.add_stream(sound, rate=8000 if sound != "aac" else 44100)
            for index in range(frames):
                picture = photo(index // 100, size[1], size[0]) if pictures is None else pictures[index]
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="bgr24")
                frame.pts, frame.time_base = 40 * index if times is None else times[index], tick
                file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
            if track is not None:
                rate = track.codec_context.sample_rate
                layout = track.codec_context.layout.name
                form = track.codec_context.format.name
                tone = np.sin(2 * np.pi * 440 * np.arange(round(frames * 0.04 * rate)) / rate)
                channels = 1 if not form.endswith("p") else track.codec_context.layout.nb_channels
                scaled = tone.astype(np.float32) if form.startswith("flt") else (tone * 20000).astype(np.int16)
                if not form.endswith("p"):
                    scaled = np.repeat(scaled, track.codec_context.layout.nb_channels)
                for start in range(0, len(scaled), 1024):
                    part = np.tile(scaled[None, start : start + 1024], (channels, 1))
                    piece = av.AudioFrame.from_ndarray(part, format=form, layout=layout)
                    piece.sample_rate, piece.pts = rate, start // (scaled.size // tone.size)
                    file.mux(track.encode(piece))
                file.mux(track.encode(None))
        if cut:
            path.write_bytes(path.read_bytes()[:-cut])
        return path

    return make
