"""Random views of training pictures: a part of the picture at a random scale, on a canvas smaller than the picture.

Cutting a part and enlarging it is what helps detectors of small faces most (random square crops in S3FD, Zhang et al.
2017, and RetinaFace, Deng et al. 2020); the smaller canvas makes a step cheaper by its area, and wastes none on grey.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from .augmentation import View
from .warp import Warp, pixel_boxes

STRIDE = 32


class RandomView(Warp):
    """Replaces ultralytics' affine augmentation: same interface, other matrix, and ignore regions instead of losses.

    Args:
        view: how views are drawn.
        classes: number of classes; ``classes`` itself is the class of ignore regions (``detector/dataset.py``).
        size: side of the square that pictures have without ``rect``.
    """

    def __init__(self, view: View, classes: int, size: int):
        super().__init__(classes, view.least_visible, view.least_side)
        self.view, self.full = view, size

    def get_params(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Draw a view of one sample: the matrix, the scale and the size (width, height) of the canvas."""
        height, width = labels["img"].shape[:2]
        full = labels.get("rect_shape", (self.full, self.full))
        rows, columns = (max(1, round(float(side) * self.view.canvas / STRIDE)) * STRIDE for side in full)
        boxes = pixel_boxes(labels, width, height)[labels["cls"].reshape(-1) < self.classes]
        low, high = self.view.scale
        if len(boxes):
            longest = float(max((boxes[:, 2] - boxes[:, 0]).max(), (boxes[:, 3] - boxes[:, 1]).max(), 1))
            high = max(low, min(high, min(rows, columns) / longest))
        scale = float(np.exp(random.uniform(np.log(low), np.log(high))))
        angle = np.deg2rad(random.uniform(-self.view.rotation, self.view.rotation))
        turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        towards = boxes[random.randrange(len(boxes))] if len(boxes) else None
        if random.random() >= self.view.towards_objects:
            towards = None
        centre = np.array(
            [
                _centre(width, columns / scale, None if towards is None else towards[[0, 2]]),
                _centre(height, rows / scale, None if towards is None else towards[[1, 3]]),
            ]
        )
        matrix = np.eye(3, dtype=np.float32)
        matrix[:2, :2] = turn
        matrix[:2, 2] = np.array([columns / 2, rows / 2]) - turn @ centre
        return {"M": matrix, "scale": scale, "orig_shape": (height, width), "size": (columns, rows)}


def _centre(side: float, seen: float, towards: np.ndarray | None) -> float:
    """Where the view's centre lies along one axis of the picture.

    Args:
        side: of the picture, in its pixels.
        seen: of the view, in the picture's pixels.
        towards: both edges of the object to hold, or None.
    """
    low, high = sorted((seen / 2, side - seen / 2))
    if towards is not None and side > seen:
        least, most = sorted((float(towards[1]) - seen / 2, float(towards[0]) + seen / 2))
        low, high = max(low, min(least, high)), min(high, max(most, low))
    return random.uniform(low, high)
