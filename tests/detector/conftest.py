"""A tiny generated detection data set whose sources label different classes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

DATA_YAML = """\
train: images/train
val: images/val
names: {0: face, 1: head}
labelled: labelled.csv
ignore: ignore
terms: {faces: made for a test, heads: made for a test, empty: made for a test}
"""


@pytest.fixture(scope="session")
def detection_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DATA.yaml of 12 + 4 pictures: a third with faces labelled, a third with heads, a third empty; one ignore
    region."""
    root = tmp_path_factory.mktemp("détection")
    random = np.random.default_rng(5)
    rows = ["file,source,labelled_classes"]
    for split, count in (("train", 12), ("val", 6)):
        for kind in ("images", "labels", "ignore"):
            (root / kind / split).mkdir(parents=True)
        for number in range(count):
            source = ("faces", "heads", "empty")[number % 3]
            height, width = (72, 96) if number % 2 else (96, 64)
            frame = random.integers(0, 60, (height, width, 3)).astype(np.uint8)
            name = f"{source}{number}"
            if source != "empty":
                x, y = (int(v) for v in random.integers(24, [width - 24, height - 24]))
                cv2.ellipse(frame, (x, y), (12, 16), 0, 0, 360, (150, 180, 230), -1)
                label = 0 if source == "faces" else 1
                box = f"{label} {x / width:.6f} {y / height:.6f} {24 / width:.6f} {32 / height:.6f}\n"
                (root / "labels" / split / f"{name}.txt").write_text(box)
            if number == 0:
                (root / "ignore" / split / f"{name}.txt").write_text("0 0.2 0.2 0.3 0.3\n")
            cv2.imwrite(str(root / "images" / split / f"{name}.png"), frame)
            labelled = {"faces": "face", "heads": "head", "empty": "face;head"}[source]
            rows.append(f"images/{split}/{name}.png,{source},{labelled}")
    (root / "labelled.csv").write_text("\n".join(rows) + "\n")
    (root / "data.yaml").write_text(DATA_YAML)
    return root / "data.yaml"
