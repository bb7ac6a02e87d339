"""Detections in one frame, and the geometry of boxes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

LARGE = 0.15
"""Least longer side of a box, as a share of the frame's longer side, for it to be checked for detail."""
CELLS, COARSE = 16, 1.0
"""A box is reduced to this many cells in each direction; detail is what a Gaussian blur of this sigma in cells
removes."""
SAMPLED = 80
"""Pixels along a frame's longer side from which its contrast is sampled, whatever its size."""
DETAIL, LEAST_DETAIL = 3.0, 1.0
"""Least detail of a face or head, in grey levels (standard deviation over the cells): in a frame of full contrast, and
in any frame.

Measured: the least of 2,151 labelled faces and heads of at least 96 px (WIDER, SCUT-HEAD, mask853) is 3.8. Of 7,000
close-ups (UTKFace, FairFace, MTFL), the darkest and most blurred have 2.6, where their contrast requires 0.9.
Detections of detector 1.0.0 in plain, graded and noisy pictures have at most 2.7."""


@dataclass(frozen=True)
class Detections:
    """The boxes found in one frame, most confident first.

    Attributes:
        boxes: float32, shape (n, 4): x1, y1, x2, y2 in pixels of the frame, clipped to it.
        confidence: float32, shape (n,), 0 to 1.
        labels: int64, shape (n,), index into ``classes``.
        classes: the detector's class names.
    """

    boxes: np.ndarray
    confidence: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.boxes)

    def of(self, name: str) -> Detections:
        """Only the boxes of one class.

        Raises:
            ValueError: the detector has no class of that name.
        """
        if name not in self.classes:
            raise ValueError(f"no class {name!r}; this detector has {', '.join(self.classes)}")
        keep = self.labels == self.classes.index(name)
        return Detections(self.boxes[keep], self.confidence[keep], self.labels[keep], self.classes)

    def least(self, confidence: float) -> Detections:
        """Only the boxes of at least this confidence."""
        keep = self.confidence >= np.float32(confidence)
        return Detections(self.boxes[keep], self.confidence[keep], self.labels[keep], self.classes)


def area(boxes: np.ndarray) -> np.ndarray:
    """Areas of boxes, from shape (n, 4) to (n,), in square pixels; 0 for an inverted box."""
    return np.clip(boxes[:, 2] - boxes[:, 0], 0, None) * np.clip(boxes[:, 3] - boxes[:, 1], 0, None)


def intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection areas of all pairs of boxes, from shapes (n, 4) and (m, 4) to (n, m), in square pixels."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.clip(high - low, 0, None).prod(axis=2)


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of all pairs of boxes, from shapes (n, 4) and (m, 4) to (n, m)."""
    common = intersection(a, b)
    return common / np.maximum(area(a)[:, None] + area(b)[None, :] - common, 1e-9)


def share_inside(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The share of each box of ``a`` inside each box of ``b``, from shapes (n, 4) and (m, 4) to (n, m)."""
    return intersection(a, b) / np.maximum(area(a)[:, None], 1e-9)


def show_nothing(frame: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Whether each box shows only a wall, sky or noise: hardly any detail of the size of an eye or eyebrow.

    Only large boxes are checked, because a detector trained on close-ups mistakes a uniform picture for one.

    Args:
        frame: BGR, uint8, (height, width, 3).
        boxes: corners, shape (n, 4), in frame pixels.

    Returns:
        bool (n,).
    """
    nothing = np.zeros(len(boxes), bool)
    large = np.flatnonzero((boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) >= LARGE * max(frame.shape[:2]))
    if not len(large):
        return nothing
    step = max(1, max(frame.shape[:2]) // SAMPLED)
    levels = np.sort(frame[::step, ::step], axis=None)  # np.percentile would import numpy.ma, for 10 ms
    contrast = int(levels[len(levels) * 99 // 100]) - int(levels[len(levels) // 100])
    least = max(LEAST_DETAIL, DETAIL * contrast / 255)
    for number in large:
        first = np.clip(np.floor(boxes[number, :2]).astype(int), 0, np.array(frame.shape[1::-1]) - 1)
        past = np.maximum(np.ceil(boxes[number, 2:]).astype(int), first + 1)
        grey = cv2.cvtColor(frame[first[1] : past[1], first[0] : past[0]], cv2.COLOR_BGR2GRAY)
        cells = cv2.resize(grey, (CELLS, CELLS), interpolation=cv2.INTER_AREA).astype(np.float32)
        nothing[number] = (cells - cv2.GaussianBlur(cells, (0, 0), COARSE)).std() < least
    return nothing


def strongest(
    boxes: np.ndarray, confidence: np.ndarray, labels: np.ndarray, overlap: float, least: float = 0.0
) -> np.ndarray:
    """Non-maximum suppression within each class.

    Args:
        boxes: corners, shape (n, 4).
        confidence: shape (n,).
        labels: classes, shape (n,).
        overlap: IoU above which the weaker box is dropped.
        least: boxes with at most this confidence are dropped, too.

    Returns:
        Indices of the kept boxes, int64, most confident first.
    """
    if not len(boxes):
        return np.zeros(0, np.int64)
    corner_and_sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    kept = cv2.dnn.NMSBoxesBatched(corner_and_sides.tolist(), confidence.tolist(), labels.tolist(), least, overlap)
    keep = np.asarray(kept, dtype=np.int64).reshape(-1)
    return keep[np.argsort(-confidence[keep], kind="stable")]


def from_yolo(rows: np.ndarray, width: float, height: float) -> np.ndarray:
    """Convert normalised centre boxes (YOLO's cx, cy, w, h; shape (n, 4)) to corners in pixels.

    Args:
        rows: cx, cy, width, height as fractions of the frame, (n, 4).
        width: of the frame, in pixels.
        height: of the frame, in pixels.
    """
    scale = np.array([width, height], dtype=np.float64)
    centre, half = rows[:, :2] * scale, rows[:, 2:4] * scale / 2
    return np.concatenate([centre - half, centre + half], axis=1)
