"""Where labelled faces come from: files, folders, Roboflow's exports, several together with weights."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest
from facepipe.classifier.config.schema import read_schema
from facepipe.classifier.data.readers import parse_source, read_data
from facepipe.classifier.data.table import SIDECAR, CropSet, read_faces
from facepipe.core.errors import DataError, MissingExtraError
from facepipe.weights.manifest import CropRecipe, OrdinalAttribute

SCHEMA = read_schema()


def picture(path, shade=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((20, 20, 3), shade, np.uint8))
    return path


@pytest.fixture
def parts(tmp_path):
    """``parts(name, header, *lines)`` writes a CSV in a folder of its own beside a.png to d.png."""

    def make(name, header, *lines):
        for stem in "abcd":
            picture(tmp_path / name / f"{stem}.png")
        path = tmp_path / name / "faces.csv"
        path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
        return path

    return make


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("faces.csv", ("faces.csv", None, 1.0)),
        ("faces.csv=2.5", ("faces.csv", None, 2.5)),
        ("gender:folder", ("folder", "gender", 1.0)),
        ("gender:folder=0.25", ("folder", "gender", 0.25)),
        ("C:faces.csv", ("C:faces.csv", None, 1.0)),
        ("a=b/faces.csv", ("a=b/faces.csv", None, 1.0)),
    ],
)
def test_what_a_value_says(text, expected):
    source = parse_source(text)
    assert (str(source.path), source.attribute, source.weight) == expected


def test_a_path_that_is_there_is_taken_as_it_stands(tmp_path):
    path = picture(tmp_path / "gender:x=3" / "male" / "a.png").parents[1]
    assert parse_source(str(path)).path == path
    assert parse_source(f"{path}=2").weight == 2


@pytest.mark.parametrize("text", ["faces.csv=0", "faces.csv=-1", "faces.csv=1e999", "faces.csv=1.2.3"])
def test_bad_weights(text):
    with pytest.raises(DataError, match="above 0"):
        parse_source(text)


def test_a_file_takes_no_attribute(parts):
    path = parts("one", "file,gender", "a.png,male")
    with pytest.raises(DataError, match="only a folder"):
        parse_source(f"gender:{path}")


def test_several_files_become_one_table(parts):
    one = parts("one", "file,gender,split,race", "a.png,male,train,x", "b.png,female,val,y")
    two = parts("two", "file,glasses,split", "a.png,yes,train", "b.png,no,test")
    table = read_data([str(one), f"{two}=3"], SCHEMA)
    np.testing.assert_array_equal(table.targets["gender"], [1, 0, np.nan, np.nan])
    np.testing.assert_array_equal(table.targets["glasses"], [np.nan, np.nan, 1, 0])
    assert table.columns["race"].tolist() == ["x", "y", "", ""]
    assert table.columns["split"].tolist() == ["train", "val", "train", "test"]
    assert table.weights.tolist() == [1, 1, 3, 3]
    assert table.files[3] == two.parent / "b.png"
    assert table.places[3] == f"{two}, line 3"
    assert len(table.split("test")) == 1
    assert len(table.rows(table.weights == 3)) == 2


def test_the_hash_covers_every_source(parts):
    one = parts("one", "file,gender,split", "a.png,male,train")
    two = parts("two", "file,gender,split", "a.png,male,val")
    before = read_data([str(one), str(two)], SCHEMA).sha256
    assert read_data([str(one)], SCHEMA).sha256 == read_faces(one, SCHEMA).sha256 != before
    parts("two", "file,gender,split", "a.png,female,val")
    assert read_data([str(one), str(two)], SCHEMA).sha256 != before


def test_crops_must_have_been_cut_alike(parts):
    paths = [parts(name, "file,gender,framing,split", f"a.png,male,{framing},train")
             for name, framing in (("one", "crop"), ("two", "crop"), ("three", "tight"))]  # fmt: skip
    recipe = CropRecipe(margin=0.1, size=96)
    (paths[0].parent / SIDECAR).write_text(CropSet(recipe=recipe, context=0.2).model_dump_json())
    larger = recipe.model_copy(update={"size": 128})
    (paths[1].parent / SIDECAR).write_text(CropSet(recipe=larger, context=0.1).model_dump_json())
    table = read_data([str(path) for path in paths], SCHEMA)
    assert table.contexts.tolist() == [0.2, 0.1, 0]
    assert table.crops.recipe.size == 128
    table.require_crops(recipe)
    other = recipe.model_copy(update={"margin": 0.3})
    (paths[1].parent / SIDECAR).write_text(CropSet(recipe=other, context=0.1).model_dump_json())
    with pytest.raises(DataError, match="cut them the same way"):
        read_data([str(path) for path in paths], SCHEMA)
    (paths[1].parent / SIDECAR).unlink()
    with pytest.raises(DataError, match=r"two.*needs crop\.json"):
        read_data([str(path) for path in paths], SCHEMA).require_crops()


def test_one_picture_in_two_files_stays_on_one_side(parts, tmp_path):
    names = [f"images/{index}.png" for index in range(30)]
    for name in names:
        picture(tmp_path / name)
    for header in ("gender", "glasses"):
        value = "male" if header == "gender" else "yes"
        rows = [f"{name},{value}" for name in names]
        (tmp_path / f"{header}.csv").write_text("\n".join([f"file,{header}", *rows]))
    table = read_data([str(tmp_path / "gender.csv"), str(tmp_path / "glasses.csv")], SCHEMA, seed=3)
    splits = table.columns["split"]
    assert (splits[:30] == splits[30:]).all()
    assert {"train", "val"} == set(splits)


def test_a_given_split_draws_its_group_along(parts):
    one = parts("one", "file,gender,split,group", "a.png,male,val,g", "b.png,male,train,h")
    two = parts("two", "file,gender,group", *(f"{name}.png,male,g" for name in "abcd"))
    assert read_data([str(one), str(two)], SCHEMA).columns["split"].tolist() == ["val", "train", *["val"] * 4]


# ---------------------------------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_csv_as_excel_writes_it(tmp_path, mark):
    picture(tmp_path / "a.png")
    rows = ["file,gender,note,split", 'a.png,male,"two, words",train', "", ",,,"]
    text = "\r\n".join(row.replace("two, words", "two\nlines").replace(",", mark) for row in rows)
    path = tmp_path / "faces.csv"
    path.write_bytes("\ufeff".encode() + text.encode())
    table = read_faces(path, SCHEMA)
    assert table.targets["gender"].tolist() == [1]
    assert table.columns["note"].tolist() == ["two\nlines"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file;age\na.png;3,5", "line 2: age must be a number .with a decimal point., got '3,5'"),
        ("file,gender\na.png,male,x", "line 2: 3 cells, but 2 columns"),
        ("file,gender,gender\na.png,male,male", "two columns are named 'gender'"),
        ("file,gender\na.png,männlich".encode("cp1252"), "CSV UTF-8"),
        ("file\tgender".encode("utf-16"), "CSV UTF-8"),
    ],
)
def test_csv_that_cannot_be_read(tmp_path, text, words):
    picture(tmp_path / "a.png")
    path = tmp_path / "faces.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=words):
        read_faces(path, SCHEMA)


def test_parquet_says_what_the_csv_says(faces, tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    expected = read_faces(faces, SCHEMA)
    cells = {name: [cell or None for cell in values.tolist()] for name, values in expected.columns.items()}
    for name, values in cells.items():
        if name.startswith("age") or name.endswith(("_x", "_y")):
            cells[name] = [float(cell) if cell else None for cell in values]
    path = tmp_path / "faces.parquet"
    parquet.write_table(pa.table(cells | {"file": [str(file) for file in expected.files]}), path)
    table = read_data([str(path)], SCHEMA)
    for name, values in expected.targets.items():
        np.testing.assert_array_equal(table.targets[name], values)
    assert table.places[4] == f"{path}, row 5"
    assert table.files == expected.files


def test_parquet_of_other_kinds(tmp_path, monkeypatch):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    picture(tmp_path / "a.png")
    path = tmp_path / "f.parquet"
    columns = {"file": ["a.png"] * 2, "glasses": [True, None], "age": [30.0, float("nan")], "split": ["train"] * 2}
    parquet.write_table(pa.table(columns), path)
    table = read_data([str(path)], SCHEMA)
    np.testing.assert_array_equal(table.targets["glasses"], [1, np.nan])
    np.testing.assert_array_equal(table.targets["age"][:, 0], [30, np.nan])
    parquet.write_table(pa.table(columns | {"age": [[1], [2]]}), path)
    with pytest.raises(DataError, match="row 1: age: must be text, a number"):
        read_data([str(path)], SCHEMA)
    path.write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_data([str(path)], SCHEMA)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"facepipe\[parquet\]"):
        read_data([str(path)], SCHEMA)


def test_nothing_to_read(tmp_path):
    for texts in ([], [str(tmp_path / "none.csv")], [str(tmp_path / "none")], [str(picture(tmp_path / "a.png"))]):
        with pytest.raises(DataError):
            read_data(texts, SCHEMA)


# ---------------------------------------------------------------------------------------------------------------------
# Folders
# ---------------------------------------------------------------------------------------------------------------------


def test_folders_named_by_class(tmp_path):
    for index in range(20):
        picture(tmp_path / ("female" if index % 2 else "male") / "deep" / f"{index}.png")
    (tmp_path / "male" / "notes.txt").write_text("no picture")
    table = read_data([str(tmp_path)], SCHEMA)
    assert len(table) == 20
    named = [file.parts[-3] for file in table.files]
    assert [SCHEMA[1].classes[int(value)] for value in table.targets["gender"]] == named
    assert set(table.columns["split"]) == {"train", "val"}
    table.require_crops()
    before = table.sha256
    picture(tmp_path / "male" / "new.png")
    assert read_data([str(tmp_path)], SCHEMA).sha256 != before


def test_folders_of_splits(tmp_path):
    for split in ("train", "valid", "test"):
        for name in ("no", "yes"):
            picture(tmp_path / split / name / "x_jpg.rf.0a1b.png")
    with pytest.raises(DataError, match=r"several attributes; write glasses:.* or smile:.* or mask:"):
        read_data([str(tmp_path)], SCHEMA)
    table = read_data([f"mask:{tmp_path}=2"], SCHEMA)
    assert table.columns["split"].tolist() == ["test", "test", "train", "train", "val", "val"]
    assert set(table.columns["group"]) == {"x_jpg"}
    assert table.targets["mask"].tolist() == [0, 1] * 3
    assert np.isnan(table.targets["glasses"]).all()
    assert table.weights.tolist() == [2] * 6
    picture(tmp_path / "other" / "yes" / "a.png")
    with pytest.raises(DataError, match="neither train, val nor test"):
        read_data([f"mask:{tmp_path}"], SCHEMA)


def test_folders_of_numbers(tmp_path):
    picture(tmp_path / "25" / "a.png")
    picture(tmp_path / "30-39" / "b.png")
    table = read_data([f"age:{tmp_path}"], SCHEMA)
    np.testing.assert_array_equal(table.targets["age"], np.float32([[25, np.nan, np.nan], [np.nan, 30, 39]]))
    picture(tmp_path / "old" / "c.png")
    with pytest.raises(DataError, match="a range such as 20-29"):
        read_data([f"age:{tmp_path}"], SCHEMA)


@pytest.mark.parametrize(
    ("folders", "value", "words"),
    [
        (["cat", "dog"], "{}", "no attribute has all of the classes cat, dog"),
        (["cat"], "gender:{}", "no class of gender; they are: female, male"),
        (["male"], "hat:{}", "no attribute 'hat'"),
        (["male"], "eyes:{}", "no attribute 'eyes'"),
        ([], "{}", "no folders named after classes"),
    ],
)
def test_folders_that_fit_nothing(tmp_path, folders, value, words):
    for folder in folders:
        picture(tmp_path / folder / "a.png")
    with pytest.raises(DataError, match=words):
        read_data([value.format(tmp_path)], SCHEMA)


def test_empty_class_folders(tmp_path):
    (tmp_path / "male").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        read_data([str(tmp_path)], SCHEMA)


def test_a_folder_of_cut_crops(tmp_path):
    picture(tmp_path / "male" / "a.png")
    (tmp_path / SIDECAR).write_text(CropSet(recipe=CropRecipe(margin=0.1, size=96), context=0.2).model_dump_json())
    table = read_data([str(tmp_path)], SCHEMA)
    assert table.columns["framing"].tolist() == ["crop"]
    assert table.contexts.tolist() == [0.2]


# ---------------------------------------------------------------------------------------------------------------------
# Roboflow's export of several labels a picture
# ---------------------------------------------------------------------------------------------------------------------


def export(folder, header, **splits):
    for split, rows in splits.items():
        for row in rows:
            picture(folder / split / row.split(",")[0])
        (folder / split / "_classes.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def test_several_labels_a_picture(tmp_path):
    export(
        tmp_path, "filename, glasses, male, female, smile-yes, hat, Unlabeled",
        train=["a.jpg,1,1,0,0,1,0", "b.jpg,0,0,1,1,0,0"], valid=["c.jpg,0,0,0,0,0,1"],
    )  # fmt: skip
    table = read_data([str(tmp_path)], SCHEMA)
    assert table.columns["split"].tolist() == ["train", "train", "val"]
    np.testing.assert_array_equal(
        table.targets["glasses"], [1, 0, np.nan]
    )  # 0 says no, but not where all is unlabelled
    np.testing.assert_array_equal(table.targets["gender"], [1, 0, np.nan])
    np.testing.assert_array_equal(table.targets["smile"], [np.nan, 1, np.nan])  # 0 says only that it is not 'yes'
    assert table.files[2] == tmp_path / "valid" / "c.jpg"


@pytest.mark.parametrize(
    ("header", "row", "words"),
    [
        ("filename,male,female", "a.jpg,1,1", "line 2: gender is both"),
        ("filename,male", "a.jpg,2", "line 2: must have 2 cells"),
        ("filename,male", "a.jpg", "line 2: must have 2 cells"),
        ("filename,cat", "a.jpg,1", "no column names a class"),
        ("filename,yes", "a.jpg,1", "'yes' is a class of several"),
        ("image,male", "a.jpg,1", "must be 'filename'"),
    ],
)
def test_bad_lists_of_labels(tmp_path, header, row, words):
    with pytest.raises(DataError, match=words):
        read_data([str(export(tmp_path, header, train=[row]))], SCHEMA)


def test_a_split_without_its_list(tmp_path):
    export(tmp_path, "filename,male", train=["a.jpg,1"])
    picture(tmp_path / "valid" / "b.jpg")
    with pytest.raises(DataError, match=r"valid: no _classes\.csv"):
        read_data([str(tmp_path)], SCHEMA)


def test_ordinal_classes_by_folder(tmp_path):
    schema = (OrdinalAttribute(name="blur", classes=("low", "mid", "high")),)
    picture(tmp_path / "high" / "a.png")
    picture(tmp_path / "low" / "b.png")
    assert read_data([str(tmp_path)], schema).targets["blur"].tolist() == [2, 0]
