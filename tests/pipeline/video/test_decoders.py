"""Videos lie as a player shows them, and what a file says of itself is not believed blindly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from facepipe.core.errors import FacepipeError, VideoError
from facepipe.pipeline.inputs.orientation import MATRICES, turned
from facepipe.pipeline.video.decoders import _clock
from facepipe.pipeline.video.options import VideoOptions
from facepipe.pipeline.video.reader import VideoReader

Clip = Callable[..., Path]
ONE = 1 << 16


def banded() -> np.ndarray:
    """No two of its eight orientations are alike: a red band on top, a green one at the left."""
    picture = np.full((96, 160, 3), 120, np.uint8)
    picture[:24], picture[:, :24] = (0, 0, 250), (0, 250, 0)
    return picture


@pytest.mark.parametrize("orientation", MATRICES)
def test_all_eight_orientations_are_shown_as_players_do(orientation: int, clip: Clip) -> None:
    path = clip(frames=3, size=(160, 96), pictures=[banded()] * 3)
    content = bytearray(path.read_bytes())
    place = content.find(b"tkhd") + 44  # the matrix of a version 0 track header
    a, b, c, d = MATRICES[orientation]
    numbers = (a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30)
    content[place : place + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in numbers)
    path.write_bytes(content)
    expected = turned(banded(), orientation)
    with VideoReader(str(path)) as video:
        frames = list(video)
    assert (video.info.height, video.info.width) == expected.shape[:2]
    assert len(frames) == 3
    for frame in frames:
        assert frame.image.shape == expected.shape
        assert np.abs(frame.image.astype(int) - expected).mean() < 8


@pytest.mark.parametrize("scale", [0, 1])
def test_a_time_scale_that_loses_frames_is_said(scale: int, clip: Clip) -> None:
    path = clip(frames=20)
    content = bytearray(path.read_bytes())
    place = content.find(b"mdhd") + 16
    content[place : place + 4] = scale.to_bytes(4, "big")
    path.write_bytes(content)
    with VideoReader(str(path)) as video:
        frames = list(video)
    if len(frames) < 20:
        assert f"only {len(frames)} of its 20 frames" in (video.error or "")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:01:02.500000000", 62.5),
        ("01:00:00", 3600.0),
        ("", None),
        ("soon", None),
        ("1:2", None),
        ("a:b:c", None),
        ("nan:nan:nan", None),
        ("00:00:inf", None),
        ("-1:00:00", None),
        ("1:2:3:4", None),
        ("9" * 400 + ":00:00", None),
    ],
)
def test_a_tag_that_is_no_time_tells_nothing(text: str, seconds: float | None) -> None:
    assert _clock(text) == seconds


def test_a_damaged_duration_tag_costs_no_frame(clip: Clip) -> None:
    path = clip("a.mkv", frames=6)
    content = path.read_bytes()
    name = content.find(b"DURATION")
    assert name > 0
    place = content.find(b"00:00:00", name)
    path.write_bytes(content[:place] + b"what:is:" + content[place + 8 :])
    with VideoReader(str(path)) as video:
        assert len(list(video)) == 6
    assert video.error is None


def test_numbers_beyond_sense_are_refused() -> None:
    with pytest.raises(VideoError, match="four digits"):
        VideoReader("camera:99999999999999999999")
    for seconds in (float("inf"), float("nan"), 0.0, -1.0):
        with pytest.raises(FacepipeError, match="seconds"):
            VideoOptions(seconds=seconds)
