"""Where a film cuts from one scene to another: who is in front of the camera then is somebody else.

The measure is that of PySceneDetect's ``ContentDetector``: the mean change of hue, saturation and brightness, 0 to 255,
between two frames; 27 and more is a cut (its default). It is taken on pictures of 64 pixels, which is quick and steady.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..inputs.image_reader import Frame

CHANGE = 27.0
SIDE = 64


class SceneCuts:
    """Compares each frame with the one before."""

    def __init__(self) -> None:
        self._before: np.ndarray | None = None

    def cut(self, frame: Frame) -> bool:
        """Whether a frame begins another scene than that of the frame given before; the first one does not."""
        small = cv2.cvtColor(cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2HSV)
        before, self._before = self._before, small.astype(np.int16)
        return before is not None and float(np.abs(self._before - before).mean()) >= CHANGE
