"""The released weights that come with the package: whole, small enough, and at work on the sample photograph."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe import Pipeline, read_frame
from facepipe.classifier.inference.attributes import ClassValue, NumericValue, PointsValue
from facepipe.detector.evaluation.blank_pictures import KINDS, blank_picture
from facepipe.weights.store import find, releases

PHOTO = Path(__file__).parents[2] / "examples" / "astronaut.jpg"


@pytest.fixture(autouse=True)
def only_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path))


def test_shipped_files_are_the_released_ones() -> None:
    shipped = releases()
    assert {(release.stage, release.version) for release in shipped} >= {
        ("detector", "0.1.0"),
        ("detector", "1.0.0"),
        ("classifier", "1.0.0"),
        ("classifier", "1.1.0"),
    }
    for release in shipped:
        release.verify()
        assert release.manifest.metrics, "a release says how good it is"
        assert all(data.terms for data in release.manifest.data)
    for newest in (find("detector"), find("classifier")):
        assert newest.folder.parent.parent.name == "weights"
    assert (find("detector").version, find("classifier").version) == ("1.0.0", "1.1.0")
    assert sum(entry.bytes for release in shipped for entry in release.manifest.files) <= 195e6


def test_the_sample_photograph() -> None:
    with Pipeline() as pipeline:
        result = pipeline.run(PHOTO)
    (face,) = result.faces
    assert face.confidence > 0.5
    assert (face.box.x1, face.box.y1, face.box.x2, face.box.y2) == pytest.approx((181, 61, 271, 179), abs=25)
    assert face.head is not None
    assert face.attributes is not None
    gender, age, eyes = (face.attributes[name] for name in ("gender", "age", "eyes"))
    assert isinstance(gender, ClassValue)
    assert gender.value == "female"
    assert isinstance(age, NumericValue)
    assert age.interval[0] <= age.value <= age.interval[1]
    assert 20 < age.value < 60
    assert isinstance(eyes, PointsValue)
    left, right = eyes.points["left_eye"], eyes.points["right_eye"]
    assert face.box.x1 < left[0] < right[0] < face.box.x2  # the image's left
    assert max(abs(left[1] - right[1]), 1) < right[0] - left[0]


@pytest.mark.parametrize("height", [20, 28, 40, 60, 90])
def test_a_small_face_wears_no_mask(height: int) -> None:
    """Classifier 1.0.0 sees a mask on nearly every face of less than 32 px."""
    photo = read_frame(PHOTO)
    scale = height / 118  # the face's height in the photograph
    small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    frame = np.full((640, 640, 3), 150, np.uint8)
    frame[60 : 60 + small.shape[0], 100 : 100 + small.shape[1]] = small
    with Pipeline(conf=0.15) as pipeline:
        faces = pipeline.run(frame).faces
    assert faces
    for face in faces:
        mask = (face.attributes or {}).get("mask")
        assert mask is None or (isinstance(mask, ClassValue) and mask.value != "yes")
        if face.attributes is None or "mask" not in face.attributes:
            assert "too small" in str(face.reason or face.reasons)


def test_pictures_of_nothing_hold_nobody() -> None:
    """Detector 1.0.0 by itself sees a face in a third of them."""
    with Pipeline() as pipeline:
        for number in range(60):
            result = pipeline.run(blank_picture(number))
            if KINDS[number % len(KINDS)] != "smooth":  # coarse blobs deceive it still, a few in a hundred
                assert not result.faces, number
                assert not result.heads, number
