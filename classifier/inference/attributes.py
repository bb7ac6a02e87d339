"""Attribute values and their decoding from a classifier's outputs."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from ...weights.manifest import Attribute, AttributeBase, NumericAttribute, PointsAttribute


class Value(BaseModel):
    """A frozen value that serialises to plain JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ClassValue(Value):
    """The likeliest class of a binary, categorical or ordinal attribute."""

    value: str | None
    """None if ``probability`` is below the attribute's ``abstain_below`` (abstention)."""
    probability: float
    """Probability of the likeliest class."""
    probabilities: dict[str, float]
    """Probability of every class; they sum to 1."""

    @property
    def likeliest(self) -> str:
        """The class with the highest probability, even if ``value`` is None."""
        return max(self.probabilities, key=self.probabilities.__getitem__)


class NumericValue(Value):
    """A number and its interval, with the coverage given by the attribute's ``interval``."""

    value: float
    unit: str
    interval: tuple[float, float]


class PointsValue(Value):
    """Named points, x and y in pixels: of the crop in classifier output, of the frame in a result."""

    points: dict[str, tuple[float, float]]


AttributeValue = ClassValue | NumericValue | PointsValue


def softmax(logits: np.ndarray, temperature: float | np.ndarray = 1.0) -> np.ndarray:
    """Turn logits, (n, classes), into probabilities, with one temperature or one per row, (n, 1)."""
    scaled = np.asarray(logits, np.float64) / temperature
    weights = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def bin_centres(attribute: NumericAttribute) -> np.ndarray:
    """Return the centres of a numeric attribute's bins, (bins,), in its unit."""
    if attribute.bins is None:
        raise ValueError(f"{attribute.name} is learnt by regression and has no bins")
    return np.linspace(attribute.low, attribute.high, attribute.bins)


def expectation(probabilities: np.ndarray, attribute: NumericAttribute) -> np.ndarray:
    """Compute the expected value, (n,), of distributions over the bins, (n, bins).

    This is no matrix product because that would sum a row in an order that depends on the number of rows.
    """
    return (probabilities * bin_centres(attribute)).sum(axis=-1)


def quantiles(probabilities: np.ndarray, attribute: NumericAttribute, shares: tuple[float, ...]) -> np.ndarray:
    """Compute quantiles of each distribution, (n, shares), assuming uniform mass within each bin.

    Args:
        probabilities: of the bins, (n, bins).
        attribute: with its bins.
        shares: the quantile levels, 0 to 1.
    """
    centres = bin_centres(attribute)
    half = (centres[1] - centres[0]) / 2
    edges = np.append(centres - half, centres[-1] + half)
    cumulative = np.concatenate([np.zeros((len(probabilities), 1)), np.cumsum(probabilities, axis=1)], axis=1)
    found = [np.interp(shares, row, edges) for row in cumulative]
    return np.clip(np.array(found).reshape(-1, len(shares)), attribute.low, attribute.high)


def central_interval(probabilities: np.ndarray, attribute: NumericAttribute) -> np.ndarray:
    """Compute the equal-tailed interval, (n, 2), that holds the attribute's ``interval`` of the mass; not widened."""
    tail = (1 - attribute.interval) / 2
    return quantiles(probabilities, attribute, (tail, 1 - tail))


def calibration_at(attribute: AttributeBase, sides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute temperature and widening, (n, 1) each, for faces of given sizes.

    Both are interpolated linearly in the logarithm of the size between the attribute's ``bands``, temperatures on a
    logarithmic scale. An attribute without bands uses its own values at every size.

    Args:
        attribute: the schema entry.
        sides: longer sides of the boxes in pixels, (n,), above 0.
    """
    if not attribute.bands:
        widen = attribute.widen if isinstance(attribute, NumericAttribute) else 0.0
        return np.full((len(sides), 1), attribute.temperature), np.full((len(sides), 1), widen)
    places, at = np.log(np.asarray(sides, np.float64)), np.log([band.side for band in attribute.bands])
    temperatures = np.exp(np.interp(places, at, np.log([band.temperature for band in attribute.bands])))
    widens = np.interp(places, at, [band.widen for band in attribute.bands])
    return temperatures[:, None], widens[:, None]


def probabilities(attribute: AttributeBase, output: np.ndarray, sides: np.ndarray | None = None) -> np.ndarray:
    """Compute calibrated probabilities of an attribute's classes or bins, (n, width).

    Args:
        attribute: the schema entry.
        output: (n, width) logits.
        sides: longer sides of the face boxes in pixels, (n,); None treats every face as large.
    """
    if sides is None or not attribute.bands:
        return softmax(output, attribute.temperature)
    return softmax(output, calibration_at(attribute, sides)[0])


def numbers(
    attribute: NumericAttribute, output: np.ndarray, sides: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Decode values, (n,), and intervals, (n, 2), in the attribute's unit, clipped to ``low``..``high``.

    Args:
        attribute: the schema entry.
        output: (n, bins) logits, or (n, 1) where 0 means ``low`` and 1 means ``high``.
        sides: longer sides of the face boxes in pixels, (n,); None treats every face as large.
    """
    widen = attribute.widen if sides is None or not attribute.bands else calibration_at(attribute, sides)[1]
    if attribute.bins is None:
        scaled = np.asarray(output, np.float64).reshape(-1)
        values = np.clip(attribute.low + scaled * (attribute.high - attribute.low), attribute.low, attribute.high)
        raw = np.stack([values, values], axis=1)
    else:
        found = probabilities(attribute, output, sides)
        median = attribute.estimate == "median"
        values = quantiles(found, attribute, (0.5,))[:, 0] if median else expectation(found, attribute)
        raw = central_interval(found, attribute)
    return values, _widened(raw, attribute, widen)


def _widened(intervals: np.ndarray, attribute: NumericAttribute, widen: float | np.ndarray) -> np.ndarray:
    """Widen intervals, (n, 2), by ``widen`` (one value or one per row, (n, 1)) on both sides and clip to the range.

    If a negative ``widen`` makes the ends cross, both become their midpoint.
    """
    ends = intervals + np.array([-1.0, 1.0]) * widen
    crossed = ends[:, 0] > ends[:, 1]
    ends[crossed] = ends[crossed].mean(axis=1, keepdims=True)
    return np.clip(ends, attribute.low, attribute.high)


def decode(
    attribute: Attribute, output: np.ndarray, size: int, sides: np.ndarray | None = None
) -> list[AttributeValue]:
    """Decode the values of n crops from one classifier output.

    Args:
        attribute: the schema entry of the output.
        output: (n, classes) or (n, bins) logits, (n, 1) for a number without bins, or (n, 2 * points) x and y as
            fractions of the crop's side.
        size: side of the crop in pixels; points are returned in these pixels.
        sides: longer sides of the face boxes in pixels, (n,); None treats every face as large.
    """
    if isinstance(attribute, PointsAttribute):
        places = np.asarray(output, np.float64).reshape(len(output), len(attribute.points), 2) * size
        return [
            PointsValue(points={name: (float(x), float(y)) for name, (x, y) in zip(attribute.points, row, strict=True)})
            for row in places
        ]
    if isinstance(attribute, NumericAttribute):
        return [
            NumericValue(value=float(value), unit=attribute.unit, interval=(float(low), float(high)))
            for value, (low, high) in zip(*numbers(attribute, output, sides), strict=True)
        ]
    return [
        ClassValue(
            value=attribute.classes[int(row.argmax())] if row.max() >= attribute.abstain_below else None,
            probability=float(row.max()),
            probabilities={name: float(p) for name, p in zip(attribute.classes, row, strict=True)},
        )
        for row in probabilities(attribute, output, sides)
    ]


def output_width(attribute: Attribute) -> int:
    """Return the width of the attribute's output: values per face."""
    match attribute.kind:
        case "points":
            return 2 * len(attribute.points)
        case "numeric":
            return attribute.bins or 1
        case _:
            return len(attribute.classes)
