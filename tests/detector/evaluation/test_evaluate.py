"""The evaluation of a detector on a tiny data set: what counts, what is told, and by which protocol."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from facepipe import FaceDetector
from facepipe.core.errors import DataError, MissingExtraError
from facepipe.detector.data.dataset import DataDescription, read_description
from facepipe.detector.evaluation import predictions as observation
from facepipe.detector.evaluation.evaluate import evaluate, evaluate_all
from facepipe.detector.evaluation.matching import BIG, CLEAR, EVERY
from facepipe.detector.inference.boxes import Detections
from facepipe.weights.manifest import Metric
from facepipe.weights.release import Release


class Oracle:
    """Finds the truth of the tiny set, a face of confidence 0.3 in the corner of every picture, and a head of 0.01."""

    def __init__(self, description: DataDescription, classes: tuple[str, ...] = ("face", "head")):
        self.known = {}
        for picture in description.pictures["val"]:
            rows = description.boxes(picture)
            self.known[self.key(observation.read_picture(picture.path))] = rows
        self.classes = classes
        self.confidence, self.max_detections, self.iou = 0.25, 20, 0.5
        self.name, self.input_text = "oracle", "as it is"
        self.seen: list[tuple[float, int]] = []

    @staticmethod
    def key(frame: np.ndarray) -> bytes:
        return frame.tobytes()

    def detect(self, frames: Sequence[np.ndarray]) -> list[Detections]:
        self.seen.append((self.confidence, self.max_detections))
        found = []
        for frame in frames:
            height, width = frame.shape[:2]
            rows = self.known[self.key(frame)]
            centre, half = rows[:, 1:3] * [width, height], rows[:, 3:5] * [width, height] / 2
            mine = np.concatenate([centre - half, centre + half], axis=1)
            boxes = np.concatenate([mine, [[0, 0, 3, 3], [width - 6, 0, width, 6]]])
            labels = np.concatenate([rows[:, 0], [0, 1]]).astype(np.int64)
            confidence = np.concatenate([np.full(len(rows), 0.9), [0.3, 0.01]])
            keep = (confidence >= self.confidence) & (labels < len(self.classes))
            found.append(
                Detections(
                    boxes[keep].astype(np.float32), confidence[keep].astype(np.float32), labels[keep], self.classes
                )
            )
        return found


@pytest.fixture(scope="module")
def description(detection_data: Path) -> DataDescription:
    return read_description(detection_data)


def test_unlabelled_classes_are_left_out(description: DataDescription, detector_release: Release) -> None:
    detector = FaceDetector(release=detector_release)
    before = detector.confidence, detector.max_detections
    evaluation = evaluate(detector, description)
    for sizes in (EVERY, BIG, CLEAR):
        assert evaluation.scores["face", sizes].positives == 2
        assert evaluation.scores["head", sizes].positives == 2
    assert (evaluation.pictures, evaluation.empty_pictures) == (6, 2)
    assert (detector.confidence, detector.max_detections) == before
    assert evaluation.name == detector_release.version


def test_the_figures(description: DataDescription) -> None:
    oracle = Oracle(description)
    evaluation = evaluate(oracle, description)
    values = {metric.name: metric for metric in evaluation.metrics("a command").values}
    # The corner's false faces come after all right ones, so they cost no precision that counts.
    assert values["AP50, face boxes >= 16 px at 640"] == Metric(
        name="AP50, face boxes >= 16 px at 640", value=1.0, count=2, interval=(1.0, 1.0)
    )
    assert values["AP50, face boxes >= 32 px at 640"].interval is None
    assert values["AP50, head boxes of every size"].value == 1
    assert values["AP50-95, face boxes >= 16 px at 640"].value == 1
    assert values["mAP50-95, face and head boxes of every size"].count == 4
    assert values["recall at 0.25, face boxes >= 32 px at 640"].value == 1
    # Four pictures are labelled for faces, each with a false one in its corner.
    assert values["precision at 0.25, face boxes of every size"].value == pytest.approx(2 / 6, abs=1e-4)
    assert values["precision at 0.25, head boxes of every size"].value == 1
    assert values["false alarms a picture at 0.25, pictures without a person"].value == 1
    assert values["false face alarms a picture at 0.25, pictures without a person"].count == 2
    assert values["false head alarms a picture at 0.25, pictures without a person"].value == 0
    assert values["AP50 by source, faces: face boxes of every size"].count == 2
    assert "AP50 by source, faces: head boxes of every size" not in values
    assert "AP50 by source, empty: face boxes of every size" not in values
    assert next(iter(values)) == "AP50, face boxes >= 16 px at 640"
    assert len(evaluation.alarms("head")) == 2  # those under the threshold, too


def test_the_protocol_says_how_it_was_measured(description: DataDescription) -> None:
    oracle = Oracle(description)
    metrics = evaluate(oracle, description).metrics()
    for part in (
        "val split, 6 pictures",
        f"labels {description.labels_sha256[:12]}",
        "input as it is",
        "confidence >= 0.001",
        "NMS IoU 0.5",
        "at most 1000 boxes",
        "IoU 0.5,",
    ):
        assert part in metrics.protocol
    assert metrics.command == "facepipe evaluate-detector --data data.yaml --detector oracle --split val"
    assert metrics.labels_sha256 == description.labels_sha256
    assert oracle.seen == [(0.001, 1000)]
    assert (oracle.confidence, oracle.max_detections) == (0.25, 20)


def test_a_detector_without_a_class_is_measured_in_the_others(description: DataDescription) -> None:
    both, faces = Oracle(description), Oracle(description, ("face",))
    first, second = evaluate_all([both, faces], description, names=["both", "faces"])
    assert second.classes == ("face",)
    assert "head not measured" in second.protocol
    assert "not measured" not in first.protocol
    assert second.scores["face", BIG].average_precision() == first.scores["face", BIG].average_precision() == 1
    assert not [metric for metric in second.metrics().values if "head" in metric.name]
    assert first.milliseconds is not None
    assert second.milliseconds is not None
    assert both.seen == [(0.001, 1000), (0.25, 20)]  # once for the curves, once timed as it serves
    cats = Oracle(description, ("cat",))
    with pytest.raises(DataError, match="nothing in common"):
        evaluate(cats, description)


def test_figures_of_another_protocol_are_added(description: DataDescription) -> None:
    evaluation = evaluate(Oracle(description), description)
    added = evaluation.with_further([Metric(name="more", value=0.5, count=3)], "Measured otherwise")
    assert added.metrics().values[-1].name == "more"
    assert added.metrics().protocol.endswith(". Measured otherwise")
    assert evaluation.further == ()


def test_the_settings_come_back_after_an_error(description: DataDescription, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(description.root, copy)
    (copy / "images" / "val" / "faces0.png").write_bytes(b"no picture")
    oracle = Oracle(description)
    with pytest.raises(DataError, match=r"faces0\.png: not a picture"):
        evaluate(oracle, read_description(copy / "data.yaml"))
    assert (oracle.confidence, oracle.max_detections) == (0.25, 20)


def test_an_unknown_split_is_named(description: DataDescription) -> None:
    with pytest.raises(DataError, match="no split test; it has train, val"):
        evaluate(Oracle(description), description, "test")


def test_a_missing_library_is_told_before_the_work(
    description: DataDescription, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    oracle = Oracle(description)
    with pytest.raises(MissingExtraError, match="faster-coco-eval"):
        evaluate(oracle, description)
    assert oracle.seen == []


def test_progress_is_told(description: DataDescription) -> None:
    told: list[tuple[int, int]] = []
    few = replace(description, pictures={"val": description.pictures["val"] * 2})
    evaluate(Oracle(description), few, progress=lambda done, total: told.append((done, total)))
    assert told == [(8, 12), (12, 12)]
