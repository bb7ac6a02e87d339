"""Calibration by face size, and the minimum size from which each attribute is read."""

from __future__ import annotations

from collections.abc import Mapping

from ...weights.manifest import Attribute, ClassesBase, CropRecipe, NumericAttribute, PointsAttribute, SizeBand
from ..evaluation.metrics import CLEAR
from ..evaluation.predictions import Predictions, size_name
from ..evaluation.sizes import measured
from . import calibration

LEAST_ACCURACY = 0.85
"""Balanced accuracy that classes need at a size, but at most ``KEPT`` of their balanced accuracy on whole crops."""
KEPT = 0.95
COVERAGE_SLACK = 0.05
"""How far an interval's coverage may fall below its nominal coverage."""
WIDEST = 0.5
"""Maximum mean width of a number's interval as a share of the range; a wider one is uninformative."""
POINTS_OF_SIDE = 0.05
"""Maximum error of points without a mirrored pair, as a share of the crop's side; with a pair it is ``CLEAR``."""


def calibrate_sizes(
    attributes: tuple[Attribute, ...], sized: Mapping[float, Predictions], recipe: CropRecipe
) -> tuple[Attribute, ...]:
    """Return the attributes with ``bands``: a temperature and a widening fitted at each size.

    Whole crops keep the attribute's own calibration, which was fitted on more rows. Points, and attributes with fewer
    than ``calibration.LEAST_ROWS`` labelled rows at any size, stay unchanged.

    Args:
        attributes: calibrated on whole crops.
        sized: rows to fit on, by the longer side of the face box in pixels, ascending.
        recipe: the classifier's.
    """
    return tuple(_banded(each, sized, recipe) for each in attributes)


def _banded(attribute: Attribute, sized: Mapping[float, Predictions], recipe: CropRecipe) -> Attribute:
    if isinstance(attribute, PointsAttribute) or not sized:
        return attribute
    bands = []
    for side, seen in sized.items():
        fitted: Attribute | None = attribute
        if size_name(side, recipe) != "whole":
            output, target = seen.outputs[attribute.name], seen.targets[attribute.name]
            fitted = calibration.fit_reading(attribute, output, target)
        if fitted is None:
            return attribute
        widen = fitted.widen if isinstance(fitted, NumericAttribute) else 0.0
        bands.append(SizeBand(side=side, temperature=fitted.temperature, widen=widen))
    return type(attribute).model_validate({**attribute.model_dump(), "bands": bands})


def choose_least_sides(
    attributes: tuple[Attribute, ...], sized: Mapping[float, Predictions]
) -> tuple[tuple[Attribute, ...], list[str]]:
    """Return the attributes with ``min_side``: the smallest size from which each is good enough.

    The criterion is the balanced accuracy for classes, coverage and width of the interval for numbers, and the error
    for points. An attribute that is not good enough even on whole crops, or has fewer than ``calibration.LEAST_ROWS``
    labelled rows at any size, stays unchanged.

    Args:
        attributes: calibrated, with bands.
        sized: rows not used to fit the calibration, by the longer side of the face box in pixels, ascending, whole
            crops last.

    Returns:
        The attributes, and a line on each that was measured.
    """
    chosen, lines = [], []
    for attribute in attributes:
        marks = {side: _mark(attribute, seen) for side, seen in sized.items()}
        if not marks or any(mark is None for mark in marks.values()):
            chosen.append(attribute)
            continue
        known = {side: mark for side, mark in marks.items() if mark is not None}
        least, floor = None, _floor(attribute, list(known.values())[-1])
        for side in reversed(known):
            if known[side] < floor:
                break
            least = side
        if least is None:
            lines.append(f"{attribute.name}: not good enough at any size; its least size stays the crop recipe's")
            chosen.append(attribute)
            continue
        chosen.append(attribute.model_copy(update={"min_side": least}))
        lines.append(f"{attribute.name}: read from {least:g} px up")
    return tuple(chosen), lines


def _mark(attribute: Attribute, seen: Predictions) -> float | None:
    """Score an attribute at one size, higher is better; None if too few rows are labelled."""
    read = seen.read_as((attribute,))
    found = measured(attribute, read)
    enough = {name: metric for name, metric in found.items() if (metric.count or 0) >= calibration.LEAST_ROWS}

    def value(name: str) -> float | None:
        return enough[name].value if name in enough else None

    if isinstance(attribute, ClassesBase):
        return value("balanced_accuracy")
    if isinstance(attribute, NumericAttribute):
        coverage, width = value("interval_coverage"), value("interval_width")
        if coverage is None or width is None:
            return None
        return coverage if width <= WIDEST * (attribute.high - attribute.low) else 0.0
    error = value("eye_error" if attribute.mirror else "point_error_of_side")
    return None if error is None else -error


def _floor(attribute: Attribute, whole: float) -> float:
    """Return the score that an attribute needs, given its score on whole crops."""
    if isinstance(attribute, ClassesBase):
        return min(LEAST_ACCURACY, KEPT * whole)
    if isinstance(attribute, NumericAttribute):
        return attribute.interval - COVERAGE_SLACK
    return -CLEAR if attribute.mirror else -POINTS_OF_SIDE
