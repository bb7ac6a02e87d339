"""The run folder's record: environment, clock, history, curves, and the schedule that reads the clock."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from facepipe import __version__
from facepipe.core import run_folder as run_record
from facepipe.core.errors import DataError, TrainingError
from facepipe.detector.data.dataset import DataDescription, read_description
from facepipe.detector.training.run_folder import (
    add_to_history,
    draw_curves,
    environment,
    read_history,
    record_environment,
    record_seconds,
    seconds_used,
)
from facepipe.detector.training.schedule import Schedule
from facepipe.detector.training.settings import DetectorSettings, read_settings

FIGURES = {"train/box_loss": 1.5, "metrics/mAP50(B)": 0.25, "lr/pg0": 0.001}


@pytest.fixture
def description(detection_data: Path) -> DataDescription:
    return read_description(detection_data)


def test_the_environment_says_where_and_on_what(description: DataDescription) -> None:
    import torch

    told = environment(description, "cpu")
    assert json.loads(json.dumps(told)) == told
    assert told["facepipe"] == __version__
    assert torch.__version__.startswith(told["packages"]["torch"].partition("+")[0])
    assert told["data"] == {
        "labels_sha256": description.labels_sha256,
        "pictures": {"train": 12, "val": 6},
        "classes": ["face", "head"],
    }
    assert told["cores"] >= 1
    assert told["processor"]


def test_a_code_outside_of_a_checkout_has_no_commit(
    description: DataDescription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_record, "ROOT", tmp_path)
    assert environment(description, "cpu")["commit"] is None


def test_a_resumed_run_keeps_its_first_environment_and_its_data(description: DataDescription, tmp_path: Path) -> None:
    record_environment(tmp_path, description, "cpu")
    first = json.loads((tmp_path / "environment.json").read_text())
    record_environment(tmp_path, description, "cpu")
    both = json.loads((tmp_path / "environment.json").read_text())
    assert {key: both[key] for key in first} == first
    assert [each["device"] for each in both["resumed"]] == ["cpu"]
    other = DataDescription(**{**vars(description), "labels_sha256": "0" * 64})
    with pytest.raises(TrainingError, match=r"not the labels that .* began with; start a new run from its weights"):
        record_environment(tmp_path, other, "cpu")
    (tmp_path / "environment.json").write_text("[]")
    with pytest.raises(TrainingError, match=r"environment\.json: not the environment"):
        record_environment(tmp_path, description, "cpu")


def test_an_epoch_done_again_takes_its_own_place(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        add_to_history(tmp_path, epoch, 10.0 * epoch, FIGURES)
    add_to_history(tmp_path, 2, 35.0, {**FIGURES, "train/box_loss": 1.25, "metrics/mAP50(B)": None, "val/new": 3.0})
    rows = read_history(tmp_path)
    assert [(row["epoch"], row["time"], row["train/box_loss"]) for row in rows] == [(1, 10, 1.5), (2, 35, 1.25)]
    assert rows[0]["val/new"] is None
    assert rows[1]["metrics/mAP50(B)"] is None
    assert (tmp_path / "history.csv").read_text().splitlines()[2] == "2,35,1.25,,0.001,3"


def test_the_history_of_an_older_run_is_read(tmp_path: Path) -> None:
    lines = "epoch,time,train/box_loss,metrics/recall(B),val/box_loss\n1,10.5,0.5,0,0\n2,20.5,0.4,0,0.6\n"
    (tmp_path / "results.csv").write_text(lines)
    names = ("epoch", "time", "train/box_loss", "metrics/recall(B)", "val/box_loss")
    first, second = (dict(zip(names, row, strict=True)) for row in ((1, 10.5, 0.5, None, None), (2, 20.5, 0.4, 0, 0.6)))
    assert read_history(tmp_path) == [first, second]
    assert seconds_used(tmp_path) == 20.5
    record_seconds(tmp_path, 31.26)
    assert seconds_used(tmp_path) == 31.3
    (tmp_path / "results.csv").write_text("epoch,time\n1,soon\n")
    with pytest.raises(DataError, match=r"results\.csv: line 2: .*soon"):
        read_history(tmp_path)
    (tmp_path / "clock.json").write_text("{}")
    with pytest.raises(TrainingError, match=r"clock\.json: not the clock of a run"):
        seconds_used(tmp_path)


def test_curves_are_drawn_with_and_without_validation(tmp_path: Path) -> None:
    draw_curves(tmp_path)
    assert not (tmp_path / "curves.png").exists()
    names = ["train/box_loss", "val/box_loss", "metrics/precision(B)", "metrics/recall(B)", "lr/pg0"]
    ink = []
    for epoch in range(1, 8):
        measured = epoch % 3 == 0
        figures = {name: 1 / epoch if measured or name[0] in "tl" else None for name in names}
        add_to_history(tmp_path, epoch, 60.0 * epoch, figures)
        if epoch in (1, 7):
            picture = cv2.imread(str(draw_curves(tmp_path)))
            assert picture is not None
            ink.append(int((np.ptp(picture, axis=2) > 60).sum()))  # what has a colour
    assert ink[1] > 2 * ink[0] > 0
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_settings_of_older_runs_are_read(tmp_path: Path) -> None:
    old = {
        "data": "data.yaml",
        "rect": True,
        "minutes": 92,
        "view": {"canvas": 0.8, "scale": [0.6, 2.0]},
        "overrides": {"mosaic": 0, "val": False, "workers": 2},
    }
    (tmp_path / "settings.json").write_text(json.dumps(old))
    settings = read_settings(tmp_path)
    recipe = settings.recipe()
    assert recipe.view is not None
    assert recipe.view.canvas == 0.8
    told = settings.arguments(tmp_path, "cpu")
    assert {key: told[key] for key in ("fliplr", "hsv_h", "hsv_s", "hsv_v", "mosaic")} == {
        "fliplr": 0.5,
        "hsv_h": 0.015,
        "hsv_s": 0.7,
        "hsv_v": 0.4,
        "mosaic": 0,
    }
    settings.checked().write(tmp_path)
    assert read_settings(tmp_path).recipe() == recipe
    (tmp_path / "settings.json").write_text(json.dumps({**old, "colour": "red"}))
    with pytest.raises(TrainingError, match="unknown setting colour; was it written by a newer facepipe"):
        read_settings(tmp_path)


# ---- the schedule ----------------------------------------------------------------------------------------------------


def trainer(**fields: Any) -> Any:
    """As much of ultralytics' trainer as the schedule touches: ten batches an epoch, a rate from 1 down to 0.1."""
    made = SimpleNamespace(
        args=SimpleNamespace(time=None, epochs=4),
        epochs=4,
        epoch=0,
        start_epoch=0,
        resume=False,
        train_time_start=time.time(),
        epoch_time=1.0,
        train_loader=range(10),
        optimizer=SimpleNamespace(param_groups=[{"lr": 0.0, "initial_lr": 1.0}]),
        scheduler=SimpleNamespace(last_epoch=-1),
    )
    made.lf = lambda x: (1 - x / made.epochs) * 0.9 + 0.1
    made._get_warmup_iterations = lambda batches: 3
    made._setup_scheduler = lambda: None
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_the_rate_falls_by_batch_and_by_the_time_gone(tmp_path: Path) -> None:
    schedule, made = Schedule(tmp_path), trainer()
    rates = []
    for made.epoch in range(4):
        schedule.start_epoch(made)
        for _ in made.train_loader:
            schedule.set_learning_rate(made)
            rates.append(made.optimizer.param_groups[0]["lr"])
    assert rates[:4] == [0.0] * 4  # the warm-up is ultralytics'
    assert rates[4:] == pytest.approx([1 - 0.9 * number / 40 for number in range(4, 40)])
    made.args.time, made.train_time_start = 0.01, time.time() - 9  # a quarter of 36 s
    schedule.start_epoch(made)
    for _ in range(5):
        schedule.set_learning_rate(made)
    assert made.optimizer.param_groups[0]["lr"] == pytest.approx(1 - 0.9 / 4, abs=0.01)


def test_time_used_before_counts_when_a_run_is_resumed(tmp_path: Path) -> None:
    record_seconds(tmp_path, 600)
    schedule = Schedule(tmp_path)
    made = trainer(args=SimpleNamespace(time=0.5, epochs=3), epochs=3, resume=True)
    schedule.resume(made, first_epoch=2)  # 1200 s are left, and an epoch took 300
    assert made.epochs == made.args.epochs == 6
    schedule.start(made)
    assert schedule.seconds(made) == pytest.approx(600, abs=5)
    made.epoch, made.epoch_time, made.train_time_start = 2, 500.0, time.time() - 1100
    schedule.start_epoch(made)
    assert made.start_epoch == 0
    schedule.end_epoch(made)  # 700 s are left, and an epoch takes 500
    assert made.epochs == 5
    assert seconds_used(tmp_path) == pytest.approx(1100, abs=5)


def test_a_clock_is_kept_and_checkpoints_fall_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("facepipe.detector.training.schedule.time.monotonic", lambda: now[0])
    schedule, made = Schedule(tmp_path), trainer()
    due = []
    for _ in range(60):
        now[0] += 5
        due.append(schedule.end_batch(made))
    assert due.count(True) == 1
    assert due.index(True) == 48  # the first batch past 240 s
    assert seconds_used(tmp_path) < 5


def test_only_some_settings_change_when_a_run_is_resumed() -> None:
    settings = DetectorSettings(data="data.yaml", overrides={"lr0": 0.01})
    changed = settings.changed({"minutes": 5.0, "overrides": {"patience": 3}})
    assert (changed.minutes, changed.overrides) == (5.0, {"lr0": 0.01, "patience": 3})
    with pytest.raises(TrainingError, match="epochs: a resumed run may change only data, device"):
        settings.changed({"epochs": 9})
    with pytest.raises(TrainingError, match="--set lr0: a resumed run may change only cache, close_mosaic"):
        settings.changed({"overrides": {"lr0": 0.1}})
