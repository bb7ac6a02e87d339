"""The table of what a face check gains and costs, with random weights on a tiny data set."""

from pathlib import Path

import cv2
import face_check_table
import numpy as np
import pytest
from facepipe.core.errors import FacepipeError
from facepipe.weights.manifest import FaceCheck
from facepipe.weights.store import find, publish


@pytest.fixture
def data(tmp_path: Path) -> Path:
    random = np.random.default_rng(2)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (tmp_path / kind / split).mkdir(parents=True)
        for number in range(3):
            frame = cv2.resize(random.integers(0, 256, (8, 8, 3), dtype=np.uint8), (96, 64))
            cv2.imwrite(str(tmp_path / "images" / split / f"{number}.png"), frame)
            label = "0 0.5 0.5 0.4 0.6\n1 0.5 0.5 0.5 0.7\n" if number else ""
            (tmp_path / "labels" / split / f"{number}.txt").write_text(label)
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: {0: face, 1: head}\n")
    return tmp_path / "data.yaml"


def test_false_faces_fall_as_the_bar_rises(
    data: Path, tmp_path: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = find("classifier")
    check = FaceCheck(weight=0.4, neutral=1.0)
    attributes = tuple(
        each.model_copy(update={"face_check": check}) if each.name == "mask" else each
        for each in plain.manifest.attributes
    )
    manifest = plain.manifest.model_copy(update={"attributes": attributes, "version": "99.1.0"})
    publish(manifest, [plain.folder / file.name for file in manifest.files], tmp_path / "weights")
    face_check_table.main(data, str(tmp_path / "weights" / "classifier" / "99.1.0"))
    rows = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert len(rows) == 1 + len(face_check_table.WEIGHTS) * len(face_check_table.NEUTRALS)
    assert rows[0][0].strip() == "none"
    alarms = [float(row[6]) for row in rows if row[0].strip() == "0.8"]
    assert alarms == sorted(alarms, reverse=True)
    assert alarms[0] > alarms[-1]


def test_a_classifier_without_a_check_is_refused(data: Path, tiny_weights: Path) -> None:
    with pytest.raises(FacepipeError, match="has no face check"):
        face_check_table.main(data, "99.0.0")
