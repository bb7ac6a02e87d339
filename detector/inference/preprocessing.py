"""Preprocessing: letterbox frames into the detector's input, and map boxes back to the frame.

The input is a square or the smallest fitting rectangle. Frames are scaled straight into one reused float32 buffer.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...weights.manifest import InputSpec

STRIDE = 32
"""Sides of a dynamic input are multiples of this: the cell size of the coarsest of YOLOv8's three grids, in pixels."""
GREY = (114, 114, 114)
"""Padding colour (BGR) that YOLO is trained with."""
HALVED = 4
"""Ratio to the scaled size from which a frame is halved first. The halved frame is still at least twice that size, so
pixels change by less than one grey level on average, and boxes by less than noise of one grey level moves them."""


@dataclass(frozen=True)
class Letterbox:
    """The transform from frame to input: ``input = frame * scale + (left, top)``.

    Attributes:
        width, height: of the frame, in pixels.
        inner: width and height of the scaled frame, in pixels.
        outer: width and height of the input that holds it.
    """

    scale: float
    left: int
    top: int
    width: int
    height: int
    inner: tuple[int, int]
    outer: tuple[int, int]

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns of the input that the scaled frame occupies."""
        return slice(self.top, self.top + self.inner[1]), slice(self.left, self.left + self.inner[0])

    def resize(self, frame: np.ndarray) -> np.ndarray:
        """Return the scaled frame, uint8, shape (inner height, inner width, 3); the frame itself if its size fits.

        Frames of at least ``HALVED`` times the size are halved first, because OpenCV does this ten times faster than
        area interpolation by any other factor.
        """
        if self.inner == (self.width, self.height):
            return frame
        while min(frame.shape[1] / self.inner[0], frame.shape[0] / self.inner[1]) >= HALVED:
            height, width = frame.shape[0] // 2, frame.shape[1] // 2
            frame = cv2.resize(frame[: height * 2, : width * 2], (width, height), interpolation=cv2.INTER_AREA)
        return cv2.resize(frame, self.inner, interpolation=cv2.INTER_AREA if self.scale < 0.5 else cv2.INTER_LINEAR)

    def to_frame(self, boxes: np.ndarray) -> np.ndarray:
        """Map boxes of the input, shape (n, 4), to float32 boxes of the frame, clipped to it."""
        moved = (boxes - np.array([self.left, self.top] * 2)) / self.scale
        return np.clip(moved, 0, [self.width, self.height] * 2).astype(np.float32)


def fit(width: int, height: int, size: int, stride: int | None = None) -> Letterbox:
    """Compute the letterbox that scales a frame's longer side to ``size`` and centres it in the input.

    Args:
        width: of the frame, in pixels.
        height: of the frame.
        size: longer side of the scaled frame in pixels; a multiple of ``stride``.
        stride: None for a square input; otherwise the input is the smallest rectangle whose sides are multiples of it.
    """
    scale = size / max(height, width)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    outer = (size, size) if stride is None else (-(-inner[0] // stride) * stride, -(-inner[1] // stride) * stride)
    return Letterbox(scale, (outer[0] - inner[0]) // 2, (outer[1] - inner[1]) // 2, width, height, inner, outer)


def letterbox(
    frame: np.ndarray, size: int, padding: tuple[int, int, int] = GREY, stride: int | None = None
) -> tuple[np.ndarray, Letterbox]:
    """Scale a frame to fit an input and pad the rest evenly on both sides.

    Args:
        frame: BGR image, uint8, shape (height, width, 3).
        size: longer side of the scaled frame in pixels.
        padding: BGR colour of the padding.
        stride: see :func:`fit`.

    Returns:
        The input, uint8, shape (size, size, 3) unless a stride is given, and the transform that maps boxes back to
        frame pixels.
    """
    box = fit(frame.shape[1], frame.shape[0], size, stride)
    padded = np.full((box.outer[1], box.outer[0], 3), padding, dtype=np.uint8)
    padded[box.place] = box.resize(frame)
    return padded, box


class InputBuffer:
    """Builds a model's input in per-thread memory that is reused: allocating pages costs more than the arithmetic.

    Args:
        spec: what the model expects; its layout is NCHW.
    """

    def __init__(self, spec: InputSpec):
        std = np.array(spec.std, dtype=np.float64)
        self._scale = (spec.scale / std).astype(np.float32)
        self._shift = (np.array(spec.mean, dtype=np.float64) / std).astype(np.float32)
        self._channels = (2, 1, 0) if spec.colour == "RGB" else (0, 1, 2)
        self._padding = np.array(spec.padding or GREY, np.float32)
        self._held = threading.local()

    def fill(self, frames: Sequence[np.ndarray], boxes: Sequence[Letterbox]) -> np.ndarray:
        """Letterbox frames and normalise them: ``(pixel * scale - mean) / std``.

        Args:
            frames: BGR images, uint8, shape (height, width, 3).
            boxes: letterbox of each frame; all with the same ``outer``.

        Returns:
            float32, shape (n, 3, outer height, outer width); valid until this thread's next call.
        """
        width, height = boxes[0].outer
        batch = self._memory(len(frames) * 3 * height * width).reshape(len(frames), 3, height, width)
        for planes, frame, box in zip(batch, frames, boxes, strict=True):
            scaled = box.resize(frame)
            rows, columns = box.place
            for plane, channel, scale, shift in zip(planes, self._channels, self._scale, self._shift, strict=True):
                if box.inner != box.outer:
                    padding = self._padding[channel] * scale - shift
                    plane[: rows.start] = plane[rows.stop :] = padding
                    plane[rows, : columns.start] = plane[rows, columns.stop :] = padding
                np.multiply(scaled[:, :, channel], scale, out=plane[rows, columns])
                if shift:
                    plane[rows, columns] -= shift
        return batch

    def _memory(self, values: int) -> np.ndarray:
        held = getattr(self._held, "array", None)
        if held is None or held.size < values:
            held = self._held.array = np.empty(values, np.float32)
        return held[:values]
