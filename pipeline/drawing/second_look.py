"""A look for what is to be hidden, by which too much is better than too little.

For hiding, a face that is missed costs more than a box that holds none. So boxes are taken from a lower confidence on
than results have; and where nothing is found at that of results, or something large that the border cuts off, the
picture is looked at on a second scale (the large faces of close-ups are small there) and turned by quarters (a detector
that learnt from upright faces misses lying ones).
"""

from __future__ import annotations

import copy

import numpy as np

from ...detector.inference.boxes import Detections
from ...detector.inference.detector import FaceDetector
from ..inputs.image_reader import Frame
from ..result_data import Box
from ..two_stage import box_of
from .anonymize import What

CONFIDENCE = 0.1
"""Least confidence of what is hidden, unless the user says otherwise."""
COARSE = 320
"""The second scale: pixels of a picture's longer side."""
LARGE, BORDER = 0.3, 0.02
"""A box is large from this share of the picture's shorter side on, and at the border within that one."""


class SecondLook:
    """Finds boxes to hide beyond those of a result.

    Args:
        detector: finds faces and heads; its model is shared.
        what: ``faces``, or ``heads``: both of them.
        confidence: least confidence of a box, 0 to 1; no more than the detector's own is used.
    """

    def __init__(self, detector: FaceDetector, what: What, confidence: float = CONFIDENCE):
        self._first = detector.with_confidence(min(confidence, detector.confidence))
        self._sure = detector.confidence
        self._labels = ("face",) if what == "faces" else ("face", "head")
        self._looks = [self._first]
        if detector.input.dynamic and detector.imgsz != COARSE:
            coarse = copy.copy(self._first)
            coarse.imgsz, coarse.tiles = COARSE, None
            self._looks.append(coarse)

    def find(self, frame: Frame, turns: bool = True) -> list[Box]:
        """Look at a picture.

        Args:
            frame: BGR, uint8, (height, width, 3).
            turns: look at it turned, too, where it is doubtful; a video's frames are too many for that.

        Returns:
            Boxes in pixels of the frame; one thing may have several.
        """
        found = self._first.detect([frame])[0]
        boxes = self._boxes(found)
        sure = any((found.of(label).confidence >= self._sure).any() for label in self._labels)
        if sure and not _large_at_border(found, frame):
            return boxes
        for quarter in range(4 if turns else 1):
            turned = np.ascontiguousarray(np.rot90(frame, quarter))
            for look in self._looks:
                if quarter or look is not self._first:
                    boxes += _turned_back(self._boxes(look.detect([turned])[0]), quarter, frame)
        return boxes

    def _boxes(self, found: Detections) -> list[Box]:
        return [box_of(row) for label in self._labels for row in found.of(label).boxes]


def _large_at_border(found: Detections, frame: Frame) -> bool:
    """Whether a face or head is large and touches the picture's border."""
    height, width = frame.shape[:2]
    boxes = found.boxes.reshape(-1, 4)
    sides = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    near = BORDER * min(height, width)
    touches = (boxes[:, :2] <= near).any(axis=1) | (boxes[:, 2] >= width - near) | (boxes[:, 3] >= height - near)
    return bool((touches & (sides >= LARGE * min(height, width))).any())


def _turned_back(boxes: list[Box], quarter: int, frame: Frame) -> list[Box]:
    """Boxes of a frame that ``numpy.rot90`` turned by quarters, in pixels of the frame."""
    height, width = frame.shape[:2]
    if quarter == 1:  # (x, y) went to (y, width - x)
        return [Box(x1=width - b.y2, y1=b.x1, x2=width - b.y1, y2=b.x2) for b in boxes]
    if quarter == 2:
        return [Box(x1=width - b.x2, y1=height - b.y2, x2=width - b.x1, y2=height - b.y1) for b in boxes]
    if quarter == 3:  # (x, y) went to (height - y, x)
        return [Box(x1=b.y1, y1=height - b.x2, x2=b.y2, y2=height - b.x1) for b in boxes]
    return boxes
