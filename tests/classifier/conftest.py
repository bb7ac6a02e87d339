"""Colour-coded faces: small drawn pictures whose labels can be read from their pixels."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

POINTS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
PLACES = np.array([(0.35, 0.4), (0.65, 0.4), (0.5, 0.55), (0.4, 0.75), (0.6, 0.75)])
COLUMNS = [
    "file",
    "source",
    "split",
    "group",
    "framing",
    "age",
    "age_lo",
    "age_hi",
    "gender",
    "race",
    "glasses",
    "mask",
]
COLUMNS += [f"{point}_{axis}" for point in POINTS for axis in "xy"]
TINY = """
backbone: resnet14
batch: 8
recalibration: 3
augmentation: {scale: 0.05, shift: 0.02, rotation: 3}
stages:
  - {name: first, size: 32, epochs: 1, learning_rate: 1.0e-3, freeze: [conv1, conv2]}
  - {name: second, size: 64, epochs: 1, learning_rate: 5.0e-4}
"""


def draw_face(female: bool, age: float, glasses: bool, points: np.ndarray, size: int = 72) -> np.ndarray:
    """Red for female, blue for male; the older the brighter; a yellow bar for glasses; green points."""
    image = np.full((size, size, 3), 60, np.uint8)
    shade = int(80 + 1.6 * age)
    cv2.circle(image, (size // 2, size // 2), int(size * 0.45), (40, 40, shade) if female else (shade, 40, 40), -1)
    if glasses:
        y = int(points[:2, 1].mean())
        cv2.rectangle(image, (int(points[0, 0]) - 5, y - 4), (int(points[1, 0]) + 5, y + 4), (0, 220, 220), 2)
    for x, y in points:
        cv2.circle(image, (int(x), int(y)), 3, (0, 255, 0), -1)
    return image


def write_faces(folder: Path, count: int = 48, framing: str = "tight", size: int = 72) -> Path:
    """Pictures and ``faces.csv`` with three sources, each of which labels other attributes."""
    random = np.random.default_rng(5)
    (folder / "images").mkdir(parents=True)
    rows = []
    for index in range(count):
        female, age, glasses = bool(index % 2), float(random.integers(5, 95)), bool(index % 4 // 2)
        points = (PLACES + random.normal(0, 0.02, PLACES.shape)) * size
        name = f"images/{index:03}.png"
        cv2.imwrite(str(folder / name), draw_face(female, age, glasses, points, size))
        row = {"file": name, "split": "val" if index % 3 == 2 else "train", "framing": framing, "source": "ages"}
        if index % 5 < 2:
            row |= {"age": f"{age:g}", "gender": "female" if female else "male", "race": "a" if female else "b"}
        elif index % 5 == 2:
            row |= {"source": "ranges", "age_lo": f"{age // 10 * 10:g}", "age_hi": f"{age // 10 * 10 + 9:g}"}
        else:
            row |= {"source": "points", "glasses": "yes" if glasses else "no"}
            for point, (x, y) in zip(POINTS, points, strict=True):
                row |= {f"{point}_x": f"{x:.2f}", f"{point}_y": f"{y:.2f}"}
        rows.append(row)
    path = folder / "faces.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of 48 tight colour-coded faces. Read only."""
    return write_faces(tmp_path_factory.mktemp("faces") / "data")


@pytest.fixture(scope="session")
def draw_faces() -> Callable[..., Path]:
    """``draw_faces(folder, count)`` writes so many tight colour-coded faces and their CSV into a new folder."""
    return write_faces


@pytest.fixture
def make_csv(tmp_path: Path) -> Callable[..., Path]:
    """``make_csv(header, *lines)`` writes a CSV beside one picture, ``a.png``."""

    def make(header: str, *lines: str) -> Path:
        cv2.imwrite(str(tmp_path / "a.png"), np.zeros((20, 20, 3), np.uint8))
        path = tmp_path / "faces.csv"
        path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
        return path

    return make


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of two short stages of a small network."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TINY, encoding="utf-8")
    return path
