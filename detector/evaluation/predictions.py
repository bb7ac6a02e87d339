"""Run detectors on the pictures of a data set and keep the detections together with the truth."""

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
"""Common threshold at which detectors with different thresholds are also compared."""
TIMED = 4
"""If several detectors are compared, every ``TIMED``-th chunk of pictures is timed."""


class Detector(Protocol):
    """What can be evaluated: a ``FaceDetector`` or one of ``baselines``."""

    confidence: float
    max_detections: int

    @property
    def classes(self) -> tuple[str, ...]: ...

    def detect(self, frames: Sequence[np.ndarray]) -> list[Detections]:
        """Find boxes: one ``Detections`` per frame (BGR, uint8, (height, width, 3)), in the order of the frames."""


@dataclass(frozen=True)
class Prediction:
    """One picture with its truth and one detector's detections; boxes in pixels of the picture, (n, 4) corners."""

    picture: Picture
    height: int
    width: int
    found: Detections
    truth: dict[str, np.ndarray]
    """By class; only classes that are labelled in the picture."""
    ignored: np.ndarray

    @property
    def scale(self) -> float:
        """Factor from the picture's pixels to those at the reference size."""
        return REFERENCE / max(self.height, self.width)

    @property
    def empty(self) -> bool:
        """Whether it is labelled for every class and has no box or ignore region."""
        return all(self.picture.labelled) and not len(self.ignored) and not any(map(len, self.truth.values()))

    def of(self, name: str, confidence: float = 0.0) -> Detections:
        """The detections of one class at or above a confidence."""
        mine = self.found.of(name)
        keep = mine.confidence >= confidence
        return Detections(mine.boxes[keep], mine.confidence[keep], mine.labels[keep], mine.classes)

    def match(self, name: str, sizes: Sizes, confidence: float = 0.0) -> tuple[np.ndarray, Match]:
        """Confidence of the detections of one labelled class, shape (n,), and their match.

        Args:
            name: of the class.
            sizes: size range of the boxes that count.
            confidence: least confidence of a detection.
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
    """Run detectors on every picture of a split, chunk by chunk.

    Each detector runs with its confidence and number of boxes relaxed to ``CONFIDENCE`` and ``MAX_DETECTIONS``, for the
    curves. If there are several, every ``TIMED``-th chunk is run again with the original settings and timed. The
    detectors take turns on the same pictures, so that other load on the machine affects all of them.

    Args:
        detectors: at least one; their settings are restored afterwards.
        description: the data set.
        split: a split of it.
        progress: called with the number of pictures done and the total.

    Returns:
        For each detector, its predictions in the data set's order, and its milliseconds per picture, as the median over
        the timed chunks (None for a single detector).

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
            turn = number // TIMED % len(detectors)  # rotate which detector goes first
            for index in (*range(turn, len(detectors)), *range(turn)):
                started = time.perf_counter()
                detectors[index].detect(frames)
                spent[index].append(1000 * (time.perf_counter() - started) / len(frames))
        if progress:
            progress(start + len(chunk), len(pictures))
    return [tuple(each) for each in predictions], [float(np.median(each)) if each else None for each in spent]


@contextmanager
def opened_up(detector: Detector) -> Iterator[None]:
    """Relax a detector's settings so that it also returns unsure boxes, which a precision-recall curve needs."""
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
    """The truth by labelled class, and the ignore regions, in pixels of the picture."""
    height, width = frame.shape[:2]
    rows = description.boxes(picture)
    ignored = description.ignored(picture)
    truth = {
        name: from_yolo(rows[rows[:, 0] == index, 1:], width, height)
        for index, name in enumerate(description.classes)
        if picture.labelled[index]
    }
    return truth, from_yolo(ignored[:, 1:], width, height)
