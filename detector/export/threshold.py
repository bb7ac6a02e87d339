"""Choose a release's default confidence threshold on training pictures without people.

Every detection in such a picture is a false alarm. Pictures used for training produce fewer of them than new pictures,
so the requested rate should be well below the rate wanted in use. Validation pictures are not used, so that their false
alarm rate remains a fair measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...core.errors import TrainingError
from ..data.dataset import DataDescription, Picture
from ..evaluation.predictions import read_picture
from ..inference.detector import BATCH, FaceDetector

CONFIDENCES = tuple(round(0.05 + 0.01 * step, 2) for step in range(91))
"""Candidate thresholds: 0.05, 0.06, …, 0.95."""
FALSE_ALARMS = 0.02
"""Default limit of false alarms per picture."""


@dataclass(frozen=True)
class ChosenThreshold:
    """A threshold and how it was chosen."""

    confidence: float
    false_alarms: float
    """Per picture, at that confidence."""
    at_most: float
    pictures: int
    """Number of training pictures without people."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as a dict for the manifest."""
        return asdict(self)


def choose_threshold(
    detector: FaceDetector, description: DataDescription, at_most: float = FALSE_ALARMS
) -> ChosenThreshold:
    """Find the lowest of ``CONFIDENCES`` at which a detector gives at most ``at_most`` false alarms per picture.

    Args:
        detector: the file that runs by default; its own threshold is restored afterwards.
        description: a data set with training pictures without people.
        at_most: false alarms per picture.

    Raises:
        TrainingError: there is no such picture, or no threshold is high enough.
    """
    pictures = empty_pictures(description)
    if not pictures:
        raise TrainingError(
            f"{description.yaml}: no training picture without people is labelled for every class, so no "
            f"threshold can be chosen; give one with --conf"
        )
    served = detector.confidence
    detector.confidence = CONFIDENCES[0]
    try:
        found = [
            each.confidence
            for start in range(0, len(pictures), BATCH)
            for each in detector.detect([read_picture(picture.path) for picture in pictures[start : start + BATCH]])
        ]
    finally:
        detector.confidence = served
    return least_threshold(np.concatenate(found), len(pictures), at_most)


def least_threshold(confidence: np.ndarray, pictures: int, at_most: float) -> ChosenThreshold:
    """The lowest threshold with at most ``at_most`` false alarms per picture.

    Args:
        confidence: of every false alarm, shape (n,).
        pictures: number of pictures in which they were found.
        at_most: false alarms per picture.

    Raises:
        TrainingError: no threshold is high enough.
    """
    for threshold in CONFIDENCES:
        rate = int((confidence >= threshold).sum()) / pictures
        if rate <= at_most:
            return ChosenThreshold(threshold, round(rate, 4), at_most, pictures)
    raise TrainingError(
        f"even at a confidence of {CONFIDENCES[-1]:g} there are {rate:.3g} false alarms per picture without people, "
        f"over {at_most:g}; train longer, or give a threshold with --conf"
    )


def empty_pictures(description: DataDescription) -> Sequence[Picture]:
    """Training pictures that are labelled for every class and have neither a box nor an ignore region."""
    return [
        picture
        for picture in description.pictures["train"]
        if all(picture.labelled) and not len(description.boxes(picture)) and not len(description.ignored(picture))
    ]
