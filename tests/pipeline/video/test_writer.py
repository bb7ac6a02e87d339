from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facepipe.core.errors import FacepipeError
from facepipe.pipeline.video import writer as video_writer
from facepipe.pipeline.video.reader import VideoReader
from facepipe.pipeline.video.writer import VideoWriter

Clip = Callable[..., Path]
av: Any = pytest.importorskip("av", reason="PyAV is not installed: pip install 'facepipe[video]'")


def streams(path: Path) -> dict[str, tuple[str, float]]:
    with av.open(str(path)) as file:
        return {s.type: (s.codec_context.name, float(s.duration * s.time_base)) for s in file.streams}


def write(
    path: Path, times: list[float], shape: tuple[int, int] = (120, 160), sound: Path | None = None
) -> VideoWriter:
    with VideoWriter(path, 25.0, None if sound is None else str(sound)) as writer:
        for index, time in enumerate(times):
            writer.add(np.full((*shape, 3), 20 * index % 256, np.uint8), time)
    return writer


def test_each_frame_keeps_its_time(tmp_path: Path) -> None:
    times = [0.0, 0.02, 0.06, 0.21, 0.23, 1.001]
    told = write(tmp_path / "a.mp4", times).summary
    with VideoReader(str(tmp_path / "a.mp4")) as video:
        frames = list(video)
    assert [frame.time for frame in frames] == pytest.approx(times, abs=2e-5)
    assert [int(frame.image.mean()) for frame in frames] == pytest.approx([0, 20, 40, 60, 80, 100], abs=4)
    assert told.startswith(f"{tmp_path / 'a.mp4'}: 6 frames, H.264")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4"]


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_odd_sizes_and_the_codecs_that_are_there(tmp_path: Path, codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_writer, "_can_write", lambda name: name == codec)
    told = write(tmp_path / "a.mp4", [0.0, 0.04], (121, 161)).summary
    with VideoReader(str(tmp_path / "a.mp4")) as video:
        assert next(iter(video)).image.shape == (122, 162, 3)
    assert ("H.264," in told) == (codec == "libx264")


@pytest.mark.parametrize(("codec", "name", "kept"), [("aac", "a.mp4", "sound kept"), ("pcm_s16le", "a.mkv", "as AAC")])
def test_sound_is_kept(clip: Clip, tmp_path: Path, codec: str, name: str, kept: str) -> None:
    source = clip(name, frames=25, sound=codec)
    writer = write(tmp_path / "out.mp4", [0.04 * number for number in range(25)], sound=source)
    found = streams(tmp_path / "out.mp4")
    assert found["audio"][0] == "aac"
    assert found["audio"][1] == pytest.approx(1.0, abs=0.1)
    assert kept in writer.summary
    with av.open(str(tmp_path / "out.mp4")) as file:
        heard = np.concatenate([frame.to_ndarray().ravel() for frame in file.decode(audio=0)])
    assert np.abs(heard).max() > 0.1


def test_sound_ends_with_the_picture(clip: Clip, tmp_path: Path) -> None:
    source = clip(frames=100, sound="aac")
    write(tmp_path / "out.mp4", [0.04 * number for number in range(25)], sound=source)
    assert streams(tmp_path / "out.mp4")["audio"][1] == pytest.approx(1.0, abs=0.1)


def test_a_video_without_sound_says_so(clip: Clip, tmp_path: Path) -> None:
    assert "the video has no sound" in write(tmp_path / "out.mp4", [0.0], sound=clip(frames=3)).summary


def test_nothing_is_left_half_written(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    target.write_text("before")

    def interrupted() -> None:
        with VideoWriter(target) as writer:
            writer.add(np.zeros((64, 64, 3), np.uint8), 0.0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(FacepipeError, match="there is no frame"), VideoWriter(target):
        pass
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FacepipeError, match="cannot be written"), VideoWriter(tmp_path / "file" / "a.mp4"):
        pass
