from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from facepipe import Pipeline
from facepipe.classifier.inference.attributes import AttributeValue, ClassValue, NumericValue
from facepipe.pipeline.drawing.labels import label, short_label
from facepipe.pipeline.results import Box, Face


@pytest.fixture
def face(tiny_weights: Path, photo: Callable[..., np.ndarray]) -> Face:
    return Pipeline().run(photo(0)).faces[0]


def classes(value: str | None, *others: str) -> ClassValue:
    named = [value or others[0], *others]
    return ClassValue(value=value, probability=0.9, probabilities=dict.fromkeys(named, 0.5))


def test_label_tells_every_attribute_and_the_reason(face: Face) -> None:
    lines = label(3, face)
    assert lines[0].startswith("face 3")
    assert [line.split(":")[0] for line in lines[1:]] == ["age", "gender", "glasses", "smile", "mask"]
    assert "years" in lines[1]
    refused = face.model_copy(update={"attributes": None, "reason": "too small: 3 px"})
    assert label(0, refused)[1:] == ["too small: 3 px"]
    assert [line.split(":")[0] for line in label(3, face, ("gender", "age"))] == ["gender", "age"]


def test_the_short_form() -> None:
    attributes: dict[str, AttributeValue] = {
        "age": NumericValue(value=31.4, unit="years", interval=(20.0, 40.0)),
        "gender": classes("female", "male"),
        "glasses": classes("no", "yes"),
        "smile": classes("yes", "no"),
        "hair": classes("red", "black", "fair"),
        "mask": classes(None, "no", "yes"),
    }
    face = Face(box=Box(x1=0, y1=0, x2=9, y2=9), confidence=0.5, head=None, attributes=attributes, reason=None)
    assert short_label(face) == "F 31 · smile · red"
    assert short_label(face, ("age", "gender")) == "F 31"
    assert short_label(face, ("glasses",)) == ""
    assert short_label(face.model_copy(update={"attributes": None})) == ""
