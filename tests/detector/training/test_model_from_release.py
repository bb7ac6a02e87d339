"""Training on from a released detector: the model computes what the release does, and its batch norms fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from facepipe.core.errors import TrainingError
from facepipe.detector.inference.preprocessing import InputBuffer, fit
from facepipe.detector.training.model import FaceDetectionModel, release_arrays, start_from_release
from facepipe.detector.training.narrowing import strongest
from facepipe.detector.training.settings import DetectorSettings
from facepipe.weights.release import open_release
from facepipe.weights.session import open_session
from facepipe.weights.store import PACKAGE_ROOT
from torch.nn import BatchNorm2d

PHOTO = Path(__file__).parents[3] / "examples" / "astronaut.jpg"
SHIPPED = PACKAGE_ROOT / "detector"
CLASSES = ("face", "head")


@pytest.fixture(scope="module")
def started() -> FaceDetectionModel:
    torch.manual_seed(0)
    model = FaceDetectionModel("yolov8s.yaml", nc=2, ch=3, verbose=False)
    start_from_release(model, open_release(SHIPPED / "1.0.0"), CLASSES, [PHOTO], 320)
    return model


def test_the_model_computes_what_the_release_does(started: FaceDetectionModel) -> None:
    release = open_release(SHIPPED / "1.0.0")
    frame = cv2.imread(str(PHOTO))
    assert frame is not None
    tensor = InputBuffer(release.manifest.input).fill([frame], [fit(512, 512, 320, 32)])
    (expected,) = open_session(release.read("float16")).run(None, {release.manifest.input.name: tensor})
    with torch.no_grad():
        found = started.eval()(torch.from_numpy(tensor))[0].numpy()
    assert np.abs(found[:, 4:] - expected[:, 4:]).max() < 2e-3
    strong = expected[0, 4:].max(axis=0) > 0.2
    assert strong.any()
    assert np.abs(found[0, :4, strong] - expected[0, :4, strong]).max() < 0.5


@pytest.mark.parametrize(("classes", "places"), [(["face"], [0]), (["cat", "head", "face"], [None, 1, 0])])
def test_other_classes_go_on_from_those_that_they_share(classes: list[str], places: list[int | None]) -> None:
    release = open_release(SHIPPED / "1.0.0")
    torch.manual_seed(0)
    model = FaceDetectionModel("yolov8s.yaml", nc=len(classes), ch=3, verbose=False)
    start_from_release(model, release, classes, [PHOTO], 320)
    frame = cv2.imread(str(PHOTO))
    assert frame is not None
    tensor = InputBuffer(release.manifest.input).fill([frame], [fit(512, 512, 320, 32)])
    (expected,) = open_session(release.read("float16")).run(None, {release.manifest.input.name: tensor})
    with torch.no_grad():
        found = model.eval()(torch.from_numpy(tensor))[0].numpy()
    for place, theirs in enumerate(places):
        if theirs is not None:
            assert np.abs(found[:, 4 + place] - expected[:, 4 + theirs]).max() < 2e-3
    with pytest.raises(TrainingError, match=r"finds face, head, but the data set has cat: .* --classes face,head"):
        start_from_release(model, release, ["cat"], [PHOTO], 320)


def test_statistics_are_those_of_the_pictures(started: FaceDetectionModel) -> None:
    """In training each batch brings its own: of the same picture, they must agree with what is kept."""
    frame = cv2.imread(str(PHOTO))
    assert frame is not None
    frame = cv2.resize(frame, (320, 320), interpolation=cv2.INTER_LINEAR)
    tensor = torch.from_numpy(frame[None, ..., ::-1].transpose(0, 3, 1, 2) / np.float32(255))
    norms = [module for module in started.modules() if isinstance(module, BatchNorm2d)]
    kept = [norm.running_mean.clone() for norm in norms]
    assert all(norm.running_var.gt(0).any() and not norm.running_var.eq(1).all() for norm in norms)
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        started.train()(tensor)
    for norm, before in zip(norms, kept, strict=True):
        spread = norm.running_var.sqrt() + 1e-3
        assert ((norm.running_mean - before).abs() / spread).mean() < 0.1


def test_a_narrower_model_takes_the_strongest_channels() -> None:
    release = open_release(SHIPPED / "1.0.0")
    model = FaceDetectionModel("yolov8n.yaml", nc=2, ch=3, verbose=False)
    assert start_from_release(model, release, CLASSES, [PHOTO], 320) == 127
    first = release_arrays(release)["model.0.conv.weight"]
    kept = strongest(np.sqrt((first.astype(np.float64) ** 2).sum(axis=(1, 2, 3))), 16)
    np.testing.assert_array_equal(model.model[0].conv.weight.detach().numpy(), first[kept])
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    model = FaceDetectionModel("yolov8m.yaml", nc=2, ch=3, verbose=False)
    with pytest.raises(TrainingError, match=r"detector 1\.0\.0 does not fit this model: .* must be a YOLOv8s"):
        start_from_release(model, open_release(SHIPPED / "1.0.0"), CLASSES, [PHOTO], 320)
    manifest = json.loads((SHIPPED / "1.0.0" / "manifest.json").read_bytes())
    manifest["files"] = [entry for entry in manifest["files"] if entry["precision"] == "int8"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    shutil.copyfile(SHIPPED / "1.0.0" / "detector.int8.onnx", tmp_path / "detector.int8.onnx")
    with pytest.raises(TrainingError, match=r"detector 1\.0\.0 has int8 weights only"):
        start_from_release(model, open_release(tmp_path), CLASSES, [PHOTO], 320)


def test_without_a_readable_picture_nothing_can_be_measured(tmp_path: Path) -> None:
    model = FaceDetectionModel("yolov8s.yaml", nc=2, ch=3, verbose=False)
    with pytest.raises(TrainingError, match="none of the training pictures can be read"):
        start_from_release(model, open_release(SHIPPED / "1.0.0"), CLASSES, [tmp_path / "none.jpg"], 320)


def test_settings_know_a_released_version(detection_data: Path) -> None:
    settings = DetectorSettings(data=str(detection_data), start="1.0.0")
    release = settings.release()
    assert release is not None
    assert release.version == "1.0.0"
    assert settings.arguments(Path("run"), "cpu")["pretrained"] is False
    with pytest.raises(TrainingError, match=r"7\.7\.7: no such starting weights"):
        DetectorSettings(data=str(detection_data), start="7.7.7").checked()
