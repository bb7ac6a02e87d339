from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facepipe.core.errors import VideoError
from facepipe.pipeline.inputs.image_reader import Limits
from facepipe.pipeline.video import decoders as video_decoders
from facepipe.pipeline.video import reader as video_reader
from facepipe.pipeline.video.decoders import VideoInfo, open_decoder, without_password
from facepipe.pipeline.video.reader import VideoReader

Clip = Callable[..., Path]


def decoding() -> int:
    return sum(thread.name == "facepipe-decode" for thread in threading.enumerate())


def test_frames_come_in_order_with_their_times(clip: Clip) -> None:
    times = [0, 20, 60, 210, 230, 270]
    with VideoReader(str(clip("a.mkv", frames=6, times=times))) as video:
        frames = list(video)
    assert [frame.number for frame in frames] == list(range(6))
    assert [frame.time for frame in frames] == [each / 1000 for each in times]
    assert all(frame.image.shape == (120, 160, 3) and frame.image.dtype == np.uint8 for frame in frames)
    assert (video.info.width, video.info.height, video.info.live, video.error) == (160, 120, False, None)


def test_every_nth_frame_and_no_more_seconds_than_asked_for(clip: Clip) -> None:
    path = str(clip(frames=20))
    with VideoReader(path, every=3, seconds=0.5) as video:
        assert [(frame.number, frame.time) for frame in video] == [
            (0, 0.0),
            (3, 0.12),
            (6, 0.24),
            (9, 0.36),
            (12, 0.48),
        ]
    assert video.error is None


def test_frames_that_are_skipped_are_not_converted(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    converted = []
    real = video_decoders.upright

    def upright(*given: Any) -> np.ndarray:
        converted.append(1)
        return real(*given)

    monkeypatch.setattr(video_decoders, "upright", upright)
    with VideoReader(str(clip(frames=12)), every=4) as video:
        assert len(list(video)) == 3
    assert len(converted) == 3


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_a_turned_video_is_upright(clip: Clip, degrees: int) -> None:
    picture = np.zeros((120, 160, 3), np.uint8)
    picture[:40, :40] = 255  # at the top left as it is stored
    pictures = [picture] * 3
    with VideoReader(str(clip(frames=3, rotate=degrees, pictures=pictures))) as video:
        image = next(iter(video)).image
    corners = {90: (-1, 0), 180: (-1, -1), -90: (0, -1)}  # counter-clockwise
    assert image.shape == ((120, 160, 3) if degrees == 180 else (160, 120, 3))
    assert (video.info.width, video.info.height) == (image.shape[1], image.shape[0])
    bright = {corner: int(image[corner].mean()) for corner in [(0, 0), (0, -1), (-1, 0), (-1, -1)]}
    assert max(bright, key=lambda corner: bright[corner]) == corners[degrees]


def test_of_a_truncated_file_the_first_part_is_given_and_the_end_told(clip: Clip) -> None:
    noise = list(np.random.default_rng(0).integers(0, 256, (50, 120, 160, 3), dtype=np.uint8))
    whole = clip(frames=50, pictures=noise)
    path = clip("cut.mp4", frames=50, pictures=noise, cut=whole.stat().st_size // 2)
    with VideoReader(str(path)) as video:
        frames = list(video)
    assert 5 < len(frames) < 45
    assert [frame.number for frame in frames] == list(range(len(frames)))
    assert video.error is not None
    assert "cut short or damaged" in video.error
    assert "of 2.0 s" in video.error


def test_damage_in_the_middle_is_passed_over_and_told(clip: Clip) -> None:
    noise = list(np.random.default_rng(0).integers(0, 256, (40, 120, 160, 3), dtype=np.uint8))
    path = clip("damaged.mp4", frames=40, codec="libx264", pictures=noise)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20_000] = b"\xf7" * 20_000
    path.write_bytes(bytes(content))
    with VideoReader(str(path)) as video:
        frames = list(video)
    assert 20 <= len(frames) < 40
    assert frames[-1].time == pytest.approx(39 * 0.04)
    assert video.error is not None
    assert "packets are damaged and were skipped" in video.error


@pytest.mark.parametrize("content", [b"", b"once upon a time\n" * 100, None])
def test_no_video_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    pytest.importorskip("av")
    path = tmp_path / "no.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VideoError, match=r"no\.mp4: (no such file|is not a readable video)"):
        VideoReader(str(path))
    assert decoding() == 0


def test_sound_alone_and_folders_are_no_videos(clip: Clip, tmp_path: Path) -> None:
    import av

    source = clip("both.mkv", sound="aac")
    with av.open(str(source)) as whole, av.open(str(tmp_path / "sound.mkv"), "w") as alone:
        stream = alone.add_stream_from_template(whole.streams.audio[0])
        for packet in whole.demux(whole.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                alone.mux(packet)
    with pytest.raises(VideoError, match="only audio"):
        VideoReader(str(tmp_path / "sound.mkv"))
    with pytest.raises(VideoError, match="is a folder"):
        VideoReader(str(tmp_path))


def test_frames_over_the_limit_are_refused(clip: Clip) -> None:
    with pytest.raises(VideoError, match=r"160 x 120 pixels, over the limit of 10,000"):
        VideoReader(str(clip()), limits=Limits(pixels=10_000))


def test_a_file_is_never_taken_for_an_address(tmp_path: Path) -> None:
    pytest.importorskip("av")
    for name in ("http://127.0.0.1:1/a.mp4", "concat:a|b", "pipe:0"):
        with pytest.raises(VideoError, match="no such file"):
            VideoReader(name)


def test_closing_early_ends_the_thread_and_memory_is_bounded(clip: Clip) -> None:
    path = str(clip(frames=200))
    with VideoReader(path) as video:
        taken = [next(frames).number for frames in [iter(video)] for _ in range(3)]
        time.sleep(0.2)
        assert len(video._waiting) <= video_reader.AHEAD
        assert decoding() == 1
    assert taken == [0, 1, 2]
    assert decoding() == 0


def test_a_reader_that_fails_in_the_middle_gives_what_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        info, error, damaged = VideoInfo(8, 8, 25.0, None, None, False), None, 0

        def __iter__(self) -> Iterator[Any]:
            yield 0.0, lambda: np.zeros((8, 8, 3), np.uint8)
            raise VideoError("too large")

        def close(self) -> None: ...

    monkeypatch.setattr(video_reader, "open_decoder", lambda *_: Failing())
    with VideoReader("x") as video:
        frames = iter(video)
        assert next(frames).number == 0
        with pytest.raises(VideoError, match="too large"):
            next(frames)


class Camera:
    """Gives a frame every millisecond until it is closed."""

    info, error, damaged = VideoInfo(8, 8, 25.0, None, None, True), None, 0

    def __init__(self) -> None:
        self.closed = False

    def __iter__(self) -> Iterator[Any]:
        for number in range(100_000):
            time.sleep(0.001)
            yield number * 0.001, lambda number=number: np.full((8, 8, 3), number % 256, np.uint8)

    def close(self) -> None:
        self.closed = True


def test_of_a_live_source_the_newest_frame_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = Camera()
    monkeypatch.setattr(video_reader, "open_decoder", lambda *_: camera)
    with VideoReader("camera:0") as video:
        frames = iter(video)
        first = next(frames)
        time.sleep(0.3)
        late, after = next(frames), next(frames)
        assert late.number > first.number + 10  # it did not queue
        assert after.number > late.number
        video.stop()
        assert len(list(frames)) <= 1
    assert camera.closed
    assert decoding() == 0


def test_a_lost_stream_is_opened_again_and_given_up_in_the_end(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(clip(frames=5))
    opened = []

    def opens(source: str) -> Any:
        opened.append(source)
        if len(opened) in (2, 3) or len(opened) > 4:
            raise VideoError(f"{without_password(source)}: the stream cannot be opened (no answer)")
        return video_decoders.open_file(path)

    class Patient(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            return self.is_set()

    monkeypatch.setattr(video_decoders, "open_stream", opens)
    decoder = open_decoder("rtsp://me:secret@host/door", Limits(), Patient())
    times = [moment for moment, convert in decoder if convert().shape == (120, 160, 3)]
    assert len(times) == 10  # twice the clip
    assert times == sorted(times)
    assert len(opened) == 4 + video_decoders.RETRIES
    assert decoder.error is not None
    assert "rtsp://host/door" in decoder.error
    assert "secret" not in decoder.error


def test_a_stream_without_an_answer_is_an_error() -> None:
    pytest.importorskip("av")
    with pytest.raises(VideoError, match=r"rtsp://127\.0\.0\.1:9/x: the stream cannot be opened"):
        VideoReader("rtsp://user:secret@127.0.0.1:9/x")


@pytest.mark.parametrize("source", ["camera:99", "camera:front"])
def test_no_such_camera(source: str) -> None:
    with pytest.raises(VideoError, match=source):
        VideoReader(source)
