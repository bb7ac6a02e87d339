"""Boxes that a classifier takes for no face are left out, by every way that a picture goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from facepipe import AttributeClassifier, FaceDetector, Pipeline
from facepipe.core.errors import WeightsError
from facepipe.detector.inference.boxes import Detections
from facepipe.pipeline.classifiers import Classifiers, Reading
from facepipe.pipeline.face_check import CheckedDetector
from facepipe.pipeline.results import Result
from facepipe.pipeline.video.analysis import VideoOptions, VideoRun
from facepipe.weights.manifest import Manifest
from facepipe.weights.release import Release
from pydantic import ValidationError

Photo = Callable[..., np.ndarray]
PLAIN = ["age", "gender", "glasses", "smile", "eyes"]


def with_check(release: Release, **update: float) -> Release:
    """The release with its attribute ``mask`` as the face check."""
    attributes = tuple(
        each.model_copy(update=update) if each.name == "mask" else each for each in release.manifest.attributes
    )
    return Release(release.folder, release.manifest.model_copy(update={"attributes": attributes}))


@pytest.fixture
def plain(detector_release: Release, classifier_release: Release, photo: Photo) -> Result:
    """A picture with several faces, without a face check."""
    with Pipeline(FaceDetector(release=detector_release), AttributeClassifier(release=classifier_release)) as pipeline:
        result = pipeline.run(photo(0))
    assert len(result.faces) >= 3
    return result


@pytest.fixture
def threshold(plain: Result) -> float:
    """A probability that about half of the faces reach."""
    sure = sorted(face.attributes["mask"].probabilities["yes"] for face in plain.faces)  # type: ignore[index, union-attr]
    middle = len(sure) // 2
    assert sure[middle - 1] < sure[middle]
    return float(sure[middle - 1] + sure[middle]) / 2


@pytest.fixture
def checked(detector_release: Release, classifier_release: Release, threshold: float) -> Pipeline:
    classifier = AttributeClassifier(release=with_check(classifier_release, drop_below=threshold))
    return Pipeline(FaceDetector(release=detector_release), classifier)


def kept(result: Result, threshold: float) -> list[object]:
    return [
        face.box
        for face in result.faces
        if face.attributes["mask"].probabilities["yes"] >= threshold  # type: ignore[index, union-attr]
    ]


def test_refused_boxes_are_left_out_and_the_check_is_not_reported(
    checked: Pipeline, plain: Result, threshold: float, photo: Photo
) -> None:
    result = checked.run(photo(0))
    assert [face.box for face in result.faces] == kept(plain, threshold)
    assert 0 < len(result.faces) < len(plain.faces)
    assert result.heads == plain.heads
    assert all(list(face.attributes or ()) == PLAIN for face in result.faces)
    assert result.models.classifiers["face"].face_check == threshold
    assert plain.models.classifiers["face"].face_check is None


def test_a_stream_leaves_out_the_same_boxes(checked: Pipeline, photo: Photo) -> None:
    pictures = [photo(seed) for seed in range(6)]
    one_by_one = [[face.box for face in checked.run(each).faces] for each in pictures]
    assert [[face.box for face in result.faces] for result, _ in checked.stream(pictures)] == one_by_one


def test_the_check_can_be_switched_off(
    detector_release: Release, classifier_release: Release, plain: Result, threshold: float, photo: Photo
) -> None:
    classifier = AttributeClassifier(release=with_check(classifier_release, drop_below=threshold))
    with Pipeline(FaceDetector(release=detector_release), classifier, face_check=False) as pipeline:
        result = pipeline.run(photo(0))
    assert [face.box for face in result.faces] == [face.box for face in plain.faces]
    assert result.models.classifiers["face"].face_check is None


def test_boxes_below_the_checks_least_size_pass(classifier_release: Release) -> None:
    classifier = AttributeClassifier(release=with_check(classifier_release, drop_below=0.999, min_side=20.0))
    outputs = {"mask": np.zeros((3, 2), np.float32)}
    assert classifier.are_faces(outputs, [10, 20, 200]).tolist() == [True, False, False]
    without = AttributeClassifier(release=classifier_release)
    assert without.are_faces({}, [10, 20]).tolist() == [True, True]


def test_a_detector_is_measured_as_checked(
    detector_release: Release, classifier_release: Release, checked: Pipeline, threshold: float, photo: Photo
) -> None:
    classifier = AttributeClassifier(release=with_check(classifier_release, drop_below=threshold))
    detector = CheckedDetector(FaceDetector(release=detector_release), classifier)
    (found,) = detector.detect([photo(0)])
    result = checked.run(photo(0))
    np.testing.assert_allclose(found.of("face").confidence, [face.confidence for face in result.faces])
    assert len(found.of("head")) == len(result.heads)
    detector.confidence = 0.7
    assert detector.detector.confidence == 0.7
    with pytest.raises(WeightsError, match="has no face check"):
        CheckedDetector(FaceDetector(release=detector_release), AttributeClassifier(release=classifier_release))


def test_a_manifest_has_one_check_and_something_to_report(classifier_release: Release) -> None:
    content = with_check(classifier_release, drop_below=0.5).manifest.model_dump()
    manifest = Manifest.model_validate(content)
    assert manifest.face_check is not None
    assert [each.name for each in manifest.reported] == PLAIN
    two = {**content, "attributes": [{**each, "drop_below": 0.5} if each["kind"] == "binary" else each
                                     for each in content["attributes"]]}  # fmt: skip
    with pytest.raises(ValidationError, match="one face check"):
        Manifest.model_validate(two)
    alone = {**content, "attributes": [each for each in content["attributes"] if each["name"] == "mask"]}
    with pytest.raises(ValidationError, match="nothing is reported"):
        Manifest.model_validate(alone)


def test_a_person_in_a_video_is_left_out_while_the_check_refuses(
    pipeline: Pipeline, clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("trackers", reason="trackers is not installed: pip install 'facepipe[video]'")
    detector = pipeline.parts()[0]
    rows = np.array([(20.0, 20.0, 60.0, 70.0), (100.0, 30.0, 140.0, 80.0)], np.float32)
    found = Detections(rows, np.full(2, 0.9, np.float32), np.zeros(2, int), detector.classes)
    monkeypatch.setattr(detector, "detect", lambda frames: [found for _ in frames])
    real, looks = Classifiers.read, iter(range(1000))

    def read(self: Classifiers, placed: Sequence[object], features: bool = False) -> list[list[Reading]]:
        readings = real(self, placed, features)  # type: ignore[arg-type]
        for row, each in zip(readings, placed, strict=True):
            for reading, box in zip(row, each.faces, strict=True):  # type: ignore[attr-defined]
                reading.is_face = bool(box[0] < 50 or next(looks) >= 12)
        return readings

    monkeypatch.setattr(Classifiers, "read", read)
    with VideoRun(pipeline, str(clip(frames=20)), VideoOptions(classify_every=4)) as run:
        tracks = [[face.track for face in result.faces] for result, _ in run]
        summaries = {person.track: person.frames for person in run.tracks()}
    assert tracks[0] == [1]
    assert tracks[-1] == [1, 2]
    assert summaries == {1: 20, 2: sum(2 in each for each in tracks)}
