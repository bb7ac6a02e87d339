"""The shirts of benchmarks/shirts.py: the detector finds the face; the torso has the colour that it is named by."""

from __future__ import annotations

import csv
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from facepipe import FaceDetector
from facepipe.classifier.config.schema import read_schema
from facepipe.classifier.inference.crop import cut_region
from facepipe.core.errors import FacepipeError
from facepipe.weights.manifest import CropRecipe

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
TORSO = CropRecipe(region="torso", margin=0.0, size=64)


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield


@pytest.fixture(scope="module")
def shirts(benchmarks: None) -> ModuleType:
    return importlib.import_module("shirts")


@pytest.fixture(scope="module")
def shirt_labels(benchmarks: None) -> ModuleType:
    return importlib.import_module("shirt_labels")


def test_torso_has_the_colour_that_it_is_named_by(shirts: ModuleType) -> None:
    portrait, random = shirts.read_portrait(), np.random.default_rng(4)
    named = {name: sum(shirts.COLOURS[name][0]) / 2 for name in ("red", "yellow", "green", "blue")}
    for colour in named:
        nearest = []
        for _ in range(6):
            picture, face = shirts.draw(portrait, colour, random)
            torso = cut_region(picture, face, None, TORSO).image
            assert torso is not None
            hue = float(np.median(cv2.cvtColor(torso[16:40, 24:40], cv2.COLOR_BGR2HSV)[..., 0]))
            nearest.append(min(named, key=lambda name: abs((hue - named[name] + 90) % 180 - 90)))
        assert nearest.count(colour) >= 5, (colour, nearest)  # tinted light makes a yellowish green yellow now and then


def test_detector_finds_the_drawn_face_where_it_is(shirts: ModuleType) -> None:
    portrait, random, detector = shirts.read_portrait(), np.random.default_rng(5), FaceDetector("1.0.0")
    found = []
    for colour in shirts.COLOURS:
        picture, face = shirts.draw(portrait, colour, random)
        faces = detector.detect([picture])[0].of("face").boxes
        found.append(any(shirts._overlap(face, box) > 0.6 for box in faces))
    assert sum(found) >= len(found) - 1, found


def test_files_are_those_that_training_reads(shirts: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "shirts"
    shirts.main(out, count=16, seed=1, checked=False, detector=None, sheet_file=tmp_path / "sheet.jpg")
    (attribute,) = read_schema(out / "shirt.yaml")
    with (out / "faces.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["shirt_colour"] for row in rows} == set(attribute.model_dump()["classes"])
    assert {row["split"] for row in rows} == {"train", "val"}
    assert all((out / row["file"]).is_file() for row in rows)
    first = (out / rows[0]["file"]).read_bytes()
    with pytest.raises(FacepipeError, match="exists already"):
        shirts.main(out, count=8, seed=1, checked=False, detector=None, sheet_file=None)
    shirts.main(tmp_path / "again", count=8, seed=1, checked=False, detector=None, sheet_file=None)
    assert (tmp_path / "again" / rows[0]["file"]).read_bytes() == first


@pytest.mark.parametrize(
    ("bgr", "name"),
    [
        ((20, 20, 22), "black"),
        ((128, 126, 128), "grey"),
        ((250, 250, 250), "white"),
        ((40, 30, 200), "red"),
        ((30, 200, 240), "yellow"),
        ((60, 150, 40), "green"),
        ((190, 80, 30), "blue"),
        ((190, 150, 250), "pink"),
        ((60, 140, 190), None),  # sand
        ((140, 40, 110), None),  # purple
    ],
)
def test_a_torso_of_one_colour_is_named(bgr: tuple[int, int, int], name: str | None, shirt_labels: ModuleType) -> None:
    torso = np.full((96, 96, 3), bgr, np.uint8)
    torso[::6] = np.array(bgr) * 0.95  # folds
    found = shirt_labels.label(torso)
    assert (found and found[0]) == name


def test_a_torso_of_many_colours_has_no_name(shirt_labels: ModuleType) -> None:
    torso = np.zeros((96, 96, 3), np.uint8)
    torso[:, 48:] = (40, 30, 200)
    assert shirt_labels.label(torso) is None


def test_a_face_below_hides_the_torso(shirt_labels: ModuleType) -> None:
    faces = np.array([[100, 100, 140, 150], [105, 200, 145, 250], [400, 100, 440, 150]], np.float32)
    assert [shirt_labels.others_in_torso(box, faces) for box in faces] == [True, False, False]
