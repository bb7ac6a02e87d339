from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import facepipe
import numpy as np
import pytest
from facepipe import Pipeline
from facepipe.classifier.inference.attributes import AttributeValue, ClassValue, NumericValue, PointsValue
from facepipe.core.errors import MissingExtraError
from facepipe.pipeline.outputs.rows import RowForm
from facepipe.pipeline.results import Box, ClassifierUsed, DetectorUsed, Face, Head, Models, Result

MODELS = Models(
    detector=DetectorUsed(version="1.0.0", sha256="ab" * 32),
    classifiers={"face": ClassifierUsed(version="1.1.0", sha256="c" * 64)},
)


def result(tracks: bool = False) -> Result:
    read: dict[str, AttributeValue] = {
        "age": NumericValue(value=31.5, unit="years", interval=(20, 40)),
        "gender": ClassValue(value=None, probability=0.55, probabilities={"female": 0.55, "male": 0.45}),
        "eyes": PointsValue(points={"left_eye": (1.0, 2.0)}),
    }
    track = 7 if tracks else None
    return Result(
        source="a.jpg",
        width=50,
        height=40,
        faces=(
            Face(box=Box(x1=1, y1=2, x2=3, y2=4), confidence=0.9, head=0, attributes=read, reason=None, track=track),
            Face(box=Box(x1=5, y1=6, x2=7, y2=8), confidence=0.8, head=None, attributes=None, reason="too small"),
        ),
        heads=(Head(box=Box(x1=0, y1=0, x2=9, y2=9), confidence=0.7),),
        models=MODELS,
        error=None,
    )


def test_faces_then_heads() -> None:
    pytest.importorskip("supervision")
    found = result().to_supervision()
    assert found.xyxy.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [0, 0, 9, 9]]
    assert found.confidence is not None
    np.testing.assert_allclose(found.confidence, [0.9, 0.8, 0.7])
    assert found.class_id is not None
    assert found.class_id.tolist() == [0, 0, 1]
    assert found.tracker_id is None
    data = {name: list(values) for name, values in found.data.items()}
    assert data == {
        "class_name": ["face", "face", "head"],
        "face": [0, 1, -1],
        "age": [31.5, None, None],
        "gender": [None, None, None],
        "gender_probability": [0.55, None, None],
        "eyes": [{"left_eye": (1.0, 2.0)}, None, None],
    }
    assert found.metadata["source"] == "a.jpg"
    assert found.metadata["classifiers"] == {"face": "1.1.0"}


def test_supervision_can_work_with_them() -> None:
    """Filters, merges and draws them."""
    sv = pytest.importorskip("supervision")
    found = result(tracks=True).to_supervision()
    assert found.tracker_id is not None
    assert found.tracker_id.tolist() == [7, -1, -1]
    faces = found[found.class_id == 0]
    assert len(faces) == 2
    assert list(faces.data["age"]) == [31.5, None]
    assert len(sv.Detections.merge([found, found])) == 6
    scene = sv.BoxAnnotator().annotate(np.zeros((40, 50, 3), np.uint8), found)
    assert scene.any()


def test_nothing_found_and_nothing_read() -> None:
    sv = pytest.importorskip("supervision")
    empty = result().model_copy(update={"faces": (), "heads": ()})
    assert len(empty.to_supervision()) == 0
    failed = empty.model_copy(update={"error": "a.jpg: is empty", "width": None, "height": None})
    assert isinstance(failed.to_supervision(), sv.Detections)


def test_without_supervision_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingExtraError, match=r"facepipe\[tiles\]"):
        result().to_supervision()


def test_a_table_has_a_row_for_each_face() -> None:
    pytest.importorskip("pandas")
    table = result().to_df()
    assert len(table) == len(result()) == 2
    assert table["face"].tolist() == [0, 1]
    assert table[["x1", "y1", "x2", "y2"]].values.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    first, second = table.to_dict("records")
    assert (first["age"], first["age_low"], first["age_high"], first["eyes_left_eye_y"]) == (31.5, 20, 40, 2.0)
    assert (first["gender_probability"], first["gender_male"]) == (0.55, 0.45)
    assert table["gender"].isna().tolist() == [True, True]
    assert second["reason"] == "too small"
    assert table["head"].isna().tolist() == [False, True]
    assert "track" not in table
    assert result(tracks=True).to_df()["track"].tolist()[0] == 7


def test_a_table_of_several_results_and_of_a_stream() -> None:
    pytest.importorskip("pandas")
    empty = result().model_copy(update={"source": "b.jpg", "faces": (), "heads": ()})
    failed = empty.model_copy(update={"source": "c.jpg", "error": "no such file", "width": None, "height": None})
    table = facepipe.to_df([result(), empty, failed])
    assert table["source"].tolist() == ["a.jpg", "a.jpg", "b.jpg", "c.jpg"]
    assert table["face"].isna().tolist() == [False, False, True, True]
    assert table["error"].tolist()[-1] == "no such file"
    frame = np.zeros((40, 50, 3), np.uint8)
    assert facepipe.to_df((each, frame) for each in (result(), empty)).equals(facepipe.to_df([result(), empty]))
    assert list(facepipe.to_df([]).columns)[:2] == ["source", "error"]


def test_the_columns_are_named_as_those_of_a_csv(tiny_weights: Path, photo: Callable[..., np.ndarray]) -> None:
    pytest.importorskip("pandas")
    with Pipeline() as pipeline:
        found = pipeline.run(photo(0))
        form = RowForm({name: each.attributes for name, each in pipeline.parts().classifiers.by_name.items()})
    table = found.to_df()
    names = [column.name for column in form.columns]
    assert list(table.columns) == names[: len(table.columns)]


def test_a_table_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"facepipe\[pandas\]"):
        result().to_df()
