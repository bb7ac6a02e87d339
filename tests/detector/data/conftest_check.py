"""A clean data set, and what is needed to check it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe.detector.data.check import CheckReport, check_data
from facepipe.pipeline.datasets.check import open_stored

YAML = """\
train: images/train
val: images/val
names: {0: face, 1: head}
labelled: labelled.csv
ignore: ignore
"""
SOUND = {"faces": "0 0.5 0.5 0.25 0.4\n", "heads": "1 0.4 0.5 0.3 0.5\n1 0.8 0.3 0.2 0.2\n", "empty": ""}
CLASSES = {"faces": "face", "heads": "head", "empty": "face;head"}


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clean")
    rows = ["file,source,labelled_classes,note"]
    seed = 0
    for split, count in (("train", 9), ("val", 6)):
        for kind in ("images", "labels", "ignore"):
            (root / kind / split).mkdir(parents=True)
        for number in range(count):
            seed += 1
            random = np.random.default_rng(seed)
            coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            blocks = cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_NEAREST)
            frame = np.clip(blocks + random.integers(-25, 26, (240, 320, 1)), 0, 255).astype(np.uint8)
            source = ("faces", "heads", "empty")[number % 3]
            name = f"{source}{number}"
            cv2.imwrite(str(root / "images" / split / f"{name}.png"), frame)
            (root / "labels" / split / f"{name}.txt").write_text(SOUND[source])
            rows.append(f'images/{split}/{name}.png,{source},{CLASSES[source]},"a, b"')
    (root / "ignore" / "train" / "faces0.txt").write_text("0 0.1 0.1 0.1 0.1\n")
    (root / "labelled.csv").write_text("\n".join(rows) + "\n")
    (root / "data.yaml").write_text(YAML)
    return root


@pytest.fixture
def clean(tmp_path: Path, _template: Path) -> Path:
    """DATA.yaml of 9 + 6 sharp pictures that do not look alike, all sound: faces, heads, and pictures without a box."""
    shutil.copytree(_template, tmp_path / "größe")
    return tmp_path / "größe" / "data.yaml"


@pytest.fixture
def check() -> Callable[[Path], CheckReport]:
    """``check(yaml)`` as the command does it."""
    return lambda yaml: check_data(yaml, open_stored, workers=2)
