from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from facepipe import Pipeline
from facepipe.pipeline.drawing.draw import FACE, HEAD, SMALL, draw, label
from facepipe.pipeline.results import Box, Face, Head, Result


@pytest.fixture
def result(tiny_weights: Path, photo: Callable[..., np.ndarray]) -> Result:
    return Pipeline().run(photo(0))


def test_boxes_are_drawn_where_they_are(result: Result) -> None:
    face = Face(box=Box(x1=300, y1=400, x2=500, y2=650), confidence=0.5, head=0, attributes=None, reason="too small")
    head = Head(box=Box(x1=250, y1=300, x2=550, y2=700), confidence=0.5)
    frame = np.zeros((900, 1000, 3), np.uint8)
    picture = draw(frame, result.model_copy(update={"faces": (face,), "heads": (head,)}))
    assert picture.shape == frame.shape
    assert not frame.any(), "the frame itself must stay as it is"
    assert picture[500, 300].tolist() == list(FACE)
    assert picture[500, 250].tolist() == list(HEAD)
    assert not picture[500, 400].any(), "the face itself stays free"
    assert not picture[800, 100].any()


@pytest.mark.parametrize("grey", [0, 127, 255])
def test_labels_are_legible_on_any_background(grey: int, result: Result) -> None:
    frame = np.full((800, 800, 3), grey, np.uint8)
    face = result.faces[0].model_copy(update={"box": Box(x1=100, y1=100, x2=300, y2=300)})
    picture = draw(frame, result.model_copy(update={"faces": (face,), "heads": ()}))
    label_area = picture[110:200, 303:400]
    assert label_area.max() > 240
    assert label_area.min() < 90


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 700), (2000, 2), (64, 48), (640, 480), (3000, 4000)])
def test_every_size_can_be_drawn(height: int, width: int, result: Result) -> None:
    corners = [(0, 0), (width * 0.9, 0), (0, height * 0.9), (width * 0.4, height * 0.4)]
    faces = tuple(
        result.faces[0].model_copy(
            update={"box": Box(x1=x, y1=y, x2=min(x + width * 0.3, width), y2=min(y + height * 0.3, height))}
        )
        for x, y in corners
    )
    picture = draw(np.zeros((height, width, 3), np.uint8), result.model_copy(update={"faces": faces}))
    zoom = picture.shape[0] // height
    assert picture.shape == (height * zoom, width * zoom, 3)
    assert max(picture.shape) >= SMALL or zoom == 8
    assert picture.any()


def test_label_tells_every_attribute_and_the_reason(result: Result) -> None:
    lines = label(3, result.faces[0])
    assert lines[0].startswith("face 3")
    assert [line.split(":")[0] for line in lines[1:]] == ["age", "gender", "glasses", "smile", "mask"]
    assert "years" in lines[1]
    refused = result.faces[0].model_copy(update={"attributes": None, "reason": "too small: 3 px"})
    assert label(0, refused)[1:] == ["too small: 3 px"]
