"""Fixtures of the tests beside this file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe import Pipeline

HEADER = "file,x1,y1,x2,y2,gender,age,age_lo,age_hi,left_eye_x,left_eye_y,right_eye_x,right_eye_y"


def write(path: Path, lines: Sequence[str], header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


@pytest.fixture
def pictures(tmp_path: Path, photo: Callable[..., np.ndarray]) -> Path:
    """A folder with a.png, b.png and c.png, in each of which the random detector finds something."""
    for seed, name in enumerate("abc"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), photo(seed + 3))
    return tmp_path


@pytest.fixture
def told_itself(pictures: Path, tiny_weights: Path) -> Path:
    """Labels that are what the pipeline says, on its own boxes, of every face of the three pictures."""
    lines = []
    with Pipeline() as pipeline:
        for name in "abc":
            for face in pipeline.run(pictures / f"{name}.png").faces:
                box, values = face.box, face.attributes
                assert values is not None
                eyes = values["eyes"].points  # type: ignore[union-attr]
                cells = [f"{name}.png", box.x1, box.y1, box.x2, box.y2]
                cells += [values["gender"].likeliest, values["age"].value, "", ""]  # type: ignore[union-attr]
                cells += [*eyes["left_eye"], *eyes["right_eye"]]
                lines.append(",".join(map(str, cells)))
    assert len(lines) > 3
    return write(pictures / "told.csv", lines)
