"""Prelabelled sets: what is written is what the models say, and every reader takes it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facepipe import FaceDetector, Pipeline
from facepipe.classifier.data.table import read_faces
from facepipe.classifier.inference.attributes import ClassValue, NumericValue
from facepipe.classifier.inference.classifier import AttributeClassifier
from facepipe.core.errors import DataError
from facepipe.detector.data.convert import convert
from facepipe.detector.data.dataset import read_description
from facepipe.detector.data.formats import read
from facepipe.detector.data.formats.labels import LabelReader
from facepipe.pipeline.datasets.check import open_stored
from facepipe.pipeline.datasets.prelabel import FoundBox, Prelabelled, gather, prelabel, to_review
from facepipe.pipeline.datasets.prelabel_files import Form, write_set
from facepipe.pipeline.inputs.image_reader import read_frame
from facepipe.pipeline.outputs.coco import cvat_labels, plain_values
from facepipe.pipeline.results import Box
from facepipe.weights.manifest import NumericAttribute
from facepipe.weights.release import Release

from ...detector.data.roboflow_server import KEY, Service, serve

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def pictures(tmp_path: Path, photo: Callable[..., np.ndarray]) -> Path:
    """A folder of six pictures that look unlike, in two folders; two of one name."""
    folder = tmp_path / "photos"
    for number, name in enumerate(("a.png", "b.jpg", "c.webp", "more/a.png", "more/größe d.png", "e.bmp")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(path.suffix, photo(number, 120, 160 + 8 * number))[1].tobytes())
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def by_original(out: Path) -> dict[str, dict[str, str]]:
    return {row["original"]: row for row in rows(out / "pictures.csv")}


def test_yolo_is_what_the_detector_says(run: Run, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, printed, err = run("data", "prelabel", pictures, "--out", out)
    assert (code, err) == (0, "")
    assert f"{out / 'data.yaml'}: 6 pictures, " in printed
    assert "labelled by facepipe with detector 99.0.0 at a confidence of 0.5" in printed
    description = read_description(out / "data.yaml")
    assert description.classes == ("face", "head")
    assert all(found for found in description.pictures.values())
    assert sum(len(found) for found in description.pictures.values()) == 6
    table = by_original(out)
    assert {Path(row["file"]).name for row in table.values()} == {
        "a.png", "a-2.png", "b.jpg", "c.webp", "größe d.png", "e.bmp"
    }  # fmt: skip
    with Pipeline() as pipeline:
        for name, row in table.items():
            copied = (out / row["file"]).read_bytes()
            assert copied == Path(name).read_bytes()
            result = pipeline.run(name)
            wanted = [(0, face.box) for face in result.faces] + [(1, head.box) for head in result.heads]
            label_file = (out / row["file"].replace("images/", "labels/")).with_suffix(".txt")
            found = LabelReader(("face", "head")).boxes(label_file)
            assert int(row["boxes"]) == len(found) == len(wanted)
            height, width = open_stored(copied).frame.shape[:2]
            assert (row["width"], row["height"]) == (str(width), str(height))
            corners = sorted((int(r[0]), *np.round(_corners(r, width, height), 1)) for r in found)
            expected = sorted((k, *np.round((b.x1, b.y1, b.x2, b.y2), 1)) for k, b in wanted)
            assert np.allclose(corners, expected, atol=0.11)
    assert not (out / "attributes.csv").exists()


def _corners(row: np.ndarray, width: int, height: int) -> tuple[float, ...]:
    cx, cy, w, h = row[1:] * (width, height, width, height)
    return cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2


def test_coco_is_sound_and_holds_the_attributes(run: Run, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, _, _ = run("data", "prelabel", pictures, "--out", out, "--as", "coco", "--attributes", "--conf", "0.4")
    assert code == 0
    content = json.loads((out / "_annotations.coco.json").read_text(encoding="utf-8"))
    assert set(content) == {"info", "licenses", "categories", "images", "annotations"}
    assert [(each["id"], each["name"]) for each in content["categories"]] == [(1, "face"), (2, "head")]
    assert len(content["images"]) == 6
    sizes = {}
    for image in content["images"]:
        height, width = read_frame(out / "images" / image["file_name"]).shape[:2]
        assert (image["width"], image["height"]) == (width, height)
        sizes[image["id"]] = (width, height)
    assert [each["id"] for each in content["annotations"]] == list(range(1, len(content["annotations"]) + 1))
    faces = 0
    for each in content["annotations"]:
        x, y, w, h = each["bbox"]
        width, height = sizes[each["image_id"]]
        assert 0 <= x < x + w <= width + 0.01
        assert 0 <= y < y + h <= height + 0.01
        assert each["area"] == pytest.approx(w * h, abs=0.01)
        assert each["segmentation"] == []
        assert each["iscrowd"] == 0
        assert 0.4 <= each["score"] <= 1
        if each["category_id"] == 1:
            faces += 1
            assert set(each["attributes"]) == {"age", "gender", "glasses", "smile", "mask"}
            assert isinstance(each["attributes"]["age"], int)
            assert each["attributes"]["gender"] in ("female", "male")
        else:
            assert each["attributes"] == {}
    assert faces
    with Pipeline(confidence=0.4) as pipeline:
        source = next(path for path in pictures.rglob("b.jpg"))
        result = pipeline.run(source)
    image = next(image["id"] for image in content["images"] if image["file_name"] == "b.jpg")
    mine = [each for each in content["annotations"] if each["image_id"] == image and each["category_id"] == 1]
    assert [each["score"] for each in mine] == [round(face.confidence, 4) for face in result.faces]
    for each, face in zip(mine, result.faces, strict=True):
        assert face.attributes is not None
        gender, age = face.attributes["gender"], face.attributes["age"]
        assert isinstance(gender, ClassValue)
        assert isinstance(age, NumericValue)
        assert each["attributes"]["gender"] == gender.value
        assert each["attributes"]["age"] == round(age.value)


def test_pycocotools_like_readers_take_the_coco(run: Run, pictures: Path, tmp_path: Path) -> None:
    evaluators = pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")
    out = tmp_path / "out"
    assert run("data", "prelabel", pictures, "--out", out, "--as", "coco")[0] == 0
    truth = evaluators.COCO(str(out / "_annotations.coco.json"))
    assert len(truth.getImgIds()) == 6
    annotations = truth.loadAnns(truth.getAnnIds())
    found = [{key: each[key] for key in ("image_id", "category_id", "bbox", "score")} for each in annotations]
    judge = evaluators.COCOeval_faster(truth, truth.loadRes(found), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    assert judge.stats[1] == pytest.approx(1)  # what it holds agrees with itself


@pytest.mark.parametrize("kind", ["yolo", "coco"])
def test_data_convert_takes_it_back(run: Run, pictures: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    assert run("data", "prelabel", pictures, "--out", out, "--as", kind, "--attributes")[0] == 0
    annotations = read(out)
    assert annotations.format == kind
    assert annotations.classes == ("face", "head")
    done = convert(annotations, tmp_path / "converted")
    description = read_description(tmp_path / "converted" / "data.yaml")
    boxes = sum(len(description.boxes(p)) for ps in description.pictures.values() for p in ps)
    assert boxes == sum(len(record.boxes) for record in annotations.records)
    assert boxes > 6
    assert not done.broken
    code, out_text, _ = run("data", "convert", out, "--out", tmp_path / "typed")
    assert code == 0
    assert kind in out_text


def test_attributes_csv_is_a_table_of_faces(run: Run, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("data", "prelabel", pictures, "--out", out, "--attributes", "--classifier", "99.0.0")[0] == 0
    table = read_faces(out / "attributes.csv", AttributeClassifier().attributes)
    with Pipeline() as pipeline:
        originals = {str(out / row["file"]): name for name, row in by_original(out).items()}
        faces = {name: pipeline.run(name).faces for name in originals.values()}
    assert len(table) == sum(face.attributes is not None for found in faces.values() for face in found) > 0
    for index, path in enumerate(table.files):
        boxes = [(face.box.x1, face.box.y1, face.box.x2, face.box.y2) for face in faces[originals[str(path)]]]
        nearest = int(np.abs(np.array(boxes) - table.boxes[index]).sum(axis=1).argmin())
        assert np.allclose(boxes[nearest], table.boxes[index], atol=0.01)
        eyes = (faces[originals[str(path)]][nearest].attributes or {})["eyes"]
        assert np.allclose(table.targets["eyes"][index], list(eyes.points.values()), atol=0.01)  # type: ignore[union-attr]
        assert np.isfinite(table.targets["gender"][index])


def test_review_lists_the_worst_first(run: Run, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("data", "prelabel", pictures, "--out", out, "--conf", "0.3", "--review", "0.7")[0] == 0
    listed = rows(out / "review.csv")
    urgency = [float(row["urgency"]) for row in listed]
    assert urgency == sorted(urgency, reverse=True)
    low = [row for row in listed if row["what"] == "low confidence"]
    assert low
    for row in low:
        assert 0.3 <= float(row["confidence"]) < 0.7
        line = (out / row["file"].replace("images/", "labels/")).with_suffix(".txt").read_text().splitlines()
        label, cx = line[int(row["line"]) - 1].split()[:2]
        width = float(by_original(out)[row["original"]]["width"])
        assert int(label) == ("face", "head").index(row["kind"])
        assert float(cx) * width == pytest.approx((float(row["x1"]) + float(row["x2"])) / 2, abs=0.1)


def found(label: str, confidence: float, box: tuple[float, ...], **more: Any) -> FoundBox:
    x1, y1, x2, y2 = box
    return FoundBox(label, Box(x1=x1, y1=y1, x2=x2, y2=y2), confidence, **more)


def test_what_is_to_be_looked_at() -> None:
    gender = ClassValue(value="male", probability=0.55, probabilities={"female": 0.45, "male": 0.55})
    smile = ClassValue(value="no", probability=0.9, probabilities={"no": 0.9, "yes": 0.1})
    inside, head = (20, 20, 40, 40), (10, 10, 50, 50)
    pictures = [
        Prelabelled(Path("fine.jpg"), 90, 90, 1, (found("head", 0.9, head), found("face", 0.9, inside))),
        Prelabelled(Path("gone.jpg"), error="gone.jpg: no such file"),
        Prelabelled(Path("none.jpg"), 90, 90, 2),
        Prelabelled(Path("low.jpg"), 90, 90, 3, (found("head", 0.3, head),)),
        Prelabelled(Path("alone.jpg"), 90, 90, 4, (found("face", 0.9, inside),)),
        Prelabelled(
            Path("unsure.jpg"),
            90,
            90,
            5,
            (found("head", 0.8, head), found("face", 0.9, inside, attributes={"gender": gender, "smile": smile})),
        ),
        Prelabelled(
            Path("small.jpg"), 90, 90, 6, (found("head", 0.8, head), found("face", 0.9, inside, reason="tiny"))
        ),
        Prelabelled(Path("crowd.jpg"), 90, 90, 7, (found("head", 0.9, head),) * 3, full=True),
    ]
    listed = [(str(pictures[row.number].path), row.what) for row in to_review(pictures, 0.5, ("face", "head"))]
    assert listed == [
        ("gone.jpg", "gone.jpg: no such file"),
        ("none.jpg", "nothing found"),
        ("crowd.jpg", "3 boxes, the detector's maximum: there may be more"),
        ("low.jpg", "low confidence"),
        ("alone.jpg", "a face without a head"),
        ("small.jpg", "tiny"),
        ("unsure.jpg", "gender unsure: male 0.55"),
    ]
    assert "a face without a head" not in [row.what for row in to_review(pictures, 0.5, ("face",))]


def test_bad_pictures_are_rows_and_the_others_are_done(
    run: Run, bad_inputs: dict[str, Path], odd_inputs: dict[str, Path], tmp_path: Path
) -> None:
    bad = [path for path in bad_inputs.values() if not path.is_dir()]
    for kind in ("yolo", "coco"):
        out = tmp_path / kind
        code, printed, err = run("data", "prelabel", *bad, *odd_inputs.values(), "--out", out, "--as", kind)
        assert code == 1
        assert [line.split(": ")[1] for line in err.splitlines()] == [str(path) for path in bad]
        assert f"{len(odd_inputs)} pictures" in printed
        errors = {row["original"]: row for row in rows(out / "review.csv") if not row["file"]}
        assert set(errors) == {str(path) for path in bad}
        assert "cut short" in errors[str(bad_inputs["truncated"])]["what"]
        assert len(read(out).records) == len(odd_inputs)


def test_turned_pictures_have_upright_boxes(run: Run, odd_inputs: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    turned = [path for name, path in odd_inputs.items() if name in ("exif1", "exif6")]
    assert run("data", "prelabel", *turned, "--out", out, "--as", "coco")[0] == 0
    sizes = {record.path.name: record.size for record in read(out).records}
    assert sizes == {"exif1.jpg": (160, 120), "exif6.jpg": (120, 160)}
    assert not convert(read(out), tmp_path / "again").broken


def test_odd_formats_links_and_single_pictures(run: Run, pictures: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.open(pictures / "a.png").save(pictures / "film.gif")
    (pictures / "noname").write_bytes((pictures / "b.jpg").read_bytes())
    out = tmp_path / "out"
    inputs = [pictures / "film.gif", pictures / "noname", pictures / "c.webp", pictures / "c.webp"]
    assert run("data", "prelabel", *inputs, "--out", out, "--link")[0] == 0
    names = {Path(row["file"]).name: row for row in rows(out / "pictures.csv")}
    assert set(names) == {"film.png", "noname.png", "c.webp"}
    assert (out / names["c.webp"]["file"]).samefile(pictures / "c.webp")
    assert (read_frame(out / names["noname.png"]["file"]) == read_frame(pictures / "b.jpg")).all()
    assert run("data", "prelabel", pictures / "a.png", "--out", tmp_path / "one")[0] == 0
    description = read_description(tmp_path / "one" / "data.yaml")
    assert description.pictures["val"] == description.pictures["train"]


def test_near_duplicates_stay_on_one_side(run: Run, pictures: Path, tmp_path: Path) -> None:
    frame = read_frame(pictures / "a.png")
    for number in range(9):
        cv2.imwrite(str(pictures / f"like{number}.png"), cv2.convertScaleAbs(frame, alpha=1, beta=number))
    assert run("data", "prelabel", pictures, "--out", tmp_path / "out", "--split", "0.5,0.5", "--seed", "4")[0] == 0
    table = by_original(tmp_path / "out")
    assert len({row["split"] for name, row in table.items() if "like" in name or name.endswith("photos/a.png")}) == 1


def test_usage_and_set_up(run: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("no picture")
    monkeypatch.delenv("ROBOFLOW_API_KEY", raising=False)
    for arguments, message in (
        ([pictures, "--out", pictures], "already exists"),
        ([tmp_path / "empty", "--out", out], "no picture in this folder"),
        ([tmp_path / "text.jpg", "--out", out], "none of 1 pictures can be read"),
        ([pictures, "--out", out, "--batch", "b"], "--batch needs --upload"),
        ([pictures, "--out", out, "--classifier", "1"], "--classifier needs --attributes"),
        ([pictures, "--out", out, "--detector", "1.2.3"], "no detector 1.2.3"),
        ([pictures, "--out", out, "--split", "2,3"], "shares of train, val"),
        ([pictures, "--out", out, "--as", "voc"], "voc"),
        ([pictures, "--out", out, "--upload", "nonsense"], "WORKSPACE/PROJECT"),
    ):
        code, _, err = run("data", "prelabel", *arguments)
        assert code == 2, arguments
        assert message in err
        assert not out.exists()


def test_nothing_is_left_of_a_run_that_fails(
    run: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr("facepipe.pipeline.datasets.prelabel_files.shutil.copyfile", full)
    code, _, err = run("data", "prelabel", pictures, "--out", tmp_path / "out")
    assert code == 2
    assert "somewhere: cannot be written (No space left on device)" in err
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_each_picture_once(pictures: Path, tmp_path: Path) -> None:
    one = pictures / "a.png"
    assert gather([one, pictures, one]) == [one, *(path for path in gather([pictures]) if path != one)]
    assert len(gather([pictures])) == 6
    with pytest.raises(DataError, match="no picture in"):
        gather([tmp_path / "photos" / "more", _made(tmp_path / "none")])


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_cvat_labels(run: Run, pictures: Path, tmp_path: Path) -> None:
    assert run("data", "prelabel", pictures, "--out", tmp_path / "out", "--as", "coco", "--attributes")[0] == 0
    face, head = json.loads((tmp_path / "out" / "cvat_labels.json").read_text())
    assert (face["name"], face["type"], head["name"], head["attributes"]) == ("face", "rectangle", "head", [])
    defined = {each["name"]: each for each in face["attributes"]}
    assert defined["gender"]["values"] == ["female", "male"]
    assert (defined["age"]["input_type"], defined["age"]["values"]) == ("number", ["0", "100", "1"])
    content = json.loads((tmp_path / "out" / "_annotations.coco.json").read_text())
    for each in content["annotations"]:
        for name, value in each["attributes"].items():
            values = defined[name]["values"]
            low, high = (int(values[0]), int(values[1])) if name == "age" else (None, None)
            assert low <= value <= high if low is not None and high is not None else value in values
    fine = NumericAttribute(kind="numeric", name="pitch", unit="rad", low=0.0, high=1.0, bins=11)
    assert cvat_labels(["face"], [fine])[0]["attributes"][0]["input_type"] == "text"
    box = found(
        "face", 0.9, (0, 0, 9, 9), attributes={"pitch": NumericValue(value=0.3456, unit="rad", interval=(0, 1))}
    )
    assert plain_values(box.attributes, [fine]) == {"pitch": 0.3}


def test_an_unsure_class_is_suggested_and_reviewed_but_no_label_of_a_csv(
    pictures: Path, tmp_path: Path, publish_detector: Callable[..., Release], publish_colours: Callable[..., Release]
) -> None:
    """The classifier says nothing below a probability of 0.999, and so it does of most pictures."""
    detector = FaceDetector(release=publish_detector(tmp_path / "weights"), confidence=0.5)
    release = publish_colours(tmp_path / "weights", "face", abstain_below=0.999)
    classifier = AttributeClassifier(release=release)
    labelled = list(prelabel(gather([pictures]), detector, classifier))
    values = [
        value
        for picture in labelled
        for each in picture.boxes
        for value in (each.attributes or {}).values()
        if isinstance(value, ClassValue)
    ]
    unsure = [value for value in values if value.value is None]
    assert len(unsure) > 0
    review = to_review(labelled, 0.0, ("face", "head"))
    told = [row.what for row in review if "unsure" in row.what]
    assert sorted(told) == sorted(f"face_colour unsure: {value.likeliest} {value.probability:.2f}" for value in unsure)
    form = Form("coco")
    write_set(tmp_path / "out", labelled, review, ("face", "head"), classifier.attributes, form)
    cells = [row["face_colour"] for row in rows(tmp_path / "out" / "attributes.csv")]
    assert sorted(cells) == sorted(value.value or "" for value in values)
    content = json.loads((tmp_path / "out" / "_annotations.coco.json").read_text())
    given = [each["attributes"]["face_colour"] for each in content["annotations"] if each["attributes"]]
    assert sorted(given) == sorted(value.likeliest for value in values)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Service]:
    """A server that answers as Roboflow does, with the SDK pointed at it and the key set."""
    pytest.importorskip("roboflow", reason="the roboflow SDK (extra roboflow) is not installed")
    from roboflow import config

    known = Service()
    server = serve(known)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the SDK waits before it asks again
    monkeypatch.setenv("ROBOFLOW_CONFIG_DIR", str(tmp_path / "none.json"))
    monkeypatch.setenv("ROBOFLOW_API_KEY", KEY)
    with monkeypatch.context() as address:
        address.setenv("API_URL", f"http://127.0.0.1:{server.server_address[1]}")
        config.refresh_region_urls()
        yield known
    config.refresh_region_urls()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("kind", ["yolo", "coco"])
def test_upload(run: Run, service: Service, pictures: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "first pass"
    service.known.add("a.png")
    code, printed, err = run("data", "prelabel", pictures, "--out", out, "--as", kind, "--upload", "ws/heads")
    assert (code, err) == (0, "")
    assert "ws/heads: 5 pictures sent to the batch first pass, 1 were already there" in printed
    assert {picture["name"] for picture in service.pictures} == {
        "a.png", "a-2.png", "b.jpg", "c.webp", "größe d.png", "e.bmp"
    }  # fmt: skip
    assert {picture["batch"] for picture in service.pictures} == {"first pass"}
    by_name = {record.path.name: record for record in read(out).records}
    for picture in service.pictures:
        assert picture["bytes"] == by_name[picture["name"]].path.read_bytes()
    sent = {annotation["image"]: annotation for annotation in service.annotations}
    assert len(sent) == sum(bool(record.boxes) for record in by_name.values()) > 0
    for annotation in sent.values():
        assert annotation["labelmap"] == {"0": "face", "1": "head"}
        assert annotation["prediction"] == "true"


def test_upload_is_refused_before_the_work(
    run: Run, service: Service, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    code, _, err = run("data", "prelabel", pictures, "--out", out, "--upload", "ws/nothing")
    assert code == 2
    assert "ws/nothing" in err
    monkeypatch.setenv("ROBOFLOW_API_KEY", "")
    code, _, err = run("data", "prelabel", pictures, "--out", out, "--upload", "ws/heads")
    assert code == 2
    assert "set ROBOFLOW_API_KEY" in err
    assert not out.exists()


def test_a_picture_that_roboflow_refuses(run: Run, service: Service, pictures: Path, tmp_path: Path) -> None:
    """The set stays, so that it can be sent again."""
    service.refused = "b.jpg"
    code, _, err = run(
        "data", "prelabel", pictures, "--out", tmp_path / "out", "--upload", "ws/heads", "--batch", "second"
    )
    assert code == 2
    assert "Image too large" in err
    assert (tmp_path / "out" / "data.yaml").is_file()
    assert {picture["batch"] for picture in service.pictures} == {"second"}
    assert f"to send it again: facepipe data upload {tmp_path / 'out' / 'data.yaml'} ws/heads --prediction" in err
    service.refused = None
    code, printed, _ = run("data", "upload", tmp_path / "out", "ws/heads", "--prediction")
    assert code == 0
    assert "ws/heads: 6 pictures sent to the batch out, 0 were already there" in printed
    assert {annotation["prediction"] for annotation in service.annotations} == {"true"}
    assert run("data", "upload", tmp_path / "out" / "data.yaml", "ws/heads", "--batch", "final")[0] == 0
    assert service.pictures[-1]["batch"] == "final"
    assert service.annotations[-1].get("prediction") != "true"
