"""``facepipe data check`` of labelled faces as a user types it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A CSV of 120 sound faces: more than 50 of each class in train."""
    random = np.random.default_rng(3)
    path = tmp_path / "faces.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "split", "gender", "age"])
        for index in range(120):
            blocks = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / f"{index}.png"), cv2.resize(blocks, (32, 32), interpolation=cv2.INTER_NEAREST))
            writer.writerow(
                [
                    f"{index}.png",
                    "val" if index < 16 else "train",
                    ("female", "male")[index % 2],
                    30 + (index >= 16) * index % 3,
                ]
            )
    return path


def test_sound_faces_are_praised(run: Run, faces: Path) -> None:
    code, out, err = run("data", "check", faces, "--strict")
    assert (code, err) == (0, "")
    assert "120 rows checked, no problems: every label is valid" in out
    for word in ("gender", "female", "train", "val", "rows by group", "30+"):
        assert word in out


def test_faults_sheet_and_json(run: Run, faces: Path, tmp_path: Path) -> None:
    (tmp_path / "5.png").write_bytes(b"")
    faces.write_text(faces.read_text().replace("7.png,val,male,30", "7.png,val,male,300"))
    sheet, content = tmp_path / "sheet.png", tmp_path / "check.json"
    code, out, _ = run("data", "check", faces, "--sheet", sheet, "--json", content)
    assert code == 1
    assert "faces.csv: line 9: age is 300, expected 0 to 100 years" in out
    assert f"120 rows checked: 2 errors\ncontact sheet: {sheet}" in out
    assert cv2.imread(str(sheet)) is not None
    found = json.loads(content.read_text())
    assert [(each["kind"], each["line"]) for each in found["findings"]] == [("picture-empty", 7), ("number-outside", 9)]


def test_warnings_count_with_strict(run: Run, faces: Path) -> None:
    faces.write_text(faces.read_text().replace("7.png,val,male,30", "7.png,val,,"))
    assert run("data", "check", faces)[0] == 0
    code, out, _ = run("data", "check", faces, "--strict")
    assert code == 1
    assert "line 9: no attribute of the schema is labelled" in out


def test_wrong_usage(run: Run, faces: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "data.yaml").write_text("train: images\n")
    for arguments in (
        [tmp_path / "none.csv"],
        [faces, "--persons"],
        [faces, "--set-aside", tmp_path / "aside"],
        [faces, "--schema", tmp_path / "none.yaml"],
        [tmp_path / "set" / "data.yaml", "--schema", tmp_path / "s.yaml"],
        [tmp_path / "set"],
    ):
        code, _, err = run("data", "check", *arguments)
        assert code == 2, arguments
        assert err
    assert "check" in run("data", "check", tmp_path / "set")[2]
