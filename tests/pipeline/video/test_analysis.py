from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from facepipe import Pipeline
from facepipe.classifier.inference.attributes import ClassValue
from facepipe.core.errors import FacepipeError, VideoError
from facepipe.detector.inference.boxes import Detections
from facepipe.pipeline.classifiers import Classifiers, Placed
from facepipe.pipeline.video.analysis import VideoOptions, VideoRun, stream_video
from facepipe.pipeline.video.tracks import TrackForm, clock, read_tracks, tracks_table, write_tracks

Clip = Callable[..., Path]


@pytest.fixture
def two_persons(monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline) -> Pipeline:
    """A detector that sees one person in every frame, and a second one from the fourth frame on."""
    pytest.importorskip("trackers", reason="trackers is not installed: pip install 'facepipe[video]'")
    detector = pipeline.parts()[0]
    seen = 0

    def detect(frames: Sequence[np.ndarray]) -> list[Detections]:
        nonlocal seen
        found = []
        for _ in frames:
            boxes = [(20.0 + seen, 20.0, 60.0 + seen, 70.0)] + ([(100.0, 30.0, 140.0, 80.0)] if seen >= 3 else [])
            rows = np.array(boxes, np.float32)
            found.append(
                Detections(rows, np.full(len(rows), 0.9, np.float32), np.zeros(len(rows), int), detector.classes)
            )
            seen += 1
        return found

    monkeypatch.setattr(detector, "detect", detect)
    return pipeline


@pytest.fixture
def classified(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Faces in each call of the classifiers."""
    calls: list[int] = []
    real = Classifiers.read

    def read(self: Classifiers, placed: Sequence[Placed], features: bool = False) -> object:
        calls.append(sum(len(each.faces) for each in placed))
        return real(self, placed, features)

    monkeypatch.setattr(Classifiers, "read", read)
    return calls


def test_results_come_in_order_with_frame_time_and_track(two_persons: Pipeline, clip: Clip) -> None:
    path = clip(frames=20)
    given = list(stream_video(two_persons, str(path)))
    assert [result.frame for result, _ in given] == list(range(20))
    assert [result.time for result, _ in given] == [round(0.04 * number, 6) for number in range(20)]
    assert all(result.source == str(path) and result.error is None for result, _ in given)
    assert all(frame is not None and frame.shape == (120, 160, 3) for _, frame in given)
    assert [[face.track for face in result.faces] for result, _ in given] == [[1]] * 3 + [[1, 2]] * 17


@pytest.mark.parametrize("every", [1, 4, 100])
def test_every_nth_frame(two_persons: Pipeline, clip: Clip, every: int) -> None:
    given = list(stream_video(two_persons, str(clip(frames=11)), VideoOptions(every=every)))
    assert [result.frame for result, _ in given] == list(range(0, 11, every))


@pytest.mark.parametrize(("every", "faces"), [(1, 20 + 17), (3, 7 + 6), (10, 2 + 2), (100, 1 + 1)])
def test_a_persons_face_is_classified_every_nth_time(
    two_persons: Pipeline, clip: Clip, classified: list[int], every: int, faces: int
) -> None:
    options = VideoOptions(classify_every=every)
    with VideoRun(two_persons, str(clip(frames=20)), options) as run:
        assert all(face.attributes for result, _ in run for face in result.faces)
        looks = [person.looks for person in run.tracks()]
    assert sum(classified) == faces == sum(looks)
    assert len(classified) == 3  # 8, 8 and 4 frames: all faces that are due in one call


def test_without_tracks_every_face_is_classified(two_persons: Pipeline, clip: Clip, classified: list[int]) -> None:
    options = VideoOptions(track=False)
    with VideoRun(two_persons, str(clip(frames=20)), options) as run:
        assert {face.track for result, _ in run for face in result.faces} == {None}
        assert run.tracks() == []
    assert sum(classified) == 37


def test_frames_are_as_a_picture_would_be(pipeline: Pipeline, clip: Clip) -> None:
    (result, frame), *_ = stream_video(pipeline, str(clip(frames=2)), VideoOptions(track=False))
    assert frame is not None
    alone = pipeline.run(frame)
    assert result.faces
    assert [face.box for face in result.faces] == [face.box for face in alone.faces]
    assert (result.models, result.width, result.height) == (alone.models, alone.width, alone.height)


def test_a_persons_line_is_what_the_last_frame_says(two_persons: Pipeline, clip: Clip) -> None:
    with VideoRun(two_persons, str(clip(frames=20)), VideoOptions(classify_every=2)) as run:
        results = [result for result, _ in run]
        one, two = run.tracks()
    assert (one.track, one.first_frame, one.last_frame, one.frames, one.looks) == (1, 0, 19, 20, 10)
    assert (two.track, two.first_frame, two.first_time, two.last_time, two.frames) == (2, 3, 0.12, 0.76, 17)
    assert one.attributes == results[-1].faces[0].attributes
    gender = [result.faces[0].attributes["gender"] for result in results if result.faces[0].attributes]
    assert gender[0] == gender[1] != gender[2]  # stands until the next look
    assert isinstance(gender[0], ClassValue)
    best = results[one.best.frame]
    assert (best.faces[0].box, best.time) == (one.best.box, one.best.time)


def test_closing_early_ends_the_thread_and_keeps_the_persons(two_persons: Pipeline, clip: Clip) -> None:
    with VideoRun(two_persons, str(clip(frames=100))) as run:
        for result, _ in run:
            if result.frame == 1:
                break
    assert not any(thread.name == "facepipe-decode" for thread in threading.enumerate())
    assert [(person.track, person.frames, person.last_frame) for person in run.tracks()] == [(1, 2, 1)]


def test_an_interruption_ends_the_thread(two_persons: Pipeline, clip: Clip) -> None:
    path = str(clip(frames=100))

    def interrupted() -> None:
        with VideoRun(two_persons, path) as run:
            for _ in run:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not any(thread.name == "facepipe-decode" for thread in threading.enumerate())


def test_a_damaged_video_gives_its_frames_and_then_an_error(pipeline: Pipeline, clip: Clip) -> None:
    noise = list(np.random.default_rng(0).integers(0, 256, (50, 120, 160, 3), dtype=np.uint8))
    whole = clip(frames=50, pictures=noise)
    path = clip("cut.mp4", frames=50, pictures=noise, cut=whole.stat().st_size // 2)
    *good, (last, frame) = stream_video(pipeline, str(path), VideoOptions(track=False, every=5))
    assert len(good) >= 2
    assert all(result.error is None for result, _ in good)
    assert frame is None
    assert last.error is not None
    assert "cut short" in last.error


def test_what_is_no_video_is_an_error(pipeline: Pipeline, tmp_path: Path) -> None:
    pytest.importorskip("av")
    (tmp_path / "no.mp4").write_text("no")
    with pytest.raises(VideoError, match=r"no\.mp4: is not a readable video"):
        next(stream_video(pipeline, str(tmp_path / "no.mp4")))


@pytest.mark.parametrize("wrong", [{"every": 0}, {"classify_every": 0}, {"seconds": 0.0}, {"seconds": -1.0}])
def test_options_that_make_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(FacepipeError):
        VideoOptions(**wrong)  # type: ignore[arg-type]


def test_persons_as_files_and_as_a_table(two_persons: Pipeline, clip: Clip, tmp_path: Path) -> None:
    with VideoRun(two_persons, str(clip(frames=10))) as run:
        list(run)
        persons = run.tracks()
    classifiers = two_persons.parts()[1].by_name
    form = TrackForm([each for found in classifiers.values() for each in found.attributes], list(classifiers))
    for suffix in ("csv", "jsonl"):
        write_tracks(tmp_path / f"t.{suffix}", persons, form)
    assert read_tracks((tmp_path / "t.jsonl").read_text().splitlines()) == persons
    header, *rows = (tmp_path / "t.csv").read_text().splitlines()
    assert header.split(",")[:6] == ["source", "track", "first_frame", "first_time", "last_frame", "last_time"]
    assert {"age", "age_low", "gender", "gender_female", "version_face", "best_x1"} <= set(header.split(","))
    assert [row.split(",")[1] for row in rows] == ["1", "2"]
    assert all(len(row.split(",")) == len(header.split(",")) for row in rows)
    table = tracks_table("clip.mp4", persons)
    assert table.row_count == 2
    with pytest.raises(FacepipeError, match=r"\.csv, \.parquet or \.jsonl"):
        write_tracks(tmp_path / "t.xlsx", persons, form)
    parquet = pytest.importorskip("pyarrow.parquet")
    write_tracks(tmp_path / "t.parquet", persons, form)
    read = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    assert [row["track"] for row in read] == [1, 2]
    assert list(read[0]) == header.split(",")


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00.0"), (62.54, "1:02.5"), (3599.96, "1:00:00.0")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
