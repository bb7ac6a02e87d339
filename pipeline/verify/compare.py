"""Compare two results of one picture: every number and name that differs, and whether the difference matters.

The same model file gives the same numbers to the last digit on one machine. Elsewhere floats are summed in another
order (another processor, another number of threads, a GPU), and int8 models use other multiply instructions.
``TOLERANCES`` holds how large such differences can get; anything above is a real difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...classifier.inference.attributes import AttributeValue, ClassValue, NumericValue, PointsValue
from ...detector.inference.boxes import iou
from ...weights.manifest import Attribute, NumericAttribute
from ..results import Box, Face, Head, Result

Measure = Literal["px", "share", "range", "name"]
"""Unit of a difference: pixels, a confidence or probability, a fraction of a number's range, or a name (not
measurable)."""
SAME = 0.5
"""Minimum overlap (IoU) for two boxes to be taken for the same face."""


@dataclass(frozen=True)
class Tolerance:
    """How much two results may differ and still count as the same.

    Attributes:
        box: box sides and points, in pixels of the detector's input.
        share: confidences and probabilities.
        range: numbers, as a fraction of the attribute's range (0.01: one year of an age from 0 to 100).
    """

    box: float
    share: float
    range: float


FLOAT = Tolerance(box=0.2, share=0.01, range=0.01)
TOLERANCES = {"float32": FLOAT, "float16": FLOAT, "int8": Tolerance(box=1.0, share=0.02, range=0.02)}
"""By the precision of the model files; with several, the least exact one applies. float16 files are computed in
float32. With all of ONNX Runtime's fused operators disabled, so that every sum is added up in another order, the
shipped float16 files differed by at most 0.01 px, 0.0009 and 0.0026 on 15 pictures with some 70 faces. At least ten
times that is allowed for GPUs, whose products may be rounded to 10 bits (TF32)."""


def tolerance_of(precisions: Sequence[str]) -> Tolerance:
    """The tolerance of the least exact of some model files."""
    return max((TOLERANCES[precision] for precision in precisions), key=lambda each: each.share)


@dataclass(frozen=True)
class Difference:
    """One difference between two results.

    Attributes:
        part: ``face 0``, ``head 2``; empty for the picture itself.
        field: such as ``box``, ``gender`` (the class), ``gender female`` (its probability), ``age high``.
        then, now: both values; None if there is none.
        measure, amount: unit and size of the difference; 0 for names.
        within: whether it is within the tolerance.
    """

    part: str
    field: str
    then: str | float | None
    now: str | float | None
    measure: Measure
    amount: float
    within: bool


@dataclass(frozen=True)
class Scale:
    """Parameters for comparing the results of one picture.

    Attributes:
        tolerance: as given.
        pixels: the box tolerance in pixels of the frame.
        confidence: minimum confidence of a box; a weaker one may be present or absent.
        attributes: of the classifiers, by name.
    """

    tolerance: Tolerance
    pixels: float
    confidence: float
    attributes: Mapping[str, Attribute]


def compare(
    then: Result, now: Result, tolerance: Tolerance, imgsz: int, confidence: float, attributes: Sequence[Attribute]
) -> list[Difference]:
    """List the differences between a recorded result and the same picture's result now; empty if there are none.

    Faces and heads are paired by their boxes.

    Args:
        then, now: the results.
        tolerance: of the model files.
        imgsz: of the detector; for a larger picture the box tolerance scales up accordingly.
        confidence: minimum confidence of a box.
        attributes: of the classifiers.
    """
    if then.error is not None or now.error is not None:
        reasons = _error(then), _error(now)
        return [] if reasons[0] == reasons[1] else [_name("", "error", *reasons)]
    longer = max(now.width or 0, now.height or 0)
    scale = Scale(
        tolerance,
        tolerance.box * max(1.0, longer / imgsz),
        confidence,
        {attribute.name: attribute for attribute in attributes},
    )
    found = [
        _name("", side, getattr(then, side), getattr(now, side))
        for side in ("width", "height")
        if getattr(then, side) != getattr(now, side)
    ]
    heads = _pairs(then.heads, now.heads)
    found += _found("head", then.heads, now.heads, heads, scale)
    for before, after in heads:
        found += _box(f"head {before}", then.heads[before], now.heads[after], scale)
    faces = _pairs(then.faces, now.faces)
    found += _found("face", then.faces, now.faces, faces, scale)
    places = dict(heads) if then.heads or now.heads else None  # tables hold head numbers but no heads
    for before, after in faces:
        found += _face(f"face {before}", then.faces[before], now.faces[after], places, scale)
    return found


def _error(result: Result) -> str | None:
    """Why a picture could not be read, without its name, whose folder may differ now."""
    return None if result.error is None else result.error.removeprefix(f"{result.source}: ")


def _pairs(then: Sequence[Face | Head], now: Sequence[Face | Head]) -> list[tuple[int, int]]:
    """Index pairs of the same object in both results, matched greedily by overlap, in order."""
    if not then or not now:
        return []
    before_boxes, after_boxes = _boxes(then), _boxes(now)
    equal = (before_boxes[:, None] == after_boxes[None, :]).all(axis=2)  # a box without area has no overlap
    overlap = np.where(equal, 2.0, iou(before_boxes, after_boxes))
    order = sorted(zip(*np.nonzero(overlap >= SAME), strict=True), key=lambda pair: -overlap[pair])
    partners: dict[int, int] = {}
    for before, after in order:
        if before not in partners and after not in partners.values():
            partners[int(before)] = int(after)
    return sorted(partners.items())


def _boxes(parts: Sequence[Face | Head]) -> np.ndarray:
    return np.array([[each.box.x1, each.box.y1, each.box.x2, each.box.y2] for each in parts])


def _found(
    kind: str, then: Sequence[Face | Head], now: Sequence[Face | Head], pairs: Sequence[tuple[int, int]], scale: Scale
) -> Iterator[Difference]:
    """Objects that are in only one result, and those whose rank by confidence changed."""
    edge = scale.confidence + scale.tolerance.share
    for number, each in enumerate(then):
        if number not in {before for before, _ in pairs}:
            yield Difference(f"{kind} {number}", "found", _sides(each.box), None, "name", 0.0, each.confidence <= edge)
    for number, each in enumerate(now):
        if number not in {after for _, after in pairs}:
            part = f"{kind} {number} of now"
            yield Difference(part, "found", None, _sides(each.box), "name", 0.0, each.confidence <= edge)
    afters = sorted(after for _, after in pairs)
    for rank, (before, after) in enumerate(pairs):
        if after != afters[rank]:
            other = now[afters[rank]].confidence
            close = abs(now[after].confidence - other) <= 2 * scale.tolerance.share
            yield Difference(f"{kind} {before}", "place", before, after, "name", 0.0, close)


def _face(part: str, then: Face, now: Face, places: Mapping[int, int] | None, scale: Scale) -> Iterator[Difference]:
    yield from _box(part, then, now, scale)
    expected = then.head if then.head is None or places is None else places.get(then.head, -1)
    if expected != now.head:
        yield _name(part, "head", then.head, now.head)
    if (then.reason, then.reasons) != (now.reason, now.reasons):
        yield _name(part, "reason", _reason(then), _reason(now))
    before, after = then.attributes or {}, now.attributes or {}
    for name in dict.fromkeys((*before, *after)):
        yield from _attribute(part, name, before.get(name), after.get(name), scale)


def _reason(face: Face) -> str | None:
    return face.reason or "; ".join(f"{name}: {text}" for name, text in face.reasons.items()) or None


def _box(part: str, then: Face | Head, now: Face | Head, scale: Scale) -> Iterator[Difference]:
    if then.box != now.box:
        amount = float(np.abs(_boxes([then]) - _boxes([now])).max())
        yield Difference(part, "box", _sides(then.box), _sides(now.box), "px", amount, amount <= scale.pixels)
    yield from _number(part, "confidence", then.confidence, now.confidence, "share", 1.0, scale.tolerance.share)


def _attribute(
    part: str, name: str, then: AttributeValue | None, now: AttributeValue | None, scale: Scale
) -> Iterator[Difference]:
    tolerance = scale.tolerance
    if isinstance(then, ClassValue) and isinstance(now, ClassValue):
        if then.value != now.value:
            yield Difference(part, name, then.value, now.value, "name", 0.0, _undecided(then, now, name, scale))
        yield from _number(
            part, f"{name} probability", then.probability, now.probability, "share", 1.0, tolerance.share
        )
        for each in dict.fromkeys((*then.probabilities, *now.probabilities)):
            before, after = then.probabilities.get(each), now.probabilities.get(each)
            yield from _number(part, f"{name} {each}", before, after, "share", 1.0, tolerance.share)
    elif isinstance(then, NumericValue) and isinstance(now, NumericValue):
        attribute = scale.attributes.get(name)
        span = attribute.high - attribute.low if isinstance(attribute, NumericAttribute) else 1.0
        if then.unit != now.unit:
            yield _name(part, f"{name} unit", then.unit, now.unit)
        pairs = zip((then.value, *then.interval), (now.value, *now.interval), strict=True)
        for field, (before, after) in zip((name, f"{name} low", f"{name} high"), pairs, strict=True):
            yield from _number(part, field, before, after, "range", span, tolerance.range)
    elif isinstance(then, PointsValue) and isinstance(now, PointsValue):
        for each in dict.fromkeys((*then.points, *now.points)):
            place, other = then.points.get(each), now.points.get(each)
            if place is None or other is None:
                yield _name(part, f"{name} {each}", place and _point(place), other and _point(other))
            elif place != other:
                amount = max(abs(a - b) for a, b in zip(place, other, strict=True))
                yield Difference(
                    part, f"{name} {each}", _point(place), _point(other), "px", amount, amount <= scale.pixels
                )
    elif then != now:
        yield _name(part, name, _plain(then), _plain(now))


def _undecided(then: ClassValue, now: ClassValue, name: str, scale: Scale) -> bool:
    """Whether a changed class, or none, follows from nearly equal probabilities. False if they are identical."""
    if then.probabilities == now.probabilities:
        return False
    slack = 2 * scale.tolerance.share
    if then.value is not None and now.value is not None:
        return all(
            abs(each.probabilities.get(then.value, 0.0) - each.probabilities.get(now.value, 0.0)) <= slack
            for each in (then, now)
        )
    least = getattr(scale.attributes.get(name), "abstain_below", 0.0)
    return all(abs(each.probability - least) <= slack for each in (then, now))


def _number(
    part: str, field: str, then: float | None, now: float | None, measure: Measure, span: float, most: float
) -> Iterator[Difference]:
    if then is None or now is None:
        yield _name(part, field, then, now)
    elif then != now:
        amount = abs(then - now) / span
        yield Difference(part, field, then, now, measure, amount, amount <= most)


def _name(part: str, field: str, then: str | float | None, now: str | float | None) -> Difference:
    return Difference(part, field, then, now, "name", 0.0, False)


def _sides(box: Box) -> str:
    return ", ".join(f"{side:.2f}" for side in (box.x1, box.y1, box.x2, box.y2))


def _point(place: tuple[float, float]) -> str:
    return f"{place[0]:.2f}, {place[1]:.2f}"


def _plain(value: AttributeValue | None) -> str | float | None:
    return "points" if isinstance(value, PointsValue) else None if value is None else value.value
