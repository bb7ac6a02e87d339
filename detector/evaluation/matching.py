"""Match detections to the truth picture by picture, and score them over all pictures.

Sizes refer to the picture scaled to a longest side of ``REFERENCE`` pixels; a box's size is its longer side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from ...core.bootstrap import BOOTS, draws
from ..inference.boxes import iou, share_inside

IOU = 0.5
REFERENCE = 640


@dataclass(frozen=True, order=True)
class Sizes:
    """A range of box sizes: the longer side is at least ``low`` and less than ``high`` pixels at ``REFERENCE``."""

    low: float = 0
    high: float = inf

    def holds(self, sides: np.ndarray) -> np.ndarray:
        """Whether each longer side, shape (n,), lies in the range."""
        return (sides >= self.low) & (sides < self.high)

    def __str__(self) -> str:
        if self.high < inf:
            return f"{self.low:g}-{self.high:g} px at {REFERENCE}"
        return f">= {self.low:g} px at {REFERENCE}" if self.low else "of every size"


EVERY, BIG, CLEAR = Sizes(), Sizes(16), Sizes(32)
BANDS = (Sizes(8, 16), Sizes(16, 32), Sizes(32, 96), Sizes(96))
RANGES = (EVERY, BIG, CLEAR, *BANDS)


@dataclass(frozen=True)
class Match:
    """One class in one picture: n detections matched to m boxes of the truth."""

    truth: np.ndarray
    """int, shape (n,): index of the true box matched to each detection; -1 for none."""
    correct: np.ndarray
    """bool, shape (n,): matched to a true box that counts."""
    counts: np.ndarray
    """bool, shape (n,): False if a detection is to be ignored."""
    wanted: np.ndarray
    """bool, shape (m,): the true boxes that count."""


def match(found: np.ndarray, truth: np.ndarray, ignored: np.ndarray, sizes: Sizes = EVERY, least: float = IOU) -> Match:
    """Match the detections of one class in one picture to its truth, most confident first.

    A detection takes the free true box that it overlaps most, with an IoU of at least ``least``. As in COCO's
    evaluation, true boxes in the size range take precedence over those out of it. A detection without a match is
    ignored if more than half of it lies in an ignore region, or if it is itself out of the range.

    Args:
        found: shape (n, 4), most confident first; corners in pixels at the reference size, like all boxes here.
        truth: shape (m, 4).
        ignored: shape (k, 4), ignore regions.
        sizes: true boxes out of this range are ignored.
        least: least IoU of a match.
    """
    wanted = sizes.holds(longer_side(truth))
    taken = np.full(len(found), -1)
    correct = np.zeros(len(found), bool)
    counts = sizes.holds(longer_side(found))
    if len(ignored) and len(found):
        counts &= share_inside(found, ignored).max(axis=1) <= 0.5
    if len(truth) and len(found):
        overlaps = iou(found, truth)
        free = np.ones(len(truth), bool)
        for index in np.nonzero(overlaps.max(axis=1) >= least)[0]:
            for group in (free & wanted, free & ~wanted):  # boxes that count take precedence
                candidates = np.where(group, overlaps[index], -1.0)
                best = int(candidates.argmax())
                if candidates[best] >= least:
                    free[best] = False
                    taken[index] = best
                    correct[index] = counts[index] = bool(wanted[best])
                    break
    return Match(taken, correct, counts, wanted)


def longer_side(boxes: np.ndarray) -> np.ndarray:
    """Longer sides of boxes, from shape (n, 4) to (n,)."""
    return np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])


@dataclass(frozen=True)
class Scored:
    """The detections of one class that count, over all pictures."""

    confidence: np.ndarray
    """float, shape (n,)."""
    correct: np.ndarray
    """bool, shape (n,): matched to a true box."""
    positives: int
    """Number of true boxes that count."""

    @classmethod
    def joined(cls, parts: Iterable[tuple[np.ndarray, Match]]) -> Scored:
        """Join the detections of several pictures.

        Args:
            parts: for each picture, the confidence of its detections, (n,), and their match.
        """
        listed = list(parts)
        confidence = [confidence[match.counts] for confidence, match in listed]
        correct = [match.correct[match.counts] for _, match in listed]
        return cls(
            np.concatenate([np.zeros(0), *confidence]),
            np.concatenate([np.zeros(0, bool), *correct]),
            sum(int(match.wanted.sum()) for _, match in listed),
        )

    def curve(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Recall, precision and confidence, each of shape (n,), from the most confident box down."""
        order = np.argsort(-self.confidence, kind="stable")
        true = np.cumsum(self.correct[order])
        return true / max(self.positives, 1), true / np.arange(1, len(order) + 1), self.confidence[order]

    def average_precision(self) -> float | None:
        """Area under the interpolated precision-recall curve; None if there are no boxes to find.

        Every point of the curve is used, as in PASCAL VOC since 2010.
        """
        if not self.positives:
            return None
        _, precision, _ = self.curve()
        hits = self.correct[np.argsort(-self.confidence, kind="stable")]
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        return float((precision * hits).sum() / self.positives)

    def at(self, confidence: float) -> tuple[float | None, float | None]:
        """Precision and recall of the detections at or above a confidence; None if undefined."""
        kept = self.correct[self.confidence >= confidence]
        return (
            float(kept.mean()) if len(kept) else None,
            float(kept.sum() / self.positives) if self.positives else None,
        )


def resampled_precision(parts: Sequence[tuple[np.ndarray, Match]], boots: int = BOOTS) -> np.ndarray:
    """The average precision in each resampling of the pictures, shape (boots,); NaN if it has no boxes to find.

    Args:
        parts: for each picture, the confidence of its detections, (n,), and their match.
        boots: number of resamplings.
    """
    scored = Scored.joined(parts)
    picture = np.repeat(np.arange(len(parts)), [int(match.counts.sum()) for _, match in parts])
    wanted = np.array([int(match.wanted.sum()) for _, match in parts])
    order = np.argsort(-scored.confidence, kind="stable")
    right = np.flatnonzero(scored.correct[order])
    picture = picture[order][: right.max(initial=-1) + 1]  # no correct detection comes after it
    found = np.full(boots, np.nan)
    for number, times in enumerate(draws(len(parts), boots)):
        if positives := times @ wanted:
            boxes = times[picture]
            hits = boxes[right]
            precision = np.cumsum(hits) / np.maximum(np.cumsum(boxes)[right], 1)
            found[number] = np.maximum.accumulate(precision[::-1])[::-1] @ hits / positives
    return found
