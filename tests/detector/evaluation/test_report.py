"""The report of an evaluation: its files, what they show, and that nothing is left half-written."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe import FaceDetector
from facepipe.core.errors import DataError, MissingExtraError
from facepipe.detector.data.dataset import read_description
from facepipe.detector.evaluation.evaluate import Evaluation, evaluate
from facepipe.detector.evaluation.matching import BIG
from facepipe.detector.evaluation.predictions import Prediction, read_picture
from facepipe.detector.evaluation.report import FILES, write_report
from facepipe.detector.evaluation.worst_cases import (
    MISSED,
    RIGHT,
    WRONG,
    most_confident_alarms,
    most_missed,
    worst_cells,
)
from facepipe.detector.inference.boxes import Detections
from facepipe.weights.manifest import Metrics
from facepipe.weights.release import Release


@pytest.fixture
def evaluation(detection_data: Path, detector_release: Release) -> Evaluation:
    return evaluate(FaceDetector(release=detector_release), read_description(detection_data))


def test_the_files(evaluation: Evaluation, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "report"
    write_report(evaluation, folder, "the command")
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    for name in ("pr.png", "calibration.png", "thresholds.png", "worst.png"):
        picture = cv2.imread(str(folder / name))
        assert picture is not None, name
        assert min(picture.shape[:2]) >= 240, name
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20, f"{name} is empty"
    content = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    metrics = Metrics.model_validate(content["metrics"])
    assert metrics == evaluation.metrics("the command")
    assert set(content["resampled"]) == {
        f"AP50, {name} boxes {sizes}" for name in ("face", "head") for sizes in ("of every size", ">= 16 px at 640")
    }
    for name, values in content["resampled"].items():
        metric = next(metric for metric in metrics.values if metric.name == name)
        assert len(values) == 1000
        assert metric.interval is not None
        assert metric.value is not None
        assert min(filter(None, values)) <= metric.interval[1]
        assert metric.interval[0] <= metric.value <= metric.interval[1]
    assert content["detector"] == evaluation.name
    assert set(content["curves"]) == {"face", "head"}
    assert len(content["curves"]["face"]["threshold"]) == len(content["curves"]["face"]["recall"]) == 99
    assert content["worst"]["missed"][0]["missed"] >= content["worst"]["missed"][-1]["missed"]


def test_the_curves_are_drawn_in_the_classes_colours(evaluation: Evaluation, tmp_path: Path) -> None:
    write_report(evaluation, tmp_path)
    found = read_picture(tmp_path / "thresholds.png").reshape(-1, 3)[:, ::-1]
    for colour in ((0x1F, 0x77, 0xB4), (0xD9, 0x5F, 0x02)):
        assert (np.abs(found.astype(int) - colour).max(axis=1) < 8).sum() > 100


def _found(evaluation: Evaluation, file: str, boxes: list, confidence: list, labels: list) -> Evaluation:
    """An evaluation in which one picture's found boxes are these and nothing was found in the others."""
    predictions = []
    for each in evaluation.predictions:
        mine = each.picture.file == file
        found = Detections(
            np.array(boxes if mine else [], np.float32).reshape(-1, 4),
            np.array(confidence if mine else [], np.float32),
            np.array(labels if mine else [], np.int64),
            ("face", "head"),
        )
        predictions.append(Prediction(each.picture, each.height, each.width, found, each.truth, each.ignored))
    fields = {name: getattr(evaluation, name) for name in evaluation.__dataclass_fields__}
    return Evaluation(**{**fields, "predictions": tuple(predictions), "confidence": 0.5})


def test_the_worst_cases(evaluation: Evaluation) -> None:
    (file,) = (o.picture.file for o in evaluation.predictions if o.picture.file.endswith("faces3.png"))
    (truth,) = next(o.truth["face"] for o in evaluation.predictions if o.picture.file == file)
    other = next(o for o in evaluation.predictions if o.picture.file == file)
    corner = [0, 0, 3, 3] if truth[0] > 10 else [other.width - 3, 0, other.width, 3]
    done = _found(evaluation, file, [truth, corner, truth], [0.9, 0.8, 0.7], [0, 0, 1])
    assert {miss.prediction.picture.file for miss in most_missed(done)} == {
        o.picture.file for o in done.predictions if any(map(len, o.truth.values())) and o.picture.file != file
    }
    assert all((miss.missed, miss.wanted) == (1, 1) for miss in most_missed(done))
    (alarm,) = most_confident_alarms(done)  # the head on the face is no alarm: heads are not labelled there
    assert (alarm.prediction.picture.file, alarm.name) == (file, "face")
    assert alarm.confidence == pytest.approx(0.8)
    cells = worst_cells(done)
    assert len(cells) == 4
    assert {mark.colour for cell in cells[:3] for mark in cell.boxes} == {MISSED}
    assert [mark.colour for mark in cells[3].boxes] == [RIGHT, WRONG]
    assert cells[3].boxes[1].text == "face 0.80"
    assert "faces3" in cells[3].caption
    assert done.scores["face", BIG].positives == 2


def test_a_perfect_detector_has_a_report_too(evaluation: Evaluation, tmp_path: Path) -> None:
    """Nothing found at all in pictures without anything to find."""
    empty = tuple(o for o in evaluation.predictions if o.empty)
    fields = {name: getattr(evaluation, name) for name in evaluation.__dataclass_fields__}
    quiet = _found(Evaluation(**{**fields, "predictions": empty}), "none", [], [], [])
    write_report(quiet, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    content = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert content["worst"] == {"missed": [], "false_alarms": []}
    assert content["curves"]["face"]["calibration_error"] is None


def test_a_failed_report_leaves_the_earlier_one(evaluation: Evaluation, detection_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    write_report(evaluation, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    copy = tmp_path / "copy"
    shutil.copytree(detection_data.parent, copy)
    moved = evaluate(FaceDetector(release=_release(evaluation)), read_description(copy / "data.yaml"))
    shutil.rmtree(copy)
    with pytest.raises(DataError, match="no such picture"):
        write_report(moved, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_report(evaluation, tmp_path / "file" / "report")


def _release(evaluation: Evaluation) -> Release:
    from facepipe.weights.store import find

    return find("detector", evaluation.name)


@pytest.fixture(autouse=True)
def _random_release_is_found(tiny_weights: Path) -> None:
    """``find`` knows the random detector."""


def test_matplotlib_missing_is_told(evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match="matplotlib"):
        write_report(evaluation, tmp_path / "report")
    assert not (tmp_path / "report").exists()
