"""The same four pictures and boxes in every format."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facepipe.detector.data.check import CheckReport, check_data
from facepipe.pipeline.datasets.check import open_stored

YAML = """\
train: images/train
val: images/val
names: {0: face, 1: head}
labelled: labelled.csv
ignore: ignore
"""
SOUND = {"faces": "0 0.5 0.5 0.25 0.4\n", "heads": "1 0.4 0.5 0.3 0.5\n1 0.8 0.3 0.2 0.2\n", "empty": ""}
CLASSES = {"faces": "face", "heads": "head", "empty": "face;head"}


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clean")
    rows = ["file,source,labelled_classes,note"]
    seed = 0
    for split, count in (("train", 9), ("val", 6)):
        for kind in ("images", "labels", "ignore"):
            (root / kind / split).mkdir(parents=True)
        for number in range(count):
            seed += 1
            random = np.random.default_rng(seed)
            coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            blocks = cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_NEAREST)
            frame = np.clip(blocks + random.integers(-25, 26, (240, 320, 1)), 0, 255).astype(np.uint8)
            source = ("faces", "heads", "empty")[number % 3]
            name = f"{source}{number}"
            cv2.imwrite(str(root / "images" / split / f"{name}.png"), frame)
            (root / "labels" / split / f"{name}.txt").write_text(SOUND[source])
            rows.append(f'images/{split}/{name}.png,{source},{CLASSES[source]},"a, b"')
    (root / "ignore" / "train" / "faces0.txt").write_text("0 0.1 0.1 0.1 0.1\n")
    (root / "labelled.csv").write_text("\n".join(rows) + "\n")
    (root / "data.yaml").write_text(YAML)
    return root


@pytest.fixture
def clean(tmp_path: Path, _template: Path) -> Path:
    """DATA.yaml of 9 + 6 sharp pictures that do not look alike, all sound: faces, heads, and pictures without a box."""
    shutil.copytree(_template, tmp_path / "größe")
    return tmp_path / "größe" / "data.yaml"


@pytest.fixture
def check() -> Callable[[Path], CheckReport]:
    """``check(yaml)`` as the command does it."""
    return lambda yaml: check_data(yaml, open_stored, workers=2)


WIDTH, HEIGHT = 80, 60
TRUTH: dict[str, list[tuple[str, tuple[float, float, float, float], bool]]] = {
    "a": [("face", (10, 10, 30, 40), False), ("person_head", (6, 2, 34, 44), False)],
    "b": [("face", (40, 20, 60, 50), False), ("face", (2, 2, 20, 12), True)],
    "c": [],
    "d": [("person_head", (20, 15, 70, 55), False)],
}
"""By picture: class, x1, y1, x2, y2 in pixels, ignored."""
SPLITS = {"a": "train", "b": "train", "c": "train", "d": "val"}


@pytest.fixture
def draw(photo: Callable[..., np.ndarray]) -> Callable[..., Path]:
    """``draw(path, seed)`` saves a picture that looks like no other seed's."""

    def save(path: Path, seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.GaussianBlur(photo(seed, height, width), (9, 9), 0))
        return path

    return save


def yolo_line(name: str, box: tuple[float, float, float, float]) -> str:
    x1, y1, x2, y2 = box
    values = (x1 + x2) / 2 / WIDTH, (y1 + y2) / 2 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT
    return " ".join([str(["face", "person_head"].index(name)), *(f"{value:.6f}" for value in values)]) + "\n"


def voc_xml(name: str, boxes: list[tuple[str, tuple[float, float, float, float], bool]], database: str = "x") -> str:
    objects = "".join(
        f"""  <object>
    <name>{label}</name>
    <truncated>1</truncated>
    <difficult>{int(ignored)}</difficult>
    <bndbox><xmin>{box[0]}</xmin><xmax>{box[2]}</xmax><ymin>{box[1]}</ymin><ymax>{box[3]}</ymax></bndbox>
    <part><name>nose</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>
  </object>
"""
        for label, box, ignored in boxes
    )
    return f"""<annotation>
  <filename>{name}.png</filename>
  <source><database>{database}</database></source>
  <size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>
{objects}</annotation>
"""


def coco(names: list[str]) -> dict[str, Any]:
    """COCO's object for some of the pictures; ids begin at 7, categories at 1 with an unused one."""
    categories = [{"id": 1, "name": "thing"}, {"id": 2, "name": "face"}, {"id": 3, "name": "person_head"}]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, name in enumerate(names, 7):
        images.append({"id": number, "file_name": f"{name}.png", "width": WIDTH, "height": HEIGHT})
        for label, (x1, y1, x2, y2), ignored in TRUTH[name]:
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": {"face": 2, "person_head": 3}[label],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "iscrowd": int(ignored),
                }
            )
    return {"images": images, "annotations": annotations, "categories": categories}


def wider_text(names: list[str]) -> str:
    lines = []
    for name in names:
        boxes = [(box, ignored) for label, box, ignored in TRUTH[name] if label == "face"]
        lines += [f"0--Parade/{name}.png", str(len(boxes))]
        for (x1, y1, x2, y2), ignored in boxes:
            lines.append(f"{x1} {y1} {x2 - x1} {y2 - y1} 0 0 0 {int(ignored)} 0 0 ")
        if not boxes:
            lines.append("0 0 0 0 0 0 0 0 0 0 ")
    return "\n".join(lines) + "\n"


@pytest.fixture
def make_set(draw: Callable[..., Path]) -> Callable[[Path, str], Path]:
    """``make_set(folder, layout)`` writes the pictures and their labels; gives what there is to read."""

    def make(folder: Path, layout: str) -> Path:
        maker = globals()[f"_{layout}"]
        return maker(folder, lambda path: draw(path, "abcd".index(path.stem)))

    return make


def _yolo(folder: Path, save: Callable[[Path], Path]) -> Path:
    """Ultralytics' layout. YOLO has no ignore regions; the project's key ``ignore`` is there for them."""
    for name, boxes in TRUTH.items():
        save(folder / "images" / SPLITS[name] / f"{name}.png")
        for kind, wanted in (("labels", False), ("ignore", True)):
            file = folder / kind / SPLITS[name] / f"{name}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(yolo_line(label, box) for label, box, ignored in boxes if ignored == wanted))
    (folder / "data.yaml").write_text(
        "train: images/train\nval: images/val\nnames: {0: face, 1: person_head}\nignore: ignore\n"
    )
    return folder


def _yolo_roboflow(folder: Path, save: Callable[[Path], Path]) -> Path:
    """Roboflow's export: its data.yaml leads out of the folder, and names a test split that is not there."""
    for name, boxes in TRUTH.items():
        split = {"train": "train", "val": "valid"}[SPLITS[name]]
        save(folder / split / "images" / f"{name}.png")
        (folder / split / "labels").mkdir(parents=True, exist_ok=True)
        lines = "".join(yolo_line(label, box) for label, box, ignored in boxes if not ignored)
        (folder / split / "labels" / f"{name}.txt").write_text(lines)
    (folder / "README.dataset.txt").write_text("# heads\n\nProvided by a Roboflow user\nLicense: CC BY 4.0\n")
    (folder / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 2\nnames: ['face', 'person_head']\n"
    )
    return folder


def _yolo_bare(folder: Path, save: Callable[[Path], Path]) -> Path:
    """LabelImg's: label files beside the pictures, no YAML."""
    for name, boxes in TRUTH.items():
        save(folder / SPLITS[name] / f"{name}.png")
        lines = "".join(yolo_line(label, box) for label, box, ignored in boxes if not ignored)
        (folder / SPLITS[name] / f"{name}.txt").write_text(lines)
    (folder / "train" / "classes.txt").write_text("face\nperson_head\n")
    return folder


def _coco(folder: Path, save: Callable[[Path], Path]) -> Path:
    """COCO's own layout: annotations apart from the pictures."""
    for name in TRUTH:
        save(folder / f"{SPLITS[name]}2017" / f"{name}.png")
    (folder / "annotations").mkdir()
    for split in ("train", "val"):
        content = coco([name for name in TRUTH if SPLITS[name] == split])
        (folder / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))
    (folder / "annotations" / "captions_val2017.json").write_text('{"images": [], "annotations": []}')
    return folder


def _coco_roboflow(folder: Path, save: Callable[[Path], Path]) -> Path:
    """Roboflow's: the JSON beside its pictures."""
    for name in TRUTH:
        save(folder / {"train": "train", "val": "valid"}[SPLITS[name]] / f"{name}.png")
    for split, place in (("train", "train"), ("val", "valid")):
        content = coco([name for name in TRUTH if SPLITS[name] == split])
        (folder / place / "_annotations.coco.json").write_text(json.dumps(content))
    return folder


def _voc(folder: Path, save: Callable[[Path], Path]) -> Path:
    """The challenge's own layout, whose pixels begin at 1."""
    (folder / "Annotations").mkdir(parents=True)
    for name, boxes in TRUTH.items():
        save(folder / "JPEGImages" / f"{name}.png")
        from_one = [(label, (b[0] + 1, b[1] + 1, b[2], b[3]), ignored) for label, b, ignored in boxes]
        (folder / "Annotations" / f"{name}.xml").write_text(voc_xml(name, from_one, "The VOC2007 Database"))
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    for split in ("train", "val"):
        names = "".join(f"{name}\n" for name in TRUTH if SPLITS[name] == split)
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text(names)
    return folder


def _voc_roboflow(folder: Path, save: Callable[[Path], Path]) -> Path:
    for name, boxes in TRUTH.items():
        picture = save(folder / {"train": "train", "val": "valid"}[SPLITS[name]] / f"{name}.png")
        picture.with_suffix(".xml").write_text(voc_xml(name, boxes))
    return folder


def _wider(folder: Path, save: Callable[[Path], Path]) -> Path:
    for name in TRUTH:
        save(folder / f"WIDER_{SPLITS[name]}" / "images" / "0--Parade" / f"{name}.png")
    (folder / "wider_face_split").mkdir()
    for split in ("train", "val"):
        text = wider_text([name for name in TRUTH if SPLITS[name] == split])
        (folder / "wider_face_split" / f"wider_face_{split}_bbx_gt.txt").write_text(text)
    return folder


def _wider_mat(folder: Path, save: Callable[[Path], Path]) -> Path:
    from scipy.io import savemat

    def cells(values: list[Any]) -> np.ndarray:
        found = np.empty((len(values), 1), object)
        for place, value in enumerate(values):
            found[place, 0] = value
        return found

    (folder / "wider_face_split").mkdir(parents=True)
    for split in ("train", "val"):
        names = [name for name in TRUTH if SPLITS[name] == split]
        for name in names:
            png = save(folder / f"WIDER_{split}" / "images" / "0--Parade" / f"{name}.png")
            png.rename(png.with_suffix(".jpg"))  # the .mat names no suffix; its pictures are all JPEG
        faces = [[(box, ignored) for label, box, ignored in TRUTH[name] if label == "face"] for name in names]
        rows = [
            np.array([(b[0], b[1], b[2] - b[0], b[3] - b[1]) for b, _ in each] or [(0, 0, 0, 0)], float)
            for each in faces
        ]
        flags = [np.array([[int(ignored)] for _, ignored in each] or [[0]], np.uint8) for each in faces]
        content = {
            "event_list": cells(["0--Parade"]),
            "file_list": cells([cells(names)]),
            "face_bbx_list": cells([cells(rows)]),
            "invalid_label_list": cells([cells(flags)]),
        }
        savemat(folder / "wider_face_split" / f"wider_face_{split}.mat", content)
    return folder


def _csv(folder: Path, save: Callable[[Path], Path]) -> Path:
    lines = ["file,x1,y1,x2,y2,class,ignore,split"]
    for name, boxes in TRUTH.items():
        save(folder / "images" / f"{name}.png")
        for label, box, ignored in boxes:
            lines.append(f"{name}.png,{','.join(map(str, box))},{label},{int(ignored)},{SPLITS[name]}")
        if not boxes:
            lines.append(f"{name}.png,,,,,,,{SPLITS[name]}")
    (folder / "boxes.csv").write_text("\n".join(lines) + "\n")
    return folder


def _csv_roboflow(folder: Path, save: Callable[[Path], Path]) -> Path:
    """TensorFlow's header; pictures without boxes are not in it."""
    for split, place in (("train", "train"), ("val", "valid")):
        lines = ["filename,width,height,class,xmin,ymin,xmax,ymax"]
        for name in [each for each in TRUTH if SPLITS[each] == split]:
            save(folder / place / f"{name}.png")
            for label, box, ignored in TRUTH[name]:
                if not ignored:
                    lines.append(f"{name}.png,{WIDTH},{HEIGHT},{label},{','.join(map(str, box))}")
        (folder / place / "_annotations.csv").write_text("\r\n".join(lines) + "\r\n")
    return folder
