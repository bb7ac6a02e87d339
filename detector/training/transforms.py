"""Steps that change pixels and move no box: exposure, blur, noise, and rotation within boxes.

Within boxes a step works on the ellipse that a box holds, and fades towards its edge: a rectangle of other sharpness
would tell the detector where the boxes lie. Boxes under ``LEAST`` pixels are left alone, and so are ignore regions.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from . import ultralytics_setup  # noqa: F401  isort: skip
from ultralytics.data.augment import BaseTransform

from .augmentation import Blur, Exposure, Noise, Placed, Rotation
from .warp import pixel_boxes

LEAST = 8
"""Shorter side in pixels from which a box is large enough for a step within it."""
EDGE = 0.2
"""Share of the ellipse's radius over which a step fades."""


class ExposureStep(BaseTransform):
    """Multiplies all pixel values by one factor."""

    def __init__(self, step: Exposure):
        self.step = step

    def apply_image(self, labels: dict[str, Any], params: dict[str, Any] | None = None) -> dict[str, Any]:
        if random.random() < self.step.probability:
            factor = random.uniform(1 - self.step.change, 1 + self.step.change)
            table = np.clip(np.arange(256) * factor + 0.5, 0, 255).astype(np.uint8)
            labels["img"] = cv2.LUT(np.ascontiguousarray(labels["img"]), table)
        return labels


class PlacedStep(BaseTransform):
    """A change of the whole picture, or of what single boxes hold.

    Args:
        step: how often and where.
        change: takes pixels (uint8, shape (height, width, 3)) and gives as many changed ones.
        classes: number of classes; boxes of other numbers are ignore regions.
    """

    def __init__(self, step: Placed, change: Callable[[np.ndarray], np.ndarray], classes: int):
        self.step, self.change, self.classes = step, change, classes

    def __call__(self, labels: dict[str, Any]) -> dict[str, Any]:
        frame = np.ascontiguousarray(labels["img"])
        if self.step.where == "picture":
            if random.random() < self.step.probability:
                frame = self.change(frame)
        else:
            frame = frame.copy()
            for box in self.chosen(labels, frame.shape):
                x1, y1, x2, y2 = box
                patch = frame[y1:y2, x1:x2]
                frame[y1:y2, x1:x2] = _faded(patch, self.changed(frame, box))
        labels["img"] = frame
        return labels

    def chosen(self, labels: dict[str, Any], shape: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
        """The boxes to work within, in whole pixels."""
        found = []
        boxes = pixel_boxes(labels, shape[1], shape[0])
        for box, number in zip(boxes, labels["cls"].reshape(-1), strict=True):
            if number < self.classes and random.random() < self.step.probability:
                corners = np.clip(np.round(box), 0, [shape[1], shape[0]] * 2).astype(int).tolist()
                if min(corners[2] - corners[0], corners[3] - corners[1]) >= LEAST:
                    found.append((corners[0], corners[1], corners[2], corners[3]))
        return found

    def changed(self, frame: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
        """The changed content of one box."""
        x1, y1, x2, y2 = box
        return self.change(np.ascontiguousarray(frame[y1:y2, x1:x2]))


class BoxRotation(PlacedStep):
    """Turns what a box holds about its middle. A box that touches another object's is left alone, for a part of that
    one would turn, too."""

    def __init__(self, step: Rotation, classes: int):
        super().__init__(step, np.copy, classes)
        self.degrees = step.degrees

    def chosen(self, labels: dict[str, Any], shape: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
        boxes = pixel_boxes(labels, shape[1], shape[0])[labels["cls"].reshape(-1) < self.classes]
        return [
            box
            for box in super().chosen(labels, shape)
            if sum(_overlap(box, other) for other in boxes) == 1  # its own
        ]

    def changed(self, frame: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
        x1, y1, x2, y2 = box
        angle = random.uniform(-self.degrees, self.degrees)
        matrix = cv2.getRotationMatrix2D(((x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2), angle, 1.0)
        matrix[:, 2] -= x1, y1
        return cv2.warpAffine(frame, matrix, (x2 - x1, y2 - y1), borderMode=cv2.BORDER_REFLECT_101)


def blur(step: Blur) -> Callable[[np.ndarray], np.ndarray]:
    """The change of :class:`Blur`."""

    def change(frame: np.ndarray) -> np.ndarray:
        sigma = random.uniform(0, step.sigma)
        return cv2.GaussianBlur(frame, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101) if sigma > 0.1 else frame

    return change


def noise(step: Noise) -> Callable[[np.ndarray], np.ndarray]:
    """The change of :class:`Noise`."""

    def change(frame: np.ndarray) -> np.ndarray:
        drawn = np.random.default_rng(random.getrandbits(63))
        deviation, share = random.uniform(0, step.deviation), random.uniform(0, step.pixels)
        if deviation:
            error = drawn.standard_normal(frame.shape, dtype=np.float32) * deviation
            frame = np.clip(frame + error + 0.5, 0, 255).astype(np.uint8)
        else:
            frame = frame.copy()
        height, width = frame.shape[:2]
        places = drawn.integers(height * width, size=round(share * height * width))
        frame.reshape(-1, frame.shape[2])[places] = drawn.integers(2, size=(len(places), 1), dtype=np.uint8) * 255
        return frame

    return change


def _faded(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The new pixels in the middle, the old ones outside of the inscribed ellipse."""
    height, width = old.shape[:2]
    y, x = np.ogrid[0:height, 0:width]
    radius = np.hypot((2 * y + 1) / height - 1, (2 * x + 1) / width - 1)
    share = np.clip((1 - radius) / EDGE, 0, 1)[:, :, None]
    return (old + share * (new.astype(np.float32) - old) + 0.5).astype(np.uint8)


def _overlap(box: tuple[int, int, int, int], other: np.ndarray) -> bool:
    return bool(box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3])
