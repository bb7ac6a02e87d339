from __future__ import annotations

import numpy as np
import pytest
from facepipe.detector.inference.boxes import Detections
from facepipe.pipeline.inputs.image_reader import Picture
from facepipe.pipeline.two_stage import Found, match_heads


@pytest.mark.parametrize(
    ("faces", "heads", "expected"),
    [
        ([], [], []),
        ([[0, 0, 10, 10]], [], [None]),
        ([], [[0, 0, 10, 10]], []),
        ([[2, 2, 8, 8]], [[0, 0, 10, 10]], [0]),
        ([[6, 0, 16, 10]], [[0, 0, 10, 10]], [None]),
        ([[2, 2, 8, 8]], [[0, 0, 50, 50], [0, 0, 10, 10]], [1]),
        ([[2, 2, 8, 8], [3, 3, 9, 9]], [[0, 0, 10, 10]], [0, None]),
        ([[0, 0, 10, 10], [20, 0, 30, 10]], [[19, 0, 31, 12], [0, 0, 12, 12]], [1, 0]),
        ([[5, 5, 5, 5]], [[0, 0, 10, 10]], [None]),
    ],
)
def test_faces_and_heads(faces: list, heads: list, expected: list[int | None]) -> None:
    boxes = [np.array(rows, np.float32).reshape(-1, 4) for rows in (faces, heads)]
    assert match_heads(*boxes) == expected


def test_faces_that_are_due_keep_their_heads() -> None:
    faces = np.array([[1, 1, 5, 5], [20, 1, 25, 5], [40, 1, 45, 5]], np.float32)
    heads = np.array([[39, 0, 46, 6], [0, 0, 6, 6]], np.float32)
    ones, zeros = np.ones(3, np.float32), np.zeros(3, int)
    found = Found(
        Picture.of(np.zeros((9, 50, 3), np.uint8)),
        Detections(faces, ones, zeros, ("face", "head")),
        Detections(heads, ones[:2], zeros[:2] + 1, ("face", "head")),
        match_heads(faces, heads),
    )
    assert found.head_of == [1, None, 0]
    whole, due = found.placed(), found.placed([2, 1])
    assert whole.faces.tolist() == faces.tolist()
    assert due.faces.tolist() == faces[[2, 1]].tolist()
    assert [None if head is None else head.tolist() for head in due.heads] == [heads[0].tolist(), None]
