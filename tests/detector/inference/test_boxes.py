"""Geometry of boxes and letterboxes, decoding and non-maximum suppression."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe import FaceDetector
from facepipe.detector.evaluation.blank_pictures import KINDS, blank_picture
from facepipe.detector.inference.boxes import Detections, area, from_yolo, iou, share_inside, show_nothing
from facepipe.detector.inference.detector import decode
from facepipe.detector.inference.preprocessing import letterbox
from facepipe.weights.release import Release
from hypothesis import given
from hypothesis import strategies as st

PHOTO = Path(__file__).parents[3] / "examples" / "astronaut.jpg"
FACE = np.array([[181.0, 61, 271, 179]])


@pytest.mark.parametrize("kind", ["plain", "graded", "radial", "noisy"])
def test_large_boxes_of_even_pictures_show_nothing(kind: str) -> None:
    for number in range(KINDS.index(kind), 60, len(KINDS)):
        picture = blank_picture(number)
        height, width = picture.shape[:2]
        boxes = np.array([[0, 0, width, height], [width / 4, height / 4, width / 4 + 200, height / 4 + 230]])
        if kind == "noisy":  # a box of 200 px has too few pixels to even out the strongest noise
            boxes = boxes[:1]
        assert show_nothing(picture, boxes).all(), number


def test_a_face_shows_something_however_dark_or_blurred() -> None:
    photo = np.asarray(cv2.imread(str(PHOTO)))
    for frame in (
        photo,
        cv2.GaussianBlur(photo, (0, 0), 6),
        (photo * 0.1).astype(np.uint8),
        (photo * 0.25 + 190).astype(np.uint8),  # fog
        cv2.resize(photo, None, fx=4, fy=4),
    ):
        scale = frame.shape[0] / photo.shape[0]
        assert not show_nothing(frame, FACE * scale).any()


def test_small_and_odd_boxes_are_left_alone() -> None:
    plain = np.full((640, 640, 3), 90, np.uint8)
    assert not show_nothing(plain, np.array([[10.0, 10, 100, 100]])).any()
    assert show_nothing(plain, np.zeros((0, 4))).shape == (0,)
    assert show_nothing(plain, np.array([[639.9, 10, 640, 400], [640, 0, 640, 640]])).all()
    assert show_nothing(np.full((1, 900, 3), 9, np.uint8), np.array([[0.0, 0, 900, 1]])).all()


def test_overlaps_of_known_boxes() -> None:
    a = np.array([[0, 0, 10, 10]], float)
    b = np.array([[5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 20, 20], [8, 8, 2, 2]], float)
    assert iou(a, b)[0] == pytest.approx([50 / 150, 0, 100 / 400, 0])
    assert share_inside(a, b)[0] == pytest.approx([0.5, 0, 1, 0])
    assert area(b).tolist() == [100, 100, 400, 0]


def test_yolo_boxes_become_corners() -> None:
    assert from_yolo(np.array([[0.5, 0.25, 0.2, 0.1]]), 200, 100)[0] == pytest.approx([80, 20, 120, 30])


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([32, 64, 160]))
def test_a_letterbox_fits_and_takes_its_boxes_back(height: int, width: int, size: int) -> None:
    square, transform = letterbox(np.full((height, width, 3), 7, np.uint8), size)
    assert square.shape == (size, size, 3)
    inner = np.argwhere((square == 7).all(axis=2))
    top, left = inner.min(axis=0)
    bottom, right = inner.max(axis=0) + 1
    back = transform.to_frame(np.array([[left, top, right, bottom]], float))[0]
    # Rounding the inner picture to whole pixels may cost one of them, which is 1 / scale pixels of the frame.
    assert np.abs(back - [0, 0, width, height]).max() <= 1 / transform.scale + 1e-3
    assert transform.to_frame(np.array([[-99, -99, 9999, 9999]], float))[0].tolist() == [0, 0, width, height]


def test_decode_drops_doubles_of_a_class_but_not_of_two() -> None:
    output = np.zeros((6, 4), np.float32)
    output[:4] = np.array([[50, 50, 20, 20], [51, 50, 20, 20], [50, 50, 20, 20], [90, 90, 10, 10]]).T
    output[4] = [0.9, 0.8, 0.1, 0.3]
    output[5] = [0.1, 0.0, 0.7, 0.0]
    boxes, confidence, labels = decode(output, 0.25, 0.5, 10)
    assert confidence.tolist() == pytest.approx([0.9, 0.7, 0.3])
    assert labels.tolist() == [0, 1, 0]
    assert boxes[0].tolist() == [40, 40, 60, 60]
    assert len(decode(output, 0.25, 0.5, 1)[0]) == 1
    assert decode(output, 0.95, 0.5, 10)[0].shape == (0, 4)


def test_detections_by_class() -> None:
    found = Detections(
        np.zeros((3, 4), np.float32), np.array([3, 2, 1], np.float32), np.array([0, 1, 0]), ("face", "head")
    )
    assert found.of("face").confidence.tolist() == [3, 1]
    with pytest.raises(ValueError, match="no class 'cat'; this detector has face, head"):
        found.of("cat")


def test_a_batch_gives_what_single_frames_give(detector_release: Release) -> None:
    random = np.random.default_rng(0)
    frames = [random.integers(0, 255, (h, w, 3)).astype(np.uint8) for h, w in ((50, 80), (90, 40), (64, 64)) * 4]
    detector = FaceDetector(release=detector_release)
    together = detector.detect(frames)
    assert sum(map(len, together)) > 0
    for frame, found in zip(frames, together, strict=True):
        alone = detector.detect([frame])[0]
        np.testing.assert_allclose(found.boxes, alone.boxes, atol=1e-3)
        assert (found.boxes[:, 2] <= frame.shape[1]).all()
        assert (found.boxes >= 0).all()
    assert detector.detect([]) == []
