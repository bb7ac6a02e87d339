"""Masks drawn over faces: where they lie, and the rows that come of them."""

import csv
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import drawn_masks
import numpy as np
import pytest
from facepipe.core.errors import FacepipeError

FACE = np.array([[80, 90], [140, 90], [110, 125], [88, 155], [132, 155]], float)


@pytest.mark.parametrize("turn", [0, 35, 180])
def test_a_worn_mask_hides_nose_and_mouth_and_leaves_the_eyes(turn: int) -> None:
    matrix = cv2.getRotationMatrix2D((110, 120), turn, 1.0)
    points = FACE @ matrix[:, :2].T + matrix[:, 2]
    plain = np.full((240, 220, 3), 128, np.uint8)
    for seed in range(20):
        edge = drawn_masks.outline(drawn_masks.Frame(points), 0.25, random.Random(seed)).astype(np.float32)
        inside = [cv2.pointPolygonTest(edge, tuple(map(float, point)), False) > 0 for point in points]
        assert inside == [False, False, True, True, True]
        drawn = drawn_masks.draw_mask(plain, points, 0.25, random.Random(seed))
        assert drawn.shape == plain.shape
        assert (drawn != plain).any(axis=2).mean() > 0.1


def test_a_mask_under_the_nose_leaves_the_nose() -> None:
    edge = drawn_masks.outline(drawn_masks.Frame(FACE), drawn_masks.UNDER_NOSE[1], random.Random(0)).astype(np.float32)
    assert cv2.pointPolygonTest(edge, (110.0, 125.0), False) < 0 < cv2.pointPolygonTest(edge, (110.0, 155.0), False)


def table(folder: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    columns = ["file", "source", "split", "group", "smile", "mask", "gender"]
    columns += [f"{name}_{axis}" for name in drawn_masks.POINTS for axis in "xy"]
    with open(folder / "crops.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return folder / "crops.csv"


def row(number: int, split: str = "train", **values: object) -> dict[str, object]:
    points = {f"{name}_{axis}": FACE[i, j] for i, name in enumerate(drawn_masks.POINTS) for j, axis in enumerate("xy")}
    return {"file": f"{number}.png", "source": "s", "split": split, "smile": "yes", "mask": "no", **points, **values}


def test_rows_get_the_label_of_how_the_mask_is_worn(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), np.full((240, 220, 3), 128, np.uint8))
    (tmp_path / "crop.json").write_text("{}")
    made = [row(0, group=str(number), gender="male") for number in range(60)]
    made += [row(0, split="val"), {**row(0), "nose_x": ""}]
    drawn_masks.main([table(tmp_path, made)], tmp_path / "out", count=6000, seed=1)
    with open(tmp_path / "out" / "faces.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60
    assert (tmp_path / "out" / "crop.json").read_text() == "{}"
    assert {each["mask"] for each in rows} == {"yes", "no"}
    assert 6 <= sum(each["mask"] == "no" for each in rows) <= 24
    assert {each["smile"] for each in rows} == {""}
    assert {(each["split"], each["gender"], each["source"]) for each in rows} == {("train", "male", "drawn_s")}
    assert all((tmp_path / "out" / each["file"]).is_file() for each in rows)


def test_no_row_with_points_is_said(tmp_path: Path) -> None:
    with pytest.raises(FacepipeError, match="no training row has left_eye"):
        drawn_masks.main([table(tmp_path, [row(0, split="val")])], tmp_path / "out")


def test_crops_of_two_recipes_are_refused(tmp_path: Path) -> None:
    tables = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "crop.json").write_text(f'{{"recipe": "{name}"}}')
        tables.append(table(tmp_path / name, [row(0)]))
    with pytest.raises(FacepipeError, match="different recipes"):
        drawn_masks.main(tables, tmp_path / "out")
