"""Labelled photos: splits, regions to ignore, crops that are refused, COCO files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facepipe.core.errors import DataError
from facepipe.pipeline.evaluation.data import read_photos
from facepipe.weights.manifest import NumericAttribute, PointsAttribute

from .conftest import GENDER, write

AGE = NumericAttribute(name="age", unit="years", low=0.0, high=100.0, bins=None)


EYES = PointsAttribute(name="eyes", points=("left_eye", "right_eye"), mirror=(("left_eye", "right_eye"),))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a.png,,,,,male,,,,,,,", "no box"),
        ("a.png,5,5,5,9,male,,,,,,,", "the box is empty"),
        ("a.png,5,5,,9,male,,,,,,,", "a box needs all of"),
        ("d.png,5,5,9,9,male,,,,,,,", "no such picture"),
        ("a.png,5,5,9,9,man,,,,,,,", "must be one of female, male"),
        ("a.png,,,,,,,,,,,,", "no labelled face with a box"),
    ],
)
def test_bad_labels(pictures: Path, line: str, said: str) -> None:
    path = write(pictures / "bad.csv", [line])
    with pytest.raises(DataError, match=said):
        read_photos([str(path)], (GENDER, AGE, EYES))


def test_crops_are_refused(pictures: Path) -> None:
    path = write(pictures / "crops.csv", ["a.png,1,1,9,9,male,tight"], "file,x1,y1,x2,y2,gender,framing")
    with pytest.raises(DataError, match="needs the photos"):
        read_photos([str(path)], (GENDER,))
    path = write(pictures / "odd.csv", ["a.png,1,1,9,9,male,perhaps"], "file,x1,y1,x2,y2,gender,ignore")
    with pytest.raises(DataError, match="ignore must be yes, no or blank"):
        read_photos([str(path)], (GENDER,))


def test_splits(pictures: Path) -> None:
    header = "file,x1,y1,x2,y2,gender,split"
    lines = ["a.png,1,1,9,9,male,val", "a.png,20,20,40,40,female,val", "b.png,,,,,,val", "c.png,1,1,9,9,male,train"]
    path = write(pictures / "split.csv", lines, header)
    photos = read_photos([str(path)], (GENDER,))
    assert [(photo.name, photo.rows.tolist()) for photo in photos.photos] == [("a.png", [0, 1]), ("b.png", [])]
    assert len(read_photos([str(path)], (GENDER,), "all").faces) == 3
    with pytest.raises(DataError, match="test"):
        read_photos([str(path)], (GENDER,), "test")
    whole = write(pictures / "whole.csv", [line.rpartition(",")[0] for line in lines], header.rpartition(",")[0])
    photos = read_photos([str(whole)], (GENDER,), "val")
    assert (len(photos.faces), photos.without_split) == (3, ("whole.csv",))


def coco(**changes: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "categories": [{"id": 1, "name": "face", "keypoints": ["left_eye", "right_eye"]}, {"id": 2, "name": "head"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 40],
             "attributes": {"gender": "male", "note": ["x"]}, "keypoints": [15, 25, 2, 0, 0, 0]},
            {"id": 2, "image_id": 1, "category_id": 2, "bbox": [0, 0, 60, 80]},
            {"id": 3, "image_id": 1, "category_id": 1, "bbox": [60, 60, 20, 20], "iscrowd": 1},
        ],
    } | changes  # fmt: skip


def test_coco(pictures: Path) -> None:
    (pictures / "coco.json").write_text(json.dumps(coco()))
    photos = read_photos([str(pictures / "coco.json")], (GENDER, EYES))
    assert photos.faces.boxes.tolist() == [[10, 20, 40, 60]]
    assert photos.faces.targets["gender"].tolist() == [1]
    assert photos.faces.targets["eyes"][0].ravel().tolist() == pytest.approx([15, 25, np.nan, np.nan], nan_ok=True)
    assert [photo.name for photo in photos.photos] == ["a.png", "b.png"]
    assert photos.photos[0].ignored.tolist() == [[60, 60, 80, 80]]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not a COCO file"),
        ("[]", "not a COCO file"),
        (json.dumps(coco(annotations=[{"id": 7, "category_id": 1, "image_id": 9, "bbox": [1] * 4}])), "annotation 7"),
        (json.dumps(coco(categories=[{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}])), "no category"),
    ],
)  # fmt: skip
def test_bad_coco(pictures: Path, content: str, said: str) -> None:
    (pictures / "coco.json").write_text(content)
    with pytest.raises(DataError, match=said):
        read_photos([str(pictures / "coco.json")], (GENDER, EYES))
