"""End to end: the data, the matching, the figures and the command, on random weights and hand-made observations."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facepipe import AttributeClassifier, FaceDetector, Pipeline
from facepipe.classifier.data.label_files import read_table_file
from facepipe.classifier.data.table import make_table
from facepipe.classifier.evaluation.predictions import Predictions
from facepipe.core.errors import DataError
from facepipe.pipeline.cli import main
from facepipe.pipeline.evaluation.data import Photo, Photos, read_photos
from facepipe.pipeline.evaluation.metrics import STEPS, Figures, mean_figures, right_rows
from facepipe.pipeline.evaluation.predictions import Alarm, EndToEnd, Read, observe_end_to_end
from facepipe.pipeline.evaluation.tables import sentences
from facepipe.weights.manifest import BinaryAttribute, NumericAttribute, PointsAttribute

GENDER = BinaryAttribute(name="gender", classes=("female", "male"))
AGE = NumericAttribute(name="age", unit="years", low=0.0, high=100.0, bins=None)
EYES = PointsAttribute(name="eyes", points=("left_eye", "right_eye"), mirror=(("left_eye", "right_eye"),))
HEADER = "file,x1,y1,x2,y2,gender,age,age_lo,age_hi,left_eye_x,left_eye_y,right_eye_x,right_eye_y"


def write(path: Path, lines: Sequence[str], header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


@pytest.fixture
def pictures(tmp_path: Path, photo: Callable[..., np.ndarray]) -> Path:
    """A folder with a.png, b.png and c.png, in each of which the random detector finds something."""
    for seed, name in enumerate("abc"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), photo(seed + 3))
    return tmp_path


@pytest.fixture
def told_itself(pictures: Path, tiny_weights: Path) -> Path:
    """Labels that are what the pipeline says, on its own boxes, of every face of the three pictures."""
    lines = []
    with Pipeline() as pipeline:
        for name in "abc":
            for face in pipeline.run(pictures / f"{name}.png").faces:
                box, values = face.box, face.attributes
                assert values is not None
                eyes = values["eyes"].points  # type: ignore[union-attr]
                cells = [f"{name}.png", box.x1, box.y1, box.x2, box.y2]
                cells += [values["gender"].likeliest, values["age"].value, "", ""]  # type: ignore[union-attr]
                cells += [*eyes["left_eye"], *eyes["right_eye"]]
                lines.append(",".join(map(str, cells)))
    assert len(lines) > 3
    return write(pictures / "told.csv", lines)


def observed(path: Path, least: float = 0.5) -> EndToEnd:
    classifier = AttributeClassifier()
    photos = read_photos([str(path)], classifier.attributes)
    return observe_end_to_end(FaceDetector(), [classifier], photos, least)


def test_nothing_is_lost_against_its_own_word(told_itself: Path) -> None:
    seen = observed(told_itself)
    figures = Figures(seen)
    assert seen.found.all()
    assert not seen.alarms
    assert np.allclose(seen.overlap, 1, atol=1e-4)
    assert {each.attribute for each in figures.losses} == {"gender", "age", "eyes"}
    for each in figures.losses:
        assert (each.on_true.value, each.end.value, each.on_found.value) == (1, 1, 1), each
        assert all(step.value == 0 for step in each.steps.values())
    (mae,) = [each for each in figures.errors if each.measure == "mae"]
    assert mae.on_found.value < 0.01
    assert mae.shift.value == pytest.approx(0, abs=1e-6)
    assert [part.found.value for part in figures.parts] == [1] * len(figures.parts)


def test_missed_shifted_and_ignored(told_itself: Path) -> None:
    with told_itself.open(newline="") as file:
        rows = list(csv.DictReader(file))
    first, second, third, *rest = rows
    first |= {"x1": "1", "y1": "1", "x2": "7", "y2": "7"}  # nobody is found there
    second["x2"] = str(float(second["x2"]) + 0.3 * (float(second["x2"]) - float(second["x1"])))
    ignored = dict.fromkeys(third, "") | {name: third[name] for name in ("file", "x1", "y1", "x2", "y2")}
    with told_itself.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*first, "ignore"])
        writer.writeheader()
        writer.writerows([first, second, ignored | {"ignore": "yes"}, *rest])
    seen = observed(told_itself)
    assert seen.found.tolist() == [False, True] + [True] * len(rest)
    assert seen.overlap[1] == pytest.approx(1 / 1.3, abs=0.02)
    assert len(seen.alarms) == 1  # the face whose label went elsewhere; the ignored one is none
    assert len(seen.picture) == len(rows) - 1
    figures = Figures(seen)
    for each in figures.losses:
        assert 1 - sum(step.value for step in each.steps.values()) == pytest.approx(each.end.value)
        assert each.end.count == len(rows) - 1
    # At a higher overlap the widened box is not the face's any more.
    assert observed(told_itself, 0.9).found.tolist() == [False, False] + [True] * len(rest)


def hand_made(tmp_path: Path) -> EndToEnd:
    """Six faces in three pictures, two of them missed, one too small; their gender by hand."""
    names = ["a", "a", "b", "b", "c", "c"]
    lines = [f"{name}.png,0,0,10,10,male,,,,,,," for name in names]
    table = make_table(read_table_file(write(tmp_path / "by-hand.csv", lines)), (GENDER,), must_exist=False)
    places = {name: np.flatnonzero(np.array(names) == name) for name in "abc"}
    photos = tuple(Photo(Path(f"{n}.png"), f"{n}.png", rows, np.zeros((0, 4))) for n, rows in places.items())

    def read(said: Sequence[str]) -> Read:
        outputs = np.array([{"m": (0, 1), "f": (1, 0), "-": (np.nan, np.nan)}[each] for each in said], np.float32)
        known = np.array([each != "-" for each in said])
        seen = Predictions((GENDER,), table, {"gender": outputs}, table.targets, 0.0)
        return Read(seen, {"gender": known}, {"gender": np.full(len(said), 50.0)})

    overlap = np.array([1, 0.8, np.nan, 0.6, np.nan, 0.8])
    return EndToEnd(
        detector="1", classifiers={"face": "1"}, sha256={}, attributes=(GENDER,),
        photos=Photos(table, photos, "val", ("by-hand.csv",)), picture=np.array([0, 0, 1, 1, 2, 2]), least=0.5,
        confidence=0.25, boxes=np.where(np.isnan(overlap)[:, None], np.nan, table.boxes), overlap=overlap,
        sides=np.array([4.0, 12, 20, 40, 40, 200]), alarms=(Alarm(1, np.array([0, 0, 5, 5.0]), 0.5),),
        # right and right; wrong and right; right and missed; right and wrong; wrong and missed; too small on both
        on_true=read("mfmmf-"), on_found=read("mm-f--"), failed=(),
    )  # fmt: skip


def test_the_arithmetic(tmp_path: Path) -> None:
    figures = Figures(hand_made(tmp_path))
    (gender,) = figures.losses
    assert gender.on_true.value == pytest.approx(3 / 6)
    assert {step: gender.steps[step].value * 6 for step in STEPS} == pytest.approx(
        {"unread": 1, "classifier": 2, "missed": 1, "shifted": 0}  # one lost, one won
    )
    assert gender.end.value == pytest.approx(2 / 6)
    assert (gender.on_true_found.value, gender.on_true_found.count) == (pytest.approx(2 / 4), 4)
    assert gender.on_found.value == pytest.approx(2 / 4)
    assert (figures.found.value, figures.found.count) == (pytest.approx(4 / 6), 6)
    assert figures.overlap.value == pytest.approx(0.8)
    assert (figures.alarms.value, figures.alarms.count) == (pytest.approx(1 / 3), 3)
    assert [(part.name, part.found.count) for part in figures.parts] == [
        ("0-8 px", 1), ("8-16 px", 1), ("16-32 px", 1), ("32-96 px", 2), (">= 96 px", 1)
    ]  # fmt: skip
    assert figures.convention == pytest.approx({"width": 1, "height": 1, "right": 0, "down": 0})
    metrics = {metric.name: metric for metric in figures.scores()["true boxes"]}
    assert (metrics["gender.accuracy"].value, metrics["gender.accuracy"].count) == (pytest.approx(3 / 5), 5)


def test_a_low_overlap_is_told(tmp_path: Path) -> None:
    seen = hand_made(tmp_path)
    assert not any("convention" in line for line in sentences(seen, Figures(seen)))
    seen.overlap[:] = np.where(np.isnan(seen.overlap), np.nan, 0.6)
    assert any("another convention" in line for line in sentences(seen, Figures(seen)))


def test_intervals_are_of_pictures() -> None:
    random = np.random.default_rng(3)
    values = random.integers(0, 2, (300, 1)).astype(float)
    (single,) = mean_figures(values, np.arange(300))
    assert single.value == values.mean()
    assert single.high - single.low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(300), rel=0.15)
    # Four rows of one picture that say the same tell no more than one.
    (four,) = mean_figures(np.repeat(values, 4, axis=0), np.repeat(np.arange(300), 4))
    assert (four.value, four.low, four.high, four.count) == (single.value, single.low, single.high, 1200)
    # A paired difference that is always the same has no width, however scattered its parts are.
    scattered = random.normal(0, 10, 300)
    (pair,) = mean_figures(((scattered + 1) - scattered)[:, None], np.arange(300))
    assert pair.high - pair.low == pytest.approx(0, abs=1e-9)
    (nothing,) = mean_figures(np.full((3, 1), np.nan), np.arange(3))
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()
    assert nothing.count == 0


def test_what_is_right() -> None:
    target = np.array([[30, np.nan, np.nan], [30, np.nan, np.nan], [np.nan, 20, 29], [np.nan, 20, 29], [np.nan] * 3])
    output = np.array([[0.35], [0.36], [0.297], [0.301], [0.5]])
    right = right_rows(AGE, output, target, np.array([20.0, 30.0]))
    assert np.array_equal(right, [1, 0, 1, 0, np.nan], equal_nan=True)
    points = np.array([[[0.3, 0.5], [0.7, 0.5]], [[0.3, 0.5], [0.7, 0.5]], [[np.nan, np.nan], [0.7, 0.5]]])
    said = points.copy()
    said[0, :, 0] += 0.03
    said[1, :, 0] += 0.05
    right = right_rows(EYES, np.nan_to_num(said).reshape(3, 4), points, np.zeros(0))
    assert np.array_equal(right, [1, 0, np.nan], equal_nan=True)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a.png,,,,,male,,,,,,,", "no box"),
        ("a.png,5,5,5,9,male,,,,,,,", "the box is empty"),
        ("a.png,5,5,,9,male,,,,,,,", "a box needs all of"),
        ("d.png,5,5,9,9,male,,,,,,,", "no such picture"),
        ("a.png,5,5,9,9,man,,,,,,,", "must be one of female, male"),
        ("a.png,,,,,,,,,,,,", "no labelled face with a box"),
    ],
)
def test_bad_labels(pictures: Path, line: str, said: str) -> None:
    path = write(pictures / "bad.csv", [line])
    with pytest.raises(DataError, match=said):
        read_photos([str(path)], (GENDER, AGE, EYES))


def test_crops_are_refused(pictures: Path) -> None:
    path = write(pictures / "crops.csv", ["a.png,1,1,9,9,male,tight"], "file,x1,y1,x2,y2,gender,framing")
    with pytest.raises(DataError, match="needs the photos"):
        read_photos([str(path)], (GENDER,))
    path = write(pictures / "odd.csv", ["a.png,1,1,9,9,male,perhaps"], "file,x1,y1,x2,y2,gender,ignore")
    with pytest.raises(DataError, match="ignore must be yes, no or blank"):
        read_photos([str(path)], (GENDER,))


def test_splits(pictures: Path) -> None:
    header = "file,x1,y1,x2,y2,gender,split"
    lines = ["a.png,1,1,9,9,male,val", "a.png,20,20,40,40,female,val", "b.png,,,,,,val", "c.png,1,1,9,9,male,train"]
    path = write(pictures / "split.csv", lines, header)
    photos = read_photos([str(path)], (GENDER,))
    assert [(photo.name, photo.rows.tolist()) for photo in photos.photos] == [("a.png", [0, 1]), ("b.png", [])]
    assert len(read_photos([str(path)], (GENDER,), "all").faces) == 3
    with pytest.raises(DataError, match="test"):
        read_photos([str(path)], (GENDER,), "test")
    whole = write(pictures / "whole.csv", [line.rpartition(",")[0] for line in lines], header.rpartition(",")[0])
    photos = read_photos([str(whole)], (GENDER,), "val")
    assert (len(photos.faces), photos.unsaid) == (3, ("whole.csv",))


def coco(**changes: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "categories": [{"id": 1, "name": "face", "keypoints": ["left_eye", "right_eye"]}, {"id": 2, "name": "head"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 40],
             "attributes": {"gender": "male", "note": ["x"]}, "keypoints": [15, 25, 2, 0, 0, 0]},
            {"id": 2, "image_id": 1, "category_id": 2, "bbox": [0, 0, 60, 80]},
            {"id": 3, "image_id": 1, "category_id": 1, "bbox": [60, 60, 20, 20], "iscrowd": 1},
        ],
    } | changes  # fmt: skip


def test_coco(pictures: Path) -> None:
    (pictures / "coco.json").write_text(json.dumps(coco()))
    photos = read_photos([str(pictures / "coco.json")], (GENDER, EYES))
    assert photos.faces.boxes.tolist() == [[10, 20, 40, 60]]
    assert photos.faces.targets["gender"].tolist() == [1]
    assert photos.faces.targets["eyes"][0].ravel().tolist() == pytest.approx([15, 25, np.nan, np.nan], nan_ok=True)
    assert [photo.name for photo in photos.photos] == ["a.png", "b.png"]
    assert photos.photos[0].ignored.tolist() == [[60, 60, 80, 80]]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not a COCO file"),
        ("[]", "not a COCO file"),
        (json.dumps(coco(annotations=[{"id": 7, "category_id": 1, "image_id": 9, "bbox": [1] * 4}])), "annotation 7"),
        (json.dumps(coco(categories=[{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}])), "no category"),
    ],
)  # fmt: skip
def test_bad_coco(pictures: Path, content: str, said: str) -> None:
    (pictures / "coco.json").write_text(content)
    with pytest.raises(DataError, match=said):
        read_photos([str(pictures / "coco.json")], (GENDER, EYES))


def run(*arguments: object) -> int | str | None:
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", "--threads", "1", *map(str, arguments)])
    return stopped.value.code


def test_the_command(told_itself: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = told_itself.parent / "report"
    assert run("--data", told_itself, "--out", out, "--json", out / "again.json") == 0
    printed = capsys.readouterr().out
    for part in ("detector 99.0.0 (float32) at confidence 0.5", "end to end", "found: 1.000", "no column 'split'"):
        assert part in printed
    assert sorted(path.name for path in out.iterdir()) == [
        "again.json", "evaluation.json", "faces.csv", "losses.png", "worst.png"
    ]  # fmt: skip
    told = json.loads((out / "evaluation.json").read_text())
    assert json.loads((out / "again.json").read_text()) == told
    assert told["command"] == (
        "facepipe evaluate --data told.csv --split val --detector 99.0.0 --classifier 99.0.0 --precision auto --iou 0.5"
    )
    assert {each["attribute"]: each["end_to_end"]["value"] for each in told["losses"]} == {
        "age": 1.0, "gender": 1.0, "eyes": 1.0
    }  # fmt: skip
    chart = cv2.imread(str(out / "losses.png"))
    assert chart is not None
    assert chart.shape[1] > 600
    with (out / "faces.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == told["faces"]
    assert all(row["gender"] == row["gender_on_found"] == row["gender_on_true"] for row in rows)


def test_a_picture_that_cannot_be_read(told_itself: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = len(told_itself.read_text().splitlines()) - 1
    lost = sum(line.startswith("b.png") for line in told_itself.read_text().splitlines())
    (told_itself.parent / "b.png").write_bytes(b"no picture")
    target = told_itself.parent / "figures.json"
    assert run("--data", told_itself, "--json", target) == 1
    assert "b.png" in capsys.readouterr().err
    told = json.loads(target.read_text())
    assert (told["faces"], told["pictures"], len(told["unreadable"])) == (whole - lost, 2, 1)
    for name in "ac":
        (told_itself.parent / f"{name}.png").write_bytes(b"")
    assert run("--data", told_itself) == 2
    assert "no picture of" in capsys.readouterr().err


def test_nothing_found(told_itself: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = told_itself.parent / "report"
    assert run("--data", told_itself, "--conf", "1", "--out", out) == 0
    assert "found: 0.000 [0.000, 0.000] of the faces (0); false alarms: 0" in capsys.readouterr().out
    told = json.loads((out / "evaluation.json").read_text())
    assert (told["overlap"]["value"], told["errors"], told["boxes_against_labels"]) == (None, [], {})
    assert {each["lost"]["missed"]["value"] for each in told["losses"]} == {1.0}
    assert {metric["name"] for metric in told["scores"]["found boxes"]} == set()


def test_wrong_usage(told_itself: Path) -> None:
    assert run("--data", told_itself, "--split", "everything") == 2
    assert run("--data", told_itself, "--precision", "int4") == 2
    assert run("--data", told_itself, "--classifier", "99.0.0", "--classifier", "99.0.0") == 2
