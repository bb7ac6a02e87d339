"""What a detector's second look says, with a detector that sees what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from facepipe.core.errors import DataError
from facepipe.core.issues import Finding
from facepipe.detector.data.dataset import Picture
from facepipe.detector.data.inventory import Entry
from facepipe.detector.data.label_review import second_look
from facepipe.detector.inference.boxes import Detections

CLASSES = ("face", "head")


class Told:
    """Finds the same boxes in every frame: class, confidence, corners."""

    confidence = 0.25
    release = SimpleNamespace(label="9.9.9")

    def __init__(self, *found: tuple[int, float, tuple[float, float, float, float]], classes: Sequence[str] = CLASSES):
        self.found, self.classes = found, tuple(classes)

    def detect(self, frames: Sequence[np.ndarray]) -> list[Detections]:
        boxes = np.array([box for _, _, box in self.found], np.float32).reshape(-1, 4)
        confidence = np.array([each for _, each, _ in self.found], np.float32)
        labels = np.array([label for label, _, _ in self.found], np.int64)
        return [Detections(boxes, confidence, labels, self.classes) for _ in frames]


def look(
    detector: Any, rows: list[list[float]], labelled: tuple[bool, bool] = (True, True), ignored: Any = ()
) -> list[Finding]:
    entry = Entry(
        Picture(Path("a.jpg"), "images/train/a.jpg", "x", labelled),
        "train",
        np.array(rows, np.float64).reshape(-1, 5),
        tuple(range(len(rows))),
        np.array(ignored, np.float64).reshape(-1, 5),
    )
    return second_look(detector, CLASSES)([(entry, np.zeros((200, 400, 3), np.uint8))])


FACE = [0, 0.5, 0.5, 0.2, 0.4]
"""160 to 240, 60 to 140 in 400 x 200 pixels."""


def test_agreement_says_nothing() -> None:
    assert look(Told((0, 0.9, (160, 60, 240, 140))), [FACE]) == []
    assert look(Told(), []) == []
    assert look(Told((0, 0.59, (10, 10, 60, 60))), []) == []  # not sure enough


def test_nothing_found() -> None:
    (finding,) = look(Told(), [FACE, FACE])
    assert (finding.kind, finding.picture) == ("nothing-found", "images/train/a.jpg")
    assert finding.text == "2 labelled, none found at a confidence of 0.25"
    assert look(Told(), [[0, 0.5, 0.5, 0.02, 0.03]]) == []  # 12.8 px at 640: no detector is asked for these
    assert look(Told(classes=["face"]), [[1, 0.5, 0.5, 0.2, 0.4]]) == []  # heads are not what it finds


def test_found_where_nothing_is_labelled() -> None:
    detector = Told((0, 0.8, (160, 60, 240, 140)), (0, 0.7, (10, 10, 60, 60)), (1, 0.9, (300, 10, 380, 90)))
    (finding,) = look(detector, [FACE])
    assert finding.kind == "not-labelled"
    assert finding.text == "1 of class face, 1 of class head found with a confidence of up to 0.90, not labelled"
    assert np.allclose(finding.boxes, [(0.025, 0.05, 0.15, 0.3), (0.75, 0.05, 0.95, 0.45)])
    (finding,) = look(detector, [FACE], labelled=(True, False))  # heads are unlabelled here, not absent
    assert finding.text.startswith("1 of class face found with a confidence of up to 0.70")
    ignored = [[0, 35 / 400, 35 / 200, 60 / 400, 60 / 200]]
    assert look(detector, [FACE], labelled=(True, False), ignored=ignored) == []


def test_no_class_in_common() -> None:
    with pytest.raises(DataError, match=r"detector 9\.9\.9 finds cat; the data set has face, head"):
        second_look(Told(classes=["cat"]), CLASSES)  # type: ignore[arg-type]
