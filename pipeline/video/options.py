"""How a video is looked at."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...core.errors import FacepipeError

CLASSIFY_EVERY = 5


@dataclass(frozen=True)
class VideoOptions:
    """How a video is looked at.

    Attributes:
        every: only every n-th frame is looked at.
        classify_every: a person's face is classified where it is first found, and then in every n-th frame that is
            looked at and has it; in between stands what is known so far.
        track: follow persons; without, every face of every frame stands alone and is classified.
        seconds: stop after so many seconds of the video; None goes to its end.

    Raises:
        FacepipeError: a number that is too small.
    """

    every: int = 1
    classify_every: int = CLASSIFY_EVERY
    track: bool = True
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.every < 1 or self.classify_every < 1:
            raise FacepipeError(
                f"every {self.every}, classify_every {self.classify_every}: both count frames, from 1 on"
            )
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise FacepipeError(f"seconds {self.seconds}: expected a number above 0, and not infinity")
