"""Broken labels in every format: one error that says file and line, or file and field."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facepipe.core.errors import DataError
from facepipe.detector.data.formats import FORMATS, read
from facepipe.detector.data.formats.voc import parse
from hypothesis import given, settings
from hypothesis import strategies as st

from ..conftest import coco, voc_xml, wider_text

GOOD_LINE = "0 0.5 0.5 0.2 0.2\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD_LINE + "0 0.5 0.5 0.2\n", r"a\.txt: line 2: expected class cx cy w h"),
        (GOOD_LINE + "\n0 0.5 0.5 0.2 0.2 0.9\n", r"a\.txt: line 3: expected class cx cy w h"),
        ("2 0.5 0.5 0.2 0.2\n", r"a\.txt: line 1: class 2 is not one of 0 to 1 \(face, person_head\)"),
        ("-1 0.5 0.5 0.2 0.2\n", r"a\.txt: line 1: class -1"),
        ("0.5 0.5 0.5 0.2 0.2\n", r"a\.txt: line 1: class 0\.5"),
        ("0 0.5 x 0.2 0.2\n", r"a\.txt: line 1: a coordinate must be a number, got 'x'"),
        ("0 0.5 nan 0.2 0.2\n", r"a\.txt: line 1: a coordinate must be a number"),
        ("0 40 30 20 20\n", r"a\.txt: line 1: coordinates are fractions"),
        ("0 0.5 0.5 0.2 0.2\n\xff", r"a\.txt: line 2: not UTF-8"),
    ],
)
def test_yolo_labels(make_set: Callable[[Path, str], Path], tmp_path: Path, content: str, message: str) -> None:
    place = make_set(tmp_path / "set", "yolo")
    (place / "labels" / "train" / "a.txt").write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=message):
        read(place)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("train: images/train\nnames: [face\n", r"data\.yaml: line \d: not valid YAML"),
        ("train: images/train\n", r"data\.yaml: needs the key names"),
        ("names: [face]\n", r"data\.yaml: needs at least one of the keys train, val and test"),
        ("train: nowhere\nnames: [face]\n", r"data\.yaml: train: .*nowhere does not exist"),
        ("train: images/train\nnc: 3\nnames: [face]\n", r"data\.yaml: nc is 3, but names has 1"),
        ("train: images/train\nnames: {1: face}\n", r"data\.yaml: names must be numbered 0 to 0, got 1"),
        ("train: labels\nnames: [face]\n", r"data\.yaml: no pictures found"),
        ("train: images/train\nlabelled: l.csv\nnames: [face, b]\n", r"l\.csv: no such file"),
    ],
)
def test_yolo_yaml(make_set: Callable[[Path, str], Path], tmp_path: Path, content: str, message: str) -> None:
    place = make_set(tmp_path / "set", "yolo")
    (place / "data.yaml").write_text(content)
    with pytest.raises(DataError, match=message):
        read(place)


def test_yolo_without_any_labels(make_set: Callable[[Path, str], Path], tmp_path: Path) -> None:
    place = make_set(tmp_path / "set", "yolo")
    (place / "labels").rename(place / "annotations")
    with pytest.raises(DataError, match=r"none of 4 pictures has a label file; .*labels/val/d\.txt"):
        read(place)


def _broken_coco(change: Callable[[dict[str, Any]], object]) -> str:
    content = coco(["a", "b"])
    change(content)
    return json.dumps(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"images": [],\n "annotations": [}', r"line 2: not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "must be an object"),
        ('{"images": [], "annotations": []}', r"categories: must be a list"),
        ('{"images": [], "annotations": [], "categories": [], "bbox": 0}', "no pictures in it"),
        (_broken_coco(lambda c: c["annotations"].append(3)), r"annotations\[4\]: must be an object"),
        (_broken_coco(lambda c: c["annotations"][1].pop("bbox")), r"annotations\[1\] \(id 1\): bbox must be"),
        (
            _broken_coco(lambda c: c["annotations"][1].update(bbox=[1, 2, "x", 4])),
            r"\(id 1\): bbox\[2\]: it must be a num",
        ),
        (_broken_coco(lambda c: c["annotations"][1].update(bbox=[1, 2, True, 4])), r"bbox\[2\]: it must be a number"),
        (
            _broken_coco(lambda c: c["annotations"][2].update(image_id=99)),
            r"\(id 2\): image_id 99 is not the id of an image",
        ),
        (
            _broken_coco(lambda c: c["annotations"][2].update(category_id=9)),
            r"category_id 9 is not the id of a category",
        ),
        (_broken_coco(lambda c: c["annotations"][2].update(iscrowd="maybe")), r"iscrowd: it must be a number"),
        (_broken_coco(lambda c: c["images"][1].update(id=7)), r"images\[1\]: id 7 appears twice"),
        (_broken_coco(lambda c: c["images"][1].pop("file_name")), r"images\[1\] \(id 8\): file_name must be a string"),
        (_broken_coco(lambda c: c["images"][1].update(width="wide")), r"images\[1\] \(id 8\): width must be a number"),
        (_broken_coco(lambda c: c["images"][1].update(file_name="a.png")), r"a\.png appears twice"),
        (_broken_coco(lambda c: c["images"][1].update(file_name="a\0.png")), r"\(id 8\): not a valid file name"),
        (_broken_coco(lambda c: c["images"][1].update(file_name="\ud800.png")), r"\(id 8\): not a valid file name"),
        (_broken_coco(lambda c: c["images"][1].update(file_name="a" * 300 + ".png")), r"not a valid file name"),
        ('{"images": ' + "9" * 5000 + "}", "not COCO"),
        (_broken_coco(lambda c: c["categories"][0].update(name=None)), r"categories\[0\]: name must be a string"),
        (_broken_coco(lambda c: c["categories"][0].update(id=[1])), r"categories\[0\]: id must be a number or a"),
    ],
)
def test_coco(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "labels.json"
    file.write_text(content)
    with pytest.raises(DataError, match=r"labels\.json: .*" + message if "no pictures" not in message else message):
        read(file)


VOC = voc_xml("a", [("face", (1, 2, 30, 40), False)])
BOMB = """<?xml version="1.0"?>
<!DOCTYPE annotation [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<annotation><filename>&b;</filename></annotation>
"""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (VOC.replace("</object>", ""), r"line \d+: not valid XML: mismatched tag"),
        ("", r"line 1: not valid XML: no element found"),
        ("<html/>", r"line 1: the first element must be <annotation>"),
        (BOMB, r"line 2: a document type \(DTD\) is not allowed"),
        ("<a>" * 50, r"line 1: elements nested more than 40 levels deep"),
        ('<?xml version="1.0" encoding="no-such"?><annotation/>', r"line 1: .*encoding"),
        (VOC.replace("<name>face</name>", ""), r"line 5: an object without a name"),
        (re.sub("<bndbox>.*</bndbox>\n    <part", "<part", VOC), r"line 5: an object without a bndbox"),
        (VOC.replace("<xmax>30</xmax>", "", 1), r"line 9: bndbox has no xmax"),
        (VOC.replace("<xmax>30</xmax>", "<xmax>wide</xmax>", 1), r"line 9: xmax must be a number, got 'wide'"),
        (VOC.replace("<width>80</width>", "<width>-8</width>"), r"line 4: width must be a whole number"),
        (VOC.replace("<difficult>0", "<difficult>very"), r"line 5: difficult must be 0 or 1, got 'very'"),
        (VOC.replace("<filename>a.png</filename>", ""), r"line 1: no filename, and no picture named a"),
    ],
)
def test_voc(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.xml").write_text(content)
    with pytest.raises(DataError, match=r"a\.xml: " + message):
        read(tmp_path, "voc")


def test_voc_reads_no_entity_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "a.xml").write_text(
        f'<!DOCTYPE a [<!ENTITY x SYSTEM "{(tmp_path / "secret").as_uri()}">]><annotation>&x;</annotation>'
    )
    with pytest.raises(DataError, match="line 1: a document type"):
        parse(tmp_path / "a.xml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.replace("0--Parade/b.png\n2", "0--Parade/b.png\nmany"),
            r"line 5: the number of faces must be a num",
        ),
        (lambda t: t.replace("0--Parade/b.png\n2", "0--Parade/b.png\n-2"), r"line 5: .*at least 0"),
        (lambda t: t.replace("\n2\n", "\n1\n"), r"line 7: expected a picture's name"),
        (lambda t: t.replace("\n2\n", "\n3\n"), r"line 8: expected x1 y1 w h and six flags"),
        (lambda t: t.replace("\n2\n", "\n30\n"), r"line 5: 30 faces, but the file has only 5 more lines"),
        (lambda t: t.replace("40 20", "40 x"), r"line 6: a value must be a number"),
        (lambda t: t + "0--Parade/d.png\n", r"line 11: the file ends where the number of faces should be"),
        (
            lambda t: t.replace("0 0 0 0 0 0 0 0 0 0", "1 2 3 4 0 0 0 0 0 0"),
            r"line 10: a face in a picture with 0 fa",
        ),
    ],
)
def test_wider(tmp_path: Path, change: Callable[[str], str], message: str) -> None:
    file = tmp_path / "wider_face_train_bbx_gt.txt"
    text = wider_text(["a", "b", "c"])
    assert change(text) != text
    file.write_text(change(text))
    with pytest.raises(DataError, match=r"wider_face_train_bbx_gt\.txt: " + message):
        read(file)


def _cell(*values: object) -> np.ndarray:
    found = np.empty((len(values), 1), object)
    found[:, 0] = [np.asarray(value) for value in values] if len(values) > 1 else None
    if len(values) == 1:
        found[0, 0] = values[0]
    return found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"x": np.zeros(3)}, "has no event_list, file_list, face_bbx_list"),
        (
            {"event_list": _cell("e"), "file_list": _cell("a", "b"), "face_bbx_list": _cell(_cell(np.ones((1, 4))))},
            "file_list has 2 events, event_list has 1",
        ),
        (
            {
                "event_list": _cell("e"),
                "file_list": _cell(_cell("a", "b")),
                "face_bbx_list": _cell(_cell(np.ones((1, 4)))),
            },
            "event e: 2 pictures, but boxes for 1",
        ),
        (
            {"event_list": _cell("e"), "file_list": _cell(_cell("a")), "face_bbx_list": _cell(_cell(np.ones((1, 3))))},
            "event e: picture 1: boxes must be numbers, four per face",
        ),
        (
            {
                "event_list": _cell("e"),
                "file_list": _cell(_cell("a")),
                "face_bbx_list": _cell(_cell(np.full((1, 4), np.nan))),
            },
            "event e: picture 1: a box has a value that is not finite",
        ),
        (
            {"event_list": np.ones(2), "file_list": np.ones(2), "face_bbx_list": np.ones(2)},
            "event_list must be a cell array",
        ),
    ],
)
def test_wider_mat(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    io = pytest.importorskip("scipy.io", reason="scipy reads MATLAB files")
    path = tmp_path / "wider_face_split" / "wider_face_train.mat"  # pictures are looked for beside this folder
    path.parent.mkdir()
    io.savemat(path, content)
    with pytest.raises(DataError, match=r"wider_face_train\.mat: " + message):
        read(path)


def test_a_mat_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("scipy", reason="scipy reads MATLAB files")
    (tmp_path / "a.mat").write_bytes(b"not a matrix" * 40)
    with pytest.raises(DataError, match=r"a\.mat: not a MATLAB file of version 5"):
        read(tmp_path / "a.mat")


HEADER = "file,x1,y1,x2,y2,class\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("picture,left,top\na.png,1,2\n", "line 1: the columns must be file, x1"),
        ("file,filename,x1,y1,x2,y2,class\n", "line 1: a column appears twice"),
        (HEADER + "a.png,1,2,3,4\n", "line 2: 5 cells, but 6 columns"),
        (HEADER + "a.png,1,2,x,4,face\n", "line 2: x2 must be a number, got 'x'"),
        (HEADER + "a.png,1,2,,4,face\n", "line 2: x2 must be a number, got ''"),
        (HEADER + "a.png,1,2,3,4,\n", "line 2: a box without a class"),
        (HEADER + ",1,2,3,4,face\n", "line 2: the picture has no name"),
        (HEADER + 'a.png,1,2,3,4,face\n"b.png,1,2,3,4,face\n', r"line \d: not valid CSV"),
        (
            "split," + HEADER + "dev,a.png,1,2,3,4,face\nextra,b.png,1,2,3,4,face\n",
            "line 3: split must be train, val or te",
        ),
        (
            "split," + HEADER + "val,a.png,1,2,3,4,face\ntrain,a.png,1,2,3,4,face\n",
            "line 3: size or split of a.png differs",
        ),
        ("ignore," + HEADER + "no,a.png,1,2,3,4,face\n", "line 2: ignore must be 0 or 1, got 'no'"),
        ("width,height," + HEADER + "x,9,a.png,1,2,3,4,face\n", "line 2: width must be a number"),
    ],
)
def test_csv(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "boxes.csv").write_text(content)
    with pytest.raises(DataError, match=r"boxes\.csv: " + message):
        read(tmp_path / "boxes.csv")


SAMPLES = {
    "yolo": ("a.txt", GOOD_LINE.encode()),
    "coco": ("a.json", json.dumps(coco(["a", "b"])).encode()),
    "voc": ("a.xml", VOC.encode()),
    "wider": ("wider_face_train_bbx_gt.txt", wider_text(["a", "b", "c"]).encode()),
    "csv": ("a.csv", (HEADER + "a.png,1,2,3,4,face\n").encode()),
}


@settings(max_examples=60)
@given(data=st.data())
@pytest.mark.parametrize("name", SAMPLES)
def test_damage_is_a_data_error_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    """Whatever a few changed bytes do to a label file, nothing but a DataError comes of it."""
    file, content = SAMPLES[name]
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(changed) - 1))
        changed[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    folder = tmp_path_factory.getbasetemp() / f"damaged-{name}"
    folder.mkdir(exist_ok=True)
    (folder / file).write_bytes(bytes(changed))
    if name == "yolo":
        (folder / "a.png").touch()
    with suppress(DataError):
        found = read(folder if name == "yolo" else folder / file, name)
        assert all(np.isfinite(box.corners).all() for record in found.records for box in record.boxes)


def test_every_format_is_tried_here() -> None:
    assert set(FORMATS) == {*SAMPLES, "wider-mat"}
