"""A classifier's face check joins the detector's confidence, by every way that a picture goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from facepipe import AttributeClassifier, FaceDetector, Pipeline
from facepipe.classifier.inference.classifier import SURE
from facepipe.core.errors import WeightsError
from facepipe.detector.inference.boxes import Detections
from facepipe.pipeline.classifiers import Classifiers, Reading
from facepipe.pipeline.face_check import CheckedDetector
from facepipe.pipeline.results import Face, Result
from facepipe.pipeline.serving.models import load
from facepipe.pipeline.two_stage import CHECKED, joint_confidence, least_checked
from facepipe.pipeline.video.analysis import VideoOptions, VideoRun
from facepipe.weights.manifest import FaceCheck, Manifest
from facepipe.weights.release import Release
from facepipe.weights.store import publish
from pydantic import ValidationError

Photo = Callable[..., np.ndarray]
PLAIN = ["age", "gender", "glasses", "smile", "eyes"]
CHECK = FaceCheck(weight=0.5, neutral=-4.0, most=1.5)


def with_check(release: Release, check: FaceCheck = CHECK, **update: float) -> Release:
    """The release with its attribute ``mask`` as the face check."""
    attributes = tuple(
        each.model_copy(update={"face_check": check, **update}) if each.name == "mask" else each
        for each in release.manifest.attributes
    )
    return Release(release.folder, release.manifest.model_copy(update={"attributes": attributes}))


@pytest.fixture
def checked(detector_release: Release, classifier_release: Release) -> Pipeline:
    classifier = AttributeClassifier(release=with_check(classifier_release))
    return Pipeline(FaceDetector(release=detector_release), classifier)


@pytest.fixture
def unchecked(detector_release: Release, classifier_release: Release) -> Pipeline:
    """Without a check, and from a confidence on that holds all of the candidates."""
    detector = FaceDetector(release=detector_release, confidence=0.01)
    return Pipeline(detector, AttributeClassifier(release=classifier_release))


def evidence(face: Face) -> float:
    sure = face.attributes["mask"].probabilities["yes"]  # type: ignore[index, union-attr]
    return min(CHECK.weight * (float(np.clip(np.log(sure / (1 - sure)), -SURE, SURE)) - CHECK.neutral), CHECK.most)


def expected(result: Result, least: float) -> list[tuple[float, float]]:
    """Confidence and left edge of the faces that reach the threshold, the most confident first."""
    found = [(joint_confidence(face.confidence, evidence(face)), face.box.x1) for face in result.faces]
    return sorted(((confidence, left) for confidence, left in found if confidence >= least), reverse=True)


def test_evidence_moves_the_log_odds() -> None:
    assert joint_confidence(0.25, 0.0) == 0.25
    assert joint_confidence(0.5, np.log(3)) == 0.75
    assert joint_confidence(0.75, -np.log(3)) == 0.5
    assert joint_confidence(joint_confidence(0.3, 1.2), -1.2) == pytest.approx(0.3, abs=2e-4)
    assert (joint_confidence(0.0, 3.0), joint_confidence(1.0, -3.0)) == (0.0, 1.0)
    assert least_checked(0.5, np.log(3)) == 0.25
    assert least_checked(0.5, 50.0) == CHECKED
    assert least_checked(0.5, -1.0) == 0.5
    assert least_checked(0.01, 1.0) == 0.01


@pytest.mark.parametrize("seed", range(4))
def test_doubtful_faces_come_up_and_false_ones_go(
    checked: Pipeline, unchecked: Pipeline, photo: Photo, seed: int
) -> None:
    result, every = checked.run(photo(seed)), unchecked.run(photo(seed))
    found = [(face.confidence, face.box.x1) for face in result.faces]
    np.testing.assert_allclose(found, expected(every, 0.5), atol=1e-3)
    assert all(list(face.attributes or ()) == PLAIN for face in result.faces)
    assert [head.confidence for head in result.heads] == [
        one.confidence for one in every.heads if one.confidence >= 0.5
    ]
    assert result.models.classifiers["face"].face_check == "0.5,-4,1.5"
    assert result.models.detector.confidence == 0.5
    assert every.models.classifiers["face"].face_check is None


def test_the_photos_hold_faces_of_either_kind(checked: Pipeline, unchecked: Pipeline, photo: Photo) -> None:
    raised = lowered = 0
    for seed in range(4):
        kept = {face.box for face in checked.run(photo(seed)).faces}
        for face in unchecked.run(photo(seed)).faces:
            raised += face.confidence < 0.5 and face.box in kept
            lowered += face.confidence >= 0.5 and face.box not in kept
    assert raised
    assert lowered


def test_a_stream_gives_the_same(checked: Pipeline, photo: Photo) -> None:
    pictures = [photo(seed) for seed in range(6)]
    one_by_one = [[face.box for face in checked.run(each).faces] for each in pictures]
    assert [[face.box for face in result.faces] for result, _ in checked.stream(pictures)] == one_by_one


def test_the_check_can_be_switched_off(
    detector_release: Release, classifier_release: Release, unchecked: Pipeline, photo: Photo
) -> None:
    classifier = AttributeClassifier(release=with_check(classifier_release))
    with Pipeline(FaceDetector(release=detector_release), classifier, face_check=False) as pipeline:
        result = pipeline.run(photo(0))
    confidence = [face.confidence for face in unchecked.run(photo(0)).faces if face.confidence >= 0.5]
    assert [face.confidence for face in result.faces] == confidence
    assert result.models.classifiers["face"].face_check is None


def test_a_server_checks_unless_told_not_to(
    detector_release: Release, classifier_release: Release, tmp_path: Path
) -> None:
    """``face_check`` of a server is that of a pipeline, for the models that a request names as well."""
    release = with_check(classifier_release)
    folder = publish(release.manifest, [release.folder / file.name for file in release.manifest.files], tmp_path).folder
    for face_check in (True, False):
        served = load(str(detector_release.folder), [str(folder)], face_check=face_check)
        choices = served.default, served.choose(confidence=0.9)
        assert [served.stages(each).parts().classifiers.check_faces for each in choices] == [face_check] * 2
        (used,) = served.describe().classifiers
        assert (used.in_results.face_check is not None) == face_check


def test_boxes_below_the_checks_least_size_are_not_judged(classifier_release: Release) -> None:
    classifier = AttributeClassifier(release=with_check(classifier_release, min_side=20.0))
    outputs = {"mask": np.zeros((3, 2), np.float32)}
    assert classifier.face_evidence(outputs, [10, 20, 200]).tolist() == [0.0, 1.5, 1.5]
    assert classifier.most_evidence == 1.5
    low = with_check(classifier_release, FaceCheck(weight=0.5, neutral=5.0))
    assert AttributeClassifier(release=low).most_evidence == 0.5 * (SURE - 5)
    without = AttributeClassifier(release=classifier_release)
    assert without.face_evidence({}, [10, 20]).tolist() == [0.0, 0.0]
    assert without.most_evidence == 0.0


def test_a_detector_is_measured_as_checked(
    detector_release: Release, classifier_release: Release, checked: Pipeline, photo: Photo
) -> None:
    classifier = AttributeClassifier(release=with_check(classifier_release))
    detector = CheckedDetector(FaceDetector(release=detector_release), [classifier])
    (found,) = detector.detect([photo(0)])
    result = checked.run(photo(0))
    np.testing.assert_allclose(found.of("face").confidence, [face.confidence for face in result.faces], atol=1e-3)
    assert len(found.of("head")) == len(result.heads)
    detector.confidence = 0.7
    assert detector.detector.confidence == 0.7
    assert (detector.detect([photo(0)])[0].confidence >= 0.7).all()
    with pytest.raises(WeightsError, match="no face check"):
        CheckedDetector(FaceDetector(release=detector_release), [AttributeClassifier(release=classifier_release)])


def test_a_manifest_has_one_check_and_something_to_report(classifier_release: Release) -> None:
    content = with_check(classifier_release).manifest.model_dump()
    manifest = Manifest.model_validate(content)
    assert manifest.face_check is not None
    assert [each.name for each in manifest.reported] == PLAIN
    both = [{**each, "face_check": CHECK} if each["kind"] == "binary" else each for each in content["attributes"]]
    with pytest.raises(ValidationError, match="a classifier has one"):
        Manifest.model_validate({**content, "attributes": both})
    alone = [each for each in content["attributes"] if each["name"] == "mask"]
    with pytest.raises(ValidationError, match="nothing is reported"):
        Manifest.model_validate({**content, "attributes": alone})


def test_a_person_in_a_video_is_left_out_while_the_check_refuses(
    pipeline: Pipeline, clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("trackers", reason="trackers is not installed: pip install 'facepipe[video]'")
    detector, classifiers = pipeline.parts()
    check = AttributeClassifier(release=with_check(classifiers.by_name["face"].release))
    pipeline = Pipeline(detector, check)
    rows = np.array([(20.0, 20.0, 60.0, 70.0), (100.0, 30.0, 140.0, 80.0)], np.float32)
    found = Detections(rows, np.full(2, 0.9, np.float32), np.zeros(2, int), detector.classes)
    monkeypatch.setattr(detector, "detect", lambda frames: [found for _ in frames])
    real, looks = Classifiers.read, iter(range(1000))

    def read(self: Classifiers, placed: Sequence[object], features: bool = False) -> list[list[Reading]]:
        readings = real(self, placed, features)  # type: ignore[arg-type]
        for row, each in zip(readings, placed, strict=True):
            for reading, box in zip(row, each.faces, strict=True):  # type: ignore[attr-defined]
                reading.evidence = 1.0 if box[0] < 50 or next(looks) >= 12 else -4.0
        return readings

    monkeypatch.setattr(Classifiers, "read", read)
    with VideoRun(pipeline, str(clip(frames=20)), VideoOptions(classify_every=4)) as run:
        faces = [[(face.track, face.confidence) for face in result.faces] for result, _ in run]
        summaries = {person.track: person.frames for person in run.tracks()}
    sure = joint_confidence(0.9, 1.0)
    assert faces[0] == [(1, sure)]
    assert faces[-1] == [(1, sure), (2, sure)]
    assert summaries == {1: 20, 2: sum(len(each) == 2 for each in faces)}
