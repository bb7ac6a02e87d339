"""The short report of ``facepipe benchmark``. Nothing is timed here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe import FaceDetector
from facepipe.core.errors import FacepipeError
from facepipe.pipeline.benchmark import FACES, HEIGHT, WIDTH, Chosen, Report, benchmark, draw, interleave


def test_sides_take_turns() -> None:
    done: list[str] = []
    timed = interleave({"a": lambda: done.append("a"), "b": lambda: done.append("b")}, 60, most=3, settle=0)
    assert "".join(done) == "ab" + "ab" + "ba" + "ab"
    assert [len(each) for each in timed.values()] == [3, 3]


def test_one_round_is_done_whatever_it_takes() -> None:
    assert len(interleave({"a": lambda: None}, 0, settle=0)["a"]) == 1


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    report = Report(10, 20, (2.0, 4.0, 20.0), (1.0, 3.0, 10.0), "a way", (1.5,), {}, {"detector": "1 (int8)"})
    assert report.ratio == 0.5
    assert ("pipeline / bound", "0.50") in report.rows()
    assert dict(report.rows())["pipeline"].startswith("2.50 pictures/s")


def test_drawn_pictures_have_their_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "none"))
    detector = FaceDetector()
    for seed in range(2):
        frame = draw(FACES, WIDTH, HEIGHT, np.random.default_rng(seed))
        assert (frame.shape, frame.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
        assert len(detector.detect([frame])[0].of("face")) == FACES
    assert len(detector.detect([draw(0, 640, 480, np.random.default_rng(0))])[0].of("face")) == 0


def test_options_are_those_of_detect() -> None:
    chosen = Chosen(None, {"detector": "1.0.0", "classifier": ["a", "b"], "threads": None, "device": "cpu"})
    assert chosen.options == ["--detector", "1.0.0", "--classifier", "a", "--classifier", "b", "--device", "cpu"]


@pytest.mark.usefixtures("tiny_weights")
def test_a_folder_of_ones_own(tmp_path: Path, photo: Callable[..., np.ndarray]) -> None:
    for seed in range(2):
        cv2.imwrite(str(tmp_path / f"{seed}.png"), photo(seed, 90, 160))
    (tmp_path / "bad.jpg").write_bytes(b"broken")
    report = benchmark(Chosen(tmp_path, {"precision": "auto"}), tmp_path / "drawn", 0, 3, lambda line: None)
    assert report.pictures == 2
    assert len(report.pipeline) == len(report.bound) == 1
    assert len(report.start) == 1
    assert report.start[0] > 0
    assert all(most > 10 for most in report.memory.values())
    assert report.models.keys() == {"detector", "face"}
    (note,) = report.notes
    assert note.startswith(f"left out: {tmp_path / 'bad.jpg'}")


@pytest.mark.usefixtures("tiny_weights")
def test_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"broken")
    with pytest.raises(FacepipeError, match="none of the 1 pictures tried can be read"):
        benchmark(Chosen(tmp_path), tmp_path, 0)
