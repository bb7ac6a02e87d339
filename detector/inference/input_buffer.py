"""Frames as the detector's input: scaled straight into one float32 buffer that is used again and again."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from ...weights.manifest import InputSpec
from .preprocessing import GREY, Letterbox


class InputBuffer:
    """Builds a model's input, each thread in memory of its own that stays: fresh pages cost more than the arithmetic.

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
            boxes: where each goes; all with the same ``outer``.

        Returns:
            float32, shape (n, 3, outer height, outer width); it is good until this thread's next call.
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
