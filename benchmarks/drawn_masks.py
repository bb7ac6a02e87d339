"""Faces with a mask drawn over them: training rows for the mask head, which has few real ones of dark cloth.

    python benchmarks/drawn_masks.py crops/mtfl/mtfl.csv crops/helen_afw/helen_afw.csv --out crops/drawn --count 6000

Takes training rows with five points out of label files that ``facepipe data crop`` wrote. A quarter of the masks hang
under the nose or the chin and are labelled ``mask: no``. Smile and age are left blank, for a mask hides what they are
read from. After the idea of MaskTheFace (Anwar and Raychowdhury, 2020, arXiv:2008.11104); shapes and cloths are drawn
here, from no templates.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from facepipe.classifier.data.label_files import read_table_file
from facepipe.classifier.data.table import SIDECAR
from facepipe.core.errors import FacepipeError

POINTS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
BLANK = ("smile", "age", "age_lo", "age_hi")
WRONG = 0.25
"""Share of the masks that are worn under the nose or the chin."""
FINE = 4
"""Masks are drawn this many times larger than the picture, and scaled down, for smooth edges."""
WORN = (0.16, 0.32)
UNDER_NOSE = (0.74, 0.84)
UNDER_MOUTH = (1.2, 1.35)
"""Levels of the upper edge at the nose: 0 is the line of the eyes, 1 that of the mouth."""
COLOURS = {
    "black": (24, 24, 26),
    "dark": (62, 58, 60),
    "surgical": (214, 184, 140),
    "white": (228, 230, 230),
}
"""BGR. Any other colour is drawn at random."""
SHARES = {"black": 0.3, "dark": 0.12, "surgical": 0.22, "white": 0.18, "any": 0.18}


class Frame:
    """Directions and lengths of a face, from its five points.

    Args:
        points: float, (5, 2): x and y of ``POINTS`` in pixels.
    """

    def __init__(self, points: np.ndarray):
        self.eyes, self.mouth = points[:2].mean(0), points[3:].mean(0)
        down = self.mouth - self.eyes
        self.height = float(np.hypot(*down))
        self.down = down / max(self.height, 1e-6)
        self.across = np.array([self.down[1], -self.down[0]])
        nose = float((points[2] - self.eyes) @ self.across)
        self.nose = nose / max(self.height, 1e-6)
        sides = [float((point - self.eyes) @ self.across) / max(self.height, 1e-6) for point in points[:2]]
        self.left = min(sides[0] - 0.42, self.nose - 0.3)
        self.right = max(sides[1] + 0.42, self.nose + 0.3)

    def at(self, side: float, level: float) -> np.ndarray:
        """A place of the face in pixels; both arguments in units of the distance from eyes to mouth."""
        return np.asarray(self.eyes + self.height * (side * self.across + level * self.down))


def rounded(corners: np.ndarray, times: int = 3) -> np.ndarray:
    """A closed line with its corners cut, Chaikin's algorithm."""
    for _ in range(times):
        after = np.roll(corners, -1, axis=0)
        corners = np.stack([0.75 * corners + 0.25 * after, 0.25 * corners + 0.75 * after], axis=1).reshape(-1, 2)
    return corners


def outline(frame: Frame, top: float, chance: random.Random) -> np.ndarray:
    """The edge of a mask in pixels, float, (n, 2)."""
    wide = chance.uniform(0.88, 1.06)
    left, right = frame.left * wide, frame.right * wide
    cheek, chin = top + chance.uniform(0.12, 0.3), chance.uniform(1.68, 1.98)
    middle = (left + right) / 2
    jaw = max(cheek + 0.2, 1.1)
    sides = [
        (left, cheek),
        (frame.nose - 0.18, top),
        (frame.nose + 0.18, top),
        (right, cheek),
        (right * 0.98, jaw),
        (middle + 0.62 * (right - middle), chin - 0.22),
        (middle, chin),
        (middle + 0.62 * (left - middle), chin - 0.22),
        (left * 0.98, jaw),
    ]
    return rounded(np.array([frame.at(*place) for place in sides]))


def cloth(picture: np.ndarray, frame: Frame, chance: random.Random) -> np.ndarray:
    """A picture full of cloth, lit as the face is. uint8, (height, width, 3), BGR."""
    height, width = picture.shape[:2]
    noise = np.random.default_rng(chance.getrandbits(32))
    kind = chance.choices(list(SHARES), list(SHARES.values()))[0]
    base = COLOURS.get(kind, tuple(chance.randint(20, 235) for _ in range(3)))
    sheet = np.ones((height, width, 3), np.float32) * np.array(base, np.float32)
    sheet *= chance.uniform(0.85, 1.15)
    if kind == "any" and chance.random() < 0.5:  # a printed pattern
        blots = cv2.GaussianBlur(noise.standard_normal((height, width)).astype(np.float32), (0, 0), frame.height / 14)
        sheet[blots > blots.std() * 0.5] = [chance.randint(20, 235) for _ in range(3)]
    light = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), (0, 0), max(1.0, frame.height * 0.25))
    inside = light[tuple(np.clip(frame.at(0, 1)[::-1].astype(int), 0, [height - 1, width - 1]))]
    sheet *= np.clip(light.astype(np.float32) / max(40.0, float(inside)), 0.45, 1.5)[..., None] ** 0.8
    sheet *= np.clip(float(inside) / 130, 0.35, 1.15) ** 0.6  # a mask in the dark is dark
    y, x = np.mgrid[:height, :width].astype(np.float32)
    level = ((x - frame.eyes[0]) * frame.down[0] + (y - frame.eyes[1]) * frame.down[1]) / frame.height
    if kind in ("surgical", "white", "black") and chance.random() < 0.6:  # pleats
        pleats = np.sin(level * 2 * np.pi * chance.uniform(2.0, 3.5))
        sheet *= 1 - chance.uniform(0.04, 0.14) * np.clip(pleats, 0, 1)[..., None] ** 4
    elif chance.random() < 0.5:  # a seam down the middle
        side = ((x - frame.eyes[0]) * frame.across[0] + (y - frame.eyes[1]) * frame.across[1]) / frame.height
        sheet *= 1 - 0.25 * np.exp(-(((side - frame.nose) / 0.03) ** 2))[..., None]
    sheet += noise.standard_normal(sheet.shape[:2]).astype(np.float32)[..., None] * chance.uniform(1, 5)
    return np.asarray(np.clip(sheet, 0, 255), np.uint8)


def draw_mask(picture: np.ndarray, points: np.ndarray, top: float, chance: random.Random) -> np.ndarray:
    """The picture with a mask drawn over the face.

    Args:
        picture: uint8, (height, width, 3), BGR.
        points: float, (5, 2): ``POINTS`` in pixels.
        top: level of the upper edge, see ``WORN``.
        chance: the source of shape and cloth.
    """
    frame = Frame(points)
    size = (picture.shape[1] * FINE, picture.shape[0] * FINE)
    cover = np.zeros(size[::-1], np.uint8)
    edge = outline(frame, top, chance)
    cv2.fillPoly(cover, [np.round(edge * FINE).astype(np.int32)], 255)
    if chance.random() < 0.7:  # loops to the ears
        thick = max(1, round(frame.height * FINE * chance.uniform(0.015, 0.04)))
        for side, outer in ((frame.left, -0.25), (frame.right, 0.25)):
            ends = [frame.at(side * 0.97, top + 0.25), frame.at(side + outer, chance.uniform(0.0, 0.3))]
            start, end = ([int(value) for value in np.round(place * FINE)] for place in ends)
            cv2.line(cover, start, end, 255, thick)
    share = cv2.resize(cover, picture.shape[1::-1], interpolation=cv2.INTER_AREA).astype(np.float32)[..., None] / 255
    sheet = cloth(picture, frame, chance)
    return np.asarray(np.round(picture * (1 - share) + sheet * share), np.uint8)


def points_of(cell: Mapping[str, str]) -> np.ndarray | None:
    """The five points of a row in pixels, float, (5, 2); None without all of them."""
    values = [cell.get(f"{name}_{axis}", "") for name in POINTS for axis in "xy"]
    return np.array([float(value) for value in values]).reshape(5, 2) if all(values) else None


def common_recipe(data: Sequence[Path]) -> str | None:
    """The sidecar of some label files of crops; None if they have none.

    Raises:
        FacepipeError: they were cropped by different recipes.
    """
    found = [path.parent / SIDECAR for path in data if (path.parent / SIDECAR).is_file()]
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in found]
    if any(each.get(key) != contents[0].get(key) for each in contents for key in ("recipe", "context")):
        raise FacepipeError(f"{data[0]} and others were cropped by different recipes ({SIDECAR}); crop them alike")
    return json.dumps(contents[0]) if contents else None


def main(
    data: Annotated[list[Path], typer.Argument(metavar="FACES.csv…", help="Label files of crops.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for pictures and faces.csv; new.")],
    count: Annotated[int, typer.Option(min=1, help="How many faces at most.")] = 6000,
    seed: Annotated[int, typer.Option(help="Of the choice and of the masks.")] = 0,
) -> None:
    """Draw the masks and write their label file."""
    rows = []
    sidecar = common_recipe(data)
    for path in data:
        table = read_table_file(path)
        for cell in table.cells:
            points = points_of(cell)
            if cell.get("split") == "train" and points is not None and Frame(points).height >= 12:
                rows.append((table.root / cell["file"], dict(cell), points))
    if not rows:
        raise FacepipeError(f"{data[0]}: no training row has {', '.join(POINTS)}")
    chance = random.Random(seed)
    chance.shuffle(rows)
    (out / "images").mkdir(parents=True)
    if sidecar is not None:
        (out / SIDECAR).write_text(sidecar, encoding="utf-8")
    names = sorted({name for _, cell, _ in rows for name in cell} - {"file"})
    with open(out / "faces.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["file", *names], restval="")
        writer.writeheader()
        for number, (path, cell, points) in enumerate(rows[:count]):
            picture = cv2.imread(str(path))
            if picture is None:
                raise FacepipeError(f"{path}: not a picture")
            wrong = chance.random() < WRONG
            level = chance.uniform(*(chance.choice([UNDER_NOSE, UNDER_MOUTH]) if wrong else WORN))
            name = f"images/{number:05d}.jpg"
            cv2.imwrite(str(out / name), draw_mask(picture, points, level, chance), [cv2.IMWRITE_JPEG_QUALITY, 92])
            label = {"mask": "no" if wrong else "yes", "source": f"drawn_{cell.get('source', '')}"}
            writer.writerow(
                {**cell, **dict.fromkeys((each for each in BLANK if each in cell), ""), **label, "file": name}
            )
    print(f"{out / 'faces.csv'}: {min(count, len(rows))} faces")


if __name__ == "__main__":
    try:
        typer.run(main)
    except FacepipeError as error:
        raise SystemExit(f"error: {error}") from error
