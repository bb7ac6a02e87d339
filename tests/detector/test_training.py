"""The train command, really run on a tiny data set: data, masks, kill, resume, export, release."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from facepipe import FaceDetector
from facepipe.detector.dataset import PartlyLabelledDataset, ShuffledRectangles, split_ignored
from facepipe.detector.description import read_description
from facepipe.detector.model import FaceDetectionModel, load_arrays
from facepipe.detector.training import DetectorSettings, train
from facepipe.pipeline.cli import app
from facepipe.weights.errors import TrainingError
from facepipe.weights.store import releases
from typer.testing import CliRunner
from ultralytics.cfg import get_cfg

FAST = ["--epochs", "2", "--imgsz", "64", "--batch", "4", "--device", "cpu", "--set", "close_mosaic=0"]


def dataset(description_file: Path, rect: bool = False, **settings: Any) -> PartlyLabelledDataset:
    description = read_description(description_file)
    return PartlyLabelledDataset(
        img_path=[str(description.root / "images" / "train")],
        imgsz=64,
        batch_size=4,
        augment=True,
        rect=rect,
        hyp=get_cfg(overrides=settings),
        data={"description": description, "names": {0: "face", 1: "head"}, "nc": 2, "channels": 3},
    )


def test_mosaic_joins_pictures_of_one_group_and_carries_ignore_regions(detection_data: Path) -> None:
    made = dataset(detection_data, mosaic=1.0, mixup=1.0, translate=0.0, scale=0.0)
    index = next(i for i, file in enumerate(made.im_files) if "faces0" in file)
    ignored = 0
    for _ in range(8):
        sample = made[index]
        assert sample["labelled"].tolist() == [True, False]
        assert set(sample["cls"].view(-1).int().tolist()) <= {0, 2}
        ignored += int((sample["cls"] == 2).sum())
    assert ignored > 0


def test_ignore_regions_are_mirrored_with_the_picture(detection_data: Path) -> None:
    plain: dict[str, Any] = {"mosaic": 0.0, "translate": 0.0, "scale": 0.0, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0}
    boxes = {}
    for flip in (0.0, 1.0):
        made = dataset(detection_data, fliplr=flip, **plain)
        index = next(i for i, file in enumerate(made.im_files) if "faces0" in file)
        batch = split_ignored(PartlyLabelledDataset.collate_fn([made[index]]), 2)
        assert len(batch["cls"]) == 1
        boxes[flip] = batch["ignored"][0].numpy()
    assert boxes[1.0] == pytest.approx(boxes[0.0] * [0, -1, 1, 1, 1] + [0, 1, 0, 0, 0], abs=1e-5)


def test_rectangles_are_shuffled_within_their_shapes(detection_data: Path) -> None:
    made = dataset(detection_data, rect=True)
    sampler = ShuffledRectangles(made, seed=3)
    orders = [list(sampler) for _ in range(3)]
    assert all(sorted(order) == list(range(12)) for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    for order in orders:
        for start in range(0, 12, 4):
            shapes = Counter(tuple(made.batch_shapes[made.batch[index]]) for index in order[start : start + 4])
            assert len(shapes) == 1


def test_arrays_start_a_model_where_they_fit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = FaceDetectionModel("yolov8n.yaml", nc=2, ch=3, verbose=False)
    name = "model.0.conv.weight"
    array = np.full(tuple(model.state_dict()[name].shape), 0.5, np.float16)
    arrays: dict[str, Any] = {name: array, "model.1.conv.weight": np.zeros((1, 2))}
    np.savez(tmp_path / "a.npz", **arrays)
    loaded, left = load_arrays(model, tmp_path / "a.npz")
    assert loaded == 1
    assert name not in left
    assert (model.state_dict()[name] == 0.5).all()
    np.savez(tmp_path / "b.npz", other=array)
    with pytest.raises(TrainingError, match="none of its 1 arrays fits"):
        load_arrays(model, tmp_path / "b.npz")
    (tmp_path / "c.npz").write_text("no arrays")
    with pytest.raises(TrainingError, match=r"c\.npz: not a \.npz"):
        load_arrays(model, tmp_path / "c.npz")


KILLED = """
import os, sys
from facepipe.detector import training
training.CHECKPOINT_SECONDS = 0
def die(trainer):
    if trainer.epoch == 1:
        os._exit(9)  # no clean-up, as a kill has none
training.FaceTrainer.save_in_between, plain = (lambda t: (plain(t), die(t))), training.FaceTrainer.save_in_between
from facepipe.pipeline.cli import main
sys.argv = ["facepipe", *sys.argv[1:]]
main()
"""


def test_the_command_trains_dies_resumes_and_releases(
    detection_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "weights"))
    arguments = ["train-detector", "--name", "tiny"]
    new = [*arguments, "--data", str(detection_data), *FAST, "--rect", "--set", "plots=False"]
    killed = subprocess.run([sys.executable, "-c", KILLED, *new], capture_output=True, text=True, check=False)
    assert killed.returncode == 9, killed.stderr
    assert (tmp_path / "runs" / "detector" / "tiny" / "weights" / "last.pt").is_file()
    assert "0.0.0-tiny" not in {release.version for release in releases("detector")}

    again = CliRunner().invoke(app, new)
    assert isinstance(again.exception, TrainingError)
    assert "holds a run already" in str(again.exception)

    resumed = CliRunner().invoke(
        app, [*arguments, "--resume", "--version", "7.0.0", "--export", "float16", "--export", "int8"]
    )
    assert resumed.exit_code == 0, resumed.output
    release = next(release for release in releases("detector") if release.version == "7.0.0")
    release.verify()
    assert [entry.precision for entry in release.manifest.files] == ["float16", "int8"]
    assert release.manifest.training["epochs"] == 2
    assert len(release.manifest.training["history"]) == 3
    assert [len(metrics.values) > 0 for metrics in release.manifest.metrics] == [True, True]
    assert {data.name: data.count for data in release.manifest.data} == {"empty": 4, "faces": 4, "heads": 4}
    for precision in ("float16", "int8"):
        found = FaceDetector("7.0.0", confidence=0.0001, precision=precision).detect([np.zeros((50, 90, 3), np.uint8)])
        assert len(found) == 1

    report = tmp_path / "figures.json"
    measured = CliRunner().invoke(
        app, ["evaluate-detector", "--data", str(detection_data), "--detector", "7.0.0", "--json", str(report)]
    )
    assert measured.exit_code == 0, measured.output
    assert json.loads(report.read_text())["values"] == [
        metric.model_dump() for metric in release.manifest.metrics[0].values
    ]


def test_nothing_to_resume_and_no_such_start(detection_data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nothing to resume"):
        train(DetectorSettings(data=str(detection_data)), tmp_path / "none", resume=True)
    with pytest.raises(TrainingError, match="no such starting weights"):
        train(DetectorSettings(data=str(detection_data), start="gone.pt", device="cpu"), tmp_path / "start")
    assert not (tmp_path / "start").exists()
