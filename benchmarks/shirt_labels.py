"""Label shirt colours in photographs of people automatically, for a first torso classifier.

    python benchmarks/shirt_labels.py PHOTOS [PHOTOS ...] --out shirts --sheet sheet.png

Each detected face of at least 32 px gives a torso by the crop recipe. The colours of its middle are grouped by k-means
in CIE Lab, and each group is named by its lightness, chroma and hue. A torso is labelled if one name covers most of the
middle and its groups lie well within the name's bounds; otherwise it is skipped. The output is ``faces.csv`` (file,
box, source, split, group, shirt_colour), as ``facepipe data crop --region torso`` takes it, the schema and recipe of
``shirts.py``, and a sheet of labelled torsos, equally many per colour. Inspect the sheet: only a person can say what
the labels are worth.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import shirts
import typer
from facepipe import FaceDetector
from facepipe.classifier.inference.crop import cut_region
from facepipe.core.contact_sheet import Cell, contact_sheet, write_sheet
from facepipe.core.errors import FacepipeError
from facepipe.detector.data.exif import read_upright
from facepipe.weights.manifest import CropRecipe

TORSO = CropRecipe(region="torso", margin=0.0, size=96)
LEAST_FACE = 32.0
"""Minimum longer side of a face in pixels; below it the torso blurs into its surroundings."""
MIDDLE = (slice(14, 72), slice(30, 66))
"""Rows and columns of the torso's crop that hardly ever show anything but clothes."""
GROUPS = 4
LEAST_SHARE = 0.7
"""Minimum share of the middle covered by the groups of the winning name."""
GREY_CHROMA, COLOUR_CHROMA = 9.0, 20.0
"""Below the first a colour is black, grey or white; from the second on it has a hue; in between it has no name."""
BLACK, GREY, WHITE = 22.0, (36.0, 68.0), 78.0
"""CIE lightness, 0 to 100: at most, between, at least."""
HUES: dict[str, tuple[float, float]] = {
    "red": (8, 38),
    "yellow": (78, 104),
    "green": (118, 182),
    "blue": (238, 302),
    "pink": (-40, 8),
}
"""Degrees of hue in Lab's a, b plane; hues in between have no name (orange, cyan, purple)."""
PINK_LIGHTNESS = 55.0
"""A red at least this light is pink, and pink is at least this light."""
YELLOW_CHROMA = 40.0
"""A yellow below this chroma is khaki or sand."""
VAL_SHARE = 0.2
IMAGES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True)
class Labelled:
    """A torso with a colour: the photo, the face's box in it, the crop (96, 96, 3), and how certain the label is."""

    file: Path
    box: np.ndarray
    torso: np.ndarray
    colour: str
    share: float


def colour_name(lightness: float, a: float, b: float) -> str | None:
    """The name of a colour in CIE Lab; None if it lies between names."""
    chroma, hue = float(np.hypot(a, b)), float(np.degrees(np.arctan2(b, a)))
    if chroma < GREY_CHROMA:
        if lightness <= BLACK:
            return "black"
        if lightness >= WHITE:
            return "white"
        return "grey" if GREY[0] <= lightness <= GREY[1] else None
    if chroma < COLOUR_CHROMA or lightness < BLACK / 2:
        return None
    for name, (low, high) in HUES.items():
        if low <= hue <= high or low <= hue + 360 <= high:
            if name in ("red", "pink"):
                return "pink" if lightness >= PINK_LIGHTNESS else "red" if name == "red" else None
            return None if name == "yellow" and chroma < YELLOW_CHROMA else name
    return None


def label(torso: np.ndarray) -> tuple[str, float] | None:
    """The colour of a torso's crop, BGR uint8 (96, 96, 3), and the share of its middle that has it."""
    middle = np.ascontiguousarray(torso[MIDDLE], np.float32) / 255
    lab = cv2.cvtColor(cv2.GaussianBlur(middle, (0, 0), 1.0), cv2.COLOR_BGR2Lab).reshape(-1, 3)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 0.5)
    cv2.setRNGSeed(0)
    _, groups, centres = cv2.kmeans(lab, GROUPS, np.empty(0), stop, 2, cv2.KMEANS_PP_CENTERS)
    shares: dict[str, float] = {}
    for number, centre in enumerate(centres):
        if (name := colour_name(*map(float, centre))) is not None:
            shares[name] = shares.get(name, 0.0) + float((groups == number).mean())
    best = max(shares, key=lambda name: shares[name], default=None)
    return None if best is None or shares[best] < LEAST_SHARE else (best, shares[best])


def label_photos(files: Iterable[Path], detector: FaceDetector) -> Iterable[Labelled]:
    """Every torso that gets a label. A photo that cannot be read is reported and skipped."""
    for file in files:
        try:
            frame = read_upright(file)
        except FacepipeError as error:
            print(f"skipped: {error}")
            continue
        (found,) = detector.detect([frame])
        faces = found.of("face").boxes
        for box in faces:
            if max(box[2] - box[0], box[3] - box[1]) < LEAST_FACE or others_in_torso(box, faces):
                continue
            torso = cut_region(frame, box, None, TORSO).image
            if torso is None or (torso[MIDDLE] == TORSO.border).all(axis=2).mean() > 0.02:
                continue
            if (named := label(torso)) is not None:
                yield Labelled(file, box, torso, *named)


def others_in_torso(box: np.ndarray, faces: np.ndarray) -> bool:
    """Whether another face lies in front of the middle of the torso below a box."""
    width = box[2] - box[0]
    left, right, top = box[0] - 0.2 * width, box[2] + 0.2 * width, box[3]
    middles = (faces[:, :2] + faces[:, 2:]) / 2
    inside = (middles[:, 0] > left) & (middles[:, 0] < right) & (middles[:, 1] > top)
    return bool((inside & (faces[:, 1] < top + 3 * width)).any())


def is_val(name: str) -> bool:
    """Whether a photo's rows are for validation, which its name decides."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) < VAL_SHARE * 2**32


def write(found: list[Labelled], out: Path, sheet: Path | None, each: int) -> None:
    """Write the label file, the schema, the recipe and the sheet."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "shirt.yaml").write_text(shirts.SCHEMA, encoding="utf-8")
    (out / "recipe.yaml").write_text(shirts.RECIPE, encoding="utf-8")
    with (out / "faces.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "x1", "y1", "x2", "y2", "source", "split", "group", "shirt_colour"])
        for item in found:
            box = [round(float(side), 1) for side in item.box]
            split = "val" if is_val(item.file.name) else "train"
            writer.writerow([item.file.resolve(), *box, item.file.parent.name, split, item.file.stem, item.colour])
    if sheet is not None:
        random = np.random.default_rng(0)
        cells = []
        for colour in shirts.COLOURS:
            of = [item for item in found if item.colour == colour]
            cells += [Cell(of[i].torso, colour) for i in random.permutation(len(of))[:each]]
        write_sheet(sheet, contact_sheet(cells, columns=each, side=96))


def main(
    photos: Annotated[list[Path], typer.Argument(help="Folders of photographs.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the label file is written.")],
    sheet: Annotated[Path | None, typer.Option(help="A picture of labelled torsos, to be looked at.")] = None,
    each: Annotated[int, typer.Option(min=1, help="Torsos of each colour on it.")] = 25,
    limit: Annotated[int | None, typer.Option(min=1, help="Photographs of each folder.")] = None,
) -> None:
    """Label the torsos of all photographs."""
    files = [
        file
        for folder in photos
        for file in sorted(each for each in folder.rglob("*") if each.suffix.lower() in IMAGES)[:limit]
    ]
    found = list(label_photos(files, FaceDetector()))
    write(found, out, sheet, each)
    for colour in shirts.COLOURS:
        print(f"{colour}: {sum(item.colour == colour for item in found)}")
    print(f"{out / 'faces.csv'}: {len(found)} torsos of {len(files)} photographs")


if __name__ == "__main__":
    typer.run(main)
