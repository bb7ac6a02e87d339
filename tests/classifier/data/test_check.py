"""``data check`` of labelled faces: each fault is found where it is, and nothing where there is none."""

from __future__ import annotations

import csv
import shutil

import cv2
import numpy as np
import pytest
from facepipe.classifier.config.schema import read_schema
from facepipe.classifier.data.check import as_json, check_faces, mirrored
from facepipe.classifier.data.check_sheet import FAULT, check_sheet
from facepipe.classifier.data.statistics import by_group, by_label
from facepipe.core.errors import DataError
from facepipe.core.issues import BOX_KINDS, FACE_KINDS, Severity, counts
from facepipe.pipeline.datasets.check import open_stored

SCHEMA = read_schema()
MILD = {"class-few", "class-missing", "attribute-untaught"}


def opener(content):
    return open_stored(content).frame


@pytest.fixture
def data(tmp_path):
    """A folder of 40 pictures of noise, unlike one another, with 20 females and 20 males in each split's share."""
    random = np.random.default_rng(1)
    rows = []
    for index in range(40):
        blocks = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{index}.png"), cv2.resize(blocks, (64, 64), interpolation=cv2.INTER_NEAREST))
        points = {"left_eye_x": 20, "left_eye_y": 20, "right_eye_x": 44, "right_eye_y": 20, "nose_x": 32, "nose_y": 32}
        points |= {"mouth_left_x": 24, "mouth_left_y": 48, "mouth_right_x": 40, "mouth_right_y": 48}
        rows.append(
            {
                "file": f"{index}.png",
                "split": "train" if index < 30 else "val",
                "gender": "male" if index % 2 else "female",
                "age": str(20 + index),
                "race": "ab"[index // 2 % 2],
                "group": f"g{index}",
                **{name: str(value) for name, value in points.items()},
            }
        )
    return tmp_path / "faces.csv", rows


def write(path, rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def check(data):
    path, rows = data
    write(path, rows)
    return check_faces(str(path), SCHEMA, opener, workers=2)


def found(report):
    return {(finding.kind, finding.line) for finding in report.findings if finding.kind not in MILD}


def test_sound_data_have_no_findings(data):
    report = check(data)
    assert found(report) == set()
    assert counts(report.findings)[Severity.error] == 0


def test_rows_that_break_the_format(data):
    rows = data[1]
    rows[0]["gender"] = "man"
    rows[1]["age"] = "old"
    rows[2] |= {"age": "", "age_lo": "40", "age_hi": "30"}
    rows[3]["split"] = "dev"
    rows[4]["file"] = ""
    report = check(data)
    assert {("row", 2), ("row", 3), ("row", 4), ("row", 5), ("row", 6)} <= found(report)
    texts = {finding.line: finding.text for finding in report.findings if finding.kind == "row"}
    assert texts[2] == "gender must be one of female, male, got 'man'"
    assert texts[4] == "age_lo is above age_hi"
    assert np.isnan(report.table.targets["gender"][0])  # the rest of the row counts
    assert report.table.targets["age"][0, 0] == 20


def test_pictures_that_are_not_there_or_cannot_be_read(data):
    path, _ = data
    (path.parent / "0.png").unlink()
    (path.parent / "1.png").write_bytes(b"")
    (path.parent / "2.png").write_bytes((path.parent / "2.png").read_bytes()[:60])
    assert found(check(data)) == {("picture-missing", 2), ("picture-empty", 3), ("picture-broken", 4)}


def test_impossible_numbers(data):
    rows = data[1]
    rows[0]["age"] = "130"
    rows[1]["age"] = "-1"
    rows[2] |= {"age": "50", "age_lo": "20", "age_hi": "29"}
    rows[3] |= {"age": "", "age_lo": "70", "age_hi": "120"}  # 70 and over: sound
    rows[4]["age"] = "110"  # may be true
    report = check(data)
    wanted = {("number-outside", 2), ("number-outside", 3), ("number-unlike", 4), ("number-beyond", 6)}
    assert found(report) == wanted
    assert report.findings[0].line == 2  # the farthest off first


def test_misplaced_points(data):
    rows = data[1]
    rows[0]["nose_x"] = "80"
    for axis in "xy":
        rows[1][f"left_eye_{axis}"], rows[1][f"right_eye_{axis}"] = (
            rows[1][f"{e}_eye_{axis}"] for e in ("right", "left")
        )
    for name in rows[2]:
        if name.endswith(("_x", "_y")):  # a head upside down is no fault
            rows[2][name] = str(64 - int(rows[2][name]))
    assert found(check(data)) == {("point-outside", 2), ("points-mirrored", 3)}


def test_a_set_whose_sides_are_all_wrong():
    face = np.array([(20, 20), (44, 20), (32, 32), (24, 48), (40, 48)], float)
    wrong = face[[1, 0, 2, 4, 3]]
    assert mirrored(np.stack([wrong] * 5), 0, 1).all()
    assert mirrored(np.stack([wrong] * 5), 3, 4).all()
    assert not mirrored(np.stack([face] * 5), 0, 1).any()
    assert mirrored(np.stack([face] * 5 + [wrong]), 3, 4).tolist() == [False] * 5 + [True]
    assert mirrored(wrong[None, :2], 0, 1).tolist() == [True]  # no other points: only their order tells


def test_groups_and_copies_across_splits(data):
    path, rows = data
    rows[0]["group"] = rows[35]["group"] = "same"
    shutil.copy(path.parent / "36.png", path.parent / "1.png")
    picture = cv2.imread(str(path.parent / "37.png"))
    cv2.imwrite(str(path.parent / "2.png"), cv2.convertScaleAbs(picture, alpha=0.9))
    shutil.copy(path.parent / "4.png", path.parent / "6.png")
    rows[6]["age"] = rows[4]["age"]
    rows[1]["age"], rows[36]["age"] = "20", "21"
    report = check(data)
    names = {(finding.kind, finding.picture, finding.other) for finding in report.findings if finding.kind not in MILD}
    assert names == {
        ("group-across", "35.png", "0.png"),
        ("copy-across", "1.png", "36.png"),
        ("copy-differs", "1.png", "36.png"),  # gender
        ("alike-across", "2.png", "37.png"),
        ("alike-differs", "2.png", "37.png"),
        ("copy", "4.png", "6.png"),
    }
    text = next(finding.text for finding in report.findings if finding.kind == "alike-differs")
    assert text == "looks like 37.png; labelled differently: age 22 and 57, gender female and male"


def test_one_picture_on_two_lines(data):
    rows = data[1]
    rows.append({"file": "0.png", "split": "train", "glasses": "yes"})
    assert found(check(data)) == set()  # more labels for it are welcome
    rows[-1] = {"file": "0.png", "split": "val", "gender": "male"}
    assert {("copy-across", 2), ("copy-differs", 2)} <= found(check(data))


def test_classes_and_rows_without_labels(data):
    rows = data[1]
    for row in rows[:30]:
        row["glasses"] = "no"
    for row in rows:
        row["smile"] = "yes" if row["split"] == "train" else ""
    rows[35] = {"file": "35.png", "split": "val"}
    report = check(data)
    texts = {finding.text for finding in report.findings if finding.kind in MILD}
    assert "glasses: no row in train is yes" in texts
    assert "gender: 15 rows in train are male" in texts
    assert found(report) == {("unlabelled", 37)}


def test_a_set_without_validation(data):
    for row in data[1]:
        row["split"] = "train"
    assert ("split", None) in found(check(data))
    for row in data[1]:
        row["split"] = ""
    assert found(check(data)) == set()  # the trainer will part it


def test_figures(data):
    for row in data[1][:4]:
        row |= {"age": "", "gender": ""}
    report = check(data)
    labels = {(row.attribute, row.label): row.rows for row in by_label(report.table)}
    assert labels["gender", "female"] == {"train": 13, "val": 5}
    assert labels["age", "30+"] == {"train": 10, "val": 0}
    assert labels["eyes", "with points"] == {"train": 30, "val": 10}
    groups = {row.group: row.rows for row in by_group(report.table)}
    # of the odd rows 1, 5, 9, …, 37 the first has lost its labels
    assert groups["male, a"] == {"20+": 2, "30+": 2, "40+": 3, "50+": 2, "–": 0}
    assert groups["–, b"]["–"] == 2
    assert sum(sum(rows.values()) for rows in groups.values()) == 40
    content = as_json(report)
    assert content["rows"] == content["readable"] == 40
    assert content["splits"] == {"train": 30, "val": 10}


def test_folders_are_checked_too(tmp_path, data):
    for index in range(20):
        target = tmp_path / "folder" / ("male" if index % 2 else "female") / f"{index}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / f"{index}.png", target)
    target.write_bytes(b"")
    report = check_faces(f"gender:{tmp_path / 'folder'}", SCHEMA, opener)
    assert [(f.kind, f.file, f.line) for f in report.findings if f.kind not in MILD] == [
        ("picture-empty", "male/19.png", None)
    ]


def test_what_is_no_data(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        check_faces(str(tmp_path / "none.csv"), SCHEMA, opener)


def test_the_sheet_shows_faults_first_and_points_in_their_places(data):
    path, rows = data
    (path.parent / "0.png").unlink()
    rows[1]["age"] = "130"
    sheet = check_sheet(check(data), opener, columns=4, side=120)
    first = sheet[8:128, 8:128]
    assert (first == FAULT).all(axis=2).any()  # what cannot be shown has a red frame
    second = sheet[8:128, 136:256]
    scale = 120 / 64
    assert not (second == FAULT).all(axis=2).any()
    green = np.argwhere((second == (96, 220, 64)).all(axis=2))
    assert green[:, 1].min() == pytest.approx(20 * scale, abs=5)


def test_kinds_are_told_apart():
    assert not set(BOX_KINDS) & set(FACE_KINDS)
    assert not any(kind.about_picture for kind in FACE_KINDS.values())  # --set-aside is the detector's


def test_attributes_that_cannot_be_taught_are_named_with_the_mend(make_csv, tmp_path) -> None:
    schema = tmp_path / "schema.yaml"
    schema.write_text(
        'attributes:\n  - {name: beard, kind: binary, classes: ["no", "yes"]}\n'
        '  - {name: hat, kind: binary, classes: ["no", "yes"]}\n'
        '  - {name: cap, kind: binary, classes: ["no", "yes"]}\n'
        "  - {name: age, kind: numeric, unit: years, low: 0, high: 100}\n"
    )
    lines = [f"a.png,{'yes' if index % 2 else 'no'},,no,{index}" for index in range(12)]
    path = make_csv("file,beard,hat,cap,age", *lines)
    report = check_faces(str(path), read_schema(schema), opener)
    found = [finding.text for finding in report.findings if finding.kind == "attribute-untaught"]
    assert found == [
        "hat: no training row is labelled, so training leaves it out; label rows for it, or remove it from the schema",
        "cap: every labelled training row is 'no', so training leaves it out; label rows for it, or remove it from the "
        "schema",
    ]
    parted = make_csv(
        "file,beard,hat,cap,age,split", *(f"{line},{'val' if n > 8 else 'train'}" for n, line in enumerate(lines))
    )
    labelled = parted.read_text().replace("a.png,yes,,no,11,val", "a.png,yes,yes,no,11,val")
    parted.write_text(labelled)
    again = check_faces(str(parted), read_schema(schema), opener)
    assert any(f.text.startswith("hat: no training row") for f in again.findings), "labels in val teach nothing"
