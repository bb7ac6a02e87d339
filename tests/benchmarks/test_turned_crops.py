"""Crops turned by quarters keep their labels, and lose their points."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import turned_crops
from facepipe.core.errors import FacepipeError


def test_a_quarter_turn_is_counter_clockwise() -> None:
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[:10, :10] = 255
    assert turned_crops.turned(picture, 1, 0.0)[35, 5, 0] == 255
    assert turned_crops.turned(picture, 2, 0.0)[35, 35, 0] == 255
    assert turned_crops.turned(picture, 0, 90.0)[35, 5, 0] > 200


def test_labels_stay_and_points_go(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((32, 32, 3), 90, np.uint8))
    (tmp_path / "crop.json").write_text('{"recipe": {"size": 32}, "detector": "1.0.0"}')
    rows = ["file,source,split,group,gender,nose_x,nose_y"]
    rows += [f"a.png,s,{split},{number},male,3,4" for number, split in enumerate(["train", "train", "val"])]
    (tmp_path / "crops.csv").write_text("\n".join(rows) + "\n")
    turned_crops.main([tmp_path / "crops.csv"], tmp_path / "out", count=50)
    with open(tmp_path / "out" / "faces.csv", newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [(row["gender"], row["source"], row["split"]) for row in found] == [("male", "turned_s", "train")] * 2
    assert not {"nose_x", "nose_y"} & set(found[0])
    made = cv2.imread(str(tmp_path / "out" / found[0]["file"]))
    assert made is not None
    assert made.shape == (32, 32, 3)
    assert (tmp_path / "out" / "crop.json").is_file()
    (tmp_path / "val.csv").write_text(f"{rows[0]}\n{rows[-1]}\n")
    with pytest.raises(FacepipeError, match="no training rows"):
        turned_crops.main([tmp_path / "val.csv"], tmp_path / "none")
