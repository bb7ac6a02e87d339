"""A second search for what is to be hidden, which prefers too many boxes to too few.

When hiding, a missed face costs more than a box without one. So boxes are accepted from a lower confidence than in
results. And if nothing reaches the confidence of results, or something large is cut off by the border, the picture is
also searched at a second scale (where the large faces of close-ups are small) and in quarter turns (a detector trained
on upright faces misses lying ones).
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
"""Default minimum confidence of what is hidden."""
COARSE = 320
"""The second scale, as the length in pixels of a picture's longer side."""
LARGE, BORDER = 0.3, 0.02
"""A box is large from this fraction of the picture's shorter side on, and at the border within the second fraction."""


class SecondLook:
    """Finds boxes to hide beyond those of a result.

    Args:
        detector: finds faces and heads; its model is shared.
        what: ``faces``, or ``heads`` for both.
        confidence: minimum confidence of a box, 0 to 1; the detector's own is used if it is lower.
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
        """Search a picture for boxes.

        Args:
            frame: BGR, uint8, (height, width, 3).
            turns: also search it in quarter turns if in doubt; too slow for the frames of a video.

        Returns:
            Boxes in pixels of the frame; the same face or head may have several.
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
    margin = BORDER * min(height, width)
    touches = (boxes[:, :2] <= margin).any(axis=1) | (boxes[:, 2] >= width - margin) | (boxes[:, 3] >= height - margin)
    return bool((touches & (sides >= LARGE * min(height, width))).any())


def _turned_back(boxes: list[Box], quarter: int, frame: Frame) -> list[Box]:
    """Convert boxes of a frame that ``numpy.rot90`` turned back to pixels of the original frame."""
    height, width = frame.shape[:2]
    if quarter == 1:  # (x, y) became (y, width - x)
        return [Box(x1=width - b.y2, y1=b.x1, x2=width - b.y1, y2=b.x2) for b in boxes]
    if quarter == 2:
        return [Box(x1=width - b.x2, y1=height - b.y2, x2=width - b.x1, y2=height - b.y1) for b in boxes]
    if quarter == 3:  # (x, y) became (height - y, x)
        return [Box(x1=b.y1, y1=height - b.x2, x2=b.y2, y2=height - b.x1) for b in boxes]
    return boxes
