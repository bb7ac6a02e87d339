"""The pictures that detector 1.1.0 went on from 1.0.0 with: one data set out of several folders.

    python benchmarks/detector_set.py PACK --wider DIR --negatives DIR --faces mtfl=DIR … --out set --finish finish

PACK is a data set as ``facepipe data convert`` writes it, with WIDER's pictures, SCUT-HEAD's, mask853's and negatives;
``--wider`` holds WIDER's training pictures at 1,024 pixels (``images``, ``labels``, ``ignore``), in place of PACK's
``wider_train``; ``--negatives`` photographs of nobody; each ``--faces`` a folder with ``faces.csv`` and pictures of one
face each. Added are:

- **portraits**, alone and four, nine or sixteen to a picture. Their faces' and heads' boxes are those that a detector
  finds on the picture shrunk to 180 pixels, where a portrait looks like a face in a room; boxes of which it is unsure
  become ignore regions. A head counts only where it goes round the face, else heads are not labelled in that picture.
- **pictures of nothing**: plain, graded, smooth and noisy ones of five shapes, and soft blots.

``--teacher`` is a detector whose boxes label the class that a training picture lacks: heads in WIDER's and mask853's
pictures, faces in SCUT-HEAD's. Boxes of which it is unsure become ignore regions, and so does the surrounding of a face
on which it finds no head. A small detector learns what the large one knows from them.

``--finish`` makes a second set of the same pictures for the last part of the training: SCUT-HEAD's training pictures
three times, and only some of those that were added.
"""

from __future__ import annotations

import csv
import json
import random
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from face_check_set import boxes_of, text_of
from facepipe import FaceDetector
from facepipe.core.errors import FacepipeError
from facepipe.detector.inference.boxes import share_inside

BOTH = "face;head"
SIDE, CANVAS = 180, 320
"""Longer side of a shrunk portrait, and side of the grey square that it lies in, in pixels."""
UNSURE, SURE = 0.35, 0.45
"""Confidence from which a box is an ignore region, and from which it is a label."""
TAUGHT_SIDE, DOUBTED = 640, 0.08
"""Input side of the teacher in pixels, and the confidence from which its boxes are ignore regions at least."""
AROUND = (0.3, 0.5, 0.3, 0.15)
"""How far a head may reach beyond its face to the left, top, right and bottom, in sides of the face's box."""
SHAPES = ((640, 640), (480, 640), (640, 480), (360, 640), (640, 360))
TAKEN = {"mtfl": 2600, "helen_afw": 1500, "fairface": 2400}
"""Portraits looked at of each source; of another one 2,000."""
ALONE, ALONE_FACES_ONLY, SHEETS = 1400, 300, 260
NEGATIVES, NOTHING = 1600, 500
FINISH = {"portrait": 700, "portrait_face": 150, "sheets": 300, "negatives_further": 900, "nothing": 250}
"""Training pictures of the second set, by source; all of the others."""
REPEATED = {"scut_head": 3}
ATTRIBUTE_SETS = "made of fairface (CC BY 4.0), mtfl and helen_afw (non-commercial research)"
TERMS = {
    "wider_train": "WIDER FACE: research; images belong to their owners",
    "scut_head": "SCUT-HEAD: academic, non-commercial",
    "mask853": "CC0 as far as known",
    "negatives": "ImageNet / COCO / SUN terms",
    "negatives_further": "of public repositories, terms of ImageNet, Kaggle and DeepTexture",
    "nothing": "generated, CC0",
    "portrait": ATTRIBUTE_SETS,
    "portrait_face": ATTRIBUTE_SETS,
    "sheets": ATTRIBUTE_SETS,
}
Box = tuple[float, float, float, float]


def line(number: int, box: Box, width: int, height: int) -> str:
    """One YOLO label of a box in pixels."""
    x1, y1, x2, y2 = box
    values = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    return f"{number} " + " ".join(f"{value:.6f}" for value in values) + "\n"


class Writer:
    """The data set that is made.

    Args:
        folder: new.
    """

    def __init__(self, folder: Path):
        self.folder, self.rows = folder, list[dict[str, object]]()
        for kind in ("images", "labels", "ignore"):
            for split in ("train", "val"):
                (folder / kind / split).mkdir(parents=True)

    def add(
        self,
        picture: Path | np.ndarray,
        stem: str,
        source: str,
        labelled: str,
        labels: str = "",
        ignored: str = "",
        split: str = "train",
    ) -> None:
        """Add a picture with its labels and ignore regions, as the lines of their files."""
        name = f"images/{split}/{stem}{picture.suffix if isinstance(picture, Path) else '.jpg'}"
        if isinstance(picture, Path):
            shutil.copyfile(picture, self.folder / name)
        else:
            cv2.imwrite(str(self.folder / name), picture, [cv2.IMWRITE_JPEG_QUALITY, 90])
        (self.folder / "labels" / split / f"{stem}.txt").write_text(labels)
        if ignored:
            (self.folder / "ignore" / split / f"{stem}.txt").write_text(ignored)
        self.rows.append({"file": name, "source": source, "split": split, "labelled_classes": labelled})

    def finish(self) -> None:
        """Write data.yaml and pictures.csv."""
        with open(self.folder / "pictures.csv", "w", newline="") as file:
            table = csv.DictWriter(file, list(self.rows[0]))
            table.writeheader()
            table.writerows(self.rows)
        (self.folder / "data.yaml").write_text(
            "train: images/train\nval: images/val\nnames: {0: face, 1: head}\nlabelled: pictures.csv\nignore: ignore\n"
            f"terms: {json.dumps(TERMS)}\n"
        )
        for (source, split), count in sorted(Counter((str(r["source"]), str(r["split"])) for r in self.rows).items()):
            print(f"{source} {split}: {count:,}")


def rows_of(path: Path) -> list[dict[str, str]]:
    """A CSV file's rows."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def taught(teacher: FaceDetector, path: Path, labelled: str, labels: str, ignored: str) -> tuple[str, str, str]:
    """The labelled classes, labels and ignore regions of a picture, with the class that it lacks from a detector.

    Args:
        teacher: finds boxes from ``DOUBTED`` on.
        path: of the picture.
        labelled: ``face``, ``head`` or both, in which case nothing changes.
        labels: lines of YOLO.
        ignored: lines of YOLO.
    """
    frame = None if labelled == BOTH else cv2.imread(str(path))
    if frame is None:
        return labelled, labels, ignored
    number = 1 if labelled == "face" else 0
    height, width = frame.shape[:2]
    found = teacher.detect([frame])[0].of(("face", "head")[number])
    known = boxes_of(labels, width, height)[1]
    for box, confidence in zip(found.boxes, found.confidence, strict=True):
        text = line(number, tuple(np.clip(box, 0, [width, height] * 2).tolist()), width, height)
        if confidence >= SURE:
            labels += text
        else:
            ignored += text
    if number == 1:  # a face without a head: there is one, and the teacher does not see it
        sides = np.tile(known[:, 2:] - known[:, :2], 2) * [-AROUND[0], -AROUND[1], AROUND[2], AROUND[3]]
        for face, around in zip(known, known + sides, strict=True):
            if not len(found.boxes) or share_inside(face[None], found.boxes).max() < 0.7:
                ignored += line(1, tuple(np.clip(around, 0, [width, height] * 2).tolist()), width, height)
    return BOTH, labels, ignored


def add_pack(writer: Writer, pack: Path, teacher: FaceDetector | None) -> None:
    """Add every picture of the pack but WIDER's training pictures."""
    for row in rows_of(next(pack.glob("*.csv"))):
        path, split = pack / row["file"], row["split"]
        if row["source"] != "wider_train":
            labels, ignored = (text_of(pack / kind / split / f"{path.stem}.txt") for kind in ("labels", "ignore"))
            known = row["labelled_classes"], labels, ignored
            if teacher is not None and split == "train":
                known = taught(teacher, path, *known)
            writer.add(path, path.stem, row["source"], *known, split)


@dataclass
class Portrait:
    """A picture of one face, with what the detector finds on it: by class the boxes it is sure and unsure of."""

    source: str
    stem: str
    frame: np.ndarray
    sure: tuple[list[Box], list[Box]]
    unsure: tuple[list[Box], list[Box]]
    has_head: bool

    def labels(self, scale: float, left: int, top: int, width: int, height: int) -> tuple[str, str]:
        """Labels and ignore regions of the portrait scaled and placed in a picture of this width and height."""

        def lines(number: int, boxes: list[Box]) -> str:
            moved = [np.array(box) * scale + [left, top, left, top] for box in boxes]
            return "".join(line(number, tuple(box), width, height) for box in moved)

        heads = (lines(1, self.sure[1]), lines(0, self.unsure[1])) if self.has_head else ("", "")
        return lines(0, self.sure[0]) + heads[0], lines(0, self.unsure[0]) + heads[1]


def portrait(detector: FaceDetector, path: Path, source: str) -> Portrait | None:
    """Look at a portrait; None where it cannot be read or no face is found for sure."""
    frame = cv2.imread(str(path))
    if frame is None:
        return None
    height, width = frame.shape[:2]
    scale = SIDE / max(height, width)
    small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    canvas = np.full((CANVAS, CANVAS, 3), 114, np.uint8)
    top, left = (CANVAS - small.shape[0]) // 2, (CANVAS - small.shape[1]) // 2
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    found = detector.detect([canvas])[0]
    sure, unsure = ([], []), ([], [])  # type: tuple[list[Box], list[Box]], tuple[list[Box], list[Box]]
    for number, name in enumerate(("face", "head")):
        each = found.of(name)
        boxes = np.clip((each.boxes - [left, top, left, top]) / scale, 0, [width, height, width, height])
        for box, confidence in zip(boxes.tolist(), each.confidence, strict=True):
            (sure if confidence >= SURE else unsure)[number].append(tuple(box))
    if not sure[0]:
        return None
    face = max(sure[0], key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
    _, top_of_face, _, chin = face
    tall = chin - top_of_face
    has_head = any(
        share_inside(np.array([face]), np.array([head]))[0, 0] > 0.8
        and head[3] >= chin - 0.12 * tall
        and head[1] <= top_of_face + 0.05 * tall
        for head in sure[1]
    )
    return Portrait(source, path.stem, frame, sure, unsure, has_head)


def sheet(portraits: list[Portrait], side: int, colour: int) -> tuple[np.ndarray, str, str]:
    """A square of ``side`` x ``side`` portraits, with its labels and ignore regions."""
    cell = 640 // side
    whole = cell * side
    picture = np.full((whole, whole, 3), colour, np.uint8)
    labels = ignored = ""
    for number, each in enumerate(portraits):
        scale = cell / max(each.frame.shape[:2])
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        scaled = cv2.resize(each.frame, None, fx=scale, fy=scale, interpolation=way)[:cell, :cell]
        top, left = number // side * cell, number % side * cell
        picture[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
        more = each.labels(scale, left, top, whole, whole)
        labels, ignored = labels + more[0], ignored + more[1]
    return picture, labels, ignored


def add_portraits(writer: Writer, detector: FaceDetector, folders: dict[str, Path], rng: np.random.Generator) -> None:
    """Add the portraits, alone and on sheets: those with heads, and those whose heads are not labelled."""
    draw = random.Random(3)
    found: list[Portrait] = []
    for source, folder in folders.items():
        rows = rows_of(folder / "faces.csv")
        for row in draw.sample(rows, min(len(rows), TAKEN.get(source, 2000))):
            if (each := portrait(detector, folder / row["file"], source)) is not None:
                found.append(each)
    draw.shuffle(found)
    for has_head, alone in ((True, ALONE), (False, ALONE_FACES_ONLY)):
        name, labelled = ("portrait", BOTH) if has_head else ("portrait_face", "face")
        kind = [each for each in found if each.has_head == has_head]
        for each in kind[:alone]:
            height, width = each.frame.shape[:2]
            labels, ignored = each.labels(1.0, 0, 0, width, height)
            writer.add(each.frame, f"{name}_{each.source}_{each.stem}", name, labelled, labels, ignored)
        left = kind[alone:]
        for number in range(SHEETS):
            side = (2, 2, 3, 4)[number % 4]
            side = side if len(left) >= side**2 else 2
            if len(left) < side**2:
                break
            picture, labels, ignored = sheet(left[: side**2], side, int(rng.integers(0, 255)))
            writer.add(picture, f"sheet_{name}_{number:03d}", "sheets", labelled, labels, ignored)
            left = left[side**2 :]


def nothing(number: int, rng: np.random.Generator) -> np.ndarray:
    """A picture of nothing: BGR, uint8, (height, width, 3)."""
    height, width = SHAPES[number % len(SHAPES)]
    kind = number // len(SHAPES) % 6
    first, second = rng.integers(0, 256, (2, 3)).astype(np.float32)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / np.array([[[height]], [[width]]], np.float32)
    picture = np.broadcast_to(first, (height, width, 3)).copy()
    if kind == 1:
        angle = rng.uniform(0, 2 * np.pi)
        share = np.clip((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) + 0.5, 0, 1)[..., None]
        picture = first * (1 - share) + second * share
    elif kind == 2:
        across, down, radius = rng.uniform(0, 1, 3)
        share = np.clip(np.hypot(x - across, y - down) / (0.2 + radius), 0, 1)[..., None]
        picture = first * (1 - share) + second * share
    elif kind == 3:
        patches = rng.uniform(0, 255, (rng.integers(2, 9), rng.integers(2, 9), 3)).astype(np.float32)
        picture = cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)
    elif kind == 4:
        picture = first + rng.normal(0, rng.uniform(2, 60), (height, width, 3 if number % 2 else 1))
    elif kind == 5:
        for _ in range(rng.integers(1, 6)):
            corner, size = rng.uniform(0, 1, 2) * (width, height), rng.uniform(0.05, 0.6, 2) * (width, height)
            colour = rng.uniform(0, 255, 3).tolist()
            if rng.random() < 0.5:
                axes = tuple((size / 2).astype(int) + 1)
                cv2.ellipse(picture, tuple(corner.astype(int)), axes, rng.uniform(0, 180), 0, 360, colour, -1)
            else:
                cv2.rectangle(picture, tuple(corner.astype(int)), tuple((corner + size).astype(int)), colour, -1)
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 30))
    if kind != 4 and rng.random() < 0.4:
        picture = picture + rng.normal(0, rng.uniform(1, 12), (height, width, 1))
    return np.clip(picture, 0, 255).astype(np.uint8)


def write_finish(first: Writer, folder: Path) -> None:
    """Write the second set, out of the pictures of the first."""
    second, draw = Writer(folder), random.Random(9)
    by_source: dict[tuple[str, str], list[Path]] = {}
    labelled: dict[str, str] = {}
    for row in first.rows:
        by_source.setdefault((str(row["source"]), str(row["split"])), []).append(Path(str(row["file"])))
        labelled[str(row["file"])] = str(row["labelled_classes"])
    for (source, split), paths in by_source.items():
        if source in FINISH:
            paths = draw.sample(paths, min(len(paths), FINISH[source]))
        for again in range(REPEATED.get(source, 1) if split == "train" else 1):
            for path in paths:
                labels, ignored = (
                    text_of(first.folder / kind / split / f"{path.stem}.txt") for kind in ("labels", "ignore")
                )
                stem = f"{path.stem}_again{again}" if again else path.stem
                second.add(first.folder / path, stem, source, labelled[str(path)], labels, ignored, split)
    second.finish()


def main(
    pack: Annotated[Path, typer.Argument(help="A data set with pictures of all the other sources.")],
    wider: Annotated[Path, typer.Option(help="WIDER's training pictures.")],
    negatives: Annotated[Path, typer.Option(help="Photographs of nobody.")],
    faces: Annotated[list[str], typer.Option(help="Pictures of one face each, NAME=FOLDER; repeatable.")],
    out: Annotated[Path, typer.Option(help="New folder.")],
    finish: Annotated[Path | None, typer.Option(help="New folder of the second set.")] = None,
    detector: Annotated[str, typer.Option(help="Finds the portraits' boxes.")] = "1.0.0",
    teacher: Annotated[str | None, typer.Option(help="Labels the class that a training picture lacks.")] = None,
) -> None:
    """Make a data set for going on with the training of the detector."""
    rng = np.random.default_rng(7)
    try:
        writer = Writer(out)
        teaches = None if teacher is None else FaceDetector(teacher, confidence=DOUBTED, imgsz=TAUGHT_SIDE)
        add_pack(writer, pack, teaches)
        for path in sorted((wider / "images").iterdir()):
            labels, ignored = (text_of(wider / kind / f"{path.stem}.txt") for kind in ("labels", "ignore"))
            known = "face", labels, ignored
            if teaches is not None:
                known = taught(teaches, path, *known)
            writer.add(path, path.stem, "wider_train", *known)
        nobody = sorted((negatives / "images").iterdir())
        for path in random.Random(5).sample(nobody, min(len(nobody), NEGATIVES)):
            writer.add(path, f"nobody_{path.stem}", "negatives_further", BOTH)
        for number in range(NOTHING):
            writer.add(nothing(number, rng), f"nothing_{number:04d}", "nothing", BOTH)
        folders = {name: Path(folder) for name, _, folder in (each.partition("=") for each in faces)}
        add_portraits(writer, FaceDetector(detector, confidence=UNSURE, imgsz=CANVAS), folders, rng)
        writer.finish()
        if finish is not None:
            write_finish(writer, finish)
    except (FacepipeError, OSError) as error:
        raise SystemExit(f"detector_set.py: {error}") from error


if __name__ == "__main__":
    typer.run(main)
