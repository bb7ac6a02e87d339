"""A run from its start to its release: what is kept of it, what it ends as, and what a failed one leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from facepipe.core.errors import TrainingError, WeightsError
from facepipe.detector import train as orchestration
from facepipe.detector.export.release import ReleaseOptions
from facepipe.detector.train import RELEASE, resume_detector, train_detector
from facepipe.detector.training import train as training
from facepipe.detector.training.settings import DetectorSettings

Stub = Callable[..., Path]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "tiny"


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> list[ReleaseOptions]:
    """What the runs of a test are released as; nothing is exported."""
    found: list[ReleaseOptions] = []
    monkeypatch.setattr(orchestration, "release_run", lambda run, checkpoint, options: found.append(options))
    return found


def begin(run: Path, settings: DetectorSettings) -> Path:
    """What a training leaves at its first checkpoint."""
    (run / "weights").mkdir(parents=True, exist_ok=True)
    settings.write(run)
    (run / "weights" / "last.pt").write_bytes(b"weights")
    return run / "weights" / "last.pt"


def finish(settings: DetectorSettings, run: Path, *_: object) -> Path:
    (run / training.FINISHED).write_text("weights/last.pt\n")
    return begin(run, settings)


def stopped(settings: DetectorSettings, run: Path, *_: object) -> Path:
    begin(run, settings)
    raise KeyboardInterrupt


def test_a_killed_run_ends_as_it_was_asked_to(
    run: Path, released: list[ReleaseOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ReleaseOptions("7.0.0", ("int8", "float32"), None, 0.05, True)
    said: list[str] = []
    monkeypatch.setattr(training, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        train_detector(run, DetectorSettings(data="d"), asked, said.append)
    (line,) = said
    assert "the last checkpoint is written; go on with: facepipe train-detector --resume --name tiny" in line
    assert not released
    monkeypatch.setattr(training, "train", finish)
    resume_detector(run, {}, {"precisions": ("float16",)}, said.append)
    assert released == [ReleaseOptions("7.0.0", ("float16",), None, 0.05, True)]


def test_a_run_stopped_in_its_release_goes_on_with_it(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    said: list[str] = []
    monkeypatch.setattr(training, "train", finish)
    monkeypatch.setattr(orchestration, "release_run", stop)
    with pytest.raises(KeyboardInterrupt):
        train_detector(run, DetectorSettings(data="d"), ReleaseOptions(), said.append)
    assert "training is finished, its release is not; go on with" in said[-1]
    found: list[ReleaseOptions] = []
    monkeypatch.setattr(orchestration, "release_run", lambda run, checkpoint, options: found.append(options))
    resume_detector(run, {}, {}, said.append)
    assert found == [ReleaseOptions()]
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    resume_detector(run, {}, {"precisions": ("int8",)}, said.append)
    assert "is finished and was released as export; nothing was changed" in said[-1]
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert len(found) == 1


@pytest.mark.parametrize("kept", [False, True])
def test_a_run_that_failed_before_its_first_step_does_not_block_its_name(
    run: Path, released: list[ReleaseOptions], monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    def fail(settings: DetectorSettings, run: Path) -> Path:
        settings.write(run)
        (run / "weights").mkdir()
        (run / "augmentation.png").write_bytes(b"")
        raise TrainingError("no memory")

    if kept:
        run.mkdir(parents=True)
        (run / "notes.md").write_text("mine")
    monkeypatch.setattr(training, "train", fail)
    for _ in range(2):
        with pytest.raises(TrainingError, match="no memory"):
            train_detector(run, DetectorSettings(data="d"), ReleaseOptions())
    assert run.exists() == kept
    assert not kept or [path.name for path in run.iterdir()] == ["notes.md"]
    with pytest.raises(TrainingError, match="no run to resume; start one without --resume"):
        resume_detector(run, {}, {})
    monkeypatch.setattr(training, "train", finish)
    train_detector(run, DetectorSettings(data="d"), ReleaseOptions())
    assert json.loads((run / RELEASE).read_text())["done"] is True


def test_what_cannot_be_released_is_told_before_the_work(run: Path) -> None:
    for options, error in ((ReleaseOptions(precisions=("int4",)), TrainingError), (ReleaseOptions("x"), WeightsError)):
        with pytest.raises(error):
            train_detector(run, DetectorSettings(data="d"), options)
    assert not run.exists()
    begin(run, DetectorSettings(data="d"))
    (run / RELEASE).write_text("[]")
    with pytest.raises(TrainingError, match=r"release\.json: not the release options of a run"):
        resume_detector(run, {}, {})
    (run / RELEASE).unlink()
    with pytest.raises(TrainingError, match="already holds a run"):
        train_detector(run, DetectorSettings(data="d"), ReleaseOptions())
    assert not (run / RELEASE).exists()
    assert (run / "weights" / "last.pt").is_file()
