"""Pictures for timing: the requested number of faces on a drawn background, confirmed by the detector.

The face is Eileen Collins's (``sample_face.jpg``, cut from examples/astronaut.jpg; NASA, public domain), scaled, made
brighter or darker, and mirrored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from facepipe.core.files import write_whole
from facepipe.pipeline.benchmark import PORTRAIT

ASPECT = 4 / 3
"""Width over height of the pictures, as phones take them."""
QUALITY = 90
"""JPEG quality."""
TRIES = 4
"""Attempts per picture, with other places and sizes each time, until the detector counts right."""
SHARE = 0.45
"""Maximum height of a portrait, as a fraction of the picture's."""


@dataclass(frozen=True)
class Drawn:
    """Pictures of one kind on disk.

    Attributes:
        paths: JPEG files.
        wanted: requested faces in each.
        found: faces that the detector sees in each, in the order of the paths.
        width, height: in pixels.
    """

    paths: tuple[Path, ...]
    wanted: int
    found: tuple[int, ...]
    width: int
    height: int

    @property
    def wrong(self) -> int:
        """Pictures in which the detector sees a different number of faces than requested."""
        return sum(count != self.wanted for count in self.found)

    @property
    def label(self) -> str:
        """In words: ``10 faces, 1.0 MP``."""
        return f"{self.wanted} face{'' if self.wanted == 1 else 's'}, {self.width * self.height / 1e6:.1f} MP"


def sides(megapixels: float) -> tuple[int, int]:
    """Width and height in pixels of a 4:3 picture of this many megapixels."""
    height = max(8, round((megapixels * 1e6 / ASPECT) ** 0.5))
    return round(height * ASPECT), height


def draw(faces: int, width: int, height: int, random: np.random.Generator) -> np.ndarray:
    """Draw one picture.

    Args:
        faces: how many; each has its own cell of a grid.
        width, height: in pixels.
        random: decides everything else.

    Returns:
        BGR, uint8, (height, width, 3).
    """
    picture = _background(width, height, random)
    portrait = cv2.imread(str(PORTRAIT))
    assert portrait is not None, f"{PORTRAIT} is a part of the package"
    rows, columns = _grid(faces, width, height, portrait.shape[0] / portrait.shape[1])
    for cell in random.permutation(rows * columns)[:faces]:
        row, column = divmod(int(cell), columns)
        room = height / rows, width / columns
        scale = min(room[0] / portrait.shape[0], room[1] / portrait.shape[1], SHARE * height / portrait.shape[0])
        scale *= random.uniform(0.82, 0.98)
        size = max(2, int(portrait.shape[1] * scale)), max(2, int(portrait.shape[0] * scale))
        top = int(row * room[0] + random.uniform(0, room[0] - size[1]))
        left = int(column * room[1] + random.uniform(0, room[1] - size[0]))
        _paste(picture[top : top + size[1], left : left + size[0]], portrait, random)
    return picture


def draw_files(
    folder: Path,
    count: int,
    faces: int,
    megapixels: float,
    counter: Callable[[np.ndarray], int],
    seed: int = 0,
) -> Drawn:
    """Draw pictures until the detector agrees on the number of faces, and store them as JPEG.

    Args:
        folder: where to write; it is created.
        count: number of pictures.
        faces: in each.
        megapixels: of each, at 4:3.
        counter: counts the faces that the detector sees in a frame (of the stored JPEG, decoded again).
        seed: the same seed gives the same pictures.

    Returns:
        The files. A picture on which the detector did not agree in ``TRIES`` attempts is kept as it is; ``Drawn.wrong``
        counts these.

    Raises:
        OSError: a file cannot be written.
    """
    width, height = sides(megapixels)
    paths, found = [], []
    for number in range(count):
        random = np.random.default_rng((seed, faces, width, number))
        for _ in range(TRIES):
            coded = cv2.imencode(".jpg", draw(faces, width, height, random), (cv2.IMWRITE_JPEG_QUALITY, QUALITY))[1]
            decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
            assert decoded is not None
            seen = counter(decoded)
            if seen == faces:
                break
        path = folder / f"{faces}-faces-{width}x{height}-{number:03}.jpg"
        write_whole(path, coded.tobytes())
        paths.append(path)
        found.append(seen)
    return Drawn(tuple(paths), faces, tuple(found), width, height)


def _grid(faces: int, width: int, height: int, aspect: float) -> tuple[int, int]:
    """Rows and columns of the grid that leaves the most room for portraits of this height over width."""
    choices = [(rows, -(-max(1, faces) // rows)) for rows in range(1, max(1, faces) + 1)]
    return max(choices, key=lambda grid: min(height / grid[0], width / grid[1] * aspect))


def _background(width: int, height: int, random: np.random.Generator) -> np.ndarray:
    """Soft colours, coarse and fine patterns and grain: about as many JPEG bytes as a photo, and no face."""
    picture = np.zeros((height, width, 3), np.float32)
    for cells, strength in ((3, 70), (12, 25), (48, 12), (192, 8)):
        shape = max(2, round(cells / ASPECT)), cells
        coarse = (random.normal(0, strength, (*shape, 1)) + random.normal(0, strength / 3, (*shape, 3))).astype(
            np.float32
        )
        picture += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    tile = random.normal(0, 5, (256, 256, 1)).astype(np.float32)
    picture += np.tile(tile, (-(-height // 256), -(-width // 256), 1))[:height, :width]
    return np.clip(picture + random.uniform(90, 160), 0, 255).astype(np.uint8)


def _paste(place: np.ndarray, portrait: np.ndarray, random: np.random.Generator) -> None:
    """Paste the portrait into part of the picture; its outline is an ellipse with a soft edge."""
    height, width = place.shape[:2]
    shrinks = width < portrait.shape[1]
    face = cv2.resize(portrait, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    if random.random() < 0.5:
        face = face[:, ::-1]
    lit = face.astype(np.float32) * random.uniform(0.8, 1.15) + random.uniform(-8, 8)
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    mask = np.clip((1 - np.sqrt(x**2 + y**2)) / 0.12, 0, 1).astype(np.float32)[..., None]
    place[:] = np.clip(lit * mask + place * (1 - mask), 0, 255).astype(np.uint8)
