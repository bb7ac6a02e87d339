"""Several classifiers in one pipeline, each with its own region of the picture; pixels say what is right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from facepipe import AttributeClassifier, FaceDetector, Pipeline
from facepipe.classifier.inference.attributes import ClassValue
from facepipe.core.errors import WeightsError
from facepipe.pipeline.console import console, print_result
from facepipe.pipeline.drawing.draw import draw
from facepipe.pipeline.drawing.labels import label
from facepipe.pipeline.results import Face, Result
from facepipe.weights.release import Release

from .test_pipeline import Finds, all_at_hand

Publish = Callable[..., Release]
BGR = {"blue": (255, 40, 40), "green": (40, 255, 40), "red": (40, 40, 255)}
FACES = [[50.0, 30, 90, 82], [180.0, 40, 220, 92], [120.0, 190, 160, 242]]
"""In a frame of 300 x 260; the third is so low that its torso is not in the frame."""


def people(*colours: tuple[str, str]) -> np.ndarray:
    """A grey picture; each face in its colour, and all below its chin in another, down to the frame's edge."""
    frame = np.full((260, 300, 3), 128, np.uint8)
    for (x1, y1, x2, y2), (face, shirt) in zip(np.array(FACES, int), colours, strict=False):
        frame[y2 : y2 + 140, max(x1 - 40, 0) : x2 + 40] = BGR[shirt]
        frame[y1:y2, x1:x2] = BGR[face]
    return frame


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, publish_colours: Publish) -> Path:
    """A colour classifier of the face without a name, one of the shirt, and one of the whole head."""
    folder = tmp_path_factory.mktemp("colours")
    publish_colours(folder, "face", "9.0.0")
    publish_colours(folder, "shirt", region="torso")
    publish_colours(folder, "hat", region="head", features=None)
    return folder


@pytest.fixture
def weights(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(root))
    return root


def colours(face: Face) -> dict[str, str | None]:
    found = {}
    for name, value in (face.attributes or {}).items():
        assert isinstance(value, ClassValue)
        found[name] = value.value
    return found


def test_each_classifier_sees_its_own_region(weights: Path, detector_release: Release) -> None:
    detector = Finds(detector_release, FACES[:2])
    with Pipeline(detector, ["9.0.0", "shirt@0.1.0"]) as pipeline:
        one, two = pipeline.run(
            [people(("green", "red"), ("blue", "green")), people(("red", "blue"), ("green", "red"))]
        )
    assert [colours(face) for face in one.faces] == [
        {"face_colour": "green", "shirt_colour": "red"},
        {"face_colour": "blue", "shirt_colour": "green"},
    ]
    assert [colours(face) for face in two.faces] == [
        {"face_colour": "red", "shirt_colour": "blue"},
        {"face_colour": "green", "shirt_colour": "red"},
    ]
    assert all(face.reason is None and face.reasons == {} for face in (*one.faces, *two.faces))


def test_a_torso_outside_the_frame_leaves_the_face_s_attributes(weights: Path, detector_release: Release) -> None:
    """The face without a torso stands between the others: values must not slip from one to the next."""
    frame = people(("green", "red"), ("blue", "green"), ("red", "blue"))
    detector = Finds(detector_release, [FACES[0], FACES[2], FACES[1]])
    result = Pipeline(detector, ["face@9.0.0", "shirt"]).run(frame)
    assert [colours(face) for face in result.faces] == [
        {"face_colour": "green", "shirt_colour": "red"},
        {"face_colour": "red"},
        {"face_colour": "blue", "shirt_colour": "green"},
    ]
    middle = result.faces[1]
    assert middle.reason is None
    assert list(middle.reasons) == ["shirt"]
    assert "torso lies" in middle.reasons["shirt"]
    record = json.loads(result.model_dump_json())
    assert record["faces"][1]["reasons"] == middle.reasons
    assert Result.model_validate(record) == result
    alone = Pipeline(detector, "shirt").run(frame).faces[1]
    assert alone.attributes is None
    assert alone.reason == alone.reasons["shirt"]


def test_where_no_classifier_reads_a_face_every_reason_is_told(weights: Path, detector_release: Release) -> None:
    tiny = Finds(detector_release, [[100, 256, 102, 259]])
    face = Pipeline(tiny, ["face", "shirt"]).run(people()).faces[0]
    assert face.attributes is None
    assert face.reason == f"face: {face.reasons['face']}; shirt: {face.reasons['shirt']}"
    assert "too small" in face.reasons["face"]


def test_a_small_face_has_what_can_be_told_of_it_and_the_reasons_for_the_rest(
    classifier_release: Release, detector_release: Release
) -> None:
    least = {"age": 40.0, "gender": 16.0, "glasses": 16.0, "smile": 24.0, "mask": 16.0, "eyes": 24.0}
    attributes = tuple(
        each.model_copy(update={"min_side": least[each.name]}) for each in classifier_release.manifest.attributes
    )
    release = Release(
        classifier_release.folder, classifier_release.manifest.model_copy(update={"attributes": attributes})
    )
    sides = (9.0, 20.0, 30.0, 60.0)
    boxes = [[80 * place, 100, 80 * place + side, 100 + side] for place, side in enumerate(sides)]
    result = Pipeline(Finds(detector_release, boxes), AttributeClassifier(release=release)).run(people())
    tiny, small, middle, large = result.faces
    assert tiny.attributes is None
    assert tiny.reason == "too small: 9.0 px, at least 16 are needed"
    assert list(small.attributes) == ["gender", "glasses", "mask"]
    assert small.reason is None
    assert small.reasons == {
        "age": "too small: 20.0 px, at least 40 are needed",
        "smile": "too small: 20.0 px, at least 24 are needed",
        "eyes": "too small: 20.0 px, at least 24 are needed",
    }
    assert list(middle.reasons) == ["age"]
    assert (len(large.attributes), large.reasons) == (6, {})
    assert Result.model_validate_json(result.model_dump_json()) == result


def test_crops_of_all_frames_share_calls_of_each(
    weights: Path, detector_release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [AttributeClassifier("face"), AttributeClassifier("shirt")]
    calls: list[tuple[str, int]] = []
    for model in models:

        def counting(crops: np.ndarray, features: bool = False, model: AttributeClassifier = model) -> dict:
            calls.append((model.release.name, len(crops)))
            return AttributeClassifier.outputs(model, crops, features)

        monkeypatch.setattr(model, "outputs", counting)
        monkeypatch.setattr(model, "batch", 8)
    detector = Finds(detector_release, FACES)
    for _ in Pipeline(detector, models).stream(all_at_hand(detector, [people()] * 4)):
        pass
    assert [sum(crops for name, crops in calls if name == each) for each in ("", "shirt")] == [12, 8]
    assert len(calls) == 3, "eight at a time of the face, and the four that are left; eight of the shirt"


def test_a_head_is_the_one_that_was_found(weights: Path, detector_release: Release) -> None:
    """A broad blue hat. Without the head's box one is derived, and holds only what is near the face."""
    frame = people()
    frame[:120], frame[:100, 30:110] = BGR["blue"], BGR["green"]
    found = Finds(detector_release, FACES[:1], [[0, 0, 300, 120]])
    assert colours(Pipeline(found, "hat").run(frame).faces[0]) == {"hat_colour": "blue"}
    assert colours(Pipeline(Finds(detector_release, FACES[:1]), "hat").run(frame).faces[0]) == {"hat_colour": "green"}


def test_models_are_named_and_one_alone_is_called_face(weights: Path, detector_release: Release) -> None:
    detector = Finds(detector_release, FACES)
    models = Pipeline(detector, ["shirt@0.1.0", weights / "classifier" / "9.0.0"]).models
    assert list(models.classifiers) == ["shirt", "face"]
    assert models.classifiers["face"].version == "9.0.0"
    assert len(models.classifiers["shirt"].sha256) == 64
    assert list(Pipeline(detector, "face@9.0.0").models.classifiers) == ["face"]


def test_classifiers_that_cannot_stand_together(
    weights: Path, detector_release: Release, publish_colours: Publish, tmp_path: Path
) -> None:
    detector = Finds(detector_release, FACES)
    rival = publish_colours(tmp_path, "rival", attribute="shirt_colour")
    with pytest.raises(WeightsError, match="'shirt' and 'rival' both read an attribute called 'shirt_colour'"):
        Pipeline(detector, ["shirt", rival.folder])
    unnamed = publish_colours(tmp_path, "beard", called="")
    with pytest.raises(WeightsError, match=r"two classifiers are called 'face'.*weights publish RUN --version NAME@"):
        Pipeline(detector, ["face", unnamed.folder])
    with pytest.raises(WeightsError, match="no classifier is named"):
        Pipeline(detector, [])
    with pytest.raises(WeightsError, match=r"no classifier is called 'shoes'; there are: face, hat, shirt"):
        Pipeline(detector, ["face", "shoes@1.0.0"])
    with pytest.raises(WeightsError, match=r"no classifier shirt@9\.0\.0; there are: shirt@0\.1\.0"):
        Pipeline(detector, ["face", "shirt@9.0.0"])


def test_an_unsure_class_has_no_value_and_is_shown_as_such(
    detector_release: Release, publish_colours: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = publish_colours(tmp_path, "shirt", region="torso", abstain_below=0.9)
    frame = people(("green", "red"), ("green", "red"))
    frame[82:222, 0:130] = (120, 100, 121)
    result = Pipeline(Finds(detector_release, FACES[:2]), release.folder).run(frame)
    assert [colours(face) for face in result.faces] == [{"shirt_colour": None}, {"shirt_colour": "red"}]
    assert json.loads(result.model_dump_json())["faces"][0]["attributes"]["shirt_colour"]["value"] is None
    assert label(0, result.faces[0])[1] == "shirt_colour: ?"
    print_result(result, console())
    assert "red?" in (out := capsys.readouterr().out)
    assert "0.4" in out


def test_tables_and_pictures_tell_of_all_classifiers(
    weights: Path, detector_release: Release, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = people(("green", "red"), ("blue", "green"), ("red", "blue"))
    result = Pipeline(Finds(detector_release, FACES), ["shirt", "face"]).run(frame)
    print_result(result, console())
    out = capsys.readouterr().out
    for word in ("shirt_colour", "face_colour", "red", "1.00"):
        assert word in out
    assert "face 2 has no shirt: the torso lies outside the frame" in out or "of the torso lies" in out
    assert label(0, result.faces[0])[1:] == ["shirt_colour: red 1.00", "face_colour: green 1.00"]
    assert label(2, result.faces[2])[1:] == ["face_colour: red 1.00"]
    assert draw(frame, result).shape[2] == 3


def test_features_are_given_when_asked_for_and_only_then(
    weights: Path, detector_release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = people(("green", "red"), ("blue", "green"), ("red", "blue"))
    shirt = AttributeClassifier("shirt")
    wanted: list[list[str]] = []
    session = shirt._session

    class Telling:
        def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            wanted.append(names)
            return session.run(names, feed)

    monkeypatch.setattr(shirt, "_session", Telling())
    pipeline = Pipeline(Finds(detector_release, FACES), ["face", shirt])
    plain, asked = pipeline.run(frame), pipeline.run(frame, features=True)
    assert wanted == [["shirt_colour"], ["shirt_colour", "features"]], "what nobody asks for is not computed"
    assert all(face.features is None for face in plain.faces)
    assert plain.model_dump_json() == asked.model_dump_json(), "features are no part of the JSON"
    first, last = asked.faces[0].features, asked.faces[2].features
    assert first is not None
    assert last is not None
    assert {name: len(numbers) for name, numbers in first.items()} == {"face": 3, "shirt": 3}
    assert first["shirt"] == pytest.approx(BGR["red"], abs=12)
    assert first["face"][1] > max(first["face"][0], first["face"][2])
    assert list(last) == ["face"], "this face's torso was not seen"
    assert pipeline.feature_widths == {"face": 3, "shirt": 3}
    (streamed, _), *_ = pipeline.stream([frame], features=True)
    assert streamed.faces[0].features == first


def test_a_classifier_without_features_says_so_before_anything_is_done(
    weights: Path, detector_release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = Finds(detector_release, FACES)
    pipeline = Pipeline(detector, ["face", "hat"])
    monkeypatch.setattr(detector, "detect", lambda frames: pytest.fail("it should not begin"))
    for call in (
        lambda: pipeline.run(people(), features=True),
        lambda: pipeline.run([people()], features=True),
        lambda: pipeline.feature_widths,
    ):
        with pytest.raises(WeightsError, match=r"classifier hat@0\.1\.0 gives no features.*weights list"):
            call()


def test_the_json_schema_has_reasons_and_no_features() -> None:
    schema = Result.model_json_schema(mode="serialization")
    face, models = schema["$defs"]["Face"]["properties"], schema["$defs"]["Models"]["properties"]
    assert "features" not in face
    assert face["reasons"]["additionalProperties"] == {"type": "string"}
    assert models["classifiers"]["additionalProperties"] == {"$ref": "#/$defs/ClassifierUsed"}
    value = schema["$defs"]["ClassValue"]["properties"]["value"]
    assert {"type": "null"} in value["anyOf"]


def test_a_detector_is_found_beside_named_classifiers(weights: Path, publish_detector: Publish, tmp_path: Path) -> None:
    assert isinstance(FaceDetector(), FaceDetector)
    with pytest.raises(WeightsError, match="a detector is named like small@1"):
        FaceDetector("Small@1.0.0")
