"""Every format's own layouts, read into the same records."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from facepipe.core.errors import DataError
from facepipe.detector.data.formats import Annotations, Record, detect_format, read

from ..conftest import HEIGHT, SPLITS, TRUTH, WIDTH

LAYOUTS = {
    "yolo": "yolo",
    "yolo_roboflow": "yolo",
    "yolo_bare": "yolo",
    "coco": "coco",
    "coco_roboflow": "coco",
    "voc": "voc",
    "voc_roboflow": "voc",
    "wider": "wider",
    "wider_mat": "wider-mat",
    "csv": "csv",
    "csv_roboflow": "csv",
}
NO_IGNORE = {"yolo_roboflow", "yolo_bare", "csv_roboflow"}
FACES_ONLY = {"wider", "wider_mat"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_boxes_from_every_layout(make_set: Callable[[Path, str], Path], tmp_path: Path, layout: str) -> None:
    if layout == "wider_mat":
        pytest.importorskip("scipy", reason="scipy reads MATLAB files")
    place = make_set(tmp_path / "set", layout)
    assert detect_format(place) == LAYOUTS[layout]
    found = read(place)
    assert found.format == LAYOUTS[layout]
    by_name = {record.path.stem: record for record in found.records}
    expected = {name for name in TRUTH if layout != "csv_roboflow" or TRUTH[name]}
    assert set(by_name) == expected
    for name, record in by_name.items():
        assert record.path.is_file()
        assert record.split == SPLITS[name]
        assert record.size in (None, (WIDTH, HEIGHT))
        scale = (WIDTH, HEIGHT, WIDTH, HEIGHT) if record.fractions else (1, 1, 1, 1)
        boxes = [
            (box.name, tuple(round(v * s, 2) for v, s in zip(box.corners, scale, strict=True)), box.ignore)
            for box in record.boxes
        ]
        wanted = [
            (label, box, ignored)
            for label, box, ignored in TRUTH[name]
            if not (ignored and layout in NO_IGNORE) and not (label != "face" and layout in FACES_ONLY)
        ]
        assert sorted(boxes) == sorted(wanted)


def test_polygons_become_boxes(make_set: Callable[[Path, str], Path], tmp_path: Path) -> None:
    place = make_set(tmp_path / "set", "yolo")
    (place / "labels" / "train" / "a.txt").write_text("1 0.2 0.5 0.4 0.1 0.6 0.3 0.5 0.9\n")
    box = _record(read(place), "a").boxes[0]
    assert box.corners == pytest.approx((0.2, 0.1, 0.6, 0.9))
    assert box.name == "person_head"


def test_yolo_without_names_uses_numbers(make_set: Callable[[Path, str], Path], tmp_path: Path) -> None:
    place = make_set(tmp_path / "set", "yolo_bare")
    (place / "train" / "classes.txt").unlink()
    assert {box.name for record in read(place).records for box in record.boxes} == {"0", "1"}


def test_pictures_listed_in_a_text_file(make_set: Callable[[Path, str], Path], tmp_path: Path) -> None:
    place = make_set(tmp_path / "set", "yolo")
    (place / "list.txt").write_text("./images/train/a.png\nimages/train/b.png\n")
    (place / "data.yaml").write_text("path: /not/here\ntrain: [list.txt]\nval: images/val\nnames: [face, head]\n")
    assert {record.path.stem for record in read(place).records} == {"a", "b", "d"}


def test_missing_and_stray_label_files_are_told(make_set: Callable[[Path, str], Path], tmp_path: Path) -> None:
    place = make_set(tmp_path / "set", "yolo")
    (place / "labels" / "train" / "c.txt").unlink()
    (place / "labels" / "train" / "e.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    notes = read(place).notes
    assert any("1 pictures without a label file" in note for note in notes)
    assert any("1 label files without a picture" in note and "e.txt" in note for note in notes)


def test_the_projects_own_layout(detection_data: Path) -> None:
    found = read(detection_data.parent)
    assert found.classes == ("face", "head")
    by_source = {record.source: record.labelled for record in found.records}
    assert by_source == {"faces": ("face",), "heads": ("head",), "empty": ("face", "head")}
    assert sum(box.ignore for record in found.records for box in record.boxes) == 2


@pytest.mark.parametrize("change", [float, str, lambda number: f"{number}.0", lambda number: f" {number} ", int])
def test_ids_of_coco_are_one_however_they_are_written(
    make_set: Callable[[Path, str], Path], tmp_path: Path, change: Callable[[int], object]
) -> None:
    place = make_set(tmp_path / "set", "coco_roboflow")
    file = place / "train" / "_annotations.coco.json"
    content = json.loads(file.read_text())
    for number, image in enumerate(content["images"]):
        image["id"] = number  # 0 is one, too
        for annotation in content["annotations"]:
            if annotation["image_id"] == 7 + number:
                annotation["image_id"] = change(number)
    for category in content["categories"]:
        category["id"] = change(category["id"])
    file.write_text(json.dumps(content))
    found = read(place)
    assert [len(_record(found, name).boxes) for name in "abcd"] == [len(TRUTH[name]) for name in "abcd"]


@pytest.mark.parametrize("layout", ["coco_roboflow", "csv", "voc_roboflow", "wider"])
@pytest.mark.parametrize("full", [False, True])
def test_no_label_takes_a_picture_from_outside(
    make_set: Callable[[Path, str], Path], draw: Callable[..., Path], tmp_path: Path, layout: str, full: bool
) -> None:
    place = make_set(tmp_path / "set", layout)
    secret = draw(tmp_path / "private" / "me.png", 9)
    (file,) = (path for path in place.rglob("*.*") if path.suffix != ".png" and "a.png" in path.read_text())
    folder = place / "WIDER_train/images" if layout == "wider" else file.parent
    name = str(secret) if full else os.path.relpath(secret, folder)
    file.write_text(file.read_text().replace("0--Parade/a.png" if layout == "wider" else "a.png", name))
    if layout == "voc_roboflow":
        (file.parent / "a.png").unlink()  # else it is the picture of its name that is meant
    with pytest.raises(DataError, match=r"points outside .*; if intended, name its folder with --images"):
        read(place)
    assert any(record.path.resolve() == secret.resolve() for record in read(place, images=secret.parent).records)


def test_paths_of_windows(make_set: Callable[[Path, str], Path], tmp_path: Path) -> None:
    place = make_set(tmp_path / "set", "csv")
    text = (place / "boxes.csv").read_text()
    for name in "abcd":
        text = text.replace(f"\n{name}.png", f"\nimages\\{name}.png")
    (place / "boxes.csv").write_text(text)
    assert {record.path for record in read(place).records} == {place / f"images/{name}.png" for name in "abcd"}


def test_pictures_in_a_folder_of_their_own(make_set: Callable[[Path, str], Path], tmp_path: Path) -> None:
    place = make_set(tmp_path / "set", "csv")
    (place / "images").rename(tmp_path / "elsewhere")
    assert all(record.path.is_file() for record in read(place, images=tmp_path / "elsewhere").records)
    with pytest.raises(DataError, match="not a folder of pictures"):
        read(place, images=tmp_path / "nowhere")


def test_a_path_of_another_machine(make_set: Callable[[Path, str], Path], tmp_path: Path) -> None:
    place = make_set(tmp_path / "set", "csv")
    text = (place / "boxes.csv").read_text()
    (place / "boxes.csv").write_text(text.replace("a.png", "C:\\Users\\Ann\\photos\\a.png"))
    assert _record(read(place), "a").path == place / "images" / "a.png"


def test_a_name_that_two_pictures_have(
    make_set: Callable[[Path, str], Path], draw: Callable[..., Path], tmp_path: Path
) -> None:
    place = make_set(tmp_path / "set", "csv")
    for number, folder in enumerate(("one", "two")):
        draw(place / folder / "a.png", 10 + number)
    (place / "images" / "a.png").unlink()
    with pytest.raises(DataError, match=r"boxes\.csv: line 2: a\.png could be .*one.* or .*two"):
        read(place)


def test_a_csv_without_a_header(make_set: Callable[[Path, str], Path], tmp_path: Path) -> None:
    place = make_set(tmp_path / "set", "csv")
    (place / "boxes.csv").write_text("images/a.png,1,2,30,40,face\nimages/c.png,,,,,\n")
    found = read(place)
    assert [len(record.boxes) for record in found.records] == [1, 0]


def test_other_databases_begin_at_0(make_set: Callable[[Path, str], Path], tmp_path: Path) -> None:
    place = make_set(tmp_path / "set", "voc")
    file = place / "Annotations" / "d.xml"
    file.write_text(file.read_text().replace("The VOC2007 Database", "Unknown"))
    assert _record(read(place), "d").boxes[0].corners == (21, 16, 70, 55)


def test_two_formats_in_one_folder(make_set: Callable[[Path, str], Path], tmp_path: Path) -> None:
    place = make_set(tmp_path / "set", "coco_roboflow")
    shutil.copy(make_set(tmp_path / "other", "csv_roboflow") / "train" / "_annotations.csv", place / "train")
    with pytest.raises(DataError, match="could be coco or csv; set it with --format"):
        read(place)
    assert read(place, "csv").format == "csv"
    assert read(place / "train" / "_annotations.coco.json").format == "coco"


def test_nothing_to_read(draw: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        read(tmp_path / "nowhere")
    draw(tmp_path / "set" / "a.png")
    with pytest.raises(DataError, match="no labels found in any supported format"):
        read(tmp_path / "set")
    (tmp_path / "labels.bin").write_bytes(b"\0")
    with pytest.raises(DataError, match="unknown format; set it with --format"):
        read(tmp_path / "labels.bin")


def _record(found: Annotations, stem: str) -> Record:
    return next(record for record in found.records if record.path.stem == stem)
