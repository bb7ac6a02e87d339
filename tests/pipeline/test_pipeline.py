from __future__ import annotations

import base64
import hashlib
import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facepipe import AttributeClassifier, FaceDetector, FacepipeError, Pipeline, __version__
from facepipe.classifier.inference.attributes import ClassValue, NumericValue, PointsValue
from facepipe.core.errors import DeviceError, FrameError, ImageError, ImageTooLargeError, WeightsError
from facepipe.detector.inference.boxes import Detections
from facepipe.pipeline.inputs.image_reader import Limits
from facepipe.pipeline.results import Result
from facepipe.pipeline.stream import WINDOW
from facepipe.weights.manifest import CropRecipe
from facepipe.weights.release import Release
from pydantic import ValidationError

Photo = Callable[..., np.ndarray]


@pytest.fixture
def pipeline(tiny_weights: Path) -> Pipeline:
    return Pipeline()


def near(one: Result, other: Result) -> bool:
    """Equal but for rounding in the last digits, which may differ with the size of the batch."""

    def numbers(value: object) -> list[float]:
        if isinstance(value, dict):
            return [n for key in sorted(value) for n in numbers(value[key])]
        if isinstance(value, list | tuple):
            return [n for each in value for n in numbers(each)]
        return [float(value)] if isinstance(value, int | float) else [float(hash(value))]

    a, b = numbers(one.model_dump()), numbers(other.model_dump())
    return len(a) == len(b) and np.allclose(a, b, rtol=1e-4, atol=2e-2)


def test_two_stages_find_and_read_faces(pipeline: Pipeline, photo: Photo) -> None:
    result = pipeline.run(photo(0))
    assert (result.source, result.width, result.height, result.error) == (None, 160, 120, None)
    assert result.faces
    assert result.heads
    for face in result.faces:
        assert 0 <= face.box.x1 < face.box.x2 <= 160
        assert 0 <= face.box.y1 < face.box.y2 <= 120
        assert face.attributes is not None
        assert list(face.attributes) == ["age", "gender", "glasses", "smile", "mask", "eyes"]
        age, gender, eyes = (face.attributes[name] for name in ("age", "gender", "eyes"))
        assert isinstance(age, NumericValue)
        assert age.interval[0] <= age.interval[1]
        assert isinstance(gender, ClassValue)
        assert gender.probability == max(gender.probabilities.values())
        assert isinstance(eyes, PointsValue)
        assert list(eyes.points)[:2] == ["left_eye", "right_eye"]
    assert [face.confidence for face in result.faces] == sorted((f.confidence for f in result.faces), reverse=True)


def test_batches_equal_one_by_one_and_keep_their_frames(pipeline: Pipeline, photo: Photo) -> None:
    """More frames than go into one batch, of different sizes and numbers of faces, some without any."""
    frames = [photo(seed, 100 + 20 * (seed % 3), 90 + 35 * (seed % 4)) for seed in range(2 * WINDOW + 3)]
    frames[4] = frames[WINDOW] = np.full((50, 70, 3), 255, np.uint8)
    single = [pipeline.run(frame) for frame in frames]
    together = pipeline.run(frames)
    assert len({len(result.faces) for result in together}) > 2
    assert together[4].faces == together[WINDOW].faces == ()
    for one, other, frame in zip(single, together, frames, strict=True):
        assert (other.height, other.width) == frame.shape[:2]
        assert near(one, other)
    order = list(reversed(range(len(frames))))
    assert all(near(a, together[i]) for a, i in zip(pipeline.run([frames[i] for i in order]), order, strict=True))


def test_crops_of_several_frames_share_calls(
    detector_release: Release, classifier_release: Release, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = AttributeClassifier(release=classifier_release)
    calls: list[int] = []
    outputs = classifier.outputs

    def counting(crops: np.ndarray, features: bool = False) -> dict[str, np.ndarray]:
        calls.append(len(crops))
        return outputs(crops, features)

    monkeypatch.setattr(classifier, "outputs", counting)
    monkeypatch.setattr(classifier, "batch", 8)
    detector = FaceDetector(release=detector_release)
    pipeline = Pipeline(detector, classifier)
    results = [result for result, _ in pipeline.stream(all_at_hand(detector, [photo(seed) for seed in range(5)]))]
    faces = [len(result.faces) for result in results]
    assert sum(calls) == sum(faces)
    assert max(calls) == classifier.batch > max(faces)
    assert len(calls) < sum(each > 0 for each in faces)


def all_at_hand(detector: FaceDetector, frames: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Frames in which the detector begins to look only after all of them were asked for."""
    asked = threading.Event()
    detect = detector.detect

    def later(frames: Sequence[np.ndarray]) -> list[Detections]:
        assert asked.wait(60)
        time.sleep(0.05)  # the last one has to be read
        return detect(frames)

    detector.detect = later  # type: ignore[method-assign]
    yield from frames
    asked.set()


class Finds(FaceDetector):
    """Finds the boxes that it is told, in every frame."""

    def __init__(self, release: Release, faces: Sequence[Sequence[float]], heads: Sequence[Sequence[float]] = ()):
        super().__init__(release=release)
        self.boxes = np.array([*faces, *heads], np.float32).reshape(-1, 4)
        self.labels = np.array([0] * len(faces) + [1] * len(heads))

    def detect(self, frames: Sequence[np.ndarray]) -> list[Detections]:
        confidence = np.full(len(self.boxes), 0.1, np.float32)
        return [Detections(self.boxes, confidence, self.labels, self.classes) for _ in frames]


def test_a_face_that_cannot_be_cut_says_why_and_the_others_keep_their_own(
    detector_release: Release, classifier_release: Release, photo: Photo
) -> None:
    """The small faces stand between the others: values must not slip from one face to the next."""
    large = [[10, 10, 60, 60], [80, 20, 140, 90]]
    small = [[5, 5, 9, 9]]
    frame = photo(2)
    mixed = Pipeline(Finds(detector_release, [small[0], large[0], small[0], large[1]]), classifier_release.folder)
    alone = [Pipeline(Finds(detector_release, [box]), classifier_release.folder).run(frame) for box in large]
    for result in mixed.run([frame, frame]):
        assert [face.attributes is None for face in result.faces] == [True, False, True, False]
        assert "too small" in str(result.faces[0].reason)
        assert result.faces[1].reason is None
        for face, expected in zip((result.faces[1], result.faces[3]), alone, strict=True):
            assert near(result.model_copy(update={"faces": (face,)}), expected)


def test_points_lie_in_the_frame_where_they_lie_in_the_crop(
    detector_release: Release, classifier_release: Release, photo: Photo
) -> None:
    """The recipe's margin is a quarter: the crop of a 40 px box is 60 px of the frame, 10 px beyond the box."""
    pipeline = Pipeline(Finds(detector_release, [[50, 40, 90, 80]]), classifier_release.folder)
    for result in pipeline.run([photo(seed) for seed in range(4)]):
        attributes = result.faces[0].attributes
        assert attributes is not None
        points = attributes["eyes"]
        assert isinstance(points, PointsValue)
        for x, y in points.points.values():
            assert 40 <= x <= 100
            assert 30 <= y <= 90


def test_numbers_in_json_are_those_of_the_detector(
    detector_release: Release, classifier_release: Release, photo: Photo
) -> None:
    result = Pipeline(Finds(detector_release, [[10.1, 10, 60, 60]]), classifier_release.folder).run(photo(0))
    assert '"x1":10.1,' in result.model_dump_json()
    assert '"confidence":0.1,' in result.model_dump_json()


def test_bad_inputs_never_stop_the_others(
    pipeline: Pipeline, bad_inputs: dict[str, Path], odd_inputs: dict[str, Path]
) -> None:
    sources: list = [item for pair in zip(bad_inputs.values(), odd_inputs.values(), strict=False) for item in pair]
    sources += [np.zeros((4, 4), np.float64), None, odd_inputs["exif8"]]
    results = pipeline.run(sources)
    assert len(results) == len(sources)
    good = set(odd_inputs.values())
    for source, result in zip(sources, results, strict=True):
        if isinstance(source, Path) and source in good:
            assert (result.error, result.source) == (None, str(source))
            assert result.width
        else:
            assert result.error
            assert (result.width, result.height, result.faces, result.heads) == (None, None, (), ())
            assert result.models == pipeline.models


def test_every_odd_picture_gives_a_result(pipeline: Pipeline, odd_inputs: dict[str, Path]) -> None:
    for name, path in odd_inputs.items():
        result = pipeline.run(path)
        assert result.error is None
        assert (result.faces == ()) or name not in ("one", "blank")
    upright = [pipeline.run(odd_inputs[f"exif{orientation}"]) for orientation in (1, 6)]
    assert [(result.width, result.height) for result in upright] == [(160, 120), (120, 160)]


def test_a_single_bad_input_raises(pipeline: Pipeline, bad_inputs: dict[str, Path]) -> None:
    for name, path in bad_inputs.items():
        with pytest.raises(ImageTooLargeError if name == "bomb" else ImageError):
            pipeline.run(path)
    with pytest.raises(FrameError):
        pipeline.run(np.zeros((1, 2, 3, 4), np.uint8))


def test_streaming_reads_only_what_it_gives(pipeline: Pipeline, photo: Photo) -> None:
    taken: list[int] = []

    def sources() -> Iterator[np.ndarray]:
        for seed in range(100):
            taken.append(seed)
            yield photo(seed)

    stream = pipeline.stream(sources())
    result, frame = next(stream)
    assert frame is not None
    assert frame.shape == (result.height, result.width, 3)
    assert len(taken) <= max(WINDOW, 8 * pipeline.workers)
    stream.close()
    assert pipeline.run([]) == []


def test_json_contract(pipeline: Pipeline, photo: Photo, tmp_path: Path) -> None:
    result, failed = pipeline.run([photo(0), tmp_path / "none.jpg"])
    record = json.loads(result.model_dump_json())
    assert list(record) == [
        *("source", "width", "height", "faces", "heads", "models", "error", "frame", "time", "source_sha256", "warning")
    ]
    face = record["faces"][0]
    assert list(face) == ["box", "confidence", "head", "attributes", "reason", "reasons", "track"]
    assert list(face["box"]) == ["x1", "y1", "x2", "y2"]
    assert set(face["attributes"]["gender"]) == {"value", "probability", "probabilities"}
    assert set(face["attributes"]["age"]) == {"value", "unit", "interval"}
    assert len(face["attributes"]["eyes"]["points"]["left_eye"]) == 2
    assert list(record["heads"][0]) == ["box", "confidence"]
    assert list(record["models"]) == ["detector", "classifiers", "facepipe"]
    assert list(record["models"]["classifiers"]) == ["face"]
    detector, classifier = pipeline.parts()[0].release, pipeline.parts()[1].by_name["face"].release
    assert record["models"]["detector"] == {
        "version": detector.version,
        "sha256": detector.entry().sha256,
        "device": "cpu",
        "confidence": 0.5,
        "iou": 0.5,
        "imgsz": 64,
        "tiles": None,
        "reduced_to": None,
    }
    crop = classifier.manifest.crop
    assert crop is not None
    assert record["models"]["classifiers"]["face"] == {
        "version": classifier.version,
        "sha256": classifier.entry().sha256,
        "device": "cpu",
        "crop_sha256": crop.sha256,
        "face_check": None,
    }
    assert record["models"]["facepipe"] == __version__
    assert Result.model_validate_json(result.model_dump_json()) == result
    record = json.loads(failed.model_dump_json())
    assert (record["width"], record["height"], record["faces"], record["heads"]) == (None, None, [], [])
    assert "no such file" in record["error"]


def test_a_result_names_the_encoded_picture(pipeline: Pipeline, encode: Callable[..., bytes], tmp_path: Path) -> None:
    from PIL import Image

    content = encode(".png")
    path = tmp_path / "a.png"
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    sources: list[Any] = [path, content, memoryview(content), str(path)]
    assert [pipeline.run(source).source_sha256 for source in sources] == [digest] * 4
    assert [result.source_sha256 for result, _ in pipeline.stream(sources)] == [digest] * 4
    without: list[Any] = [cv2.imread(str(path)), Image.open(path)]
    assert [result.source_sha256 for result in pipeline.run(without)] == [None] * 2
    assert [pipeline.run(source).source_sha256 for source in without] == [None] * 2
    assert pipeline.run([tmp_path / "none.png"])[0].source_sha256 is None


def test_a_crop_recipe_has_one_hash() -> None:
    """The hashes stand in results: a new field of the recipe must leave those of the older ones as they are."""
    recipe = CropRecipe(margin=0.25, size=224)
    assert recipe.sha256 == "2a36385db31cfa81888520f7181969ecce2137a653cef7bad24ab62fbd7cc3e7"
    assert CropRecipe.model_validate_json('{"size": 224, "margin": 0.25, "border": [114, 114, 114]}') == recipe
    plain = '{"border":[114,114,114],"interpolation":"area","margin":0.25,"min_side":8.0,"region":"face",'
    plain += '"size":224,"square":true}'
    assert hashlib.sha256(plain.encode()).hexdigest() == recipe.sha256
    others = [CropRecipe(margin=0.25, size=224, **change) for change in ({"region": "head"}, {"border": (0, 0, 0)})]
    assert len({recipe.sha256, CropRecipe(margin=0.26, size=224).sha256, *(each.sha256 for each in others)}) == 4


def test_results_are_frozen(pipeline: Pipeline, photo: Photo) -> None:
    result = pipeline.run(photo(0))
    with pytest.raises(ValidationError, match="frozen"):
        result.error = "no"
    with pytest.raises(ValidationError, match="frozen"):
        result.faces[0].head = 3


def test_models_by_version_folder_or_object(
    tiny_weights: Path, detector_release: Release, classifier_release: Release, photo: Photo
) -> None:
    by_version = Pipeline("99.0.0", "99.0.0").run(photo(0))
    by_folder = Pipeline(str(detector_release.folder), classifier_release.folder).run(photo(0))
    by_object = Pipeline(FaceDetector(release=detector_release), AttributeClassifier(release=classifier_release)).run(
        photo(0)
    )
    assert by_version == by_folder == by_object
    assert by_version.models.detector.sha256 == detector_release.entry().sha256
    with pytest.raises(WeightsError, match="77"):
        Pipeline(detector="77.0.0")


def test_confidence_threads_device_and_limits(tiny_weights: Path, photo: Photo) -> None:
    assert len(Pipeline(confidence=0.01).run(photo(0)).heads) > len(Pipeline(confidence=0.9).run(photo(0)).heads)
    assert near(Pipeline(threads=1).run(photo(0)), Pipeline(threads=2).run(photo(0)))
    with pytest.raises(DeviceError, match="gpu"):
        Pipeline(device="gpu")
    with pytest.raises(ImageTooLargeError):
        Pipeline(limits=Limits(pixels=10)).run(b"BM" + bytes(12) + b"\x28\0\0\0\x64\0\0\0\x64\0\0\0")


def test_a_closed_pipeline_says_so(tiny_weights: Path, photo: Photo) -> None:
    with Pipeline() as pipeline:
        pipeline.run(photo(0))
        assert list(pipeline.stopwatch.seconds) == ["load", "read", "detect", "classify"]
    with pytest.raises(FacepipeError, match="closed"):
        pipeline.run(photo(0))


def test_conf_is_confidence(tiny_weights: Path) -> None:
    assert Pipeline(conf=0.6).models.detector.confidence == Pipeline(confidence=0.6).models.detector.confidence == 0.6
    for wrong in (-0.1, 1.1, 40, float("nan")):
        for name in ("conf", "confidence"):
            with pytest.raises(FacepipeError, match="expected a number from 0 to 1"):
                Pipeline(**{name: wrong})  # type: ignore[arg-type]
    with pytest.raises(FacepipeError, match="the same"):
        Pipeline(confidence=0.5, conf=0.5)


def test_a_folder_or_a_video_belongs_to_stream(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "clip.MP4").write_bytes(b"no picture")
    for source, kind in ((tmp_path, "folder"), (str(tmp_path), "folder"), (tmp_path / "clip.MP4", "video")):
        with pytest.raises(ImageError, match=f"is a {kind}; use pipeline.stream") as raised:
            pipeline.run(source)
        assert str(source) in str(raised.value)


@pytest.mark.parametrize("before", ["data:image/jpeg;base64,", ""])
def test_a_picture_as_text_gives_a_short_error(pipeline: Pipeline, photo: Photo, before: str) -> None:
    text = before + base64.b64encode(cv2.imencode(".png", photo(0))[1].tobytes()).decode()
    with pytest.raises(ImageError, match="b64decode") as raised:
        pipeline.run(text)
    assert len(str(raised.value)) < 200
    (result,) = pipeline.run([text])
    assert len(result.model_dump_json(exclude={"models"})) < 500


def test_a_pipeline_is_not_pickled(pipeline: Pipeline) -> None:
    with pytest.raises(TypeError, match=r"a Pipeline cannot be pickled: .*; make one in each process"):
        pickle.dumps(pipeline)
