"""Results as rows, as CSV and as Parquet."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from facepipe.classifier.config.schema import read_schema
from facepipe.classifier.inference.attributes import AttributeValue, ClassValue, NumericValue, PointsValue
from facepipe.pipeline.outputs.rows import RowForm, result_of, same_digits
from facepipe.pipeline.outputs.tabular import GROUP, write_csv, write_parquet
from facepipe.pipeline.results import Box, ClassifierUsed, DetectorUsed, Face, Head, Models, Result
from facepipe.weights.manifest import BinaryAttribute, NumericAttribute, PointsAttribute

MODELS = Models(
    detector=DetectorUsed(
        version="1.0.0", sha256="ab" * 32, device="cpu", confidence=0.25, iou=0.5, imgsz=640, tiles=None
    ),
    classifiers={
        "face": ClassifierUsed(
            version="1.1.0", sha256="cd" * 32, device="cpu", crop_sha256="12" * 32, face_check="0.3,3"
        ),
        "shirt": ClassifierUsed(version="0.1.0", sha256="ef" * 32, device="cpu", crop_sha256="34" * 32),
    },
    facepipe="0.4.0",
)
MADE_BY = [
    *("version_detector", "sha256_detector", "device_detector", "confidence_detector", "iou_detector"),
    *("imgsz_detector", "tiles_detector", "reduced_to_detector"),
    *("version_face", "sha256_face", "device_face", "crop_sha256_face", "face_check_face"),
    *("version_shirt", "sha256_shirt", "device_shirt", "crop_sha256_shirt", "face_check_shirt"),
    *("facepipe", "source_sha256", "warning"),
]
AGE = NumericAttribute(name="age", unit="years", low=0.0, high=100.0, bins=101)
GENDER = BinaryAttribute(name="gender", classes=("female", "male"))
EYES = PointsAttribute(name="eyes", points=("left_eye", "nose"))
SHIRT = BinaryAttribute(name="shirt", classes=("no", "yes"))
FORM = RowForm({"face": (AGE, GENDER, EYES), "shirt": (SHIRT,)})


SHARES = {"female": 0.7123456789, "male": 0.2876543211}


def gender(value: str | None) -> ClassValue:
    return ClassValue(value=value, probability=SHARES["female"], probabilities=SHARES)


READ: dict[str, AttributeValue] = {
    "age": NumericValue(value=31.4159, unit="years", interval=(20.0, 47.123456)),
    "gender": gender("female"),
    "eyes": PointsValue(points={"left_eye": (10.123, 11.0), "nose": (12.0, 13.987)}),
}
BOX = Box(x1=1.23456, y1=2.0, x2=30.0, y2=40.5)


def result(source: str, *faces: Face, error: str | None = None) -> Result:
    return Result(
        source=source,
        width=None if error else 60,
        height=None if error else 50,
        faces=faces,
        heads=() if error else (Head(box=BOX, confidence=0.4),),
        models=MODELS,
        error=error,
        source_sha256=None if error else "56" * 32,
    )


WHOLE = Face(box=BOX, confidence=0.87654321, head=0, attributes=READ, reason=None, reasons={"shirt": "no torso"})
UNSURE = WHOLE.model_copy(update={"attributes": {**READ, "gender": gender(None)}, "head": None})
SMALL = Face(box=BOX, confidence=0.5, head=None, attributes=None, reason="too small")
RESULTS = [
    result("a.jpg", WHOLE, UNSURE),
    result('größe, "名"\n.jpg'),
    result("=1+1.jpg", SMALL),
    result("-x.jpg", error="-x.jpg: is empty"),
]


def test_columns_and_cells() -> None:
    names = [column.name for column in FORM.columns]
    assert names == [
        *("source", "error", "width", "height", "face", "x1", "y1", "x2", "y2", "confidence", "head", "reason"),
        *("age", "age_low", "age_high", "gender", "gender_probability", "gender_female", "gender_male"),
        *("eyes_left_eye_x", "eyes_left_eye_y", "eyes_nose_x", "eyes_nose_y"),
        *("shirt", "shirt_probability", "shirt_no", "shirt_yes"),
        *MADE_BY,
    ]
    rows = [dict(zip(names, row, strict=True)) for each in RESULTS for row in FORM.rows(each)]
    assert [row["face"] for row in rows] == [0, 1, None, 0, None]
    first = rows[0]
    assert [first[name] for name in names[:16]] == [
        *("a.jpg", None, 60, 50, 0, 1.23, 2.0, 30.0, 40.5, 0.876543, 0, "shirt: no torso"),
        *(31.42, 20.0, 47.12, "female"),
    ]
    assert (first["gender_probability"], first["gender_male"]) == (0.712346, 0.287654)
    assert (first["eyes_left_eye_x"], first["eyes_nose_y"], first["shirt"]) == (10.12, 13.99, None)
    assert [first[name] for name in MADE_BY] == [
        *("1.0.0", "ab" * 32, "cpu", 0.25, 0.5, 640, None, None),
        *("1.1.0", "cd" * 32, "cpu", "12" * 32, "0.3,3"),
        *("0.1.0", "ef" * 32, "cpu", "34" * 32, None),
        *("0.4.0", "56" * 32, None),
    ]
    assert (rows[1]["gender"], rows[1]["gender_probability"], rows[1]["head"]) == (None, 0.712346, None)
    assert (rows[2]["width"], rows[2]["error"], rows[2]["x1"]) == (60, None, None)
    assert (rows[3]["reason"], rows[3]["age"], rows[3]["eyes_nose_x"]) == ("too small", None, None)
    assert (rows[4]["error"], rows[4]["width"], rows[4]["version_face"]) == ("-x.jpg: is empty", None, "1.1.0")


def test_names_that_clash_are_told_apart() -> None:
    """Attributes may be called as they like: head is one, and so is the probability of a class."""
    head = BinaryAttribute(name="head", classes=("probability", "no"))
    low = BinaryAttribute(name="age_low", classes=("no", "yes"))
    names = [column.name for column in RowForm({"detector": (head, AGE, low)}).columns]
    assert len(set(names)) == len(names)
    assert names[names.index("reason") + 1 :] == [
        *("head_2", "head_probability", "head_probability_2", "head_no"),
        *("age", "age_low", "age_high", "age_low_2", "age_low_probability", "age_low_no", "age_low_yes"),
        *(name for name in MADE_BY if name.endswith("_detector")),
        *(
            "version_detector_2",
            "sha256_detector_2",
            "device_detector_2",
            "crop_sha256_detector",
            "face_check_detector",
        ),
        *("facepipe", "source_sha256", "warning"),
    ]


def test_video_columns() -> None:
    form = RowForm({"face": (GENDER,)}, video=True)
    names = [column.name for column in form.columns]
    frame = result("v.mp4", WHOLE.model_copy(update={"track": 3})).model_copy(update={"frame": 7, "time": 0.28})
    (row,) = form.rows(frame)
    cells = dict(zip(names, row, strict=True))
    assert (cells["frame"], cells["time"], cells["track"], cells["gender"]) == (7, 0.28, 3, "female")


def test_the_shipped_schema_has_a_cell_for_every_column() -> None:
    pytest.importorskip("yaml")
    form = RowForm({"face": read_schema()})
    assert {len(row) for each in RESULTS[1:2] for row in form.rows(each)} == {len(form.columns)}


def test_rows_give_their_result_back() -> None:
    for each in RESULTS:
        back = same_digits(FORM, each)
        assert list(FORM.rows(back)) == list(FORM.rows(each))
        assert (back.source, back.error, back.models, back.source_sha256) == (
            *(each.source, each.error, each.models),
            each.source_sha256,
        )
        assert len(back.faces) == len(each.faces)
    face = same_digits(FORM, RESULTS[0]).faces[1]
    assert face.box == Box(x1=1.23, y1=2.0, x2=30.0, y2=40.5)
    assert face.attributes is not None
    assert face.attributes["gender"] == ClassValue(
        value=None, probability=0.712346, probabilities={"female": 0.712346, "male": 0.287654}
    )
    assert face.attributes["age"] == NumericValue(value=31.42, unit="years", interval=(20.0, 47.12))
    assert face.attributes["eyes"] == PointsValue(points={"left_eye": (10.12, 11.0), "nose": (12.0, 13.99)})
    assert "shirt" not in face.attributes
    video = RowForm({"face": (GENDER,)}, video=True)
    models = MODELS.model_copy(update={"classifiers": {"face": MODELS.classifiers["face"]}})
    frame = result("v.mp4", SMALL.model_copy(update={"track": 3})).model_copy(
        update={"frame": 7, "time": 0.28, "models": models, "source_sha256": None}
    )
    assert same_digits(video, frame) == frame.model_copy(
        update={"heads": (), "faces": (frame.faces[0].model_copy(update={"box": Box(x1=1.23, y1=2, x2=30, y2=40.5)}),)}
    )


def test_rows_that_are_not_one_result_are_refused() -> None:
    first, second = FORM.rows(RESULTS[0])
    (empty,) = FORM.rows(RESULTS[1])
    for rows in ([second], [first, first], [empty, empty], [[*first[:5], None, *first[6:]]]):
        with pytest.raises(ValueError, match=r"face|x1"):
            result_of(FORM, rows)


def test_csv_is_whole_and_safe(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    assert write_csv(path, FORM, RESULTS) == 5
    content = path.read_bytes()
    assert content.startswith(b"source,error,width,height,face,x1,")
    assert content.count(b"\r\n") == 6  # and one line feed within a name
    assert '"größe, ""名""\n.jpg",,60,50,,,'.encode() in content
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == ["a.jpg", "a.jpg", RESULTS[1].source, "./=1+1.jpg", "./-x.jpg"]
    assert rows[4]["error"] == "./-x.jpg: is empty"
    assert rows[0]["age"] == "31.42"
    assert rows[1]["gender"] == ""


def test_parquet_has_the_same_cells_with_types(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    copies = GROUP // 4
    assert write_parquet(path, FORM, (each for _ in range(copies) for each in RESULTS)) == 5 * copies
    file = parquet.ParquetFile(path)
    assert file.metadata.num_row_groups == 2
    table = file.read()
    types = {name: table.schema.field(name).type for name in ("source", "face", "x1", "age", "gender", "eyes_nose_x")}
    assert types == {
        **{name: pa.string() for name in ("source", "gender")},
        "face": pa.int32(),
        **{name: pa.float64() for name in ("x1", "age", "eyes_nose_x")},
    }
    rows = [list(row.values()) for row in table.slice(0, 5).to_pylist()]
    assert rows == [row for each in RESULTS for row in FORM.rows(each)]
    assert table.slice(5 * copies - 5, 5).equals(table.slice(0, 5))


@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_a_table_is_there_whole_or_as_it_was(write: object, tmp_path: Path) -> None:
    if write is write_parquet:
        pytest.importorskip("pyarrow")
    path = tmp_path / "a"
    path.write_text("before")

    def breaking() -> object:
        yield RESULTS[0]
        raise RuntimeError("and then something breaks")

    with pytest.raises(RuntimeError):
        write(path, FORM, breaking())  # type: ignore[operator]
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
    write(path, FORM, [])  # type: ignore[operator]
    assert path.read_bytes() != b"before"
