"""Labelled photos for the notebooks: one face in many lights and places, half of them with a sticker on a cheek.

    python drawn.py photos

writes photos/*.jpg and photos/faces.csv with the columns file, sticker and split.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import cv2
import numpy as np
from facepipe import read_frame

PORTRAIT = Path(__file__).with_name("astronaut.jpg")
SIDE = 320
"""Of the photos, in pixels."""
MOUTH = (224, 137)
"""The middle of the mouth in the portrait, in pixels."""


COLOURS = np.array([(40, 180, 40), (200, 120, 20), (30, 30, 210), (20, 200, 230)])
"""Of the stickers, BGR."""


def draw_photo(sticker: bool, random: np.random.Generator) -> np.ndarray:
    """The portrait, turned, mirrored and lit anew, with or without a sticker: BGR, uint8, (SIDE, SIDE, 3)."""
    portrait = read_frame(PORTRAIT)
    if sticker:
        cheek = (MOUTH[0] + int(random.choice([-24, 22])), MOUTH[1] - 18)
        cv2.circle(portrait, cheek, int(random.integers(8, 11)), random.choice(COLOURS).tolist(), -1, cv2.LINE_AA)
    scale, angle = random.uniform(0.85, 1.2), random.uniform(-10, 10)
    turn = cv2.getRotationMatrix2D(MOUTH, angle, scale)
    turn[:, 2] = turn[:, 2] + SIDE / 2 - np.array(MOUTH) + random.uniform(-25, 25, 2)
    photo = cv2.warpAffine(portrait, turn, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
    if random.random() < 0.5:
        photo = photo[:, ::-1]
    lit = photo * random.uniform(0.7, 1.2) + random.normal(0, 4, photo.shape)
    return np.clip(lit, 0, 255).astype(np.uint8)


def write_photos(folder: str | Path, count: int = 80, seed: int = 0) -> None:
    """Write photos and their labels; every fourth pair is for validation."""
    random = np.random.default_rng(seed)
    Path(folder).mkdir(parents=True, exist_ok=True)
    with Path(folder, "faces.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "sticker", "split"])
        for index in range(count):
            sticker = bool(index % 2)
            cv2.imwrite(str(Path(folder, f"{index}.jpg")), draw_photo(sticker, random))
            writer.writerow([f"{index}.jpg", "yes" if sticker else "no", "val" if index % 8 > 5 else "train"])


if __name__ == "__main__":
    write_photos(sys.argv[1] if len(sys.argv) > 1 else "photos")
