"""Crops as the classifier sees them, with a CSV that training takes; and COCO for labelling tools."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe import Pipeline
from facepipe.classifier.data.table import read_faces
from facepipe.pipeline.cli import main
from facepipe.pipeline.inputs.image_reader import read_frame
from facepipe.pipeline.outputs.coco import common_folder
from facepipe.pipeline.results import Result
from facepipe.weights.release import Release

LABELLED = {"age", "gender", "glasses", "smile", "mask"}
"""Attributes that a labelling tool takes: all but the points."""


@pytest.fixture
def pictures(tmp_path: Path, photo: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pictures of one name in two folders, and a broken one."""
    for seed, name in enumerate(("a/x.png", "b/x.png", "b/größe 名.png")):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", photo(seed))[1].tobytes())
    (tmp_path / "in" / "broken.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "in"


def detect(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["detect", *map(str, arguments)])
    return int(ended.value.code or 0)


def results(path: Path) -> list[Result]:
    return [Result.model_validate_json(line) for line in path.read_bytes().splitlines()]


def test_crops_can_be_trained_on(pictures: Path, tiny_weights: Path, tmp_path: Path) -> None:
    assert detect(pictures, "--crops", "out", "--json", "a.jsonl") == 1
    with Pipeline() as pipeline:
        classifier = pipeline.parts()[1].by_name["face"]
        table = read_faces(tmp_path / "out" / "crops.csv", classifier.attributes)
        table.require_crops(classifier.crop)
    found = results(tmp_path / "a.jsonl")
    faces = [(result, n, face) for result in found for n, face in enumerate(result.faces) if face.attributes]
    assert len(table) == len(faces) > 3
    assert table.crops is not None
    assert (table.crops.recipe, table.crops.context, table.crops.detector) == (classifier.crop, 0.0, "99.0.0")
    assert len(set(table.files)) == len(faces)
    for row, (result, number, face) in enumerate(faces):
        assert table.columns["picture"][row] == table.columns["group"][row] == result.source
        assert table.columns["face"][row] == str(number)
        assert face.attributes is not None
        age, gender, eyes = (face.attributes[name] for name in ("age", "gender", "eyes"))
        assert table.targets["age"][row][0] == round(age.value)  # type: ignore[union-attr,arg-type]
        classes = next(each.classes for each in classifier.attributes if each.name == "gender")  # type: ignore[union-attr]
        assert classes[int(table.targets["gender"][row])] == gender.value  # type: ignore[union-attr]
        # Points lie at the same place of the crop as the classifier gave them: back in the frame they are the result's.
        crop = read_frame(table.files[row])
        assert crop.shape == (classifier.crop.size, classifier.crop.size, 3)
        box = face.box
        side = max(box.x2 - box.x1, box.y2 - box.y1) * (1 + 2 * classifier.crop.margin)
        centre = np.array([(box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2])
        back = (table.targets["eyes"][row] / classifier.crop.size - 0.5) * side + centre
        np.testing.assert_allclose(back, list(eyes.points.values()), atol=1.5)  # type: ignore[union-attr]


def test_crops_are_what_the_classifier_saw(pictures: Path, tiny_weights: Path, tmp_path: Path) -> None:
    from facepipe.classifier.inference.crop import cut_region

    assert detect(pictures, "--crops", "out", "--json", "a.jsonl") == 1
    with Pipeline() as pipeline:
        recipe = pipeline.parts()[1].by_name["face"].crop
    found = {result.source: result for result in results(tmp_path / "a.jsonl")}
    with (tmp_path / "out" / "crops.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        box = found[row["picture"]].faces[int(row["face"])].box
        corners = np.array([box.x1, box.y1, box.x2, box.y2], np.float32)
        expected = cut_region(read_frame(row["picture"]), corners, None, recipe).image
        assert expected is not None
        stored = cv2.imdecode(np.fromfile(tmp_path / "out" / row["file"], np.uint8), cv2.IMREAD_GRAYSCALE)
        assert stored is not None
        assert cv2.absdiff(stored, cv2.cvtColor(expected, cv2.COLOR_BGR2GRAY)).mean() < 4  # JPEG blurs colour


def test_several_classifiers_have_a_folder_each(
    pictures: Path,
    publish_detector: Callable[..., Release],
    publish_colours: Callable[..., Release],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish_detector(tmp_path / "weights")
    publish_colours(tmp_path / "weights", "face", "99.0.0")
    publish_colours(tmp_path / "weights", "shirt", region="torso", attribute="face")  # as a column is called
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "weights"))
    options = ["--classifier", "face", "--classifier", "shirt", "--conf", 0.3, "--json", "a.jsonl", "--crops", "out"]
    assert detect(pictures, *options, "--csv", "a.csv", "--coco", "a.json") == 1
    faces = [face for result in results(tmp_path / "a.jsonl") for face in result.faces]
    for name, column in (("face", "face_colour"), ("shirt", "face")):
        with (tmp_path / "out" / name / "crops.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == sum(name not in face.reasons for face in faces) > 0
        assert {row[column] for row in rows} <= {"blue", "green", "red"}
        assert all((tmp_path / "out" / name / row["file"]).is_file() for row in rows)
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        assert {"face", "face_2", "face_colour", "version_shirt"} <= set(csv.DictReader(file).fieldnames or ())
    assert detect(pictures, *options, "--csv", "a.csv", "--coco", "a.json", "--resume") == 0  # all is there


def test_coco_names_pictures_below_their_folder(pictures: Path, tiny_weights: Path, tmp_path: Path) -> None:
    assert detect(pictures, "--coco", "a.json", "--json", "a.jsonl") == 1
    content = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert [image["file_name"] for image in content["images"]] == ["a/x.png", "b/größe 名.png", "b/x.png"]
    assert [each["id"] for each in content["images"]] == [1, 2, 3]
    assert [category["name"] for category in content["categories"]] == ["face", "head"]
    by_image = {each["id"]: each["file_name"] for each in content["images"]}
    found = {result.source: result for result in results(tmp_path / "a.jsonl")}
    for image, name in by_image.items():
        result = found[str(pictures / name)]
        own = [each for each in content["annotations"] if each["image_id"] == image]
        assert [each["category_id"] for each in own] == [1] * len(result.faces) + [2] * len(result.heads)
        for each, box in zip(own, [*(x.box for x in result.faces), *(x.box for x in result.heads)], strict=True):
            np.testing.assert_allclose(each["bbox"], [box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1], atol=0.011)
        for each, face in zip(own, result.faces, strict=False):
            assert each["score"] == pytest.approx(face.confidence, abs=1e-4)
            assert set(each["attributes"]) == (LABELLED if face.attributes else set())
    ids = [each["id"] for each in content["annotations"]]
    assert ids == list(range(1, len(ids) + 1))
    labels = json.loads((tmp_path / "a.cvat-labels.json").read_text(encoding="utf-8"))
    assert [label["name"] for label in labels] == ["face", "head"]
    assert {each["name"] for each in labels[0]["attributes"]} == LABELLED


def test_coco_of_pictures_that_cannot_be_read_is_empty_and_whole(tiny_weights: Path, pictures: Path) -> None:
    assert detect(pictures / "broken.png", "--coco", "a.json") == 1
    content = json.loads(Path("a.json").read_text(encoding="utf-8"))
    assert content["images"] == content["annotations"] == []


def test_common_folder(tmp_path: Path) -> None:
    assert common_folder([str(tmp_path / "a/b/x.png"), str(tmp_path / "a/c.png"), "https://x.org/y/z.png"]) == str(
        tmp_path / "a"
    )
    assert common_folder(["https://x.org/y/z.png"]) is None
