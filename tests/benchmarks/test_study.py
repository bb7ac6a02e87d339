"""The speed study: its arithmetic, pictures and sides, and the script as a whole. Nothing is timed here."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import speed_study
import typer
from facepipe import AttributeClassifier, FaceDetector, Pipeline
from facepipe.core.errors import FacepipeError, MissingExtraError
from facepipe.detector.inference.preprocessing import STRIDE, fit
from facepipe.weights.release import Release
from study import notebook as benchmark_notebook
from study import rounds as benchmark_rounds
from study.bound import BareSessions, files_of, tensors_of
from study.comparisons import busy
from study.fresh import cold_starts
from study.machine import resident_mb, this_machine
from study.notebook import Notebook, missing
from study.pictures import TRIES, draw_files, sides
from study.report import Limit, Ratio, Report, Series, paired, quickest
from study.rounds import interleave

NOT_THERE = missing()
APP = typer.Typer()
APP.command()(speed_study.main)


def series(name: str, items: int, *seconds: float) -> Series:
    return Series(name=name, what="", unit="pictures", items=items, seconds=seconds)


def test_ratios_are_those_of_the_rounds() -> None:
    one, other = series("one", 10, 1.0, 2.0, 5.0), series("other", 20, 4.0, 4.0, 4.0)
    ratio = paired("one / other", one, other, wanted=1.0)
    assert ratio.rounds == (2.0, 1.0, 0.4)  # the second side did twice the work in a round
    assert ratio.median == 1.0
    assert ratio.reached
    assert ratio.spread == (0.4, 2.0)
    assert one.rate == 5.0
    assert quickest([one, other]) is one
    with pytest.raises(ValueError, match="shorter"):
        paired("", one, series("other", 1, 1.0))


def test_a_slow_minute_of_the_machine_hits_both_sides() -> None:
    """The ratio of medians would be off here; the median of ratios is not."""
    one, other = series("one", 1, 1, 10, 1, 10, 10), series("other", 1, 2, 20, 2, 20, 2)
    assert paired("", one, other).median == 2.0
    assert one.seconds != other.seconds


def test_spread_is_the_quartiles() -> None:
    assert Ratio(name="", rounds=(1, 2, 3, 4, 5)).spread == (2.0, 4.0)
    assert Ratio(name="", rounds=(1, 2, 3)).reached is None


def test_a_limit_is_reached_from_below() -> None:
    assert Limit(name="", unit="s", values=(1, 2, 9), wanted=2).reached
    assert not Limit(name="", unit="MB", values=(3,), wanted=2).reached
    assert Limit(name="", unit="s", values=(3,)).reached is None


class Clock:
    """Time passes only where an action says so."""

    def __init__(self) -> None:
        self.now, self.done = 0.0, ""

    def action(self, name: str, seconds: float) -> Callable[[], None]:
        def act() -> None:
            self.now += seconds
            self.done += name

        return act

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(benchmark_rounds, "SETTLE", 0)
    return Clock()


def test_sides_take_turns(clock: Clock) -> None:
    timed = interleave({"a": clock.action("a", 1), "b": clock.action("b", 2)}, 12, fewest=2, clock=clock)
    assert clock.done == "ab" + "ab" + "ba" + "ab"  # the first is a warm-up; a fourth round would end at 15
    assert timed == {"a": [1, 1, 1], "b": [2, 2, 2]}


def test_rounds_have_a_least_and_a_most(clock: Clock) -> None:
    assert len(interleave({"a": clock.action("a", 5)}, 0, fewest=2, clock=clock)["a"]) == 2
    assert len(interleave({"a": clock.action("a", 5)}, 1e9, most=4, clock=clock)["a"]) == 4


def test_seconds_told_by_a_child_are_taken(clock: Clock) -> None:
    assert interleave({"a": lambda: 0.25}, 0, fewest=2, most=2, clock=clock) == {"a": [0.25, 0.25]}


@pytest.mark.parametrize(("faces", "megapixels"), [(0, 0.3), (1, 0.3), (10, 0.3), (50, 1.0)])
def test_drawn_pictures_have_the_faces_they_promise(
    faces: int, megapixels: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "none"))
    detector = FaceDetector()
    drawn = draw_files(tmp_path, 2, faces, megapixels, lambda frame: len(detector.detect([frame])[0].of("face")))
    assert drawn.found == (faces, faces)
    assert drawn.wrong == 0
    for path in drawn.paths:
        frame = cv2.imread(str(path))
        assert frame is not None
        assert (frame.shape[1], frame.shape[0]) == sides(megapixels) == (drawn.width, drawn.height)
        assert len(detector.detect([frame])[0].of("face")) == faces


def test_drawn_pictures_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    first, again, other = (
        draw_files(tmp_path / str(number), 2, 3, 0.1, lambda frame: 3, seed).paths
        for number, seed in enumerate((7, 7, 8))
    )
    contents = [[path.read_bytes() for path in paths] for paths in (first, again, other)]
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]
    assert contents[0][0] != contents[0][1]


def test_a_count_that_differs_is_told(tmp_path: Path) -> None:
    seen: list[int] = []
    drawn = draw_files(tmp_path, 2, 4, 0.1, lambda frame: seen.append(1) or 3)  # type: ignore[func-returns-value]
    assert (drawn.found, drawn.wrong) == ((3, 3), 2)
    assert len(seen) == 2 * TRIES


@pytest.fixture
def pictures(tmp_path: Path, photo: Callable[..., np.ndarray]) -> list[Path]:
    """In all but the last the random detector finds something."""
    frames = [photo(seed, 90, 160) for seed in range(3)] + [np.full((64, 64, 3), 128, np.uint8)]
    paths = [tmp_path / f"{number}.png" for number in range(len(frames))]
    for path, frame in zip(paths, frames, strict=True):
        cv2.imwrite(str(path), frame)
    return paths


@pytest.mark.usefixtures("tiny_weights")
def test_tensors_are_the_pipelines_own(pictures: list[Path], dynamic_release: Release) -> None:
    for detector in (FaceDetector(), FaceDetector(release=dynamic_release)):
        pipeline = Pipeline(detector, AttributeClassifier())
        tensors = tensors_of(pictures, *pipeline.parts())
        results = pipeline.run(pictures)
        assert tensors.faces == tuple(len(result.faces) for result in results)
        assert sum(tensors.faces) > 0
        read = sum(face.attributes is not None for result in results for face in result.faces)
        assert len(tensors.crops["face"]) == read
        for path, tensor in zip(pictures, tensors.inputs, strict=True):
            frame = cv2.imread(str(path))
            assert frame is not None
            box = fit(frame.shape[1], frame.shape[0], detector.imgsz, STRIDE if detector.input.dynamic else None)
            assert tensor.shape == (1, 3, *box.outer[::-1])
            assert tensor.dtype == np.float32
            assert 0 <= tensor.min() <= tensor.max() <= 1


@pytest.mark.usefixtures("tiny_weights")
def test_every_way_runs_everything_once(pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Pipeline()
    detector, classifiers = pipeline.parts()
    used = {"detector": pipeline.models.detector, **pipeline.models.classifiers}
    files = files_of(detector, classifiers, {name: each.sha256 for name, each in used.items()})
    tensors = tensors_of(pictures, detector, classifiers)
    bare = BareSessions(files, detector, classifiers, cores=8)
    ran: list[tuple[str, int]] = []

    class Fake:
        def __init__(self, name: str):
            self.name = name

        def run(self, outputs: list[str] | None, feed: dict[str, np.ndarray]) -> None:
            assert (outputs is None) == (self.name == "detector")  # features are not asked for, so not computed
            ran.append((self.name, len(next(iter(feed.values())))))

    monkeypatch.setattr(BareSessions, "_session", lambda self, name, threads: Fake(name))
    ways = bare.actions(tensors, batches=(1, 4))
    assert len(ways) == 3 * 2  # all threads, four each, one each
    for way, action in ways.items():
        ran.clear()
        action()
        assert sum(items for name, items in ran if name == "detector") == len(pictures), way
        assert sum(items for name, items in ran if name == "face") == len(tensors.crops["face"]), way
        assert all(items <= (4 if "4 crops" in way else 1) for _, items in ran), way
    bare.close()


@pytest.mark.usefixtures("tiny_weights")
def test_the_bare_sessions_run(pictures: list[Path]) -> None:
    pipeline = Pipeline()
    detector, classifiers = pipeline.parts()
    used = {"detector": pipeline.models.detector, **pipeline.models.classifiers}
    files = files_of(detector, classifiers, {name: each.sha256 for name, each in used.items()})
    assert {name: entry.sha256 for name, (_, entry) in files.items()} == {n: e.sha256 for n, e in used.items()}
    bare = BareSessions(files, detector, classifiers, cores=2)
    for action in bare.actions(tensors_of(pictures, detector, classifiers)).values():
        action()
    bare.close()


def test_without_the_extra_the_notebook_way_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_notebook, "find_spec", lambda name: None if name == "keras" else find_spec("json"))
    assert missing() == "keras"
    with pytest.raises(MissingExtraError, match=r"keras is not installed; .*facepipe\[train\]"):
        Notebook([], {})


@pytest.mark.skipif(NOT_THERE is not None, reason=f"{NOT_THERE} is not installed")
def test_the_notebook_way(pictures: list[Path], tmp_path: Path) -> None:
    with Notebook([(pictures[0], [[0, 0, 20, 30], [5.5, 3, 5.6, 3.2]])], {"age": 101, "gender": 2}) as notebook:
        assert notebook.seconds() > 0
        child = notebook._child
    assert child.returncode is not None
    (tmp_path / "no.pt").write_bytes(b"no weights")
    with pytest.raises(FacepipeError, match="ended before it was done"):
        Notebook([], {}, tmp_path / "no.pt")
    with pytest.raises(FacepipeError, match=r"none\.pt: no such file"):
        Notebook([], {}, tmp_path / "none.pt")


@pytest.mark.usefixtures("tiny_weights")
def test_a_fresh_process_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(FacepipeError, match=r"a fresh facepipe process failed: .*missing\.jpg"):
        cold_starts(tmp_path / "missing.jpg", [], 1)


def test_machine() -> None:
    machine = this_machine()
    assert machine.cpu
    assert machine.cores >= 1
    assert {"numpy", "onnxruntime"} <= machine.packages.keys()
    if (now := resident_mb()) is not None:
        assert 10 < now <= (resident_mb(peak=True) or 0) * 1.01


def test_a_busy_machine_is_told() -> None:
    machine = this_machine()
    (note,) = busy(machine.model_copy(update={"load": 3.0, "cores": 2}))
    assert "load 3.0 on 2 cores" in note
    assert busy(machine.model_copy(update={"load": 0.5, "cores": 2})) == ()
    assert busy(machine.model_copy(update={"load": None})) == ()


def run(*arguments: str) -> int:
    try:
        APP(list(arguments), standalone_mode=False)
    except FacepipeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_weights")
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--quick", "--out", str(tmp_path / "out")) == 0
    shown = capsys.readouterr().out
    assert "pipeline / bound, 10 faces, 1.0 MP" in shown
    assert "the notebook way was left out" in shown
    content = (tmp_path / "out" / "benchmark.json").read_text()
    told: dict[str, Any] = json.loads(content)
    assert set(told) == set(Report.model_fields)
    report = Report.model_validate_json(content)
    assert report.model_dump_json() == json.dumps(told, separators=(",", ":"), ensure_ascii=False)
    assert set(report.comparisons) == {"main", "faces", "size"} | ({"batch"} & set(report.comparisons))
    assert told["comparisons"]["main"][0]["ratios"][0]["wanted"] == 0.9
    for name, model in report.models.items():
        assert len(model.sha256) == 64, name
    for limit in ("cold start, one photo", "of which imports", "memory, one photo"):
        assert any(each.name == limit and min(each.values) > 0 for each in report.limits), limit
    if find_spec("matplotlib") is not None:
        assert cv2.imread(str(tmp_path / "out" / "benchmark.png")) is not None


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_weights")
def test_a_folder_of_ones_own(
    pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.comparisons.cold_starts", lambda *_: ())
    monkeypatch.setattr("study.comparisons.peak_memory", lambda *_: None)
    for path in pictures[2:]:
        path.unlink()
    pictures[0].write_bytes(b"broken")
    assert run(str(tmp_path), "--quick", "--out", str(tmp_path / "out")) == 0
    shown = capsys.readouterr().out
    assert f"left out: {pictures[0]}" in shown
    report = Report.model_validate_json((tmp_path / "out" / "benchmark.json").read_text())
    (main_question,) = report.comparisons["main"]
    assert main_question.label == f"1 picture of {tmp_path}"
    assert main_question.ratios[0].wanted is None
    assert any(note.startswith("peak memory") for note in report.notes)


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_weights")
def test_nothing_to_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"broken")
    assert run(str(tmp_path), "--quick", "--out", str(tmp_path / "out")) == 2
    assert "none of the 1 pictures tried can be read" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
