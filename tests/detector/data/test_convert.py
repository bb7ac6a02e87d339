"""Conversion into the project's layout: what is read back is what the source said, whatever went wrong on the way."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe.core.errors import DataError
from facepipe.core.near_duplicates import perceptual_hash
from facepipe.detector.data import convert as conversion
from facepipe.detector.data.box_clipping import CLIPPED, DEGENERATE, SWAPPED, TWICE, UNLABELLED, UNSEEN
from facepipe.detector.data.convert import Conversion, Options, convert
from facepipe.detector.data.dataset import DataDescription, read_description
from facepipe.detector.data.formats import read
from facepipe.detector.data.formats.labels import LabelReader
from facepipe.detector.inference.boxes import from_yolo
from PIL import Image

HEADER = "file,x1,y1,x2,y2,class,ignore,split"
WIDTH, HEIGHT = 80, 60


@pytest.fixture
def source(tmp_path: Path, photo: Callable[..., np.ndarray]) -> Callable[..., Path]:
    """``source(lines, name=..., pictures=...)``: a CSV of boxes beside pictures of 80 x 60 that look different."""

    def make(lines: list[str], name: str = "source", pictures: int = 12, first: int = 0) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for number in range(pictures):
            frame = cv2.GaussianBlur(photo(first + number, HEIGHT, WIDTH), (9, 9), 0)
            cv2.imwrite(str(folder / f"p{number}.png"), frame)
        (folder / "boxes.csv").write_text("\n".join([HEADER, *lines]) + "\n")
        return folder

    return make


def plain(count: int = 12, label: str = "face") -> list[str]:
    """A line for each picture."""
    return [f"p{number}.png,10,10,30,40,{label},0," for number in range(count)]


def run(folder: Path, out: Path, **options: object) -> tuple[Conversion, DataDescription]:
    done = convert(read(folder), out, Options(**options))  # type: ignore[arg-type]
    return done, read_description(out / "data.yaml")


def boxes_of(description: DataDescription, original: str, ignore: bool = False) -> np.ndarray:
    """Class and corners in pixels of 80 x 60, of the picture that was called so."""
    rows = {row["original"]: row["file"] for row in table(description.root)}
    picture = next(p for each in description.pictures.values() for p in each if p.file == rows[original])
    found = description.ignored(picture) if ignore else description.boxes(picture)
    return np.concatenate([found[:, :1], from_yolo(found[:, 1:], WIDTH, HEIGHT)], axis=1).round(2)


def table(root: Path) -> list[dict[str, str]]:
    with (root / "pictures.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_was_said_is_what_is_read_back(source: Callable[..., Path], tmp_path: Path) -> None:
    folder = source(
        [
            "p0.png,10,10,30,40,face,0,",
            "p0.png,4,5,50,55,person_head,0,",
            "p0.png,60,10,70,20,face,1,",
            "p1.png,,,,,,,",
            *plain(12)[2:],
        ]
    )
    done, description = run(
        folder, tmp_path / "set", mapping={"person_head": "head", "face": "face"}, classes=["face", "head"], terms="CC0"
    )
    assert description.classes == ("face", "head")
    assert boxes_of(description, "p0.png").tolist() == [[0, 10, 10, 30, 40], [1, 4, 5, 50, 55]]
    assert boxes_of(description, "p0.png", ignore=True).tolist() == [[0, 60, 10, 70, 20]]
    assert boxes_of(description, "p1.png").tolist() == []
    assert {name: count.pictures for name, count in done.splits.items()} == {"train": 10, "val": 2}
    assert sum(count.boxes["face"] for count in done.splits.values()) == 11
    assert sum(count.empty for count in done.splits.values()) == 1
    assert description.terms == {"source": "CC0"}
    row = next(row for row in table(tmp_path / "set") if row["original"] == "p0.png")
    frame = cv2.imread(str(folder / "p0.png"))
    assert frame is not None
    assert row == {
        "file": row["file"],
        "source": "source",
        "split": row["split"],
        "labelled_classes": "face;head",
        "width": "80",
        "height": "60",
        "boxes": "2",
        "original": "p0.png",
        "hash": f"{perceptual_hash(frame):016x}",
    }
    assert (tmp_path / "set" / row["file"]).read_bytes() == (folder / "p0.png").read_bytes()


def test_every_layout_is_converted_alike(make_set: Callable[[Path, str], Path], tmp_path: Path) -> None:
    hashes = {}
    for layout in ("yolo", "coco", "voc", "csv"):
        place = make_set(tmp_path / layout, layout)
        options = {"mapping": {"person_head": "head", "face": "face"}, "classes": ["face", "head"], "source": "s"}
        done, description = run(place, tmp_path / f"{layout}-set", keep_splits=True, **options)
        assert not done.tally.counts
        assert len(description.pictures["train"]) == 3
        files = tree(tmp_path / f"{layout}-set")
        hashes[layout] = {name: content for name, content in files.items() if name.endswith(".txt")}
    assert hashes["yolo"] == hashes["coco"] == hashes["voc"] == hashes["csv"]


def test_boxes_that_do_not_fit(source: Callable[..., Path], tmp_path: Path) -> None:
    folder = source(
        [
            "p0.png,-5,10,30,65,face,0,",
            "p0.png,-0.3,10,30,40,face,0,",
            "p0.png,90,10,99,20,face,0,",
            "p0.png,30,10,20,40,face,0,",
            "p0.png,30,10,30.4,40,face,0,",
            "p0.png,1,1,9,9,face,0,",
            "p0.png,1,1,9,9,face,0,",
            "p0.png,1,1,9,9,head,0,",
            *plain(12)[1:],
        ]
    )
    done, description = run(folder, tmp_path / "set", classes=["face", "head"], labelled=["face"])
    expected = [[0, 0, 10, 30, 60], [0, 0, 10, 30, 40], [0, 20, 10, 30, 40], [0, 1, 1, 9, 9]]
    assert boxes_of(description, "p0.png").tolist() == expected
    assert done.tally.counts == {CLIPPED: 1, SWAPPED: 1, DEGENERATE: 2, TWICE: 1, UNLABELLED: 1}
    assert done.tally.first[DEGENERATE].endswith("boxes.csv: line 4")
    assert all(picture.labelled == (True, False) for picture in description.pictures["train"])


def test_a_picture_whose_only_box_is_none_is_not_empty(source: Callable[..., Path], tmp_path: Path) -> None:
    lines = plain()
    lines[0] = "p0.png,90,10,99,20,face,0,"
    lines[1] = "p1.png,10,10,10.2,20,face,0,"
    done, description = run(source([*lines, "p1.png,1,1,9,9,face,1,"]), tmp_path / "set", classes=["face", "head"])
    assert done.tally.counts == {DEGENERATE: 2, UNSEEN: 1}
    labelled = {row["original"]: row["labelled_classes"] for row in table(description.root)}
    assert (labelled["p0.png"], labelled["p1.png"], labelled["p2.png"]) == ("", "face", "face")


def test_swapped_corners_are_put_right_in_every_format(make_set: Callable[[Path, str], Path], tmp_path: Path) -> None:
    found = {}
    for layout in ("voc_roboflow", "coco", "csv", "yolo"):
        for swapped in (False, True):
            place = make_set(tmp_path / f"{layout}{swapped}", layout)
            if swapped:
                _swap(place, layout)
            out = tmp_path / f"{layout}{swapped}-set"
            done, description = run(place, out, classes=["face", "person_head"], source="s", keep_splits=True)
            assert done.tally.counts == ({SWAPPED: 1} if swapped else {})
            found[layout, swapped] = tree(description.root / "labels")
        assert found[layout, True] == found[layout, False]


def _swap(place: Path, layout: str) -> None:
    """Exchange the corners of the one box of picture d."""
    if layout == "voc_roboflow":
        file = place / "valid/d.xml"
        changes = [
            ("<xmin>20", "<xmin>70"),
            ("<xmax>70", "<xmax>20"),
            ("<ymin>15", "<ymin>55"),
            ("<ymax>55", "<ymax>15"),
        ]
    elif layout == "coco":
        file, changes = place / "annotations/instances_val2017.json", [("[20, 15, 50, 40]", "[70, 55, -50, -40]")]
    elif layout == "csv":
        file, changes = place / "boxes.csv", [("20,15,70,55", "70,55,20,15")]
    else:
        file = place / "labels/val/d.txt"
        size = file.read_text().split()[3:]
        changes = [(" ".join(size), " ".join(f"-{value}" for value in size))]
    text = file.read_text()
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    file.write_text(text)


def test_labels_of_the_stored_pixels_are_turned_upright(source: Callable[..., Path], tmp_path: Path) -> None:
    folder = source(plain(), pictures=12)
    exif = Image.Exif()
    exif[274] = 6
    with Image.open(folder / "p0.png") as picture:
        picture.convert("RGB").save(folder / "p0.jpg", exif=exif)
    lines = ["width,height," + HEADER, "80,60,p0.jpg,10,20,30,50,face,0,"]
    (folder / "boxes.csv").write_text("\n".join([*lines, *(f",,{line}" for line in plain()[1:])]) + "\n")
    _, description = run(folder, tmp_path / "set")
    row = next(row for row in table(description.root) if row["original"] == "p0.jpg")
    assert (row["width"], row["height"]) == ("60", "80")
    label = (description.root / row["file"].replace("images", "labels", 1)).with_suffix(".txt")
    assert from_yolo(LabelReader(("face",)).boxes(label)[:, 1:], 60, 80).round(2).tolist() == [[10, 10, 40, 30]]


def test_near_duplicates_stay_together(source: Callable[..., Path], tmp_path: Path) -> None:
    folder = source(plain(40), pictures=20)
    for number in range(20):  # each picture a second time, compressed
        frame = cv2.imread(str(folder / f"p{number}.png"))
        assert frame is not None
        cv2.imwrite(str(folder / f"p{number + 20}.png"), cv2.convertScaleAbs(frame, alpha=0.95, beta=4))
    for seed in range(3):
        done, _ = run(folder, tmp_path / f"set{seed}", seed=seed)
        sides = {row["original"]: row["split"] for row in table(tmp_path / f"set{seed}")}
        assert all(sides[f"p{n}.png"] == sides[f"p{n + 20}.png"] for n in range(20))
        assert done.alike == 40
        assert done.leakage == 0
        assert 4 <= done.splits["val"].pictures <= 8


def test_roboflows_copies_stay_together(source: Callable[..., Path], tmp_path: Path) -> None:
    folder = source([], pictures=12)
    for number in range(12):
        (folder / f"p{number}.png").rename(folder / f"dog{number // 2}_png.rf.{number:04x}.png")
    names = sorted(path.name for path in folder.glob("*.png"))
    (folder / "boxes.csv").write_text("\n".join([HEADER, *(f"{name},1,1,20,20,face,0," for name in names)]) + "\n")
    run(folder, tmp_path / "set", shares={"train": 0.5, "val": 0.5})
    sides = {row["original"]: row["split"] for row in table(tmp_path / "set")}
    assert set(sides.values()) == {"train", "val"}
    assert all(sides[a] == sides[b] for a in names for b in names if a[:5] == b[:5])


def test_kept_splits(source: Callable[..., Path], tmp_path: Path) -> None:
    splits = ["train", "valid", "testing"]
    folder = source([f"p{n}.png,1,1,20,20,face,0,{splits[n % 3]}" for n in range(12)])
    shutil.copy(folder / "p0.png", folder / "p1.png")  # a near-duplicate on the other side
    done, description = run(folder, tmp_path / "set", keep_splits=True)
    assert {name: len(found) for name, found in description.pictures.items()} == {"train": 4, "val": 4, "test": 4}
    assert done.leakage == 1
    (folder / "boxes.csv").write_text("\n".join([HEADER, *plain()]) + "\n")
    with pytest.raises(DataError, match=r"no split is given for .*p0\.png"):
        run(folder, tmp_path / "other", keep_splits=True)
    (folder / "boxes.csv").write_text("\n".join([HEADER, *(f"{line}train" for line in plain())]) + "\n")
    with pytest.raises(DataError, match="has no val split to keep"):
        run(folder, tmp_path / "other", keep_splits=True)
    assert set(run(folder, tmp_path / "other", keep_splits=None)[0].splits) == {"train", "val"}


def test_three_shares(source: Callable[..., Path], tmp_path: Path) -> None:
    _, description = run(source(plain()), tmp_path / "set", shares={"train": 0.5, "val": 0.25, "test": 0.25})
    assert {name: len(found) for name, found in description.pictures.items()} == {"train": 6, "val": 3, "test": 3}


def test_joining_a_second_source(source: Callable[..., Path], tmp_path: Path) -> None:
    faces = source(plain(), "faces")
    run(faces, tmp_path / "set", terms="CC0")
    (tmp_path / "set" / "NOTES.md").write_text("mine\n")
    before = {row["original"]: row for row in table(tmp_path / "set")}
    heads = source([f"p{n}.png,1,1,20,20,kopf,0," for n in range(12)], "heads", first=100)
    for number in range(6):  # pictures that the set has, from elsewhere
        shutil.copy(faces / f"p{number}.png", heads / f"p{number}.png")
    with pytest.raises(DataError, match="not mapped: kopf"):
        run(heads, tmp_path / "set", add=True)
    done, description = run(heads, tmp_path / "set", add=True, mapping={"kopf": "head"}, terms="BSD")
    assert description.classes == ("face", "head")
    assert {p.source: p.labelled for p in description.pictures["train"]} == {
        "faces": (True, False),
        "heads": (False, True),
    }
    assert description.terms == {"faces": "CC0", "heads": "BSD"}
    rows = table(tmp_path / "set")
    assert len(rows) == 24
    for row in rows:
        if row["source"] == "faces":
            assert row == before[row["original"]]
        elif row["original"] in {f"p{n}.png" for n in range(6)}:
            assert row["split"] == before[row["original"]]["split"]
    assert done.alike == 6
    assert done.leakage == 0
    assert (tmp_path / "set" / "NOTES.md").read_text() == "mine\n"
    with pytest.raises(DataError, match="already has a source heads; name this one with --source"):
        run(heads, tmp_path / "set", add=True, mapping={"kopf": "head"})


def test_joining_to_a_set_of_ones_own_making(detection_data: Path, source: Callable[..., Path], tmp_path: Path) -> None:
    """A set with other names for its CSV, without hashes, and with terms."""
    out = tmp_path / "set"
    shutil.copytree(detection_data.parent, out, ignore=shutil.ignore_patterns("*.cache"))  # of trainings before
    before = tree(out)
    _, description = run(source(plain()), out, add=True, terms="mine")
    assert sum(map(len, description.pictures.values())) == 18 + 12
    assert description.terms["faces"] == "made for a test"
    assert description.terms["source"] == "mine"
    after = tree(out)
    changed = {name for name in before if after.get(name) != before[name]}
    assert changed == {"data.yaml", "labelled.csv"}


def test_a_source_of_negatives(source: Callable[..., Path], tmp_path: Path) -> None:
    folder = source([f"p{n}.png,,,,,,," for n in range(12)])
    with pytest.raises(DataError, match="--classes"):
        run(folder, tmp_path / "set")
    done, description = run(folder, tmp_path / "set", classes=["face", "head"], labelled=["face", "head"])
    assert description.pictures["val"][0].labelled == (True, True)
    assert done.splits["train"].empty == 10


def test_links(source: Callable[..., Path], tmp_path: Path) -> None:
    folder = source(plain())
    run(folder, tmp_path / "linked", link=True)
    run(folder, tmp_path / "copied")
    assert os.stat(folder / "p0.png").st_nlink == 2
    run(source(plain(), "more", first=50), tmp_path / "copied", add=True)
    assert os.stat(folder / "p0.png").st_nlink == 2


def test_pictures_of_one_name(source: Callable[..., Path], tmp_path: Path) -> None:
    folder = source([])
    for number in range(12):
        (folder / str(number)).mkdir()
        (folder / f"p{number}.png").rename(folder / str(number) / ("x.png" if number % 2 else "X.PNG"))
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix.lower() == ".png")
    (folder / "boxes.csv").write_text("\n".join([HEADER, *(f"{name},1,1,20,20,face,0," for name in names)]) + "\n")
    run(folder, tmp_path / "set")
    rows = table(tmp_path / "set")
    assert {row["original"] for row in rows} == set(names)
    assert len({Path(row["file"]).stem.lower() for row in rows}) == 12


def test_broken_pictures(source: Callable[..., Path], tmp_path: Path) -> None:
    folder = source([*plain(), "gone.png,1,1,9,9,face,0,", "photo.heic,1,1,9,9,face,0,"])
    (folder / "p3.png").write_bytes(b"damaged")
    (folder / "photo.heic").write_bytes(b"x")
    with pytest.raises(DataError, match=r"p3\.png: not a picture .*line 5.*gone\.png: no such picture .*line 14"):
        run(folder, tmp_path / "set")
    assert not (tmp_path / "set").exists()
    done, description = run(folder, tmp_path / "set", skip_broken=True)
    assert [path.name for path, _ in done.broken] == ["p3.png", "gone.png", "photo.heic"]
    assert sum(map(len, description.pictures.values())) == 11


@pytest.mark.parametrize("add", [False, True])
def test_nothing_half_written(
    source: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, add: bool
) -> None:
    if add:
        run(source(plain(), "first"), tmp_path / "set")
    before = tree(tmp_path / "set")
    folder = source(plain(), "second", first=60)
    names = {path.name for path in tmp_path.iterdir()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "p7.png")

    monkeypatch.setattr(conversion, "put", full)
    with pytest.raises(DataError, match=r"p7\.png: cannot be written \(No space left on device\)"):
        run(folder, tmp_path / "set", add=add)
    monkeypatch.undo()
    monkeypatch.setattr(conversion, "read_description", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path / "set", add=add)
    assert tree(tmp_path / "set") == before
    assert {path.name for path in tmp_path.iterdir()} == names


def test_folders_that_are_taken(source: Callable[..., Path], tmp_path: Path) -> None:
    folder = source(plain())
    (tmp_path / "set").mkdir()
    run(folder, tmp_path / "set")
    before = tree(tmp_path / "set")
    with pytest.raises(DataError, match="already exists; name another folder, or --add"):
        run(folder, tmp_path / "set")
    assert tree(tmp_path / "set") == before
    with pytest.raises(DataError, match=r"nowhere/data\.yaml: no such file"):
        run(folder, tmp_path / "nowhere", add=True)
    with pytest.raises(DataError, match="--source 'a/b': only letters"):
        run(folder, tmp_path / "other", source="a/b")


def test_too_few_pictures_for_a_split(source: Callable[..., Path], tmp_path: Path) -> None:
    done, description = run(source(plain(1), pictures=1), tmp_path / "set")
    assert done.notes[-1].startswith("1 pictures make 1 groups of near-duplicates: too few for train, val, so val")
    only = [table(description.root)[0]["file"]]
    assert [[picture.file for picture in pictures] for pictures in description.pictures.values()] == [only, only]


def test_too_few_groups_are_parted_picture_by_picture(source: Callable[..., Path], tmp_path: Path) -> None:
    folder = source(plain(2), pictures=2)
    (folder / "p1.png").write_bytes((folder / "p0.png").read_bytes())
    done, description = run(folder, tmp_path / "set")
    assert "too few for train, val" in done.notes[-1]
    assert {split: len(pictures) for split, pictures in description.pictures.items()} == {"train": 1, "val": 1}
    assert done.leakage == 1


def test_a_set_converted_again(source: Callable[..., Path], tmp_path: Path) -> None:
    """The project's own layout is a format too: labels, ignore regions, sources and labelled classes go through."""
    folder = source([*plain(), "p0.png,60,10,70,20,face,1,"])
    _, first = run(folder, tmp_path / "set", classes=["face", "head"])
    _, second = run(tmp_path / "set", tmp_path / "again", classes=["face", "head"], keep_splits=True)
    assert second.classes == first.classes
    assert [p.labelled for p in second.pictures["train"]] == [p.labelled for p in first.pictures["train"]]
    labels = [
        sorted(content for name, content in tree(tmp_path / each).items() if name.endswith(".txt"))
        for each in ("set", "again")
    ]
    assert labels[0] == labels[1]
    assert {row["source"] for row in table(tmp_path / "again")} == {"source"}


def test_a_set_in_our_layout_brings_its_terms(detection_data: Path, tmp_path: Path) -> None:
    _, description = run(detection_data, tmp_path / "set", classes=["face", "head"], keep_splits=True)
    assert description.terms == dict.fromkeys(("faces", "heads", "empty"), "made for a test")
