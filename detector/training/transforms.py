"""Transforms of training pictures that support ignore regions: pixel steps, reframing and random views.

Pixel steps (exposure, blur, noise, and rotation within boxes) move no box. Within boxes, a step works on the inscribed
ellipse and fades towards its edge, because a rectangle of different sharpness would reveal the boxes to the detector.
Boxes below ``LEAST`` pixels and ignore regions are left unchanged.

Affine steps move the boxes with the picture. Ultralytics drops a box when little of it remains visible, and the loss
then treats the remainder as background. Here, such an object becomes an ignore region: a box of an extra class (see
``torch_dataset``).

A random view is a part of the picture at a random scale, on a canvas smaller than the picture. Enlarging crops helps
detectors of small faces most (random square crops in S3FD, Zhang et al. 2017, and RetinaFace, Deng et al. 2020). The
smaller canvas makes a step cheaper in proportion to its area and wastes none of it on grey padding.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from . import ultralytics_setup  # noqa: F401  isort: skip

from ultralytics.data.augment import BaseTransform, RandomPerspective
from ultralytics.utils.instance import Instances

from .augmentation import Blur, Exposure, Noise, Placed, Rotation, View, Zoom

LEAST = 8
"""Least shorter side, in pixels, of a box for a step within it."""
EDGE = 0.2
"""Share of the ellipse's radius over which a step fades out."""
LEAST_VISIBLE = float(View.model_fields["least_visible"].default)
LEAST_SIDE = float(View.model_fields["least_side"].default)
STRIDE = 32


class ExposureStep(BaseTransform):
    """Multiplies all pixel values by one random factor."""

    def __init__(self, step: Exposure):
        self.step = step

    def apply_image(self, labels: dict[str, Any], params: dict[str, Any] | None = None) -> dict[str, Any]:
        if random.random() < self.step.probability:
            factor = random.uniform(1 - self.step.change, 1 + self.step.change)
            table = np.clip(np.arange(256) * factor + 0.5, 0, 255).astype(np.uint8)
            labels["img"] = cv2.LUT(np.ascontiguousarray(labels["img"]), table)
        return labels


class PlacedStep(BaseTransform):
    """Changes the whole picture, or the content of individual boxes.

    Args:
        step: probability and place.
        change: takes pixels (uint8, shape (height, width, 3)) and returns changed ones of the same shape.
        classes: number of classes; boxes of other class numbers are ignore regions.
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
        """The boxes to change, in whole pixels."""
        found = []
        boxes = pixel_boxes(labels, shape[1], shape[0])
        for box, number in zip(boxes, labels["cls"].reshape(-1), strict=True):
            if number < self.classes and random.random() < self.step.probability:
                corners = np.clip(np.round(box), 0, [shape[1], shape[0]] * 2).astype(int).tolist()
                if min(corners[2] - corners[0], corners[3] - corners[1]) >= LEAST:
                    found.append((corners[0], corners[1], corners[2], corners[3]))
        return found

    def changed(self, frame: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
        """The changed content of one box.

        Args:
            frame: BGR, uint8, (height, width, 3).
            box: left, top, right and bottom in whole pixels.
        """
        x1, y1, x2, y2 = box
        return self.change(np.ascontiguousarray(frame[y1:y2, x1:x2]))


class BoxRotation(PlacedStep):
    """Rotates the content of a box about its centre.

    A box that touches another object's box is left unchanged, because a part of that object would rotate, too.
    """

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
    """Return the change of :class:`~facepipe.detector.training.augmentation.Blur`."""

    def change(frame: np.ndarray) -> np.ndarray:
        sigma = random.uniform(0, step.sigma)
        return cv2.GaussianBlur(frame, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101) if sigma > 0.1 else frame

    return change


def noise(step: Noise) -> Callable[[np.ndarray], np.ndarray]:
    """Return the change of :class:`~facepipe.detector.training.augmentation.Noise`."""

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
    """Blend new pixels in the middle into the old ones outside the inscribed ellipse."""
    height, width = old.shape[:2]
    y, x = np.ogrid[0:height, 0:width]
    radius = np.hypot((2 * y + 1) / height - 1, (2 * x + 1) / width - 1)
    share = np.clip((1 - radius) / EDGE, 0, 1)[:, :, None]
    return (old + share * (new.astype(np.float32) - old) + 0.5).astype(np.uint8)


def _overlap(box: tuple[int, int, int, int], other: np.ndarray) -> bool:
    return bool(box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3])


class Warp(RandomPerspective):
    """Ultralytics' affine step with ignore regions; ``get_params`` of the subclasses draws the transform.

    Args:
        classes: number of classes, which is also the class number of ignore regions.
        least_visible: an object with a smaller visible share becomes an ignore region.
        least_side: an object whose longer side has fewer pixels becomes an ignore region.
    """

    def __init__(self, classes: int, least_visible: float = LEAST_VISIBLE, least_side: float = LEAST_SIDE):
        super().__init__(size=None)
        self.classes, self.least_visible, self.least_side = classes, least_visible, least_side

    def apply_instances(self, labels: dict[str, Any], params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Move the boxes: hardly visible objects become ignore regions, and those outside are dropped."""
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
    """Rotates a picture about its centre and enlarges a part of it, on a canvas of the same size.

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
    """The boxes of a sample as corners in pixels, shape (n, 4).

    Args:
        labels: of the sample, in ultralytics' form.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
    """
    instances = labels["instances"]
    instances.convert_bbox(format="xyxy")
    instances.denormalize(width, height)
    return instances.bboxes.reshape(-1, 4)


def moved(boxes: np.ndarray, matrix: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Apply an affine transform to boxes.

    After a rotation, the upright box around the rotated corners is too large. Faces and heads are roughly elliptical,
    so an object's new box encloses its rotated inscribed ellipse. An ignore region's new box encloses its rotated
    corners, because its content is unknown.

    Args:
        boxes: float, shape (n, 4): corners in pixels.
        matrix: shape (3, 3), maps old pixels to new ones.
        objects: bool, shape (n,): whether each box is an object's and not an ignore region.

    Returns:
        float, shape (n, 4): corners in pixels, not clipped.
    """
    linear = matrix[:2, :2]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 @ linear.T + matrix[:2, 2]
    halves = (boxes[:, 2:] - boxes[:, :2]) / 2
    around_ellipse = np.sqrt(halves**2 @ (linear**2).T)
    around_corners = halves @ np.abs(linear).T
    new = np.where(objects[:, None], around_ellipse, around_corners)
    return np.concatenate([centres - new, centres + new], axis=1).astype(boxes.dtype)


class RandomView(Warp):
    """Replaces ultralytics' affine augmentation: other matrices, and ignore regions instead of lost boxes.

    Args:
        view: how views are drawn.
        classes: number of classes, which is also the class number of ignore regions (see ``torch_dataset``).
        size: side of the square training pictures without ``rect``.
    """

    def __init__(self, view: View, classes: int, size: int):
        super().__init__(classes, view.least_visible, view.least_side)
        self.view, self.full = view, size

    def get_params(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Draw a view for one sample: the matrix, the scale and the size (width, height) of the canvas."""
        height, width = labels["img"].shape[:2]
        full = labels.get("rect_shape", (self.full, self.full))
        rows, columns = (max(1, round(float(side) * self.view.canvas / STRIDE)) * STRIDE for side in full)
        boxes = pixel_boxes(labels, width, height)[labels["cls"].reshape(-1) < self.classes]
        low, high = self.view.scale
        if len(boxes):
            longest = float(max((boxes[:, 2] - boxes[:, 0]).max(), (boxes[:, 3] - boxes[:, 1]).max(), 1))
            high = max(low, min(high, min(rows, columns) / longest))
        scale = float(np.exp(random.uniform(np.log(low), np.log(high))))
        most = 180.0 if self.view.turned and random.random() < self.view.turned else self.view.rotation
        angle = np.deg2rad(random.uniform(-most, most))
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
    """Draw the view's centre along one axis of the picture.

    Args:
        side: of the picture, in its pixels.
        seen: size of the view, in the picture's pixels.
        towards: both edges of the object to contain, or None.
    """
    low, high = sorted((seen / 2, side - seen / 2))
    if towards is not None and side > seen:
        least, most = sorted((float(towards[1]) - seen / 2, float(towards[0]) + seen / 2))
        low, high = max(low, min(least, high)), min(high, max(most, low))
    return random.uniform(low, high)
