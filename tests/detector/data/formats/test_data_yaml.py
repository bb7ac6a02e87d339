"""data.yaml: read in one way by conversion, check, training and evaluation, as ultralytics reads it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facepipe.core.errors import DataError
from facepipe.detector.data.check import CheckReport
from facepipe.detector.data.dataset import read_description
from facepipe.detector.data.formats import read
from facepipe.detector.data.formats.data_yaml import read_data_yaml

BASE = "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: face\n"
BOX = "0.44 0.23 0.18 0.24"
POINTS = " 0.4 0.2 0.42 0.21 0.43 0.22 0.44 0.23 0.45 0.24"


@pytest.fixture
def plain(tmp_path: Path, draw: Callable[..., Path]) -> Callable[..., Path]:
    """``plain(yaml, line, ...)``: a data set of 4 + 4 pictures with a face each, and its data.yaml."""

    def make(yaml: str, line: str = f"0 {BOX}", encoding: str = "utf-8") -> Path:
        root = tmp_path / "set"
        for number in range(8):
            split = ("train", "val")[number // 4]
            draw(root / f"images/{split}/{split}{number}.png", number)
            label = root / f"labels/{split}/{split}{number}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_bytes(f"{line}\r\n".encode(encoding))
        (root / "train.txt").write_text("".join(f"./images/train/train{number}.png\n" for number in range(4)))
        (root / "windows.txt").write_text("".join(f"images\\train\\train{number}.png\r\n" for number in range(4)))
        (root / "data.yaml").write_text(yaml)
        return root / "data.yaml"

    return make


FORMS = {
    "as it is": BASE,
    "blank path": BASE.replace("path: .", "path:"),
    "no path": BASE.replace("path: .\n", ""),
    "path of another machine": BASE.replace("path: .", "path: /nowhere/at/all"),
    "list": BASE.replace("train: images/train", "train: [images/train]"),
    "list of two": BASE.replace("train: images/train", "train: [images/train, train.txt]"),
    "text list": BASE.replace("train: images/train", "train: train.txt"),
    "text list of Windows": BASE.replace("train: images/train", "train: windows.txt"),
    "Roboflow": BASE.replace("path: .\n", "").replace(": images/", ": ../images/"),
    "names as text": BASE.replace("names:\n  0: face\n", "names: face\nnc: 1\n"),
    "names as list": BASE.replace("names:\n  0: face\n", "names: [face]\nnc: 1\n"),
    "numbers as text": BASE.replace("  0: face", "  '0': face"),
    "validation": BASE.replace("val:", "validation:"),
    "byte order mark": "\ufeff" + BASE,
    "line ends": BASE.replace("\n", "\r\n"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_alike(plain: Callable[..., Path], check: Callable[[Path], CheckReport], form: str) -> None:
    yaml = plain(FORMS[form])
    description = read_description(yaml)
    assert description.classes == ("face",)
    files = [f"images/{split}/{split}{i + 4 * (split == 'val')}.png" for split in ("train", "val") for i in range(4)]
    assert [picture.file for pictures in description.pictures.values() for picture in pictures] == files
    for picture in (*description.pictures["train"], *description.pictures["val"]):
        np.testing.assert_allclose(description.boxes(picture), [[0, *map(float, BOX.split())]])
    report = check(yaml)
    assert not [finding for finding in report.findings if finding.severity == "error"]
    assert sum(len(checked.entry.rows) for checked in report.pictures) == 8
    converted = read(yaml)
    assert [len(record.boxes) for record in converted.records] == [1] * 8
    assert [record.split for record in converted.records] == ["train"] * 4 + ["val"] * 4


def test_ultralytics_reads_the_same(plain: Callable[..., Path]) -> None:
    from facepipe.detector.training import ultralytics_setup  # noqa: F401  isort: skip
    from ultralytics.data.utils import check_det_dataset

    for form in ("blank path", "list", "text list", "Roboflow", "names as list"):
        yaml = plain(FORMS[form])
        if "path: ." in FORMS[form]:  # to ultralytics that is the working folder
            yaml.write_text(FORMS[form].replace("path: .", f"path: {yaml.parent}"))
        theirs: dict[str, Any] = check_det_dataset(str(yaml), autodownload=False)
        ours = read_data_yaml(yaml)
        for split in ("train", "val"):
            places = theirs[split] if isinstance(theirs[split], list) else [theirs[split]]
            assert [Path(place) for place in places] == list(ours.places[split])
        assert tuple(theirs["names"].values()) == ours.classes


def test_keypoints_and_byte_order_marks_in_label_files(
    plain: Callable[..., Path], check: Callable[[Path], CheckReport]
) -> None:
    yaml = plain(f"{BASE}kpt_shape: [5, 2]\n", f"0 {BOX}{POINTS}", "utf-8-sig")
    description = read_description(yaml)
    picture = description.pictures["train"][0]
    np.testing.assert_allclose(description.boxes(picture), [[0, *map(float, BOX.split())]])
    assert not [finding for finding in check(yaml).findings if finding.severity == "error"]
    assert read(yaml).records[0].boxes[0].corners == pytest.approx((0.35, 0.11, 0.53, 0.35))
    yaml.write_text(BASE)
    for reader in (read_description, read):
        with pytest.raises(DataError, match=r"train0\.txt: line 1: a box with points or a polygon\? set in data\.y"):
            reader(yaml)
    assert {finding.kind for finding in check(yaml).findings if finding.severity == "error"} == {"label-line"}


def test_nested_images(tmp_path: Path, draw: Callable[..., Path], check: Callable[[Path], CheckReport]) -> None:
    for number in range(12):
        part, pictures, labels = (
            ("train", "images/train/batch1/images", "images/train/batch1/labels"),
            ("train", "images/train/batch2", "labels/train/batch2"),
            ("val", "images/val", "labels/val"),
        )[number // 4]
        draw(tmp_path / pictures / f"{part}{number}.png", number)
        (tmp_path / labels).mkdir(parents=True, exist_ok=True)
        (tmp_path / labels / f"{part}{number}.txt").write_text(f"0 {BOX}\n")
    ignored = tmp_path / "images/train/batch1/hidden/train0.txt"
    ignored.parent.mkdir()
    ignored.write_text("0 0.9 0.9 0.1 0.1\n")
    (tmp_path / "data.yaml").write_text(f"{BASE}ignore: hidden\n")
    description = read_description(tmp_path / "data.yaml")
    assert sum(len(description.boxes(picture)) for picture in description.pictures["train"]) == 8
    assert sum(len(description.ignored(picture)) for picture in description.pictures["train"]) == 1
    report = check(tmp_path / "data.yaml")
    assert {finding.kind for finding in report.findings} <= {"small", "blurred"}
    assert sum(len(checked.entry.rows) for checked in report.pictures) == 12
    assert sum(len(record.boxes) for record in read(tmp_path).records) == 13


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("[1, 2]", "needs the keys train, val, names; facepipe data convert"),
        ("3", "needs the keys"),
        (BASE.replace("val: images/val\n", ""), "needs the key val; facepipe data convert"),
        (BASE.replace("images/val", ""), "needs the key val"),
        (BASE.replace("images/val", "[3]"), r"val must name a folder of pictures, or several in a list, got 3"),
        (BASE.replace("images/val", "{a: b}"), "val must name a folder"),
        (BASE.replace("images/val", '"a\\0b"'), "val must name a folder"),
        (BASE.replace("images/val", "x" * 300), "does not exist"),
        (BASE.replace("images/val", "/"), "points outside the data set's own folder"),
        (BASE.replace("images/val", ".."), "points outside the data set's own folder"),
        (BASE.replace("images/val", "/dev/zero"), "does not exist"),
        (BASE.replace("images/val", "labels"), "val: no picture under .*facepipe data convert"),
        (BASE.replace("path: .", "path: [a]"), "path must be a path"),
        (f"{BASE}labelled: [a]\n", "labelled must be a path"),
        (f"{BASE}ignore: {{a: b}}\n", "ignore must be a path"),
        (f"{BASE}nc: 2\n", "nc is 2, but names has 1"),
        (f"{BASE}nc: many\n", "nc must be the number of classes"),
        (f"{BASE}nc: .inf\n", "nc must be the number of classes"),
        (f"{BASE}kpt_shape: 5\n", "kpt_shape must be"),
        (f"{BASE}kpt_shape: [5, 4]\n", "kpt_shape must be"),
        (f"{BASE}kpt_shape: [true, 2]\n", "kpt_shape must be"),
        (BASE.replace("0: face", "0: [a]"), "class 0 must be a word"),
        (BASE.replace("0: face", "0:"), "class 0 must be a word"),
        (BASE.replace("0: face", "1: face"), "names must be numbered 0 to 0, got 1"),
        (BASE.replace("0: face", "{a: 1}: face"), "not valid YAML"),
        (BASE.replace("\n  0: face", " []"), "needs the key names"),
        (BASE.replace("\n  0: face", " 3"), "needs the key names"),
        (BASE.replace("\n  0: face", " face, head"), r"names must be a list of the classes, such as \[face, head\]"),
        (BASE.replace("\n  0: face", " [face, face]"), "face appears twice"),
        (BASE.replace("images/train", "list.txt"), r"list\.txt: line 2: not the name of a picture"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    plain: Callable[..., Path], check: Callable[[Path], CheckReport], yaml: str, message: str
) -> None:
    path = plain(yaml)
    (path.parent / "list.txt").write_text("images/train/train0.png\n/etc/passwd\n")
    with pytest.raises(DataError, match=message) as raised:
        read_description(path)
    assert "\n" not in str(raised.value)
    with suppress(DataError):  # what is wrong below the YAML is a finding of the check
        assert [finding for finding in check(path).findings if finding.kind == "split"]


def test_names_may_be_words_that_yaml_1_1_takes_for_others(plain: Callable[..., Path]) -> None:
    assert read_data_yaml(plain(BASE.replace("\n  0: face", " [no, yes, on, 7]"))).classes == ("no", "yes", "on", "7")
    assert read_data_yaml(plain(BASE.replace("names:\n  0: face", "nc: 2"))).classes == ("class_0", "class_1")


@pytest.mark.parametrize("way", ["list", "full path", "folder", "root", "link"])
def test_pictures_from_outside_stay_outside(
    plain: Callable[..., Path], draw: Callable[..., Path], tmp_path: Path, way: str
) -> None:
    yaml = plain(BASE)
    secret = draw(tmp_path / "private" / "images" / "me.png", 9)
    if way == "list":
        (yaml.parent / "train.txt").write_text("./images/train/train0.png\n../private/images/me.png\n")
        yaml.write_text(FORMS["text list"])
    elif way == "full path":
        (yaml.parent / "train.txt").write_text(f"{secret}\n")
        yaml.write_text(FORMS["text list"])
    elif way == "folder":
        yaml.write_text(BASE.replace("train: images/train", f"train: [images/train, {secret.parent}]"))
    elif way == "root":
        yaml.write_text(f"path: {secret.parent.parent}\ntrain: images\nval: images\nnames: [face]\n")
    else:
        os.symlink(secret, yaml.parent / "images/train/link.png")
    with pytest.raises(DataError, match=r"points outside .*--images"):
        read(yaml)
    if way != "root":
        assert read(yaml, images=secret.parent).records
