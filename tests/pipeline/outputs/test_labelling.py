"""Files for Label Studio and FiftyOne say what the results say, and go back to the same boxes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import pytest
from facepipe.classifier.inference.attributes import ClassValue, NumericValue
from facepipe.pipeline.outputs.labelling import (
    LOCAL_FILES,
    interface_path,
    labelling_interface,
    write_fiftyone,
    write_label_studio,
)
from facepipe.pipeline.results import Box, DetectorUsed, Face, Head, Models, Result
from facepipe.weights.manifest import BinaryAttribute, NumericAttribute, PointsAttribute

ATTRIBUTES = (
    BinaryAttribute(name="gender", classes=("female", "male")),
    NumericAttribute(name="age", unit="years", low=0.0, high=100.0, bins=101),
    PointsAttribute(name="eyes", points=("left_eye", "right_eye"), mirror=(("left_eye", "right_eye"),)),
)
CLASSES = ("face", "head")


@pytest.fixture
def results(tmp_path: Path) -> list[Result]:
    """Two pictures, one of them in a folder below, and one that could not be read."""
    face = Face(
        box=Box(x1=20, y1=10, x2=60, y2=50),
        confidence=0.87654,
        head=0,
        reason=None,
        attributes={
            "gender": ClassValue(value=None, probability=0.6, probabilities={"female": 0.6, "male": 0.4}),
            "age": NumericValue(value=31.4, unit="years", interval=(21, 47)),
        },
    )
    small = Face(box=Box(x1=0, y1=0, x2=5, y2=5), confidence=0.5, head=None, attributes=None, reason="too small")
    head = Head(box=Box(x1=10, y1=0, x2=70, y2=60), confidence=0.9)
    models = Models(detector=DetectorUsed(version="1.0.0", sha256="0" * 64), classifiers={})
    whole: dict[str, Any] = {"width": 200, "height": 100, "models": models, "error": None}
    empty: dict[str, Any] = {"faces": (), "heads": ()}
    return [
        Result(source=str(tmp_path / "a b.jpg"), faces=(face, small), heads=(head,), **whole),
        Result(source=str(tmp_path / "bad.jpg"), width=None, height=None, models=models, error="is empty", **empty),
        Result(source=str(tmp_path / "deep" / "ü.png"), **whole, **empty),
    ]


def test_label_studio(results: list[Result], tmp_path: Path) -> None:
    path = tmp_path / "out" / "tasks.json"
    path.parent.mkdir()
    write_label_studio(path, CLASSES, ATTRIBUTES, "detector 1.0.0", lambda: results)
    first, second = json.loads(path.read_text("utf-8"))
    assert unquote(first["data"]["image"]) == LOCAL_FILES + "a b.jpg"
    assert unquote(second["data"]["image"]) == LOCAL_FILES + "deep/ü.png"
    (prediction,) = first["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("detector 1.0.0", 0.5)
    box, gender, age, small, head = prediction["result"]
    assert box["value"] == {"x": 10, "y": 10, "width": 20, "height": 40, "rotation": 0, "rectanglelabels": ["face"]}
    assert (box["original_width"], box["original_height"], box["score"]) == (200, 100, 0.8765)
    assert gender["value"]["choices"] == ["female"]  # the likeliest, where the classifier is unsure
    assert age["value"]["number"] == 31
    assert box["id"] == gender["id"] == age["id"] != small["id"] != head["id"]
    assert head["value"]["rectanglelabels"] == ["head"]
    assert second["predictions"][0]["result"] == []


def test_every_entry_has_its_control(results: list[Result], tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    write_label_studio(path, CLASSES, ATTRIBUTES, "1", lambda: results)
    assert interface_path(path).name == "tasks.interface.xml"
    view = ET.fromstring(interface_path(path).read_text("utf-8"))
    controls = {each.get("name"): each for each in view}
    for task in json.loads(path.read_text("utf-8")):
        assert set(task["data"]) == {controls["image"].get("value", "").lstrip("$")}
        for entry in task["predictions"][0]["result"]:
            control = controls[entry["from_name"]]
            assert control.tag.lower() == entry["type"]
            assert control.get("toName") == entry["to_name"]
            offered = {each.get("value") for each in control}
            assert set(entry["value"].get(entry["type"], ()) if offered else ()) <= offered
    assert "eyes" not in controls


def test_names_of_classes_are_escaped() -> None:
    odd = BinaryAttribute(name="b", classes=("<no>", 'y"&s'))
    view = ET.fromstring(labelling_interface(CLASSES, (odd,)))
    choices = view[-1]
    assert choices.get("name") == "b"
    assert [each.get("value") for each in choices] == ["<no>", 'y"&s']


def test_fiftyone(results: list[Result], tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    write_fiftyone(path, ATTRIBUTES, lambda: results)
    labels = json.loads(path.read_text("utf-8"))["labels"]
    assert set(labels) == {"a b", "deep/ü"}
    face, small, head = labels["a b"]
    assert face == {
        "label": "face",
        "bounding_box": [0.1, 0.1, 0.2, 0.4],
        "confidence": 0.8765,
        "attributes": {"gender": "female", "age": 31},
    }
    assert (small["attributes"], head["label"]) == ({}, "head")
    assert labels["deep/ü"] == []


def test_no_results_at_all(tmp_path: Path) -> None:
    write_label_studio(tmp_path / "tasks.json", CLASSES, ATTRIBUTES, "1", list)
    write_fiftyone(tmp_path / "labels.json", ATTRIBUTES, list)
    assert json.loads((tmp_path / "tasks.json").read_text()) == []
    assert json.loads((tmp_path / "labels.json").read_text()) == {"labels": {}}
