"""Options for video analysis."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...core.errors import FacepipeError

CLASSIFY_EVERY = 5


@dataclass(frozen=True)
class VideoOptions:
    """How to analyse a video.

    Attributes:
        every: analyse only every n-th frame.
        classify_every: classify a person's face when it is first found and then in every n-th analysed frame that shows
            it; frames in between carry what is known so far.
        track: track people; if False, every face in every frame stands alone and is classified.
        seconds: stop after this many seconds of the video; None goes to the end.

    Raises:
        FacepipeError: a number is too small.
    """

    every: int = 1
    classify_every: int = CLASSIFY_EVERY
    track: bool = True
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.every < 1 or self.classify_every < 1:
            raise FacepipeError(f"every {self.every}, classify_every {self.classify_every}: both must be at least 1")
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise FacepipeError(f"seconds {self.seconds}: expected a finite number above 0")
