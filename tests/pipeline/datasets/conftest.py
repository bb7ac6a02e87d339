"""A small sound data set, and the command line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe.pipeline.cli import main

YAML = "train: images/train\nval: images/val\nnames: {0: face, 1: head}\nlabelled: labelled.csv\n"


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    rows = ["file,source,labelled_classes"]
    for split, count in (("train", 4), ("val", 2)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for number in range(count):
            random = np.random.default_rng(10 * number + count)
            coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            blocks = cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_NEAREST)
            frame = np.clip(blocks + random.integers(-25, 26, (120, 160, 1)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(root / "images" / split / f"p{number}.png"), frame)
            (root / "labels" / split / f"p{number}.txt").write_text("0 0.5 0.5 0.2 0.3\n1 0.5 0.5 0.3 0.5\n")
            rows.append(f"images/{split}/p{number}.png,some,face;head")
    (root / "labelled.csv").write_text("\n".join(rows) + "\n")
    (root / "data.yaml").write_text(YAML)
    return root


@pytest.fixture
def data(tmp_path: Path, _template: Path) -> Path:
    """DATA.yaml of 4 + 2 pictures without a fault."""
    shutil.copytree(_template, tmp_path / "set")
    return tmp_path / "set" / "data.yaml"


@pytest.fixture
def run(tiny_weights: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """``run("data", "check", path, ...)`` gives the exit code, standard output and standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call
