"""Crops turned by quarters, for a classifier that shall know a face that lies or stands on its head.

    python benchmarks/turned_crops.py crops/faces/faces.csv crops/face_check/face_check.csv --out turned --count 8000

Takes training rows by chance, turns each picture by one, two or three quarters and up to ``LEAN`` degrees more, and
keeps its labels, except points: which eye is "left" says nothing in a turned picture.
"""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from drawn_masks import common_recipe
from facepipe.classifier.data.label_files import read_table_file
from facepipe.classifier.data.table import SIDECAR
from facepipe.core.errors import FacepipeError

LEAN = 30.0


def turned(picture: np.ndarray, quarters: int, degrees: float) -> np.ndarray:
    """The picture, uint8 (height, width, 3), turned counter-clockwise by quarters and by degrees about its middle."""
    picture = np.ascontiguousarray(np.rot90(picture, quarters))
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def main(
    data: Annotated[list[Path], typer.Argument(metavar="FACES.csv…", help="Label files of crops, cut alike.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for pictures and faces.csv; new.")],
    count: Annotated[int, typer.Option(min=1, help="How many rows at most.")] = 8000,
    seed: Annotated[int, typer.Option(help="Of the choice and of the angles.")] = 0,
) -> None:
    """Turn the pictures and write their label file."""
    sidecar = common_recipe(data)
    tables = [read_table_file(path) for path in data]
    rows = [(table.root / cell["file"], cell) for table in tables for cell in table.cells if cell["split"] == "train"]
    chance = random.Random(seed)
    rows = chance.sample(rows, min(count, len(rows)))
    if not rows:
        raise FacepipeError(f"{data[0]}: no training rows")
    (out / "images").mkdir(parents=True)
    if sidecar is not None:
        (out / SIDECAR).write_text(sidecar, encoding="utf-8")
    names = sorted({name for _, cell in rows for name in cell if not name.endswith(("_x", "_y"))} - {"file"})
    with open(out / "faces.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["file", *names], restval="", extrasaction="ignore")
        writer.writeheader()
        for number, (path, cell) in enumerate(rows):
            picture = cv2.imread(str(path))
            if picture is None:
                raise FacepipeError(f"{path}: not a picture")
            name = f"images/{number:05d}.jpg"
            made = turned(picture, chance.randint(1, 3), chance.uniform(-LEAN, LEAN))
            cv2.imwrite(str(out / name), made, [cv2.IMWRITE_JPEG_QUALITY, 92])
            writer.writerow({**cell, "file": name, "source": f"turned_{cell.get('source', '')}"})
    print(f"{out / 'faces.csv'}: {len(rows)} rows")


if __name__ == "__main__":
    try:
        typer.run(main)
    except FacepipeError as error:
        raise SystemExit(f"error: {error}") from error
