"""Make a data set for ``facepipe evaluate`` from labelled close-ups: faces of many sizes, no other people.

Few public sets have boxes *and* attributes, so this one is made from the validation rows of an attribute set. The
faces' positions follow from what is known about them, without our detector:

- MTFL: from its five labelled points, by a linear relation that accounts for a turned head;
- UTKFace: aligned crops, so the face is in the same place in each.

Both relations were fitted to the boxes that another detector (SCRFD-0.5GF, trained on WIDER FACE) gives on 600 of the
*training* rows each. There they agree with its boxes by a mean IoU of 0.87 (MTFL on the half not fitted to). FairFace
is left out, because its faces are not aligned closely enough (0.80).

Each face is used once, at a randomly drawn size: as its own picture, or with others in cells of 1/2 to 1/20 of a 640 px
photo, where its picture is 0.7 to 1 times as large as its cell.

    python benchmarks/end_to_end.py --faces faces.csv --backgrounds DIR --out DIR
    facepipe evaluate --data DIR/faces.csv --out report
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from facepipe.classifier.config.schema import BOX, read_schema
from facepipe.classifier.data.table import FaceTable, read_faces
from facepipe.pipeline.inputs.image_reader import read_frame

SIDE = 640
ACROSS = (1, 2, 3, 5, 8, 12, 20)
"""Cells per row of a photo; 1 leaves the picture as it is."""
MOST = 64
"""Maximum faces per photo."""
SHARE = (0.7, 1.0)
UTKFACE = np.array([0.072, 0.021, 0.911, 0.966])
"""The face's box in an aligned crop, as fractions of its sides: the median of 543 boxes."""
CENTRE = np.array([[-0.076, -0.132], [-1.406, 0.015], [-0.029, -0.274], [-0.021, -0.014], [-0.045, -0.023],
                   [-0.307, 0.000], [0.097, -0.045]])  # fmt: skip
SIDES = np.array([[0.153, 0.226], [1.418, 1.383], [0.494, 1.169], [0.747, 0.880], [0.189, 0.356]])


def box_of_points(points: np.ndarray) -> np.ndarray:
    """A face's box, (4,), from left eye, right eye, nose and mouth corners, (5, 2) x and y."""
    middle, eyes, mouth = points.mean(axis=0), points[:2].mean(axis=0), points[3:].mean(axis=0)
    across, down = points[1] - points[0], mouth - eyes
    wide, high = np.linalg.norm(across), np.linalg.norm(down)
    unit, turned = max(wide, high), points[2] - (eyes + mouth) / 2
    centre = middle + np.concatenate([[unit], turned, across, down]) @ CENTRE
    half = np.concatenate([[unit, wide, high], np.abs(turned)]) @ SIDES / 2
    return np.concatenate([centre - half, centre + half])


def face_box(table: FaceTable, row: int, shape: tuple[int, ...]) -> np.ndarray | None:
    """The face's box in its own picture, clipped to it; None if unknown."""
    size = np.array([shape[1], shape[0]])
    if table.columns["source"][row] == "utkface":
        return UTKFACE * np.tile(size, 2)
    points = table.targets["eyes"][row]
    if np.isnan(points).any():
        return None
    return np.clip(box_of_points(points.astype(float)), 0, np.tile(size, 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True, help="CSV of labelled close-ups")
    parser.add_argument("--backgrounds", type=Path, help="folder of photos without persons; else grey")
    parser.add_argument("--background-names", default="negatives*", help="which of them, as a pattern")
    parser.add_argument("--sources", default="mtfl,utkface")
    parser.add_argument("--limit", type=int, default=1000, help="most faces of a source")
    parser.add_argument("--split", default="val")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    random = np.random.default_rng(0)
    table = read_faces(given.faces, read_schema()).split(given.split)
    rows: list[int] = []
    for source in given.sources.split(","):
        rows += random.permutation(np.flatnonzero(table.columns["source"] == source))[: given.limit].tolist()
    scenes = sorted(given.backgrounds.glob(given.background_names)) if given.backgrounds else []
    (given.out / "images").mkdir(parents=True)
    lines: list[dict[str, str]] = []
    for number, part in enumerate(np.array_split(random.permutation(rows), len(ACROSS))):
        across = ACROSS[number]
        most = min(across * across, MOST)
        for start in range(0, len(part), most):
            scene = None if not scenes else read_frame(scenes[random.integers(len(scenes))])
            lines += write_photo(given.out, table, part[start : start + most], across, scene, random)
    names = [*dict.fromkeys(name for line in lines for name in line)]
    with (given.out / "faces.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(lines)
    print(f"{len(lines)} faces in {len({line['file'] for line in lines})} pictures: {given.out / 'faces.csv'}")


def write_photo(
    out: Path,
    table: FaceTable,
    rows: Iterable[int],
    across: int,
    scene: np.ndarray | None,
    random: np.random.Generator,
) -> list[dict[str, str]]:
    """Write one picture and return its rows of the CSV."""
    photo = np.full((SIDE, SIDE, 3), 114, np.uint8)
    if scene is not None:
        photo[:] = cv2.resize(scene, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    lines, cell = [], SIDE // across
    name = ""
    for place, row in zip(random.permutation(across * across).tolist(), rows, strict=False):
        frame = read_frame(table.files[row])
        box = face_box(table, row, frame.shape)
        if box is None:
            continue
        name = name or f"images/{across}-{table.files[row].stem}.jpg"
        scale, x, y = 1.0, 0, 0
        if across == 1:
            photo = frame
        else:
            side = cell * random.uniform(*SHARE)
            scale = side / max(frame.shape[:2])
            kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            frame = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=kind)[:cell, :cell]
            column, line = place % across, place // across
            x = column * cell + int(random.integers(cell - frame.shape[1] + 1))
            y = line * cell + int(random.integers(cell - frame.shape[0] + 1))
            photo[y : y + frame.shape[0], x : x + frame.shape[1]] = frame
        cells = {column: str(values[row]) for column, values in table.columns.items() if column not in BOX}
        for column in cells:
            if column[-2:] in ("_x", "_y") and cells[column]:
                cells[column] = f"{float(cells[column]) * scale + (x if column.endswith('_x') else y):.2f}"
        moved = box * scale + [x, y, x, y]
        lines.append({**cells, "file": name, **dict(zip(BOX, (f"{v:.2f}" for v in moved), strict=True))})
    if lines:
        cv2.imwrite(str(out / name), photo, (cv2.IMWRITE_JPEG_QUALITY, 95))
    return lines


if __name__ == "__main__":
    main()
