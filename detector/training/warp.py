"""Pictures and their boxes under an affine change: boxes move along, and what is hardly visible is ignored.

Ultralytics drops a box of which little is left, and the loss then takes what is left for background. Here such an
object becomes an ignore region: a box of one class more than there are (``detector/dataset.py``).
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from . import ultralytics_setup  # noqa: F401  isort: skip
from ultralytics.data.augment import RandomPerspective
from ultralytics.utils.instance import Instances

from .augmentation import Rotation, View, Zoom

LEAST_VISIBLE = float(View.model_fields["least_visible"].default)
LEAST_SIDE = float(View.model_fields["least_side"].default)


class Warp(RandomPerspective):
    """Ultralytics' affine change with ignore regions; what it does is drawn by ``get_params`` of its subclasses.

    Args:
        classes: number of classes; ``classes`` itself is the class of ignore regions.
        least_visible: share of an object below which it becomes an ignore region.
        least_side: longer side in pixels below which it does.
    """

    def __init__(self, classes: int, least_visible: float = LEAST_VISIBLE, least_side: float = LEAST_SIDE):
        super().__init__(size=None)
        self.classes, self.least_visible, self.least_side = classes, least_visible, least_side

    def apply_instances(self, labels: dict[str, Any], params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Move the boxes; what can hardly be seen becomes an ignore region, what lies outside goes."""
        assert params is not None
        height, width = params["orig_shape"]
        classes = labels["cls"].copy()
        whole = moved(pixel_boxes(labels, width, height), params["M"], classes.reshape(-1) < self.classes)
        columns, rows = params["size"]
        seen = np.clip(whole, 0, [columns, rows, columns, rows]).astype(np.float32)
        sides, all_sides = seen[:, 2:] - seen[:, :2], whole[:, 2:] - whole[:, :2]
        share = sides.prod(1) / np.maximum(all_sides.prod(1), 1e-9)
        classes[(share < self.least_visible) | (sides.max(1, initial=0) < self.least_side)] = self.classes
        inside = (sides > 0.5).all(1)
        labels["instances"] = Instances(
            seen[inside], np.zeros((0, 1000, 2), np.float32), bbox_format="xyxy", normalized=False
        )
        labels["cls"] = classes[inside]
        return labels


class Reframe(Warp):
    """Rotates a picture about its middle and enlarges a part of it, on a canvas of the same size.

    Args:
        classes: number of classes.
        rotation: the rotation, or None.
        zoom: the zoom, or None.
    """

    def __init__(self, classes: int, rotation: Rotation | None, zoom: Zoom | None):
        super().__init__(classes)
        self.rotation, self.zoom = rotation, zoom

    def __call__(self, labels: dict[str, Any]) -> dict[str, Any]:
        params = self.get_params(labels)
        if np.array_equal(params["M"], np.eye(3, dtype=np.float32)):
            return labels
        return self.apply_instances(self.apply_image(labels, params), params)

    def get_params(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Draw the matrix for one sample."""
        height, width = labels["img"].shape[:2]
        matrix = np.eye(3, dtype=np.float64)
        if self.rotation is not None and random.random() < self.rotation.probability:
            angle = np.deg2rad(random.uniform(-self.rotation.degrees, self.rotation.degrees))
            turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            centre = np.array([width / 2, height / 2])
            matrix[:2, :2], matrix[:2, 2] = turn, centre - turn @ centre
        scale = 1.0
        if self.zoom is not None and random.random() < self.zoom.probability:
            away = random.uniform(self.zoom.least, self.zoom.most)
            scale = 1 / (1 - away)
            left, top = random.uniform(0, away) * width, random.uniform(0, away) * height
            matrix = np.array([[scale, 0, -scale * left], [0, scale, -scale * top], [0, 0, 1]]) @ matrix
        size = (width, height)
        return {"M": matrix.astype(np.float32), "scale": scale, "orig_shape": (height, width), "size": size}


def pixel_boxes(labels: dict[str, Any], width: int, height: int) -> np.ndarray:
    """The boxes of a sample whose picture has these sides: corners in pixels, shape (n, 4)."""
    instances = labels["instances"]
    instances.convert_bbox(format="xyxy")
    instances.denormalize(width, height)
    return instances.bboxes.reshape(-1, 4)


def moved(boxes: np.ndarray, matrix: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Boxes under an affine change.

    Under a rotation the upright box around the turned corners is larger than what was boxed. Faces and heads are about
    elliptical, so an object's new box is the one around its turned inscribed ellipse; an ignore region's is the one
    around its corners, for nothing is known of its content.

    Args:
        boxes: float, shape (n, 4): corners in pixels.
        matrix: shape (3, 3), from old pixels to new ones.
        objects: bool, shape (n,): whether each box is an object's, not an ignore region.

    Returns:
        float, shape (n, 4): corners in pixels, wherever they lie.
    """
    linear = matrix[:2, :2]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 @ linear.T + matrix[:2, 2]
    halves = (boxes[:, 2:] - boxes[:, :2]) / 2
    around_ellipse = np.sqrt(halves**2 @ (linear**2).T)
    around_corners = halves @ np.abs(linear).T
    new = np.where(objects[:, None], around_ellipse, around_corners)
    return np.concatenate([centres - new, centres + new], axis=1).astype(boxes.dtype)
