"""Fixtures of the tests beside this file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe import Pipeline
from facepipe.classifier.data.label_files import read_table_file
from facepipe.classifier.data.table import make_table
from facepipe.classifier.evaluation.predictions import Predictions
from facepipe.pipeline.evaluation.data import Photo, Photos
from facepipe.pipeline.evaluation.predictions import Alarm, EndToEnd, Read
from facepipe.weights.manifest import BinaryAttribute

GENDER = BinaryAttribute(name="gender", classes=("female", "male"))
HEADER = "file,x1,y1,x2,y2,gender,age,age_lo,age_hi,left_eye_x,left_eye_y,right_eye_x,right_eye_y"


def write(path: Path, lines: Sequence[str], header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def hand_made(tmp_path: Path) -> EndToEnd:
    """Six faces in three pictures, two of them missed, one too small; their gender by hand."""
    names = ["a", "a", "b", "b", "c", "c"]
    lines = [f"{name}.png,0,0,10,10,male,,,,,,," for name in names]
    table = make_table(read_table_file(write(tmp_path / "by-hand.csv", lines)), (GENDER,), must_exist=False)
    places = {name: np.flatnonzero(np.array(names) == name) for name in "abc"}
    photos = tuple(Photo(Path(f"{n}.png"), f"{n}.png", rows, np.zeros((0, 4))) for n, rows in places.items())

    def read(said: Sequence[str]) -> Read:
        outputs = np.array([{"m": (0, 1), "f": (1, 0), "-": (np.nan, np.nan)}[each] for each in said], np.float32)
        known = np.array([each != "-" for each in said])
        seen = Predictions((GENDER,), table, {"gender": outputs}, table.targets, 0.0)
        return Read(seen, {"gender": known}, {"gender": np.full(len(said), 50.0)})

    overlap = np.array([1, 0.8, np.nan, 0.6, np.nan, 0.8])
    return EndToEnd(
        detector="1", classifiers={"face": "1"}, sha256={}, attributes=(GENDER,),
        photos=Photos(table, photos, "val", ("by-hand.csv",)), picture=np.array([0, 0, 1, 1, 2, 2]), least=0.5,
        confidence=0.25, boxes=np.where(np.isnan(overlap)[:, None], np.nan, table.boxes), overlap=overlap,
        sides=np.array([4.0, 12, 20, 40, 40, 200]), alarms=(Alarm(1, np.array([0, 0, 5, 5.0]), 0.5),),
        # right and right; wrong and right; right and missed; right and wrong; wrong and missed; too small on both
        on_true=read("mfmmf-"), on_found=read("mm-f--"), failed=(),
    )  # fmt: skip


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
