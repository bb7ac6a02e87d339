"""``facepipe detect`` of videos: rows, saved videos, persons, and what happens when it is interrupted."""

from __future__ import annotations

import csv
import json
import os
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facepipe import Pipeline
from facepipe.core.errors import FacepipeError
from facepipe.pipeline.batch import videos as module
from facepipe.pipeline.batch.images import DetectRun, look_back
from facepipe.pipeline.batch.videos import detect_videos, safe, stopped_by_signals
from facepipe.pipeline.console import DetectScreen
from facepipe.pipeline.drawing.options import DrawOptions
from facepipe.pipeline.outputs.options import Outputs
from facepipe.pipeline.results import Result
from facepipe.pipeline.video.options import VideoOptions
from facepipe.pipeline.video.reader import VideoReader

Clip = Callable[..., Path]
Detect = Callable[..., DetectScreen]


@pytest.fixture
def detect(pipeline: Pipeline, tmp_path: Path) -> Detect:
    """``detect(outputs, *videos, options=…, tracks=…, resume=False)`` does what the command does with videos."""
    pytest.importorskip("trackers", reason="trackers is not installed: pip install 'facepipe[video]'")

    def run(outputs: Outputs, *videos: Path, resume: bool = False, **more: Any) -> DetectScreen:
        names = [str(video) for video in videos]
        outputs.check(names)
        screen = DetectScreen(0, not outputs.talks, bool(outputs.files))
        with DetectRun(pipeline, outputs, names, {}, look_back(outputs, resume, False), True) as job:
            detect_videos(job, names, screen, **more)
            job.finish()
        return screen

    return run


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_saved_video_persons_and_table(
    detect: Detect, clip: Clip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = clip(frames=12, sound="aac")
    outputs = Outputs(json=tmp_path / "o.jsonl", csv=tmp_path / "o.csv", save=tmp_path / "saved")
    screen = detect(outputs, video, options=VideoOptions(every=3), tracks=tmp_path / "persons.csv")
    results = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [(each["frame"], each["time"]) for each in results] == [(0, 0.0), (3, 0.12), (6, 0.24), (9, 0.36)]
    assert sum(len(each["faces"]) for each in results) == len(rows(tmp_path / "o.csv")) == screen.faces
    assert {row["time"] for row in rows(tmp_path / "o.csv")} == {"0.0", "0.12", "0.24", "0.36"}
    assert (screen.pictures, screen.failed) == (4, 0)
    numbers = sorted({face["track"] for each in results for face in each["faces"]} - {None})
    assert [int(row["track"]) for row in rows(tmp_path / "persons.csv")] == numbers
    with VideoReader(str(tmp_path / "saved" / "clip-faces.mp4")) as saved:
        assert len(list(saved)) == 12  # every frame, not only those that were looked at
        assert (saved.info.width, saved.info.height) == (640, 480)  # 160 x 120 is enlarged, for the text
    told = capsys.readouterr()
    assert f"{len(numbers)} persons in 4 frames" in " ".join(told.out.split())
    assert "sound kept" in told.err
    assert not list(tmp_path.glob("*.partial.jsonl"))


def test_blurred_video_has_no_frame_that_is_not_hidden(
    detect: Detect, clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every third frame is looked at; in all of them the boxes of the tracks are given to ``hide``."""
    hidden: list[Result] = []

    def hide(frame: np.ndarray, result: Result, how: str, what: str, more: Any) -> np.ndarray:
        hidden.append(result)
        assert (how, what) == ("pixelate", "heads")
        return frame

    monkeypatch.setattr("facepipe.pipeline.drawing.anonymize.hide", hide)
    outputs = Outputs(save=tmp_path / "saved", how="pixelate", what="heads")
    detect(outputs, clip(frames=11), options=VideoOptions(every=3))
    assert [each.frame for each in hidden] == list(range(11))
    least = min(len(each.faces) for each in hidden[::3])
    assert least > 0
    assert all(len(each.faces) >= least and each.heads for each in hidden)
    assert [path.name for path in (tmp_path / "saved").glob("[!.]*")] == ["clip-pixelated.mp4"]


def test_without_tracks(detect: Detect, clip: Clip, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    detect(Outputs(csv=tmp_path / "o.csv"), clip(frames=3), options=VideoOptions(track=False))
    assert {row["track"] for row in rows(tmp_path / "o.csv")} == {""}
    assert "clip.mp4: 3 frames" in capsys.readouterr().out


def test_json_to_standard_output_is_nothing_but_json(
    detect: Detect, clip: Clip, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    detect(Outputs(live="-"), clip(frames=3))
    assert [json.loads(line)["frame"] for line in capfdbinary.readouterr().out.splitlines()] == [0, 1, 2]


def test_a_bad_video_is_a_row_and_the_others_are_done(
    detect: Detect, clip: Clip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    noise = list(np.random.default_rng(0).integers(0, 256, (50, 120, 160, 3), dtype=np.uint8))
    size = clip("whole.mp4", frames=50, pictures=noise).stat().st_size
    cut = clip("cut.mp4", frames=50, pictures=noise, cut=size // 2)
    outputs = Outputs(csv=tmp_path / "o.csv")
    screen = detect(outputs, tmp_path / "bad.mp4", cut, clip(frames=2), options=VideoOptions(every=10))
    found = rows(tmp_path / "o.csv")
    errors = {Path(row["source"]).name: row["error"] for row in found if row["error"]}
    assert "is not a readable video" in errors["bad.mp4"]
    assert "cut short" in errors["cut.mp4"]
    assert screen.failed == len(errors) == 2
    frames = {
        name: {row["frame"] for row in found if row["source"].endswith(name)} for name in ("/cut.mp4", "/clip.mp4")
    }
    assert frames["/clip.mp4"] == {"0"}
    assert {"0", "10"} < frames["/cut.mp4"]
    assert capsys.readouterr().err.count("error: ") == 2


def test_an_interrupted_run_goes_on_with_the_video_that_was_not_done(
    detect: Detect, clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = clip("one.mp4", frames=6), clip("two.mp4", frames=9)
    clean = Outputs(json=tmp_path / "clean.jsonl", save=tmp_path / "clean")
    detect(clean, one, two, tracks=tmp_path / "clean.csv")
    begun = Outputs(json=tmp_path / "o.jsonl", save=tmp_path / "saved")
    real, opened = module.VideoRun, []

    class Broken(real):  # type: ignore[misc, valid-type]
        def __iter__(self) -> Any:
            opened.append(self.source)
            for number, each in enumerate(super().__iter__()):
                if len(opened) == 2 and number == 4:
                    raise KeyboardInterrupt
                yield each

    monkeypatch.setattr(module, "VideoRun", Broken)
    with pytest.raises(KeyboardInterrupt):
        detect(begun, one, two, tracks=tmp_path / "o.csv")
    assert not (tmp_path / "o.jsonl").exists()
    assert [path.name for path in (tmp_path / "saved").glob("[!.]*.mp4")] == ["one-faces.mp4"]
    assert not any(thread.name == "facepipe-decode" for thread in threading.enumerate())
    detect(begun, one, two, resume=True, tracks=tmp_path / "o.csv")
    assert opened == [str(one), str(two), str(two)]
    lines, expected = (Path(tmp_path / name).read_text() for name in ("o.jsonl", "clean.jsonl"))
    assert lines.replace(str(tmp_path / "saved"), str(tmp_path / "clean")) == expected
    assert (tmp_path / "o.csv").read_bytes() == (tmp_path / "clean.csv").read_bytes()
    assert sorted(path.name for path in (tmp_path / "saved").glob("[!.]*")) == ["one-faces.mp4", "two-faces.mp4"]


@pytest.mark.parametrize("option", ["coco", "crops", "features"])
def test_outputs_of_pictures_are_refused(detect: Detect, clip: Clip, tmp_path: Path, option: str) -> None:
    chosen: dict[str, Any] = {option: tmp_path / "o.npz"}
    with pytest.raises(FacepipeError, match=f"--{option}: for pictures only"):
        module.check_outputs(Outputs(**chosen), None)


def test_tracks_never_overwrite_anything(tmp_path: Path) -> None:
    outputs = Outputs(csv=tmp_path / "o.csv")
    with pytest.raises(FacepipeError, match="--tracks and --csv both"):
        module.check_outputs(outputs, tmp_path / "o.csv")
    with pytest.raises(FacepipeError, match="--tracks and a source both"):
        module.check_outputs(outputs, tmp_path / "v.csv", [str(tmp_path / "v.csv")])
    with pytest.raises(FacepipeError, match=r"\.csv, \.parquet or \.jsonl"):
        module.check_outputs(outputs, tmp_path / "o.xlsx")


def test_ctrl_c_ends_a_live_source_in_order_and_a_second_one_interrupts() -> None:
    stopped = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background, shells have it ignored
    try:
        with stopped_by_signals(lambda: stopped.append(1)):
            signal.raise_signal(signal.SIGINT)
            assert stopped == [1]
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_camera_that_is_stopped_leaves_whole_outputs(
    detect: Detect, tmp_path: Path, photo: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    from facepipe.pipeline.video import reader as video_reader
    from facepipe.pipeline.video.decoders import VideoInfo

    before = signal.getsignal(signal.SIGINT)
    sent: list[int] = []

    class Camera:
        info, error, damaged = VideoInfo(160, 120, 25.0, None, None, True), None, 0

        def __iter__(self) -> Any:
            for number in range(3_000):
                if number >= 60 and not sent and signal.getsignal(signal.SIGINT) is not before:
                    sent.append(number)
                    os.kill(os.getpid(), signal.SIGINT)  # what Ctrl-C sends
                threading.Event().wait(0.005)
                yield number * 0.04, lambda: photo(0)

        def close(self) -> None: ...

    outputs = Outputs(json=tmp_path / "o.jsonl", save=tmp_path / "saved", how="blur", what="faces")
    with monkeypatch.context() as patched:
        patched.setattr(video_reader, "open_decoder", lambda *_: Camera())
        screen = detect(outputs, Path("camera:0"))
    results = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert 2 <= len(results) == screen.pictures
    assert len(sent) == 1
    numbers = [each["frame"] for each in results]
    assert numbers == sorted(set(numbers))
    with VideoReader(str(tmp_path / "saved" / "camera-0-blurred.mp4")) as saved:
        assert len(list(saved)) == len(results)


def test_closing_the_window_ends_that_video(
    detect: Detect, clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[str | None, int | None]] = []
    drawings: list[DrawOptions] = []

    def show(frame: np.ndarray, result: Result) -> bool:
        assert frame.shape == (120, 160, 3)
        shown.append((result.source, result.frame))
        return result.frame != 2

    def window(options: DrawOptions) -> AbstractContextManager[Callable[..., bool]]:
        drawings.append(options)
        return nullcontext(show)

    monkeypatch.setattr("facepipe.pipeline.drawing.window.live_window", window)
    videos = [clip(name, frames=120) for name in ("a.mp4", "b.mp4")]
    outputs = Outputs(csv=tmp_path / "o.csv", drawing=DrawOptions.parse("boxes", None))
    detect(outputs, *videos, window=True)
    assert shown == [(str(video), frame) for video in videos for frame in (0, 1, 2)]
    assert drawings == [outputs.drawing]
    for video in videos:
        told = {row["frame"] for row in rows(tmp_path / "o.csv") if row["source"] == str(video)}
        assert {"0", "1", "2"} <= told
        assert len(told) < 120  # what was decoded already is looked at, and no more
    detect(Outputs(csv=tmp_path / "more.csv"), videos[0])
    assert len(shown) == 6


def test_names_that_every_file_system_takes() -> None:
    assert safe('camera:0 a<b>"c|d?e*f') == "camera-0 a-b--c-d-e-f"
