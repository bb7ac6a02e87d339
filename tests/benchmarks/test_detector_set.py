"""Which labels a teacher gives a training picture that lacks a class, and the faces that photo_faces.py takes."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import detector_set as module
import numpy as np
import photo_faces
import pytest
from facepipe.core.errors import FacepipeError
from facepipe.detector.inference.boxes import Detections

FACE = "0 0.25 0.25 0.1 0.1\n"
"""A face at 80 to 120 pixels in a picture of 400."""


class Teacher:
    """Finds a head round the face, an unsure head elsewhere, and a face."""

    def __init__(self, *args: Any, **kwargs: Any):
        self.heads = [[70, 60, 130, 130], [300, 300, 360, 380]]

    def detect(self, frames: Sequence[np.ndarray]) -> list[Detections]:
        boxes = np.array([*self.heads, [310, 320, 350, 390]], np.float32)
        confidence = np.array([0.9, 0.2, 0.8][-len(boxes) :], np.float32)
        classes = np.array([1, 1, 0][-len(boxes) :])
        return [Detections(boxes, confidence, classes, ("face", "head"))] * len(frames)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((400, 400, 3), np.uint8))
    return path


def test_a_class_that_is_labelled_stays_and_the_other_is_the_teachers(picture: Path) -> None:
    labelled, labels, ignored = module.taught(Teacher(), picture, "face", FACE, "")
    assert labelled == "face;head"
    assert labels.splitlines() == [FACE.strip(), "1 0.250000 0.237500 0.150000 0.175000"]
    assert ignored.splitlines() == ["1 0.825000 0.850000 0.150000 0.200000"], "of which it is unsure"
    labelled, labels, ignored = module.taught(Teacher(), picture, "head", "", "")
    assert (labelled, len(labels.splitlines()), ignored) == ("face;head", 1, "")
    assert labels.startswith("0 "), "the face that it sees"


def test_round_a_face_on_which_no_head_is_found_nothing_counts(picture: Path) -> None:
    teacher = Teacher()
    teacher.heads = []
    _, labels, ignored = module.taught(teacher, picture, "face", FACE, "")
    assert labels == FACE
    (line,) = ignored.splitlines()
    x, y, width, height = (float(value) * 400 for value in line.split()[1:])
    assert [x - width / 2, y - height / 2, x + width / 2, y + height / 2] == pytest.approx([68, 60, 132, 126])


def test_a_picture_with_both_classes_is_left_as_it_is(picture: Path) -> None:
    known = ("face;head", FACE, "0 0.5 0.5 0.1 0.1\n")
    assert module.taught(Teacher(), picture, *known) == known


def test_some_faces_of_each_photo_become_rows_with_what_holds_for_all(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((400, 400, 3), np.uint8))
    tiny, head = "0 0.5 0.5 0.01 0.01\n", "1 0.5 0.5 0.4 0.4\n"
    (tmp_path / "labels" / "a.txt").write_text(FACE + tiny + head + "0 0.75 0.75 0.1 0.1\n" * 9)
    photo_faces.main(tmp_path, tmp_path / "rows.csv", "wider_train", ["mask=no"])
    with open(tmp_path / "rows.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert {(row["source"], row["group"], row["mask"]) for row in rows} == {("wider_train", "a", "no")}
    assert {float(row["x2"]) - float(row["x1"]) for row in rows} == {40.0}
    with pytest.raises(FacepipeError, match="expected NAME=VALUE"):
        photo_faces.main(tmp_path, tmp_path / "rows.csv", "wider_train", ["mask"])
