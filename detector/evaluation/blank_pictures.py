"""Generated blank pictures: walls, skies, mist and sensor noise. Every detection in them is a false alarm.

Photographs without people rarely contain large uniform areas, so a detector can pass them all and still see a face in a
bare wall. These pictures need no data set and are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from ...weights.manifest import Metric
from ..inference.detector import BATCH
from .predictions import Detector

KINDS = ("plain", "graded", "radial", "smooth", "noisy")
SHAPES = ((640, 640), (480, 640), (640, 480))
"""Height and width in pixels, used in turn."""
EACH = 78
"""Pictures per kind."""
COUNT = EACH * len(KINDS)


def blank_picture(number: int, seed: int = 0) -> np.ndarray:
    """Generate one blank picture.

    Args:
        number: selects the kind, and then the shape, cyclically.
        seed: of the random values.

    Returns:
        BGR, uint8, (height, width, 3).
    """
    random = np.random.default_rng((seed, number))
    kind = KINDS[number % len(KINDS)]
    height, width = SHAPES[number // len(KINDS) % len(SHAPES)]
    first, second = random.uniform(0, 255, (2, 3))
    down, across = np.mgrid[0:height, 0:width] / [[[height]], [[width]]]
    if kind == "graded":
        angle = random.uniform(0, 2 * np.pi)
        share = np.clip((across - 0.5) * np.cos(angle) + (down - 0.5) * np.sin(angle) + 0.5, 0, 1)
    elif kind == "radial":
        x, y, radius = random.uniform(0, 1, 3)
        share = np.clip(np.hypot(across - x, down - y) / (0.2 + radius), 0, 1)
    else:
        share = np.zeros((height, width))
    picture = first + (second - first) * share[..., None]
    if kind == "smooth":
        patches = random.uniform(0, 255, (*random.integers(2, 9, 2), 3))
        picture = cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)
    elif kind == "noisy":
        channels = int(random.choice([1, 3]))
        picture = picture + random.normal(0, random.uniform(2, 60), (height, width, channels))
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def blank_alarms(
    detectors: Sequence[Detector], progress: Callable[[int, int], None] | None = None
) -> list[dict[str, int]]:
    """Count the blank pictures, of ``COUNT``, in which each detector finds something at its own threshold.

    Args:
        detectors: with the settings used in production.
        progress: called with the number of pictures done and the total.

    Returns:
        For each detector, the pictures with detections, by kind.
    """
    found = [dict.fromkeys(KINDS, 0) for _ in detectors]
    for start in range(0, COUNT, BATCH):
        numbers = range(start, min(start + BATCH, COUNT))
        pictures = [blank_picture(number) for number in numbers]
        for tally, detector in zip(found, detectors, strict=True):
            for number, detections in zip(numbers, detector.detect(pictures), strict=True):
                tally[KINDS[number % len(KINDS)]] += bool((detections.confidence >= detector.confidence).any())
        if progress:
            progress(numbers[-1] + 1, COUNT)
    return found


def blank_metrics(found: dict[str, int], confidence: float) -> tuple[list[Metric], str]:
    """The metrics overall and by kind, as shares of the pictures, and a description of the protocol.

    Args:
        found: pictures with detections, by kind.
        confidence: the detector's threshold.
    """
    name = f"generated pictures of nothing with something found at {confidence:g}"
    metrics = [Metric(name=name, value=round(sum(found.values()) / COUNT, 4), count=COUNT)]
    metrics += [
        Metric(name=f"{name}, {kind}", value=round(number / EACH, 4), count=EACH) for kind, number in found.items()
    ]
    shapes = ", ".join(f"{width} x {height}" for height, width in SHAPES)
    return metrics, f"Pictures of nothing: {EACH} each of {', '.join(KINDS)}, of {shapes} pixels"
