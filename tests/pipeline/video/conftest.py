"""Small clips, made by PyAV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facepipe import Pipeline

Clip = Callable[..., Path]


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
