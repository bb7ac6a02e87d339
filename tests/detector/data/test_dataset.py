"""DATA.yaml and label files: what they say, and what is said of broken ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from facepipe.core.errors import DataError
from facepipe.detector.data.dataset import read_description
from facepipe.detector.data.formats.labels import LabelReader


def test_what_is_read(detection_data: Path) -> None:
    description = read_description(detection_data)
    assert description.classes == ("face", "head")
    assert {p.labelled for p in description.pictures["train"]} == {(True, False), (False, True), (True, True)}
    records = {record.name: record for record in description.training_data()}
    assert records["faces"].count == 4
    assert records["faces"].terms == "made for a test"
    first = description.pictures["train"]
    assert sum(len(description.ignored(picture)) for picture in first) == 1


def test_the_hash_follows_the_labels(detection_data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(detection_data.parent, copy)
    before = read_description(copy / "data.yaml").labels_sha256
    assert before == read_description(detection_data).labels_sha256
    (copy / "labels" / "train" / "faces0.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    assert read_description(copy / "data.yaml").labels_sha256 != before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "data.yaml").write_text("a: b"), "needs the key train, val"),
        (lambda root: (root / "data.yaml").write_text("a: [b"), "not valid YAML"),
        (lambda root: (root / "labelled.csv").write_text("file,source\n"), "line 1: no column labelled_classes"),
        (
            lambda root: (root / "labelled.csv").write_text("file,labelled_classes\na.png,face;cat\n"),
            "line 2: unknown class cat",
        ),
        (
            lambda root: (root / "labelled.csv").write_text("file,labelled_classes\na.png,face\n"),
            "has no line in the CSV",
        ),
        (lambda root: shutil.rmtree(root / "images" / "val"), "val: .*images/val does not exist"),
        (
            lambda root: (root / "labels" / "train" / "faces0.txt").write_text("7 0.5 0.5 0.1 0.1"),
            r"faces0\.txt: line 1: class 7 is not one of 0 to 1 \(face, head\)",
        ),
    ],
)
def test_a_broken_description(
    detection_data: Path, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(detection_data.parent, root)
    damage(root)
    with pytest.raises(DataError, match=message):
        read_description(root / "data.yaml")


@pytest.mark.parametrize("line", ["0 0.5 0.5 0.1", "2 0.5 0.5 0.1 0.1", "0 0.5 x 0.1 0.1", "0 30 20 10 10"])
def test_a_broken_label_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "a.txt"
    file.write_text(f"0 0.5 0.5 0.1 0.1\n\n{line}\n")
    with pytest.raises(DataError, match=r"a\.txt: line 3: "):
        LabelReader(("face", "head")).boxes(file)
