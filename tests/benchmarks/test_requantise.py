"""A release quantised again: a new int8 file beside the same float file, measured, and all else as it was."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
import requantise
from facepipe.core.errors import WeightsError
from facepipe.weights.release import open_release
from facepipe.weights.store import find

PHOTO = Path(__file__).parents[2] / "examples" / "astronaut.jpg"


@pytest.fixture
def data(tmp_path: Path) -> str:
    """The sample photograph with its face and head, larger and smaller."""
    photo = cv2.imread(str(PHOTO))
    assert photo is not None
    for split, sides in (("train", (320, 400)), ("val", (512,))):
        for folder in ("images", "labels"):
            (tmp_path / folder / split).mkdir(parents=True)
        for side in sides:
            cv2.imwrite(str(tmp_path / "images" / split / f"{side}.png"), cv2.resize(photo, (side, side)))
            lines = "0 0.439 0.225 0.180 0.244\n1 0.443 0.187 0.282 0.325\n"
            (tmp_path / "labels" / split / f"{side}.txt").write_text(lines)
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: {0: face, 1: head}\n")
    return str(tmp_path / "data.yaml")


def test_a_detector_gets_a_new_int8_file_and_keeps_the_rest(data: str, tmp_path: Path) -> None:
    requantise.main("detector@1.1.1", [data], tmp_path / "run")
    old, made = find("detector", "1.1.1"), open_release(tmp_path / "run" / "export")
    made.verify()
    assert made.entry("float16") == old.entry("float16")
    assert made.entry("int8").reduced_range
    assert made.entry("int8").sha256 != old.entry("int8").sha256, "calibrated on other pictures"
    assert made.manifest.thresholds == old.manifest.thresholds
    assert made.manifest.data == old.manifest.data
    assert made.manifest.training["requantised"]["from"] == "1.1.1"
    assert {metrics.file_sha256 for metrics in made.manifest.metrics} == {e.sha256 for e in made.manifest.files}
    with pytest.raises(FileExistsError):
        requantise.main("detector@1.1.1", [data], tmp_path / "run")


@pytest.mark.parametrize("release", ["1.1.1", "detector", "thing@1.0.0", "detector@9.9.9"])
def test_what_is_no_release_is_refused(release: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError):
        requantise.main(release, ["data.yaml"], tmp_path / "run")
    assert not (tmp_path / "run").exists()
