"""How often a face that fills the frame is found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe.core.errors import DataError
from facepipe.detector.evaluation.closeups import Closeups, closeup_metrics, closeup_recall, fills_the_frame
from facepipe.detector.inference.boxes import Detections


def detections(boxes: list, confidence: list, labels: list | None = None) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(confidence, np.float32),
        np.array(labels or [0] * len(boxes), np.int64),
        ("face", "head"),
    )


@pytest.mark.parametrize(
    ("box", "confidence", "label", "fills"),
    [
        ((10, 10, 90, 90), 0.5, 0, True),
        ((10, 10, 90, 90), 0.24, 0, False),  # not sure enough
        ((10, 10, 90, 90), 0.9, 1, False),  # a head
        ((31, 31, 71, 60), 0.5, 0, True),  # 40 px are 0.4 of 100
        ((31, 31, 70, 60), 0.5, 0, False),  # 39 px are not
        ((51, 0, 100, 100), 0.5, 0, False),  # beside the centre
        ((49, 49, 100, 100), 0.5, 0, True),
    ],
)
def test_which_box_is_the_face(box: tuple, confidence: float, label: int, fills: bool) -> None:
    assert fills_the_frame(detections([box], [confidence], [label]), 100, 100, 0.25) is fills


def test_the_shorter_side_of_the_picture_counts() -> None:
    assert fills_the_frame(detections([(150, 30, 190, 70)], [0.5]), 100, 340, 0.25)
    assert not fills_the_frame(detections([], []), 100, 340, 0.25)


class Bright:
    """Finds one face over all of a picture that is bright."""

    classes: tuple[str, ...] = ("face", "head")

    def __init__(self, confidence: float):
        self.confidence, self.max_detections = confidence, 10

    def detect(self, frames: Sequence[np.ndarray]) -> list[Detections]:
        return [
            detections([(0, 0, frame.shape[1], frame.shape[0])], [0.6]) if frame.mean() > 100 else detections([], [])
            for frame in frames
        ]


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Ten pictures of source a, of which six are bright, and two bright ones of source b; others in train or of c."""
    rows = ["file,source,split"]
    for name, source, split, value in [
        *((f"a{index}", "a", "val", 200 if index < 6 else 50) for index in range(10)),
        *((f"b{index}", "b", "val", 200) for index in range(2)),
        ("t", "a", "train", 200),
        ("c", "c", "val", 50),
    ]:
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((30, 20, 3), value, np.uint8))
        rows.append(f"{name}.png,{source},{split}")
    (tmp_path / "faces.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "faces.csv"


def test_shares_by_source(faces: Path) -> None:
    told: list[tuple[int, int]] = []
    first, second = closeup_recall(
        [Bright(0.25), Bright(0.7)], faces, ("a", "b"), progress=lambda done, total: told.append((done, total))
    )
    assert first == [Closeups("a", 10, 6, 6), Closeups("b", 2, 2, 2)]
    assert second == [Closeups("a", 10, 0, 6), Closeups("b", 2, 0, 2)]  # it is sure to 0.6
    assert told[-1] == (12, 12)
    metrics, protocol = closeup_metrics(first, 0.25, faces, "val")
    assert [(metric.name, metric.value, metric.count) for metric in metrics] == [
        ("recall of a face that fills the frame at 0.25, a", 0.6, 10),
        ("recall of a face that fills the frame at 0.25, b", 1.0, 2),
        ("recall of a face that fills the frame at 0.25, a and b", 0.6667, 12),
    ]
    for part in (
        "at a threshold of 0.25",
        "contains the picture's centre",
        "0.4 of the picture's shorter side",
        "val split",
    ):
        assert part in protocol
    metrics, protocol = closeup_metrics(second, 0.7, faces, "val")
    assert [(metric.name, metric.value) for metric in metrics[::2]] == [
        ("recall of a face that fills the frame at 0.7, a", 0.0),
        ("recall of a face that fills the frame at 0.7, a and b", 0.0),
        ("recall of a face that fills the frame at 0.25, b", 1.0),
    ]
    assert "at a threshold of 0.7 and of 0.25" in protocol
    (only,) = closeup_recall([Bright(0.25)], faces, ("a",), "train")
    assert only == [Closeups("a", 1, 1, 1)]
    assert len(closeup_metrics(only, 0.25, faces, "train")[0]) == 1


def test_what_is_wrong_is_named(faces: Path) -> None:
    with pytest.raises(DataError, match="no row of source utkface, fairface and split val"):
        closeup_recall([Bright(0.25)], faces)
    with pytest.raises(DataError, match="no such file"):
        closeup_recall([Bright(0.25)], faces.with_name("gone.csv"))
    faces.with_name("short.csv").write_text("file,split\na.png,val\n")
    with pytest.raises(DataError, match=r"short\.csv: line 1: no column source"):
        closeup_recall([Bright(0.25)], faces.with_name("short.csv"))
    faces.with_name("nameless.csv").write_text("file,source,split\na0.png,a,val\n,a,val\n")
    with pytest.raises(DataError, match=r"nameless\.csv: line 3: no file"):
        closeup_recall([Bright(0.25)], faces.with_name("nameless.csv"), ("a",))
    faces.with_name("a3.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"a3\.png: not a picture"):
        closeup_recall([Bright(0.25)], faces, ("a",))
    heads = Bright(0.25)
    heads.classes = ("head",)
    with pytest.raises(DataError, match="does not find faces"):
        closeup_recall([heads], faces, ("a",))
