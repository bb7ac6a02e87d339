"""Every planted fault is found, each alone and all together; a clean set is called clean."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe.core.errors import DataError
from facepipe.core.issues import BOX_KINDS, KINDS, Severity, counts, in_order
from facepipe.detector.data.check import CheckReport
from facepipe.detector.data.statistics import as_json, by_class, by_source
from facepipe.pipeline.inputs.image_reader import read_frame

Check = Callable[[Path], CheckReport]
FACE = "images/train/faces0.png"


def labels(root: Path, text: str, name: str = "train/faces0") -> None:
    (root / "labels" / f"{name}.txt").write_text(text)


def redraw(root: Path, change: Callable[[np.ndarray], np.ndarray], name: str = "train/faces0") -> None:
    path = root / "images" / f"{name}.png"
    cv2.imwrite(str(path), change(read_frame(path)))


def again(root: Path, source: str, target: str, labelled: str, label: str | None = None) -> None:
    """Copy a picture with its labels and give it a line in the CSV."""
    shutil.copyfile(root / "images" / f"{source}.png", root / "images" / f"{target}.png")
    text = (root / "labels" / f"{source}.txt").read_text() if label is None else label
    (root / "labels" / f"{target}.txt").write_text(text)
    with (root / "labelled.csv").open("a") as file:
        file.write(f"images/{target}.png,more,{labelled},\n")


def edit(root: Path, old: str, new: str, name: str = "labelled.csv") -> None:
    text = (root / name).read_text()
    assert old in text
    (root / name).write_text(text.replace(old, new))


def turned(root: Path) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("images", "labels", "ignore"):
        for path in (root / kind / "train").glob("faces3.*"):
            path.unlink()
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 255, (90, 120, 3), np.uint8))
    picture.save(root / "images" / "train" / "faces3.jpg", exif=exif)
    labels(root, "", "train/faces3")
    edit(root, "images/train/faces3.png", "images/train/faces3.jpg")


def nearly(root: Path) -> None:
    """A training picture again in val, compressed and a little lighter."""
    again(root, "train/faces0", "val/other", "face")
    redraw(root, lambda frame: cv2.convertScaleAbs(cv2.GaussianBlur(frame, (3, 3), 0), alpha=1, beta=6), "val/other")


def namesake(root: Path) -> None:
    frame = np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8)
    cv2.imwrite(str(root / "images/train/faces0.bmp"), frame)
    edit(root, f"{FACE},", f"images/train/faces0.bmp,faces,face,\n{FACE},")


def renamed(root: Path) -> None:
    (root / FACE).rename(root / "images/train/faces0.jpg")
    edit(root, FACE, "images/train/faces0.jpg")


def headless(root: Path) -> None:
    for path in (root / "labels/val").glob("heads*"):
        path.write_text("")


def many_heads() -> str:
    return "".join(f"1 {0.02 + 0.03 * (i % 32):.3f} {0.1 + 0.2 * (i // 32)} 0.02 0.1\n" for i in range(99))


FAULTS: dict[str, tuple[Callable[[Path], object], str, str, int | None]] = {
    # kind: (how to plant it, where, in the text, line)
    "csv-line": (
        lambda root: edit(root, "train/heads1.png,heads,head,", "train/heads1.png,heads,cat,"),
        "labelled.csv",
        "cat",
        3,
    ),
    "csv-missing": (
        lambda root: edit(root, f'{FACE},faces,face,"a, b"\n', ""),
        FACE,
        "no valid line",
        None,
    ),
    "csv-orphan": (
        lambda root: (root / "labelled.csv").open("a").write("images/val/gone.png,x,face,\n"),
        "labelled.csv",
        "there is no images/val/gone.png",
        17,
    ),
    "csv-double": (
        lambda root: (root / "labelled.csv").open("a").write(f"{FACE},faces,face,\n"),
        "labelled.csv",
        "already in line 2",
        17,
    ),
    "picture-empty": (lambda root: (root / FACE).write_bytes(b""), FACE, "is empty", None),
    "picture-broken": (
        lambda root: (root / FACE).write_bytes((root / FACE).read_bytes()[:-900]),
        FACE,
        "cut short",
        None,
    ),
    "same-labels": (
        namesake,
        FACE,
        "holds the labels of 2 pictures",
        None,
    ),
    "extension": (
        renamed,
        "images/train/faces0.jpg",
        "the name says JPEG, but the file is PNG",
        None,
    ),
    "not-read": (
        lambda root: (root / "images/train/film.heic").write_bytes(b"x"),
        "images/train/film.heic",
        ".heic",
        None,
    ),
    "turned": (turned, "images/train/faces3.jpg", "are swapped", None),
    "label-missing": (
        lambda root: (root / "labels/train/empty2.txt").unlink(),
        "images/train/empty2.png",
        "missing",
        None,
    ),
    "label-orphan": (lambda root: labels(root, "", "train/nobody"), "labels/train/nobody.txt", "no such picture", None),
    "ignore-orphan": (
        lambda root: (root / "ignore/val/nobody.txt").write_text("0 0.5 0.5 0.1 0.1\n"),
        "ignore/val/nobody.txt",
        "no such picture",
        None,
    ),
    "label-line": (
        lambda root: labels(root, "0 0.5 0.5 0.2 0.2\n\n0 0.5 nan 0.2 0.2\n"),
        "labels/train/faces0.txt",
        "a coordinate must be a number, got 'nan'",
        3,
    ),
    "ignore-line": (
        lambda root: (root / "ignore/train/faces0.txt").write_text("0 0.5 0.5\n"),
        "ignore/train/faces0.txt",
        "expected class cx cy w h",
        1,
    ),
    "box-degenerate": (
        lambda root: labels(root, "0 0.3 0.3 0.2 0.2\n0 0.5 0.5 0 0.2\n"),
        "labels/train/faces0.txt",
        "of width 0 and",
        2,
    ),
    "box-off": (lambda root: labels(root, "0 1.01 0.5 0.01 0.2\n"), "labels/train/faces0.txt", "from 1.0050", 1),
    "box-outside": (lambda root: labels(root, "0 0.9 0.5 0.4 0.2\n"), "labels/train/faces0.txt", "10.0% of a side", 1),
    "box-double": (
        lambda root: labels(root, "0 0.3 0.3 0.2 0.2\n0 0.7 0.7 0.2 0.2\n0 0.301 0.3 0.2 0.2\n"),
        "labels/train/faces0.txt",
        "already in line 1 (IoU 0.99)",
        3,
    ),
    "box-unlabelled": (
        lambda root: labels(root, "0 0.3 0.3 0.2 0.2\n1 0.7 0.7 0.2 0.2\n"),
        "labels/train/faces0.txt",
        "1 of class head",
        2,
    ),
    "box-tiny": (lambda root: labels(root, "0 0.3 0.3 0.003 0.003\n"), "labels/train/faces0.txt", "1.9 px", 1),
    "class-empty": (
        headless,
        "data.yaml",
        "val has no box of class head",
        None,
    ),
    "class-rare": (
        lambda root: labels(
            root,
            "".join(f"1 {0.02 + 0.03 * (i % 32):.3f} {0.1 + 0.2 * (i // 32)} 0.02 0.1\n" for i in range(99)),
            "train/heads1",
        ),
        "data.yaml",
        "3 boxes of class face, and 103 of another",
        None,
    ),
    "copy-across": (
        lambda root: again(root, "train/faces0", "val/copied", "face"),
        FACE,
        "is the same file as images/val/copied.png",
        None,
    ),
    "alike-across": (nearly, FACE, "looks like images/val/other.png (", None),
    "copy-differs": (
        lambda root: again(root, "train/faces0", "train/zz", "face", "0 0.2 0.2 0.1 0.1\n"),
        FACE,
        "labelled differently",
        None,
    ),
    "copy": (lambda root: again(root, "train/faces0", "train/zz", "face"), FACE, "images/train/zz.png", None),
    "small": (lambda root: redraw(root, lambda frame: cv2.resize(frame, (70, 50))), FACE, "70 x 50 pixels", None),
    "blank": (lambda root: redraw(root, lambda frame: np.full_like(frame, 90)), FACE, "nothing to see", None),
    "dark": (lambda root: redraw(root, lambda frame: frame // 6), FACE, "darker than", None),
    "bright": (lambda root: redraw(root, lambda frame: 230 + frame // 11), FACE, "lighter than", None),
    "blurred": (lambda root: redraw(root, lambda frame: cv2.GaussianBlur(frame, (0, 0), 12)), FACE, "sharpness", None),
    "split": (lambda root: shutil.rmtree(root / "images/val"), "data.yaml", "images/val does not exist", None),
}
ALONG = {
    "csv-line": {"csv-missing"},
    "copy-differs": {"copy"},
    "bright": {"blurred"},
    "dark": {"blurred"},
    "small": {"blurred"},
    "split": {"label-orphan", "csv-orphan"},
}
"""What may come with a fault, for it follows from it."""


def test_every_kind_is_planted_here_but_the_detector_s() -> None:
    assert set(FAULTS) == set(BOX_KINDS) - {"nothing-found", "not-labelled"}


def test_a_clean_set(clean: Path, check: Check) -> None:
    report = check(clean)
    assert report.findings == []
    assert len(report.pictures) == 15
    assert counts([]) == {"error": 0, "warning": 0, "note": 0}


@pytest.mark.parametrize("kind", FAULTS)
def test_one_fault(clean: Path, check: Check, kind: str) -> None:
    plant, where, text, line = FAULTS[kind]
    plant(clean.parent)
    findings = check(clean).findings
    mine = [finding for finding in findings if finding.kind == kind]
    assert [(finding.file, finding.line) for finding in mine if finding.file == where] == [(where, line)]
    assert text in next(finding for finding in mine if finding.file == where).text
    assert {finding.kind for finding in findings} - {kind} <= ALONG.get(kind, set())


def test_all_faults_together(clean: Path, check: Check) -> None:
    """Faults of label lines all in one file, faults of files one a picture; none hides another."""
    root = clean.parent
    labels(
        root,
        "0 0.3 0.3 0.2 0.2\nface 1 2 3 4\n0 0.3 0.3 0.2 0.2\n9 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1\n0 0.95 0.5 0.3 0.2\n"
        "0 0.5 0.5 0.1 0\n1 0.5 0.5 0.2 0.2\n0 0.2 0.8 0.003 0.003\n0 1.01 0.5 0.01 0.1\n",
    )
    (root / "ignore/train/faces0.txt").write_bytes(b"\xff\xfe\x00 binary\n0 0.5 0.5 0.1 0.1\n")
    (root / "images/train/faces3.png").write_bytes(b"")
    (root / "images/train/heads1.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 50)
    (root / "images/train/heads4.png").write_text("no picture at all")
    redraw(root, lambda frame: frame // 6, "train/empty2")
    redraw(root, lambda frame: cv2.resize(frame, (70, 50)), "train/faces6")
    again(root, "val/faces0", "train/leak", "face")
    labels(root, "", "val/nobody")
    (root / "labels/val/empty2.txt").unlink()
    (root / "images/val/dangling.png").symlink_to(root / "nowhere.png")
    (root / "images/val/folder.png").mkdir()
    (root / "labelled.csv").open("a").write("images/val/gone.png,x,cat\nimages/val/folder.png,x,face\n")
    report = check(clean)
    found = {kind: [f.where for f in report.findings if f.kind == kind] for kind in KINDS}
    assert found["label-line"] == [f"labels/train/faces0.txt: line {line}" for line in (2, 4, 5)]
    assert found["box-double"] == ["labels/train/faces0.txt: line 3"]
    assert found["box-outside"] == ["labels/train/faces0.txt: line 6"]
    assert found["box-degenerate"] == ["labels/train/faces0.txt: line 7"]
    assert found["box-unlabelled"] == ["labels/train/faces0.txt: line 8"]
    assert found["box-tiny"] == ["labels/train/faces0.txt: line 9"]
    assert found["box-off"] == ["labels/train/faces0.txt: line 10"]
    assert found["ignore-line"] == ["ignore/train/faces0.txt: line 1"]
    assert found["picture-empty"] == ["images/train/faces3.png"]
    broken = ["train/heads1.png", "train/heads4.png", "val/dangling.png", "val/folder.png"]
    assert found["picture-broken"] == [f"images/{name}" for name in broken]
    assert "images/train/empty2.png" in found["dark"]
    assert found["small"] == ["images/train/faces6.png"]
    assert found["copy-across"] == ["images/train/leak.png"]
    assert found["label-orphan"] == ["labels/val/nobody.txt"]
    assert "images/val/empty2.png" in found["label-missing"]
    assert found["csv-line"] == ["labelled.csv: line 18"]
    assert found["csv-missing"] == ["images/val/dangling.png"]
    severities = [finding.severity for finding in report.findings]
    assert severities == sorted(severities, key=list(Severity).index)
    assert in_order(reversed(report.findings)) == report.findings


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "no such file"), ("a: [b", "not valid YAML"), ("train: images/train\nnames: [face]", "needs the key val")],
)
def test_no_data_yaml_no_check(tmp_path: Path, check: Check, text: str | None, message: str) -> None:
    path = tmp_path / "data.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=message):
        check(path)


def test_a_csv_that_is_none_and_splits_that_are_none(clean: Path, check: Check) -> None:
    (clean.parent / "labelled.csv").write_text("picture,classes\n")
    edit(clean.parent, "val: images/val", "val: [images/val, images/more]", "data.yaml")
    report = check(clean)
    assert [(f.kind, f.text) for f in report.findings if f.severity == "error"] == [
        ("split", f"val: {clean.parent.resolve()}/images/more does not exist"),
        ("csv-line", "line 1: no column file, labelled_classes"),
    ]
    assert len(report.pictures) == 15


def test_the_test_split_is_checked_too(clean: Path, check: Check) -> None:
    root = clean.parent
    edit(root, "val: images/val\n", "val: images/val\ntest: images/test\n", "data.yaml")
    for kind in ("images", "labels"):
        (root / kind / "test").mkdir()
    again(root, "val/faces0", "test/leak", "face")
    findings = check(clean).findings
    assert [(f.kind, f.file, f.other) for f in findings if f.severity == "error"] == [
        ("copy-across", "images/val/faces0.png", "images/test/leak.png")
    ]


def test_the_figures(clean: Path, check: Check) -> None:
    labels(
        clean.parent,
        "0 0.5 0.5 0.01 0.01\n0 0.5 0.5 0.02 0.02\n0 0.5 0.5 0.05 0.05\n0 0.5 0.5 0.1 0.1\n0 0.4 0.5 0.2 0.1\n",
    )
    (clean.parent / "images/train/heads1.png").write_bytes(b"")
    report = check(clean)
    rows = {(row.split, row.source): row for row in by_source(report)}
    assert list(rows) == [(split, source) for split in ("train", "val") for source in ("empty", "faces", "heads")]
    faces = rows["train", "faces"]
    assert (faces.pictures, faces.unreadable, faces.labelled, faces.empty) == (3, 0, ("face",), 0)
    assert faces.boxes == {"face": 7, "head": 0}
    assert faces.sizes == (320, 320, 320)
    assert rows["train", "heads"].unreadable == 1
    assert rows["val", "empty"].empty == 2
    classes = {(row.split, row.name): row for row in by_class(report)}
    face = classes["train", "face"]
    assert (face.labelled, face.with_boxes, face.boxes) == (6, 3, 7)
    # Twice the stored size: longer sides 6.4, 12.8, 32, 64 and 128 px; those of the other two pictures are 192 px high.
    assert face.bands == {"0-8": 1, "8-16": 1, "16-32": 0, "32-96": 2, ">96": 3}
    assert sum(classes["train", "head"].bands.values()) == 4  # two of six are in the picture that cannot be read
    content = as_json(report)
    assert content["pictures"] == 15
    assert {finding["kind"] for finding in content["findings"]} == {finding.kind for finding in report.findings}
