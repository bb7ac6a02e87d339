"""Generate a data set of shirt colours: a face above a drawn shirt, in front of a drawn background.

It shows how an attribute that is not on the face is trained and read (docs/regions.md) when no labelled photos of
clothes are available. The face is that of examples/astronaut.jpg (NASA, public domain), rotated, mirrored and lit in
many ways, so that the detector finds it; everything else is drawn. A classifier trained on this knows drawn shirts
only.

    python benchmarks/shirts.py --out shirts --count 400

writes shirts/images, shirts/faces.csv with the columns file, source, split and shirt_colour, the schema
shirts/shirt.yaml and a small recipe, shirts/recipe.yaml. ``--check`` runs the detector on the pictures and reports in
how many it finds the face, by its size.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from facepipe import FaceDetector
from facepipe.core.errors import FacepipeError

PORTRAIT = Path(__file__).resolve().parent.parent / "examples" / "astronaut.jpg"
OUTLINE = np.array(
    "225,15 250,19 275,35 292,57 301,85 299,110 285,132 271,129 264,150 256,164 248,175 236,181 205,180 192,170 "
    "184,150 180,130 172,122 160,107 153,85 157,60 175,41 195,35 202,22".replace(",", " ").split(),
    np.float32,
).reshape(-1, 2)
"""The head's outline in the portrait, in its pixels."""
CHIN, CENTRE, HEAD = np.array([226.0, 178.0]), np.array([226.0, 105.0]), 165.0
"""Chin, below which the neck begins; centre of the head; its height in pixels."""
FACE = np.array([[178.0, 56.0], [271.0, 178.0]])
"""Corners of the face's box, as detector 1.0.0 finds it in the portrait."""
COLOURS: dict[str, tuple[tuple[float, float], ...]] = {
    "black": ((0, 180), (0, 50), (12, 45)),
    "grey": ((0, 180), (0, 18), (95, 155)),
    "white": ((0, 180), (0, 14), (225, 255)),
    "red": ((-5, 5), (175, 255), (120, 230)),
    "yellow": ((24, 32), (150, 255), (180, 250)),
    "green": ((48, 78), (120, 255), (70, 200)),
    "blue": ((104, 122), (140, 255), (80, 220)),
    "pink": ((158, 172), (60, 140), (200, 255)),
}
"""Ranges of hue (0 to 180), saturation and value in OpenCV's units."""
VAL_SHARE = 0.2
SCHEMA = f"""# One attribute, read from the torso. A crop of that region is cut by: facepipe data crop --region torso
attributes:
  - name: shirt_colour
    kind: categorical
    classes: [{", ".join(COLOURS)}]
"""
RECIPE = """# A small network for a simple question. It learns colours, so the augmentation hardly touches them.
backbone: resnet14
schema: shirt.yaml
start: none
batch: 16
neck: {dropout: 0.1}
augmentation: {saturation: 0.1, tint: 0.02, grey: 0, brightness: 0.15, contrast: 0.1, rotation: 5, coarse: 0.1}
stages:
  - {name: all, size: 64, epochs: 6, learning_rate: 2.0e-3}
"""


@dataclass(frozen=True)
class Portrait:
    """The head that all pictures share: BGR uint8 (height, width, 3), and its outline as float32 0..1."""

    image: np.ndarray
    mask: np.ndarray
    skin: np.ndarray


def read_portrait(path: Path = PORTRAIT) -> Portrait:
    """Read the photograph and cut out the head.

    Raises:
        FacepipeError: it does not exist.
    """
    image = cv2.imread(str(path))
    if image is None:
        raise FacepipeError(f"{path}: cannot be read; run this from a checkout of the repository, which has it")
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(mask, [OUTLINE.round().astype(np.int32)], (255,))
    soft = cv2.GaussianBlur(mask, (0, 0), 1.6).astype(np.float32) / 255
    return Portrait(image, soft, np.median(image[140:165, 205:245].reshape(-1, 3), axis=0))


def draw(portrait: Portrait, colour: str, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw one picture.

    Returns:
        The picture, BGR uint8 (height, width, 3), and the face's box: x1, y1, x2, y2 in pixels.
    """
    width, height = int(random.integers(300, 560)), int(random.integers(400, 640))
    picture = background(width, height, random)
    head = float(random.uniform(0.16, 0.34)) * height
    middle = np.array([width * random.uniform(0.4, 0.6), height * random.uniform(0.04, 0.1) + head / 2])
    light = random.uniform(0.65, 1.15) * np.clip(random.normal(1, 0.04, 3), 0.88, 1.12)

    turn, mirrored = random.normal(0, 4), -1.0 if random.random() < 0.5 else 1.0
    matrix = cv2.getRotationMatrix2D((0.0, 0.0), turn, head / HEAD) @ np.array(
        [[mirrored, 0, -mirrored * CENTRE[0]], [0, 1, -CENTRE[1]], [0, 0, 1]]
    )
    matrix[:, 2] += middle
    chin = matrix[:, :2] @ CHIN + matrix[:, 2]
    body(picture, chin, head, portrait.skin, shade(colour, random), random)
    flags = cv2.INTER_AREA if head < HEAD else cv2.INTER_LINEAR
    face = cv2.warpAffine(
        cv2.GaussianBlur(portrait.image, (0, 0), max(0.4 * HEAD / head, 0.1)), matrix, (width, height)
    )
    alpha = cv2.warpAffine(portrait.mask, matrix, (width, height), flags=flags)[..., None]
    lit = (picture * (1 - alpha) + face * alpha) * light
    if random.random() < 0.5:  # light from one side
        first, last = random.permutation([1.0, random.uniform(0.6, 0.9)])
        lit *= np.linspace(first, last, width)[None, :, None]
    lit += random.normal(0, random.uniform(0, 7), lit.shape)
    centre, half = matrix[:, :2] @ FACE.mean(axis=0) + matrix[:, 2], np.diff(FACE, axis=0)[0] / 2 * head / HEAD
    return np.clip(lit, 0, 255).astype(np.uint8), np.concatenate([centre - half, centre + half])


def background(width: int, height: int, random: np.random.Generator) -> np.ndarray:
    """A gradient of two colours with some shapes, blurred: BGR float32 (height, width, 3)."""
    above, below = random.uniform(30, 235, (2, 3))
    share = np.linspace(0, 1, height)[:, None, None]
    picture = np.ascontiguousarray(np.broadcast_to(above * (1 - share) + below * share, (height, width, 3)))
    for _ in range(int(random.integers(0, 7))):
        paint = tuple(random.uniform(0, 255, 3).tolist())
        corner = random.integers(0, (width, height))
        if random.random() < 0.5:
            cv2.rectangle(picture, corner.tolist(), (corner + random.integers(20, 200, 2)).tolist(), paint, -1)
        else:
            cv2.circle(picture, corner.tolist(), int(random.integers(10, 100)), paint, -1)
    return cv2.GaussianBlur(picture, (0, 0), random.uniform(0.5, 8)).astype(np.float32)


def shade(colour: str, random: np.random.Generator) -> np.ndarray:
    """A random shade of a named colour: BGR, 0 to 255, (3,)."""
    hue, saturation, value = (random.uniform(*limits) for limits in COLOURS[colour])
    return cv2.cvtColor(np.array([[[hue % 180, saturation, value]]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0].astype(float)


def body(
    picture: np.ndarray, chin: np.ndarray, head: float, skin: np.ndarray, cloth: np.ndarray, random: np.random.Generator
) -> None:
    """Draw the neck and the shirt below a chin into a picture, in place."""
    height, width = picture.shape[:2]
    neck = head * random.uniform(0.2, 0.25)
    shoulders = head * random.uniform(0.85, 1.15)  # half their width
    top, drop = chin[1] + 0.14 * head, head * random.uniform(0.18, 0.32)
    cv2.rectangle(
        picture,
        (chin + np.array([-neck, -0.15 * head])).round().astype(int).tolist(),
        (chin + np.array([neck, 0.35 * head])).round().astype(int).tolist(),
        (skin * 0.85).tolist(),
        -1,
    )
    steps = np.linspace(0, np.pi / 2, 12)
    across, down = neck + (shoulders - neck) * np.sin(steps), drop * (1 - np.cos(steps))
    sleeve = shoulders * random.uniform(1.02, 1.18)
    side = np.column_stack([np.append(across, sleeve), np.append(down, height - top + 5)])
    collar = head * random.uniform(0.05, 0.3)
    outline = np.concatenate([side * (-1, 1), side[::-1], [[0, collar]]]) + np.array([chin[0], top])
    mask = np.zeros((height, width), np.float32)
    cv2.fillPoly(mask, [outline.round().astype(np.int32)], (1.0,), cv2.LINE_AA)

    texture = np.broadcast_to(cloth, (height, width, 3)) * pattern(width, height, head, random)[..., None]
    folds = cv2.GaussianBlur(random.normal(0, 1, (height, width)).astype(np.float32), (0, 0), head * 0.12)
    texture = texture * (1 + 0.12 * folds / (folds.std() + 1e-6))[..., None]
    picture[:] = picture * (1 - mask[..., None]) + np.clip(texture, 0, 255) * mask[..., None]


def pattern(width: int, height: int, head: float, random: np.random.Generator) -> np.ndarray:
    """Factors for a shirt's colour: plain, or darker stripes, checks or dots: (height, width)."""
    kind, period, depth = random.choice(["plain", "plain", "stripes", "checks", "dots"]), head * 0.3, 0.25
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    factors = np.ones((height, width))
    if kind == "stripes":
        factors[(x if random.random() < 0.5 else y) % period < period * 0.35] -= depth
    elif kind == "checks":
        factors[(x % period < period / 2) ^ (y % period < period / 2)] -= depth
    elif kind == "dots":
        factors[np.hypot(x % period - period / 2, y % period - period / 2) < period * 0.22] -= depth
    return factors


def sheet(pictures: list[np.ndarray], side: int) -> np.ndarray:
    """A page of pictures under the names of the colours, in the order they come: BGR uint8."""
    head, names = 24, list(COLOURS)
    page = np.full((head + -(-len(pictures) // len(names)) * side, len(names) * side, 3), 255, np.uint8)
    for column, name in enumerate(names):
        cv2.putText(
            page, name, (column * side + side // 4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA
        )
    for place, picture in enumerate(pictures):
        scale = side / max(picture.shape[:2])
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[:side, :side]
        top = head + place // len(names) * side
        left = place % len(names) * side + (side - small.shape[1]) // 2
        page[top : top + small.shape[0], left : left + small.shape[1]] = small
    return page


def check(pictures: list[tuple[np.ndarray, np.ndarray]], version: str | None) -> None:
    """Print in how many pictures the detector finds the face, by the height of its box in pixels."""
    detector = FaceDetector(version)
    found: dict[str, list[bool]] = {}
    for picture, box in pictures:
        faces = detector.detect([picture])[0].of("face")
        overlaps = [_overlap(box, each) > 0.5 for each in faces.boxes]
        size = "under 70 px" if box[3] - box[1] < 70 else "70 to 110 px" if box[3] - box[1] < 110 else "110 px and more"
        found.setdefault(size, []).append(overlaps == [True])
    print(
        f"detector {detector.release.version}, pictures in which it finds the face and no other, by the face's height:"
    )
    for size, each in sorted(found.items()):
        print(f"  {size}: {sum(each)} of {len(each)}")


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    shared = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None).prod()
    return float(shared / ((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - shared))


def main(
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder for all of it.")],
    count: Annotated[int, typer.Option(min=len(COLOURS), help="Pictures, equally many of each colour.")] = 400,
    seed: Annotated[int, typer.Option(help="The same seed makes the same pictures.")] = 0,
    checked: Annotated[bool, typer.Option("--check", help="Say in how many the detector finds the face.")] = False,
    detector: Annotated[str | None, typer.Option(help="For --check. Default: that in use.")] = None,
    sheet_file: Annotated[
        Path | None, typer.Option("--sheet", metavar="FILE", help="Save a sheet of two pictures of each colour.")
    ] = None,
) -> None:
    """Draw the pictures, and write their labels, schema and recipe."""
    if out.exists():
        raise FacepipeError(f"{out}: exists already; give a new folder")
    portrait, random = read_portrait(), np.random.default_rng(seed)
    (out / "images").mkdir(parents=True)
    rows: list[dict[str, str]] = []
    made: list[tuple[np.ndarray, np.ndarray]] = []
    shown: list[np.ndarray] = []
    for index in range(count):
        colour = list(COLOURS)[index % len(COLOURS)]
        picture, face = draw(portrait, colour, random)
        name = f"images/{index:05}.jpg"
        cv2.imwrite(str(out / name), picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
        split = "val" if index // len(COLOURS) % round(1 / VAL_SHARE) == 0 else "train"
        rows.append({"file": name, "source": "drawn", "split": split, "shirt_colour": colour})
        if checked:
            made.append((picture, face))
        if len(shown) < 2 * len(COLOURS):
            shown.append(picture)
    with (out / "faces.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (out / "shirt.yaml").write_text(SCHEMA, encoding="utf-8")
    (out / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    print(f"{out / 'faces.csv'}: {count} pictures of {len(COLOURS)} colours")
    if sheet_file is not None:
        cv2.imwrite(str(sheet_file), sheet(shown, 120), [cv2.IMWRITE_JPEG_QUALITY, 85])
    if checked:
        check(made, detector)


if __name__ == "__main__":
    try:
        typer.run(main)
    except FacepipeError as error:
        raise SystemExit(f"error: {error}") from error
