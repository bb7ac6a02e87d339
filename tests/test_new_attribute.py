"""An attribute that facepipe has never heard of, from a label file to ``facepipe detect``, without a line of code.

The steps and the files are those of docs/attributes.md; only the photos are drawn, the detector finds one fixed box,
and the recipe is tiny.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from facepipe.pipeline.cli import main
from facepipe.weights import store
from facepipe.weights.manifest import Manifest
from facepipe.weights.release import Release, file_entry
from onnx import TensorProto, helper, numpy_helper

pytestmark = pytest.mark.train

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

PHOTO, BOX, SIDE = 128, (28.0, 22.0, 100.0, 112.0), 64
"""Pixels of a drawn photo, the face in it, and the input of the detector that finds it."""
SCHEMA = """
attributes:
  - name: beard
    kind: binary
    classes: ["no", "yes"]
"""
RECIPE = """
backbone: resnet14
schema: beard.yaml
start: none
batch: 16
recalibration: 6
augmentation: {scale: 0.05, shift: 0.03, rotation: 4, brightness: 0.1, contrast: 0.1, coarse: 0, grey: 0}
stages:
  - {name: all, size: 32, epochs: 6, learning_rate: 2.0e-3}
"""


def draw_photo(bearded: bool, random: np.random.Generator) -> np.ndarray:
    """A skin-coloured face with eyes and a mouth, and a beard or none: BGR (PHOTO, PHOTO, 3)."""
    photo = np.full((PHOTO, PHOTO, 3), random.integers(90, 200, 3), np.uint8)
    x1, y1, x2, y2 = BOX
    x, y = int((x1 + x2) / 2), int((y1 + y2) / 2)
    skin = random.integers((110, 140, 180), (160, 190, 240)).tolist()
    cv2.ellipse(photo, (x, y), (36, 45), 0, 0, 360, skin, -1)
    if bearded:
        cv2.ellipse(photo, (x, y + 8), (33, 36), 0, 0, 180, random.integers(10, 50, 3).tolist(), -1)
    for side in (-13, 13):
        cv2.circle(photo, (x + side, y - 12), 4, (40, 30, 30), -1)
    cv2.ellipse(photo, (x, y + 22), (12, 4), 0, 0, 360, (60, 60, 190), -1)
    return cv2.add(photo, random.integers(0, 12, photo.shape).astype(np.uint8))


def publish_fixed_detector(folder: Path, root: Path, publish_detector: Callable[..., Release]) -> None:
    """A detector that finds the face of every drawn photo, and nothing else, whatever it is shown."""
    scale = SIDE / PHOTO
    x1, y1, x2, y2 = (value * scale for value in BOX)
    row = np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, 0.9, 0.0], np.float32)
    constants = {"zero": np.zeros((), np.float32), "flat": np.array([-1, 1, 1]), "row": row.reshape(1, 6, 1)}
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["mean"]),
            helper.make_node("ReduceMean", ["mean"], ["grey"], axes=[1, 2, 3], keepdims=1),
            helper.make_node("Reshape", ["grey", "flat"], ["each"]),
            helper.make_node("Mul", ["each", "zero"], ["nothing"]),
            helper.make_node("Add", ["nothing", "row"], ["output0"]),
        ],
        "fixed",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ("n", 3, SIDE, SIDE))],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ("n", 6, 1))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    file = folder / "fixed.onnx"
    onnx.save(model, file)
    pattern = publish_detector(folder / "pattern").manifest
    entry = file_entry(file, "float32")
    store.publish(Manifest.model_validate(pattern.model_dump() | {"files": (entry,)}), [file], root)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """``run("detect", ...)`` types a command in an empty folder, and gives what it prints."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> str:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert not ended.value.code, f"{arguments[0]} ended with {ended.value.code}:\n{out}\n{err}"
        return out

    return call


def write_photos(folder: Path, count: int = 80) -> None:
    """Photos and ``faces.csv``: every other one bearded, a quarter to validate, a few unlabelled, one column more."""
    random = np.random.default_rng(3)
    folder.mkdir()
    with (folder / "faces.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "beard", "split", "camera"])
        for index in range(count):
            bearded = bool(index % 2)
            cv2.imwrite(str(folder / f"{index}.png"), draw_photo(bearded, random))
            label = "" if index % 19 == 18 else "yes" if bearded else "no"
            writer.writerow([f"{index}.png", label, "val" if index % 8 > 5 else "train", "a"])


def beard(printed: str) -> dict[str, Any]:
    """The attribute in what ``detect --json -`` printed of one picture with one face."""
    (face,) = json.loads(printed)["faces"]
    return face["attributes"]["beard"]


def test_from_labels_to_detect(
    run: Callable[..., str],
    tmp_path: Path,
    publish_detector: Callable[..., Release],
    publish_classifier: Callable[..., Release],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = tmp_path / "weights"
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(weights))
    publish_fixed_detector(tmp_path, weights, publish_detector)
    publish_classifier(weights)
    (tmp_path / "beard.yaml").write_text(SCHEMA, encoding="utf-8")
    (tmp_path / "tiny.yaml").write_text(RECIPE, encoding="utf-8")
    write_photos(tmp_path / "photos")

    run("data", "crop", "photos/faces.csv", "--schema", "beard.yaml", "--out", "crops", "--across", 1, "--size", 32)
    assert len((tmp_path / "crops" / "faces.csv").read_text(encoding="utf-8").splitlines()) == 81
    run("data", "check", "crops/faces.csv", "--schema", "beard.yaml")
    run(
        *("train-classifier", "--data", "crops/faces.csv", "--schema", "beard.yaml", "--recipe", "tiny.yaml"),
        *("--classifier-name", "beard", "--name", "beard", "--version", "0.1.0", "--export", "float32"),
    )
    assert (weights / "classifier" / "beard" / "0.1.0" / "manifest.json").is_file()
    assert "beard" in run("evaluate-classifier", "--data", "crops/faces.csv", "--classifier", "beard@0.1.0")

    random = np.random.default_rng(77)
    for label in ("no", "yes"):  # of faces that no training has seen
        cv2.imwrite(str(tmp_path / f"{label}.png"), draw_photo(label == "yes", random))
        found = beard(run("detect", f"{label}.png", "--classifier", "beard@0.1.0", "--json", "-"))
        assert found["value"] == label
        assert max(found["probabilities"], key=found["probabilities"].get) == label
    table = run("detect", "yes.png", "--classifier", "face", "--classifier", "beard@0.1.0")
    assert "beard" in table
    assert "gender" in table
