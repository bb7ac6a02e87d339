"""The CSV of faces: what is read, and what is refused with file and line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facepipe.classifier.config.schema import read_schema
from facepipe.classifier.data.table import SIDECAR, CropSet, read_faces
from facepipe.core.errors import DataError
from facepipe.weights.manifest import CropRecipe

SCHEMA = read_schema()


def test_the_shipped_schema():
    assert [attribute.name for attribute in SCHEMA] == ["age", "gender", "glasses", "smile", "mask", "eyes"]
    assert SCHEMA[-1].mirror == (("left_eye", "right_eye"), ("mouth_left", "mouth_right"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("attributes: [", "not valid YAML"),
        ("attributes: []", "attributes"),
        ("attributes: [{name: a, kind: binary, classes: [x]}]", "attributes.0.binary.classes"),
        ("attributes: [{name: a, kind: colour}]", "attributes.0"),
        ("attributes: [{name: a, kind: points, points: [b], mirror: [[b, c]]}]", "not in points"),
        (
            "attributes: [{name: a, kind: binary, classes: [x, y]}, {name: b, kind: points, points: [a]}]",
            "'a' is used twice",
        ),
    ],
)
def test_bad_schemas(tmp_path, text, words):
    path = tmp_path / "schema.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        read_schema(path)
    assert str(path) in str(caught.value)


def test_a_new_attribute_is_an_entry_and_a_column(tmp_path, make_csv):
    (tmp_path / "s.yaml").write_text(
        "attributes:\n- {name: hat, kind: categorical, classes: [none, cap, helmet]}\n"
        "- {name: blur, kind: ordinal, classes: [low, high]}\n"
    )
    table = read_faces(make_csv("file,hat,blur,split", "a.png,cap,,train"), read_schema(tmp_path / "s.yaml"))
    assert table.targets["hat"].tolist() == [1]
    assert np.isnan(table.targets["blur"]).all()


def test_blank_is_unlabelled_and_other_columns_are_kept(make_csv):
    path = make_csv(
        "file,source,split,age,age_lo,age_hi,gender,race,left_eye_x,left_eye_y,x1,y1,x2,y2",
        "a.png,s,train,30,,,,other,,,,,,",
        "a.png,s,val,,20,29,male,,3.5,4,1,2,9,10",
    )
    table = read_faces(path, SCHEMA)
    np.testing.assert_array_equal(table.targets["age"], np.float32([[30, np.nan, np.nan], [np.nan, 20, 29]]))
    np.testing.assert_array_equal(table.targets["gender"], np.float32([np.nan, 1]))
    assert np.isnan(table.targets["mask"]).all()
    np.testing.assert_array_equal(table.targets["eyes"][1, :2], np.float32([[3.5, 4], [np.nan, np.nan]]))
    assert table.columns["race"].tolist() == ["other", ""]
    assert np.isnan(table.boxes[0]).all()
    assert table.boxes[1].tolist() == [1, 2, 9, 10]
    assert len(table.split("val")) == 1


@pytest.mark.parametrize(
    ("header", "line", "words"),
    [
        ("file,gender", "a.png,Male", "line 2: gender must be one of female, male, got 'Male'"),
        ("file,age", "a.png,old", "line 2: age must be a number"),
        ("file,age", "a.png,nan", "line 2: age must be a number"),
        ("file,age_lo,age_hi", "a.png,20,", "needs both age_lo and age_hi"),
        ("file,age_lo,age_hi", "a.png,30,20", "age_lo is above age_hi"),
        ("file,nose_x,nose_y", "a.png,3,", "only one of x and y"),
        ("file,gender", "b.png,male", "no such picture"),
        ("file,gender", ",male", "'file' is blank"),
        ("file,gender,framing", "a.png,male,loose", "framing must be"),
        ("file,gender,split", "a.png,male,dev", "split must be train, val or test"),
        ("file,gender,x1,y1,x2,y2", "a.png,male,1,2,3,", "a box needs all"),
        ("path,gender", "a.png,male", "no column 'file'"),
        ("file,hat", "a.png,cap", "no column for any attribute"),
    ],
)
def test_bad_values_name_file_and_line(make_csv, header, line, words):
    path = make_csv(header, line)
    with pytest.raises(DataError, match=words) as caught:
        read_faces(path, SCHEMA)
    assert str(path) in str(caught.value)


def test_files_that_are_no_csv(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_faces(tmp_path / "none.csv", SCHEMA)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00file")
    with pytest.raises(DataError, match="UTF-8"):
        read_faces(tmp_path / "bytes.csv", SCHEMA)
    (tmp_path / "empty.csv").write_text("file,age\n")
    with pytest.raises(DataError, match="no rows"):
        read_faces(tmp_path / "empty.csv", SCHEMA)


def test_without_a_split_whole_groups_are_shared_out(make_csv):
    path = make_csv("file,gender,group", *(f"a.png,male,{group}" for group in [*"abcdefghij" * 4]))
    tables = [read_faces(path, SCHEMA, seed=seed) for seed in (0, 0, 1)]
    splits = [table.columns["split"] for table in tables]
    assert (splits[0] == splits[1]).all()
    assert (splits[0] != splits[2]).any()
    for split in splits:
        sides = {group: set(split[tables[0].columns["group"] == group]) for group in "abcdefghij"}
        assert all(len(side) == 1 for side in sides.values())
        assert set(split) == {"train", "val"}


def test_photos_are_sent_to_data_crop(make_csv):
    table = read_faces(make_csv("file,gender", "a.png,male"), SCHEMA)
    with pytest.raises(DataError, match="facepipe data crop"):
        table.require_crops()


def test_crops_of_another_recipe_are_refused(make_csv):
    path = make_csv("file,gender,framing", "a.png,male,crop")
    with pytest.raises(DataError, match=SIDECAR):
        read_faces(path, SCHEMA).require_crops()
    recipe = CropRecipe(margin=0.1, size=224)
    (path.parent / SIDECAR).write_text(CropSet(recipe=recipe, context=0.2).model_dump_json())
    table = read_faces(path, SCHEMA)
    table.require_crops(recipe.model_copy(update={"size": 64}))  # the size may change, the framing may not
    with pytest.raises(DataError, match="were cut as"):
        table.require_crops(recipe.model_copy(update={"margin": 0.3}))
    (path.parent / SIDECAR).write_text("{}")
    with pytest.raises(DataError, match=SIDECAR):
        read_faces(path, SCHEMA)


def test_the_stored_picture_holds_the_crop_and_its_context():
    stored = CropSet(recipe=CropRecipe(margin=0.1, size=200), context=0.25).stored
    assert stored.size == 300
    assert 1 + 2 * stored.margin == pytest.approx(1.2 * 1.5)


def test_faces_of_the_tests(faces: Path):
    table = read_faces(faces, SCHEMA)
    assert set(table.columns["source"]) == {"ages", "ranges", "points"}
    assert len(table.split("train")) + len(table.split("val")) == 48


def test_paths_written_on_windows_are_found(tmp_path):
    (tmp_path / "photos" / "in").mkdir(parents=True)
    for name in ("photos/a.jpg", "photos/in/b.jpg", "odd\\name.jpg"):
        (tmp_path / name).write_bytes(b"picture")
    (tmp_path / "faces.csv").write_text(
        "file,gender\nphotos\\a.jpg,male\nphotos\\in\\b.jpg,female\nodd\\name.jpg,male\n"
    )
    table = read_faces(tmp_path / "faces.csv", SCHEMA)
    assert [str(file.relative_to(tmp_path)) for file in table.files] == [
        "photos/a.jpg",
        "photos/in/b.jpg",
        "odd\\name.jpg",
    ]
    assert table.columns["file"].tolist()[0] == "photos/a.jpg"
