"""What is known of a person after several looks at the same face: one steady value of each attribute.

Looks are weighted by :func:`quality`. Of classes the probabilities are averaged, and the head's abstention threshold
is applied to the average. Of numbers the value is the weighted median, and so is each end of the interval: quantiles
are averaged, not distributions, for the errors of two looks at one face are much the same, and the interval of their
mean is no narrower than theirs (Lichtendahl, Grushka-Cockayne and Winkler, "Is It Better to Average Probabilities or
Quantiles?", Management Science 59, 2013). Points are those of the newest look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from ...classifier.inference.attributes import AttributeValue, ClassValue, NumericValue, PointsValue
from ..inputs.image_reader import Frame
from ..results import Box

SIDE = 112
"""Pixels that a face is scaled to before its sharpness is measured: a small one, enlarged, is as blurred as it is."""
LARGE = 224
"""A face of more pixels on its shorter side tells a classifier no more."""


def quality(frame: Frame, box: Box) -> float:
    """How much a look at a face is worth, above 0: its size in pixels (up to ``LARGE``) times its sharpness.

    Sharpness is the standard deviation of the Laplacian, whose square is the measure of Pech-Pacheco et al., "Diatom
    autofocusing in brightfield microscopy: a comparative study" (ICPR 2000).
    """
    height, width = frame.shape[:2]
    x1, y1 = max(0, int(box.x1)), max(0, int(box.y1))
    x2, y2 = min(width, round(box.x2)), min(height, round(box.y2))
    if x2 - x1 < 2 or y2 - y1 < 2:
        return 1e-6
    grey = cv2.cvtColor(frame[y1:y2, x1:x2], cv2.COLOR_BGR2GRAY)
    shrinks = min(grey.shape) > SIDE
    scaled = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return float(min(x2 - x1, y2 - y1, LARGE) * (cv2.Laplacian(scaled, cv2.CV_32F).std() + 1e-3))


@dataclass
class _Classes:
    """Weighted sums of the probabilities."""

    classes: tuple[str, ...]
    sums: np.ndarray
    total: float = 0.0


@dataclass
class _Numbers:
    """A look a row: value, low, high, weight."""

    unit: str
    rows: list[tuple[float, float, float, float]] = field(default_factory=list)


@dataclass
class TrackAttributes:
    """Gathers the looks at one face.

    Args:
        thresholds: by attribute of classes, its ``abstain_below``.

    Attributes:
        looks: how many there were.
    """

    thresholds: Mapping[str, float]
    looks: int = 0
    _classes: dict[str, _Classes] = field(default_factory=dict)
    _numbers: dict[str, _Numbers] = field(default_factory=dict)
    _points: dict[str, tuple[PointsValue, Box]] = field(default_factory=dict)
    _order: dict[str, None] = field(default_factory=dict)

    def add(self, attributes: Mapping[str, AttributeValue], box: Box, weight: float) -> None:
        """Add one look.

        Args:
            attributes: what was read; points in frame pixels.
            box: of the face in that frame.
            weight: of :func:`quality`.
        """
        self.looks += 1
        for name, value in attributes.items():
            self._order[name] = None
            if isinstance(value, ClassValue):
                held = self._classes.setdefault(
                    name, _Classes(tuple(value.probabilities), np.zeros(len(value.probabilities)))
                )
                held.sums += weight * np.array([value.probabilities[each] for each in held.classes])
                held.total += weight
            elif isinstance(value, NumericValue):
                self._numbers.setdefault(name, _Numbers(value.unit)).rows.append((value.value, *value.interval, weight))
            else:
                self._points[name] = value, box

    def values(self, box: Box) -> dict[str, AttributeValue]:
        """What is known so far, by attribute; nothing before the first look.

        Args:
            box: of the face in the frame that the points are wanted for; they go along with it.
        """
        known: dict[str, AttributeValue] = {}
        for name in self._order:
            if name in self._classes:
                known[name] = self._class_value(name)
            elif name in self._numbers:
                known[name] = _number_value(self._numbers[name])
            else:
                value, before = self._points[name]
                known[name] = value if before == box else _moved(value, before, box)
        return known

    def _class_value(self, name: str) -> ClassValue:
        held = self._classes[name]
        shares = held.sums / held.total
        best = int(shares.argmax())
        probability = float(shares[best])
        return ClassValue(
            value=held.classes[best] if probability >= self.thresholds.get(name, 0.0) else None,
            probability=probability,
            probabilities={each: float(share) for each, share in zip(held.classes, shares, strict=True)},
        )


def _number_value(held: _Numbers) -> NumericValue:
    rows = np.array(held.rows)
    value, low, high = (weighted_median(rows[:, column], rows[:, 3]) for column in range(3))
    return NumericValue(value=value, unit=held.unit, interval=(low, high))


def weighted_median(values: Sequence[float] | np.ndarray, weights: Sequence[float] | np.ndarray) -> float:
    """The least value that, with the smaller ones, has half of the weight; if exactly half, the next one's middle."""
    order = np.argsort(values, kind="stable")
    ordered, cumulative = np.asarray(values, float)[order], np.cumsum(np.asarray(weights, float)[order])
    half = cumulative[-1] / 2
    place = int(np.searchsorted(cumulative, half * (1 - 1e-12)))
    if abs(cumulative[place] - half) <= half * 1e-9 and place + 1 < len(ordered):
        return float((ordered[place] + ordered[place + 1]) / 2)
    return float(ordered[place])


def _moved(value: PointsValue, before: Box, box: Box) -> PointsValue:
    """Points that went along with their face's box, to hundredths of a pixel."""
    wide = (box.x2 - box.x1) / max(before.x2 - before.x1, 1e-6)
    high = (box.y2 - box.y1) / max(before.y2 - before.y1, 1e-6)
    return PointsValue(
        points={
            name: (round(box.x1 + (x - before.x1) * wide, 2), round(box.y1 + (y - before.y1) * high, 2))
            for name, (x, y) in value.points.items()
        }
    )
