"""``facepipe data closeups``: pictures of one face each become a detection data set."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe.classifier.config.schema import read_schema
from facepipe.classifier.data.table import read_faces
from facepipe.core.errors import DataError
from facepipe.detector.data.dataset import read_description
from facepipe.detector.inference.boxes import from_yolo
from facepipe.pipeline.datasets.closeups import draw_rows, write_close_ups

from .test_crops import DiscFinder, photo


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Four photos for training and two for validation; one is broken, one has no face."""
    lines = ["file,source,split,gender"]
    for number in range(6):
        name = f"p{number}.png"
        photo(tmp_path, name, [] if number == 3 else [(100, 75)])
        lines.append(f"{name},{'one' if number % 2 else 'two'},{'val' if number > 3 else 'train'},")
    (tmp_path / "p2.png").write_bytes(b"broken")
    (tmp_path / "faces.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "faces.csv"


def test_the_set_is_read_back_with_boxes_on_the_faces(faces: Path, tmp_path: Path) -> None:
    table = read_faces(faces, read_schema())
    out = tmp_path / "made"
    counts = write_close_ups(table, range(len(table)), DiscFinder(), out, {"one": "mine", "": "theirs"})
    assert counts == {"box found": 4, "left out": 1, "unreadable": 1}
    made = read_description(out / "data.yaml")
    assert {split: len(pictures) for split, pictures in made.pictures.items()} == {"train": 2, "val": 2}
    assert made.terms == {"one": "mine", "two": "theirs"}
    for picture in made.pictures["train"]:
        assert picture.labelled == (True, False)  # heads are unlabelled, not absent
        (row,) = made.boxes(picture)
        np.testing.assert_allclose(row[1:3], [0.5, 0.5], atol=0.06)
        assert 40 <= row[3] * 200 <= 80


def test_an_existing_folder_stays_as_it_is(faces: Path, tmp_path: Path) -> None:
    out = tmp_path / "made"
    out.mkdir()
    table = read_faces(faces, read_schema())
    with pytest.raises(DataError, match="exists"):
        write_close_ups(table, [0], DiscFinder(), out, {"one": "mine", "": "theirs"})
    assert list(out.iterdir()) == []


def test_without_a_picture_left_nothing_is_written(faces: Path, tmp_path: Path) -> None:
    table = read_faces(faces, read_schema())
    with pytest.raises(DataError, match="none of 2 pictures is left"):
        write_close_ups(table, [2, 3], DiscFinder(), tmp_path / "made", {})
    assert not (tmp_path / "made").exists()
    assert not list(tmp_path.glob(".made*"))


def test_the_draw_keeps_to_its_limit_and_sources(faces: Path) -> None:
    table = read_faces(faces, read_schema())
    rows = draw_rows(table, ["one"], 1)
    assert sorted(table.columns["split"][row] for row in rows) == ["train", "val"]
    assert {table.columns["source"][row] for row in rows} == {"one"}
    assert draw_rows(table, ["one"], 1) == rows
    assert len(draw_rows(table, (), None)) == 6
    assert {table.columns["split"][row] for row in draw_rows(table, (), None, ["train"])} == {"train"}


def test_on_sheets_every_face_has_its_box(faces: Path, tmp_path: Path) -> None:
    table = read_faces(faces, read_schema())
    out = tmp_path / "sheets"
    write_close_ups(table, range(len(table)), DiscFinder(), out, {}, across=2)
    made = read_description(out / "data.yaml")
    boxes = 0
    for picture in (p for pictures in made.pictures.values() for p in pictures):
        sheet = cv2.imread(str(picture.path))
        assert sheet.shape == (640, 640, 3)
        red = (sheet[..., 2] > 150) & (sheet[..., 0] < 90)  # the drawn faces
        inside = np.zeros_like(red)
        for x1, y1, x2, y2 in from_yolo(made.boxes(picture)[:, 1:], 640, 640).round().astype(int):
            inside[max(y1 - 2, 0) : y2 + 2, max(x1 - 2, 0) : x2 + 2] = True
            assert red[y1:y2, x1:x2].mean() > 0.3
            boxes += 1
        assert not (red & ~inside).any()
    assert boxes == 4
