"""Random views: boxes stay on what they mark, and what can hardly be seen becomes an ignore region."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from facepipe.detector.training.transforms import RandomView, View
from pydantic import ValidationError
from ultralytics.utils.instance import Instances

CLASSES = 2
COLOURS = np.array([[250, 20, 20], [20, 250, 20], [20, 20, 250]], np.uint8)
BOXES = np.array([[40, 30, 100, 110], [150, 60, 230, 120], [250, 150, 290, 200]], np.float32)


def sample(boxes: np.ndarray = BOXES, classes: tuple[int, ...] = (0, 1, CLASSES)) -> dict[str, Any]:
    """A grey picture with a block of colour in each box."""
    frame = np.full((240, 320, 3), 114, np.uint8)
    for box, colour in zip(boxes.astype(int), COLOURS, strict=False):
        frame[box[1] : box[3], box[0] : box[2]] = colour
    return {
        "img": frame,
        "cls": np.array(classes, np.float32).reshape(-1, 1),
        "instances": Instances(boxes.copy(), np.zeros((0, 1000, 2), np.float32), bbox_format="xyxy", normalized=False),
        "rect_shape": np.array([256, 320]),
    }


@pytest.mark.parametrize("rotation", [0.0, 0.0001])
@pytest.mark.parametrize("towards", [0.0, 1.0])
def test_boxes_stay_on_what_they_mark(rotation: float, towards: float) -> None:
    random.seed(3)
    view = RandomView(View(canvas=0.75, rotation=rotation, towards_objects=towards), CLASSES, 320)
    objects = 0
    for _ in range(60):
        seen = view(sample())
        assert seen["img"].shape == (192, 256, 3)  # 0.75 of 256 x 320, in steps of 32
        for label, box in zip(seen["cls"].reshape(-1), seen["instances"].bboxes, strict=True):
            if label == CLASSES:
                continue
            objects += 1
            ours = (np.abs(seen["img"].astype(int) - COLOURS[int(label)]) < 40).all(axis=2)
            rows, columns = np.nonzero(ours)
            found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(box, found, atol=2.0)
    assert objects > 40


def test_a_view_towards_objects_always_shows_one_whole() -> None:
    random.seed(4)
    view = RandomView(View(towards_objects=1.0, scale=(1.0, 2.0)), CLASSES, 320)
    for _ in range(40):
        seen = view(sample(BOXES[:1], (0,)))
        assert seen["cls"].reshape(-1).tolist() == [0]
        sides = seen["instances"].bboxes[0, 2:] - seen["instances"].bboxes[0, :2]
        assert sides[1] / sides[0] == pytest.approx(80 / 60, abs=0.05)


def test_no_object_is_enlarged_past_the_canvas() -> None:
    random.seed(5)
    large = np.array([[20, 10, 220, 230]], np.float32)
    view = RandomView(View(canvas=0.8, scale=(0.5, 4.0), towards_objects=1.0), CLASSES, 320)
    for _ in range(40):
        seen = view(sample(large, (0,)))
        assert seen["cls"].reshape(-1).tolist() == [0]  # never cut so far that it is to be ignored


def test_what_is_hardly_visible_or_tiny_is_ignored_and_what_is_outside_goes() -> None:
    view = RandomView(View(least_visible=0.35, least_side=4), CLASSES, 320)
    boxes = np.array([[0, 0, 100, 100], [90, 0, 190, 100], [200, 0, 203, 3], [5, 5, 8, 8]], np.float32)
    moved = view.apply_instances(
        sample(boxes, (0, 1, 0, 1)),
        {"M": np.eye(3, dtype=np.float32), "scale": 1.0, "orig_shape": (240, 320), "size": (100, 100)},
    )
    assert moved["cls"].reshape(-1).tolist() == [0, CLASSES, CLASSES]  # whole, a tenth seen, tiny; one is outside


def test_a_misspelt_view_is_refused() -> None:
    with pytest.raises(ValidationError, match="zoom"):
        View.model_validate({"zoom": 2})


def test_turned_views_stand_at_every_angle() -> None:
    random.seed(5)
    boxes = np.array([[60, 100, 260, 140]], np.float32)  # five times as wide as high: upright after a quarter turn

    def shapes(turned: float) -> np.ndarray:
        view = RandomView(View(turned=turned, scale=(0.6, 0.6), canvas=1.0), CLASSES, 320)
        sides = [np.diff(view(sample(boxes, (0,)))["instances"].bboxes.reshape(2, 2), axis=0)[0] for _ in range(60)]
        return np.array([side[1] / side[0] for side in sides])

    assert (shapes(0.0) < 0.3).all()
    always = shapes(1.0)
    assert (always > 2).any()
    assert (always < 0.5).any()
