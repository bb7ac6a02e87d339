"""Letterboxing: a frame of any shape in a square of one size, and boxes back again."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Letterbox:
    """The transform from frame to square: ``square = frame * scale + (left, top)``."""

    scale: float
    left: int
    top: int
    width: int
    height: int

    def to_frame(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes of the square, shape (n, 4), as float32 boxes of the frame, clipped to it."""
        moved = (boxes - np.array([self.left, self.top] * 2)) / self.scale
        return np.clip(moved, 0, [self.width, self.height] * 2).astype(np.float32)


def letterbox(
    frame: np.ndarray, size: int, padding: tuple[int, int, int] = (114, 114, 114)
) -> tuple[np.ndarray, Letterbox]:
    """Scale a frame to fit a square and pad the rest evenly on both sides.

    Args:
        frame: BGR image, uint8, shape (height, width, 3).
        size: side of the square in pixels.
        padding: BGR colour of the rest; 114 grey is what YOLO was trained with.

    Returns:
        The square, uint8, shape (size, size, 3), and the transform that takes boxes back to frame pixels.
    """
    height, width = frame.shape[:2]
    scale = size / max(height, width)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    if inner != (width, height):
        frame = cv2.resize(frame, inner, interpolation=cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR)
    left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
    square = np.full((size, size, 3), padding, dtype=np.uint8)
    square[top : top + inner[1], left : left + inner[0]] = frame
    return square, Letterbox(scale, left, top, width, height)
