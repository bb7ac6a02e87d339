"""The protocol of detector evaluation on cases small enough to work out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facepipe import FaceDetector
from facepipe.detector.description import read_description
from facepipe.detector.evaluation import Scored, evaluate, match
from facepipe.weights.errors import DataError
from facepipe.weights.store import Release

NONE = np.zeros((0, 4))


def test_average_precision_by_hand() -> None:
    # Right, wrong, right of three to find: precision 1 up to a recall of 1/3, then 2/3 up to 2/3.
    scored = Scored(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), 3)
    assert scored.average_precision() == pytest.approx((1 + 2 / 3) / 3)
    assert scored.at(0.85) == (1.0, pytest.approx(1 / 3))
    assert Scored(np.array([]), np.array([], bool), 0).average_precision() is None


def test_a_box_is_found_once() -> None:
    truth = np.array([[0, 0, 20, 20]], float)
    found = np.array([[0, 0, 20, 20], [1, 0, 21, 20]], float)
    correct, counts, positives = match(found, truth, NONE, 16)
    assert (correct.tolist(), counts.tolist(), positives) == ([True, False], [True, True], 1)


def test_small_boxes_and_ignored_regions_count_neither_way() -> None:
    truth = np.array([[0, 0, 20, 20], [100, 100, 110, 110]], float)
    found = np.array([[100, 100, 110, 110], [102, 100, 119, 110], [300, 300, 330, 330], [0, 0, 20, 20]], float)
    ignored = np.array([[290, 290, 340, 340]], float)
    correct, counts, positives = match(found, truth, ignored, 16)
    assert correct.tolist() == [False, False, False, True]
    # a small truth found; a second, bigger box on it that overlaps too little; one in the ignored region; a hit
    assert counts.tolist() == [False, True, False, True]
    assert positives == 1


def test_evaluation_leaves_unlabelled_classes_out(detection_data: Path, detector_release: Release) -> None:
    description = read_description(detection_data)
    detector = FaceDetector(release=detector_release)
    before = detector.confidence
    evaluation = evaluate(detector, description)
    assert evaluation.scores["face", 0].positives == 2
    assert evaluation.scores["head", 0].positives == 2
    assert evaluation.empty_pictures == 2
    assert detector.confidence == before
    metrics = evaluation.metrics("a command")
    assert "labels " + description.labels_sha256[:12] in metrics.protocol
    assert {metric.name for metric in metrics.values} >= {"AP50, face boxes >= 16 px at 640"}


def test_an_unreadable_picture_is_named(detection_data: Path, detector_release: Release, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(detection_data.parent, copy)
    (copy / "images" / "val" / "faces0.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"faces0\.png: not a picture"):
        evaluate(FaceDetector(release=detector_release), read_description(copy / "data.yaml"))
