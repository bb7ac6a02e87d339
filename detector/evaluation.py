"""Evaluation of a released detector, through the same ``FaceDetector`` that serves.

Protocol. Average precision at IoU 0.5, area under the interpolated precision-recall curve (PASCAL VOC 2010 and later),
by class over the pictures that are labelled for it. Sizes are those of the picture scaled to a longest side of 640
pixels; a box counts by its longer side. Boxes under the least size, ignore regions, and whatever is found there count
neither way, nor does a found box that is itself under the least size.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..weights.errors import DataError
from ..weights.manifest import Metric, Metrics
from .boxes import from_yolo, iou, share_inside
from .description import DataDescription, read_boxes
from .runtime import BATCH, FaceDetector

IOU = 0.5
REFERENCE = 640
LEAST_SIZES = (16, 0)
CONFIDENCE = 0.001
MAX_DETECTIONS = 1000


@dataclass(frozen=True)
class Scored:
    """The found boxes of one class that count, over all pictures."""

    confidence: np.ndarray
    """float, shape (n,)."""
    correct: np.ndarray
    """bool, shape (n,): matched to a box of the truth."""
    positives: int
    """Boxes of the truth that count."""

    def average_precision(self) -> float | None:
        """Area under the interpolated precision-recall curve; None where there is no box to find."""
        if not self.positives:
            return None
        hits = self.correct[np.argsort(-self.confidence, kind="stable")]
        true = np.cumsum(hits)
        precision = true / np.arange(1, len(hits) + 1)
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        return float((precision * hits).sum() / self.positives)

    def at(self, confidence: float) -> tuple[float | None, float | None]:
        """Precision and recall of the boxes at or above a confidence; None where undefined."""
        kept = self.correct[self.confidence >= confidence]
        return (
            float(kept.mean()) if len(kept) else None,
            float(kept.sum() / self.positives) if self.positives else None,
        )


def match(
    found: np.ndarray, truth: np.ndarray, ignored: np.ndarray, least: float
) -> tuple[np.ndarray, np.ndarray, int]:
    """Match the found boxes of one class in one picture to its truth, most confident first.

    Args:
        found: shape (n, 4), most confident first; corners in pixels at the reference size, as all boxes here.
        truth: shape (m, 4).
        ignored: shape (k, 4), ignore regions.
        least: boxes whose longer side is shorter count neither way.

    Returns:
        correct: bool (n,); counts: bool (n,), False where a found box counts neither way; how many boxes of the truth
        count.
    """
    big_enough = longer_side(truth) >= least
    correct = np.zeros(len(found), bool)
    counts = longer_side(found) >= least
    overlaps = iou(found, truth) if len(truth) else np.zeros((len(found), 0))
    free = np.ones(len(truth), bool)
    for index, row in enumerate(overlaps):
        for group in (free & big_enough, free & ~big_enough):  # a box that counts goes first
            candidates = np.where(group, row, -1.0)
            if len(row) and candidates.max() >= IOU:
                best = int(candidates.argmax())
                free[best] = False
                correct[index] = counts[index] = bool(big_enough[best])
                break
        else:
            if len(ignored) and share_inside(found[index : index + 1], ignored).max() > 0.5:
                counts[index] = False
    return correct, counts, int(big_enough.sum())


def longer_side(boxes: np.ndarray) -> np.ndarray:
    """Longer sides of boxes, shape (n, 4) to (n,)."""
    return np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found: ``scores[class name, least size]``, and false alarms on pictures without any box."""

    scores: dict[tuple[str, int], Scored]
    pictures: int
    empty_pictures: int
    false_alarms: int
    """Boxes at the release's own threshold in pictures labelled for every class and without any box."""
    confidence: float
    protocol: str

    def metrics(self, command: str) -> Metrics:
        """The figures as a manifest keeps them."""
        precisions, rates = [], []
        for (name, least), scored in self.scores.items():
            where = f"{name} boxes >= {least} px at {REFERENCE}" if least else f"{name} boxes of every size"
            average, (precision, recall) = scored.average_precision(), scored.at(self.confidence)
            precisions.append(Metric(name=f"AP50, {where}", value=_rounded(average), count=scored.positives))
            for what, value in (("precision", precision), ("recall", recall)):
                text = f"{what} at {self.confidence:g}, {where}"
                rates.append(Metric(name=text, value=_rounded(value), count=scored.positives))
        values = precisions + rates
        if self.empty_pictures:
            alarms = self.false_alarms / self.empty_pictures
            name = f"false alarms a picture at {self.confidence:g}, pictures without a person"
            values.append(Metric(name=name, value=_rounded(alarms), count=self.empty_pictures))
        return Metrics(protocol=self.protocol, command=command, values=tuple(values))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def evaluate(detector: FaceDetector, description: DataDescription, split: str = "val") -> Evaluation:
    """Measure a detector on one split of a data set.

    Args:
        detector: as it serves; only its confidence and the number of boxes are opened up for the curve.
        description: the data set.
        split: ``train`` or ``val``.

    Raises:
        DataError: a picture cannot be read, or the data set knows other classes.
    """
    if description.classes != detector.classes:
        raise DataError(f"{description.yaml}: classes {description.classes}, but the detector has {detector.classes}")
    threshold = detector.confidence
    limits = detector.confidence, detector.max_detections
    detector.confidence, detector.max_detections = CONFIDENCE, MAX_DETECTIONS
    parts: dict[tuple[str, int], list[tuple[np.ndarray, np.ndarray, int]]] = {}
    pictures = description.pictures[split]
    empty = alarms = 0
    try:
        for start in range(0, len(pictures), BATCH):
            chunk = pictures[start : start + BATCH]
            frames = [_read(picture.path) for picture in chunk]
            for picture, frame, found in zip(chunk, frames, detector.detect(frames), strict=True):
                height, width = frame.shape[:2]
                scale = REFERENCE / max(height, width)
                truth = read_boxes(description.label_file(picture), len(description.classes))
                ignored = read_boxes(description.ignore_file(picture), len(description.classes))
                ignored_boxes = from_yolo(ignored[:, 1:], width * scale, height * scale)
                if all(picture.labelled) and not len(truth) and not len(ignored):
                    empty += 1
                    alarms += int((found.confidence >= threshold).sum())
                for index, name in enumerate(description.classes):
                    if not picture.labelled[index]:
                        continue
                    wanted = from_yolo(truth[truth[:, 0] == index, 1:], width * scale, height * scale)
                    mine = found.of(name)
                    for least in LEAST_SIZES:
                        correct, counts, positives = match(mine.boxes * scale, wanted, ignored_boxes, least)
                        parts.setdefault((name, least), []).append(
                            (mine.confidence[counts], correct[counts], positives)
                        )
    finally:
        detector.confidence, detector.max_detections = limits
    scores = {
        key: Scored(
            np.concatenate([part[0] for part in value]),
            np.concatenate([part[1] for part in value]),
            sum(part[2] for part in value),
        )
        for key, value in sorted(parts.items())
    }
    protocol = (
        f"{split} split, {len(pictures)} pictures, labels {description.labels_sha256[:12]}; "
        f"input {detector.input.size} px, confidence >= {CONFIDENCE:g}, NMS IoU {detector.iou:g}, "
        f"at most {MAX_DETECTIONS} boxes; IoU {IOU:g}; sizes by the longer side in the picture scaled to "
        f"{REFERENCE} px; ignore regions and unlabelled classes left out"
    )
    return Evaluation(scores, len(pictures), empty, alarms, threshold, protocol)


def _read(path: Path) -> np.ndarray:
    frame = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if frame is None:
        raise DataError(f"{path}: not a picture that OpenCV can read")
    return frame
