"""Which of a detector's boxes become rows for a face check, and as what."""

import csv
import random
from collections.abc import Sequence
from pathlib import Path

import cv2
import face_check_set as module
import numpy as np
import pytest
from facepipe.core.errors import FacepipeError
from facepipe.detector.inference.boxes import Detections

NONE = np.zeros((0, 4))
FACE = np.array([[100, 100, 200, 200]], float)


def verdict(
    box: list[float],
    confidence: float = 0.3,
    faces: np.ndarray = FACE,
    heads: np.ndarray = NONE,
    ignored: np.ndarray = NONE,
) -> int:
    return int(module.judge(np.array([box], float), np.array([confidence]), faces, heads, ignored)[0])


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([105, 100, 200, 205], 1),
        ([130, 100, 230, 200], 1),
        ([160, 100, 260, 200], -1),
        ([300, 300, 340, 340], 0),
        ([300, 300, 306, 306], -1),
        ([300, 300, 311, 311], -1),
    ],
)
def test_a_box_is_a_faces_or_none_or_unknown(box: list[float], expected: int) -> None:
    assert verdict(box) == expected


def test_a_sure_box_beside_labelled_faces_may_be_a_face_without_a_label() -> None:
    assert verdict([300, 300, 340, 340], confidence=0.8) == -1
    assert verdict([300, 300, 340, 340], confidence=0.8, faces=NONE) == 0, "no one is in this picture"


def test_nothing_is_said_of_boxes_in_heads_or_ignored_regions() -> None:
    region = np.array([[280, 280, 420, 420]], float)
    small = np.array([[310, 310, 330, 330]], float)
    assert verdict([300, 300, 340, 340], faces=NONE, heads=region) == -1
    assert verdict([300, 300, 340, 340], ignored=region) == -1
    assert verdict([300, 300, 340, 340], ignored=small) == -1, "a region within the box"
    assert verdict([500, 500, 540, 540], faces=NONE, heads=region) == 0


def test_at_most_some_boxes_of_a_picture_are_used_and_the_least_sure_are_among_them() -> None:
    confidence = np.linspace(0.9, 0.1, 40)
    picked = module.chosen(np.arange(40), confidence, random.Random(0))
    assert len(picked) == len(set(picked)) == module.EACH
    assert set(range(35, 40)) <= set(picked)
    assert module.chosen(np.array([3, 1]), confidence, random.Random(0)) == [3, 1]


class Finder:
    """Finds the same two boxes in every picture."""

    def __init__(self, version: str | None = None, threads: int = 1, confidence: float = 0.0):
        self.confidence = confidence

    def detect(self, frames: Sequence[np.ndarray]) -> list[Detections]:
        boxes = np.array([[100, 100, 200, 200], [20, 20, 60, 60]], np.float32)
        return [Detections(boxes, np.array([0.9, 0.2], np.float32), np.zeros(2, int), ("face", "head"))] * len(frames)


def test_rows_of_photos_and_of_empty_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FaceDetector", Finder)
    for folder in ("photos/images", "photos/labels", "empty"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("photos/images/a.png", "photos/images/mask853_b.png", "empty/c.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((400, 400, 3), np.uint8))
    (tmp_path / "photos" / "labels" / "a.txt").write_text("0 0.375 0.375 0.25 0.25\n")
    module.main(tmp_path / "rows.csv", [tmp_path / "photos"], [tmp_path / "empty"])
    with open(tmp_path / "rows.csv", newline="", encoding="utf-8") as file:
        rows = [(row["group"], row["source"], row["face"], row["x1"]) for row in csv.DictReader(file)]
    assert rows == [
        ("a", "face_check", "yes", "100.0"),
        ("a", "face_check", "no", "20.0"),
        ("c", "face_check_empty", "no", "20.0"),
        ("c", "face_check_empty", "no", "100.0"),
    ]


def test_a_folder_without_pictures_is_said(tmp_path: Path) -> None:
    with pytest.raises(FacepipeError, match="no pictures"):
        module.main(tmp_path / "rows.csv", None, [tmp_path])
