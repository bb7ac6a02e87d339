"""Rows of labelled boxes, a few of each photo, for attributes that a whole collection shares.

    python benchmarks/photo_faces.py wider --source wider_train --value mask=no --out wider.csv
    facepipe data crop wider.csv --out crops/wider --margin 0.2 --context 0.1

The folder has ``images`` and ``labels`` in YOLO's form (class 0 is a face). WIDER FACE (Yang et al., 2016) shows
practically no masks, so that its small faces keep a mask head honest.
"""

from __future__ import annotations

import csv
import hashlib
import random
from pathlib import Path
from typing import Annotated

import cv2
import typer
from face_check_set import VALIDATION, boxes_of, pictures, text_of
from facepipe.core.errors import FacepipeError


def faces_of(path: Path, folder: Path, most: int, least: float) -> list[list[float]]:
    """At most ``most`` boxes of a photo whose longer side is ``least`` pixels or more, by chance."""
    picture = cv2.imread(str(path))
    if picture is None:
        return []
    height, width = picture.shape[:2]
    labels, boxes = boxes_of(text_of(folder / "labels" / f"{path.stem}.txt"), width, height)
    large = [[round(float(value), 1) for value in box] for box in boxes[labels == 0] if max(box[2:] - box[:2]) >= least]
    return random.Random(path.name).sample(large, min(most, len(large)))


def main(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Labelled photos.")],
    out: Annotated[Path, typer.Option(metavar="FILE.csv", help="Where the rows go.")],
    source: Annotated[str, typer.Option(help="Name of the collection.")],
    value: Annotated[list[str], typer.Option(metavar="NAME=VALUE", help="What holds for every face; repeatable.")],
    each: Annotated[int, typer.Option(min=1, help="Faces of a photo at most.")] = 6,
    least: Annotated[float, typer.Option(min=1, help="Least longer side of a box, in pixels.")] = 10,
) -> None:
    """Write the rows."""
    if bad := [pair for pair in value if not all(pair.partition("="))]:
        raise FacepipeError(f"--value {bad[0]}: expected NAME=VALUE, such as mask=no")
    values = dict(pair.split("=", 1) for pair in value)
    columns = ["file", "source", "split", "group", *values, "x1", "y1", "x2", "y2"]
    count = 0
    with open(out, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for path in pictures(folder / "images"):
            split = "val" if hashlib.sha256(path.name.encode()).digest()[0] < 256 * VALIDATION else "train"
            for box in faces_of(path, folder, each, least):
                writer.writerow([str(path.resolve()), source, split, path.stem, *values.values(), *box])
                count += 1
    print(f"{out}: {count} faces")


if __name__ == "__main__":
    try:
        typer.run(main)
    except FacepipeError as error:
        raise SystemExit(f"error: {error}") from error
