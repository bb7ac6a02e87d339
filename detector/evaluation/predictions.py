"""What detectors find in the pictures of a data set, kept beside the truth: everything that an evaluation needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ...core.errors import DataError, ImageError
from ..data.dataset import DataDescription, Picture
from ..data.exif import read_upright
from ..inference.boxes import Detections, from_yolo
from ..inference.detector import BATCH
from .matching import REFERENCE, Match, Sizes, match

CONFIDENCE = 0.001
MAX_DETECTIONS = 1000
COMMON = 0.25
"""Threshold at which detectors whose own ones differ are compared, too."""
TIMED = 4
"""Each so-many-th chunk of pictures is timed, where several detectors are compared."""


class Detector(Protocol):
    """What can be evaluated: a ``FaceDetector``, or one of ``baselines``."""

    confidence: float
    max_detections: int

    @property
    def classes(self) -> tuple[str, ...]: ...

    def detect(self, frames: Sequence[np.ndarray]) -> list[Detections]:
        """Find boxes: one ``Detections`` a frame, BGR, uint8, (height, width, 3), in the order of the frames."""


@dataclass(frozen=True)
class Prediction:
    """One picture with its truth and what one detector found in it; boxes in pixels of the picture, (n, 4) corners."""

    picture: Picture
    height: int
    width: int
    found: Detections
    truth: dict[str, np.ndarray]
    """By class; only the classes that are labelled in the picture."""
    ignored: np.ndarray

    @property
    def scale(self) -> float:
        """From the picture's pixels to those at the reference size."""
        return REFERENCE / max(self.height, self.width)

    @property
    def empty(self) -> bool:
        """Labelled for every class, and without any box or ignore region."""
        return all(self.picture.labelled) and not len(self.ignored) and not any(map(len, self.truth.values()))

    def of(self, name: str, confidence: float = 0.0) -> Detections:
        """The found boxes of one class at or above a confidence."""
        mine = self.found.of(name)
        keep = mine.confidence >= confidence
        return Detections(mine.boxes[keep], mine.confidence[keep], mine.labels[keep], mine.classes)

    def match(self, name: str, sizes: Sizes, confidence: float = 0.0) -> tuple[np.ndarray, Match]:
        """Confidence of the found boxes of one labelled class, shape (n,), and their match.

        Args:
            name: of the class.
            sizes: boxes of other sizes do not count.
            confidence: least confidence of a box that counts.
        """
        mine = self.of(name, confidence)
        truth, ignored = self.truth[name] * self.scale, self.ignored * self.scale
        return mine.confidence, match(mine.boxes * self.scale, truth, ignored, sizes)


def predict(
    detectors: Sequence[Detector],
    description: DataDescription,
    split: str = "val",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[tuple[Prediction, ...]], list[float | None]]:
    """Let detectors look at every picture of a split, each at one chunk of pictures after the other.

    For the curves each looks with its confidence and number of boxes opened up to ``CONFIDENCE`` and
    ``MAX_DETECTIONS``. Where there are several, every ``TIMED``-th chunk is shown once more as each serves, and timed:
    one after another over the same pictures, so that whatever else the machine does falls on all of them.

    Args:
        detectors: at least one; what they are set to is put back afterwards.
        description: the data set.
        split: a split of it.
        progress: called with how many pictures are done, and of how many.

    Returns:
        For each detector its pictures, in the data set's order, and the median over the timed chunks of its
        milliseconds a picture (None for a single detector).

    Raises:
        DataError: a picture cannot be read, or the data set has no such split.
    """
    if split not in description.pictures:
        raise DataError(f"{description.yaml}: no split {split}; it has {', '.join(description.pictures)}")
    pictures = description.pictures[split]
    predictions: list[list[Prediction]] = [[] for _ in detectors]
    spent: list[list[float]] = [[] for _ in detectors]
    for number, start in enumerate(range(0, len(pictures), BATCH)):
        chunk = pictures[start : start + BATCH]
        frames = [read_picture(picture.path) for picture in chunk]
        known = [_known(picture, frame, description) for picture, frame in zip(chunk, frames, strict=True)]
        for index, detector in enumerate(detectors):
            with opened_up(detector):
                answers = detector.detect(frames)
            for picture, frame, (truth, ignored), found in zip(chunk, frames, known, answers, strict=True):
                predictions[index].append(Prediction(picture, frame.shape[0], frame.shape[1], found, truth, ignored))
        if len(detectors) > 1 and number % TIMED == 0:
            turn = number // TIMED % len(detectors)  # another one goes first each time
            for index in (*range(turn, len(detectors)), *range(turn)):
                started = time.perf_counter()
                detectors[index].detect(frames)
                spent[index].append(1000 * (time.perf_counter() - started) / len(frames))
        if progress:
            progress(start + len(chunk), len(pictures))
    return [tuple(each) for each in predictions], [float(np.median(each)) if each else None for each in spent]


@contextmanager
def opened_up(detector: Detector) -> Iterator[None]:
    """A detector that gives out its unsure boxes too, as a precision-recall curve needs them."""
    served = detector.confidence, detector.max_detections
    detector.confidence, detector.max_detections = CONFIDENCE, MAX_DETECTIONS
    try:
        yield
    finally:
        detector.confidence, detector.max_detections = served


def read_picture(path: Path) -> np.ndarray:
    """Read a picture as an upright BGR frame.

    Raises:
        DataError: OpenCV cannot read it.
    """
    try:
        return read_upright(path)
    except ImageError as error:
        raise DataError(f"{path}: {error}") from error


def _known(
    picture: Picture, frame: np.ndarray, description: DataDescription
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The truth by labelled class and the ignore regions, in pixels of the picture."""
    height, width = frame.shape[:2]
    rows = description.boxes(picture)
    ignored = description.ignored(picture)
    truth = {
        name: from_yolo(rows[rows[:, 0] == index, 1:], width, height)
        for index, name in enumerate(description.classes)
        if picture.labelled[index]
    }
    return truth, from_yolo(ignored[:, 1:], width, height)
