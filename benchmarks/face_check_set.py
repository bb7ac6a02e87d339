"""Rows for a head ``face``: boxes that a detector draws round faces, and boxes that it draws where there are none.

    python benchmarks/face_check_set.py --photos wider --photos pack/train --empty negatives --out face_check.csv
    facepipe data crop face_check.csv --schema examples/face-check.yaml --out crops/face_check

``--photos`` are folders with ``images``, ``labels`` and, if there are any, ``ignore`` in YOLO's form; where a picture
labels heads only, boxes away from every head are no faces, and nothing is known of the others. ``--empty`` are folders
of pictures without a person. A box is ``face: yes`` if it fits a labelled face, ``face: no`` if it touches hardly any
and does not lie in an ignored region; of the others nothing is said. The detector looks at a low confidence, for the
pictures that it is sure of teach little.
"""

from __future__ import annotations

import csv
import hashlib
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from facepipe import FaceDetector
from facepipe.core.errors import FacepipeError
from facepipe.detector.inference.boxes import iou, share_inside
from rich.progress import track

FITS, APART = 0.5, 0.1
"""Overlap (IoU) with a labelled face from which a box is a face's, and below which it is none's."""
INSIDE = 0.3
"""Share of a box in an ignored region, or in a head, from which nothing is said of it."""
DOUBTFUL = 0.6
"""A box on no label and surer than this is not used: it is more often a face without a label than a false one."""
LEAST, LEAST_FALSE = 8, 12
"""Longer side in pixels from which a box is used, and a false one in a picture with faces."""
EACH = 10
"""Boxes of a picture at most, of either kind; those of the lowest confidence first for one half, chance the other."""
VALIDATION = 0.1
"""Share of the pictures whose rows are ``val``."""
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
COLUMNS = ("file", "source", "split", "group", "face", "confidence", "x1", "y1", "x2", "y2")


def text_of(path: Path) -> str:
    """A label file's lines; none where there is none."""
    return path.read_text() if path.is_file() else ""


def boxes_of(labels: str, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes, int (n,), and boxes in pixels, float (n, 4), of the lines of a YOLO file."""
    values = [line.split() for line in labels.splitlines() if line.strip()]
    table = np.array([[float(value) for value in line[:5]] for line in values]).reshape(-1, 5)
    centre, half = table[:, 1:3], table[:, 3:5] / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1) * np.tile([width, height], 2)
    return table[:, 0].astype(int), boxes


def judge(
    found: np.ndarray, confidence: np.ndarray, faces: np.ndarray, heads: np.ndarray, ignored: np.ndarray
) -> np.ndarray:
    """Which boxes are faces: 1 a face, 0 none, -1 unknown.

    Args:
        found: boxes of the detector, (n, 4), in pixels.
        confidence: theirs, (n,).
        faces: labelled faces, (m, 4).
        heads: labelled heads of a picture whose faces are not labelled, (k, 4).
        ignored: regions of which nothing is known, (r, 4).
    """
    sides = (found[:, 2:] - found[:, :2]).max(axis=1, initial=0)
    best = iou(found, faces).max(axis=1, initial=0)
    touched = np.maximum(
        share_inside(found, np.concatenate([heads, ignored])).max(axis=1, initial=0),
        share_inside(np.concatenate([heads, ignored]), found).max(axis=0, initial=0),
    )
    crowded = len(faces) + len(heads) + len(ignored) > 0
    false = (best < APART) & (touched < INSIDE)
    if crowded:
        false &= (confidence < DOUBTFUL) & (sides >= LEAST_FALSE)
    verdict = np.where(best >= FITS, 1, np.where(false, 0, -1))
    verdict[sides < LEAST] = -1
    return verdict


def chosen(indices: np.ndarray, confidence: np.ndarray, chance: random.Random) -> list[int]:
    """At most ``EACH`` of some boxes: the least sure ones, and others by chance."""
    ordered = [int(index) for index in indices[np.argsort(confidence[indices])]]
    if len(ordered) <= EACH:
        return ordered
    return ordered[: EACH // 2] + chance.sample(ordered[EACH // 2 :], EACH - EACH // 2)


def rows_of(detector: FaceDetector, path: Path, folder: Path | None) -> Iterator[dict[str, object]]:
    """The rows of one picture; ``folder`` has its labels, None says that it shows nobody."""
    picture = cv2.imread(str(path))
    if picture is None:
        return
    height, width = picture.shape[:2]
    labels, boxes = np.zeros(0, int), np.zeros((0, 4))
    ignored = boxes
    if folder is not None:
        labels, boxes = boxes_of(text_of(folder / "labels" / f"{path.stem}.txt"), width, height)
        ignored = boxes_of(text_of(folder / "ignore" / f"{path.stem}.txt"), width, height)[1]
    found = detector.detect([picture])[0].of("face")
    verdict = judge(found.boxes, found.confidence, boxes[labels == 0], boxes[labels == 1], ignored)
    mark = hashlib.sha256(path.name.encode()).digest()
    chance = random.Random(mark)
    source = "face_check_empty" if folder is None else "face_check"
    for face in (1, 0):
        for index in chosen(np.nonzero(verdict == face)[0], found.confidence, chance):
            yield {
                "file": str(path.resolve()),
                "source": source,
                "split": "val" if mark[0] < 256 * VALIDATION else "train",
                "group": path.stem,
                "face": "yes" if face else "no",
                "confidence": round(float(found.confidence[index]), 3),
                **{name: round(float(value), 1) for name, value in zip(COLUMNS[-4:], found.boxes[index], strict=True)},
            }


def pictures(folder: Path) -> list[Path]:
    """The pictures of a folder, by name."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise FacepipeError(f"{folder}: no pictures")
    return found


def main(
    out: Annotated[Path, typer.Option(metavar="FILE.csv", help="Where the rows go.")],
    photos: Annotated[list[Path] | None, typer.Option(metavar="DIR", help="Labelled photos; repeatable.")] = None,
    empty: Annotated[list[Path] | None, typer.Option(metavar="DIR", help="Photos of nobody; repeatable.")] = None,
    detector: Annotated[str | None, typer.Option(metavar="VERSION", help="Default: the version in use.")] = None,
    confidence: Annotated[float, typer.Option(min=0, max=1, help="From which boxes are looked at.")] = 0.06,
    leave_out: Annotated[
        str, typer.Option(metavar="PREFIX", help="Pictures to pass over, by their names.")
    ] = "mask853",
) -> None:
    """Write the rows."""
    model = FaceDetector(detector, threads=1, confidence=confidence)
    work: list[tuple[Path, Path | None]] = []
    for folder in photos or []:
        work += [(path, folder) for path in pictures(folder / "images") if not path.name.startswith(leave_out)]
    work += [(path, None) for folder in empty or [] for path in pictures(folder)]
    counts: Counter[str] = Counter()
    with open(out, "w", newline="", encoding="utf-8") as file, ThreadPoolExecutor(2) as pool:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for rows in track(pool.map(lambda each: list(rows_of(model, *each)), work), "looking", len(work)):
            writer.writerows(rows)
            counts.update(f"{row['source']} {row['face']} {row['split']}" for row in rows)
    print(f"{out}: {dict(counts)}")


if __name__ == "__main__":
    try:
        typer.run(main)
    except FacepipeError as error:
        raise SystemExit(f"error: {error}") from error
