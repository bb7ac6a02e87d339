"""The released weights that come with the package: whole, small enough, and at work on the sample photograph."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe import Pipeline, read_frame
from facepipe.classifier.inference.attributes import ClassValue, NumericValue, PointsValue
from facepipe.detector.evaluation.blank_pictures import blank_picture
from facepipe.weights.store import find, releases

PHOTO = Path(__file__).parents[2] / "examples" / "astronaut.jpg"


@pytest.fixture(autouse=True)
def only_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path))


def test_shipped_files_are_the_released_ones() -> None:
    shipped = releases()
    assert {(release.stage, release.version) for release in shipped} >= {
        ("detector", "1.0.0"),
        ("detector", "1.1.1"),
        ("classifier", "1.0.0"),
        ("classifier", "1.2.1"),
    }
    for release in shipped:
        release.verify()
        assert release.manifest.metrics, "a release says how good it is"
        assert all(data.terms for data in release.manifest.data)
    for newest in (find("detector"), find("classifier")):
        assert newest.folder.parent.parent.name == "weights"
    assert (find("detector").version, find("classifier").version) == ("1.1.1", "1.2.1")
    assert sum(entry.bytes for release in shipped for entry in release.manifest.files) <= 216e6


def test_both_stages_judge_a_face() -> None:
    with Pipeline() as joined, Pipeline(face_check=False) as alone:
        result, plain = joined.run(PHOTO), alone.run(PHOTO)
    assert result.models.classifiers["face"].face_check == "0.8,2,0.6"
    assert plain.models.classifiers["face"].face_check is None
    assert result.faces[0].box == plain.faces[0].box
    assert result.faces[0].confidence > plain.faces[0].confidence, "it is sure that this is a face"
    assert "face" not in (result.faces[0].attributes or {})


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
    """Detector 1.0.0 by itself sees a face in a quarter of them; 1.1.1 was trained with others of these kinds."""
    with Pipeline() as pipeline:
        for number in range(60):
            result = pipeline.run(blank_picture(number))
            assert not result.faces, number
            assert not result.heads, number


@pytest.mark.parametrize("degrees", range(0, 360, 30))
def test_a_face_turned_by_any_angle_is_found(degrees: int) -> None:
    """Detector 1.0.0 misses it at 90 and 270 degrees."""
    turn = cv2.getRotationMatrix2D((226, 120), degrees, 1)
    turn[:, 2] += (320 - 226, 320 - 120)  # the face comes to the middle
    frame = cv2.warpAffine(read_frame(PHOTO), turn, (640, 640), borderMode=cv2.BORDER_REPLICATE)
    with Pipeline() as pipeline:
        boxes = [face.box for face in pipeline.run(frame).faces]
    middles = np.array([((box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2) for box in boxes])
    assert np.hypot(*(middles - 320).T).min() < 30


@pytest.mark.parametrize("scale", [1, 3, 5])
def test_a_portrait_has_a_head(scale: int) -> None:
    """Detector 1.0.0 finds the face and no head."""
    frame = cv2.resize(read_frame(PHOTO)[20:220, 140:310], None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    with Pipeline() as pipeline:
        (face,) = pipeline.run(frame).faces
    assert face.head is not None


@pytest.mark.parametrize("share", [0.3, 0.5, 0.6])
def test_a_face_cut_by_the_frame_is_found(share: float) -> None:
    photo = read_frame(PHOTO)
    left, top = 181 + round(share * 90), 61 + round(share * 118)
    with Pipeline() as pipeline:
        for part in (photo[40:220, left : left + 180], photo[top : top + 200, 130:330]):
            assert pipeline.run(cv2.resize(part, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)).faces
