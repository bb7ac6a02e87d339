"""Copies among labelled faces: in two splits, or labelled differently."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...core.issues import Finding
from ...core.near_duplicates import near_duplicates
from ...weights.manifest import NumericAttribute, PointsAttribute
from .row_faults import row_finding
from .splits import SPLITS, middle

if TYPE_CHECKING:
    from .check import FaceReport

ALIKE = 2
"""Most bits in which two copies of a face differ. Measured on 25,238 crops of the training packs: of the pairs looked
at, all within 2 bits were copies, about half of those with 3 or 4, none of those with 6. Faces that are cut alike are
more like one another than photos are (``similarity.DISTANCE``)."""
FAR = 0.1
"""Part of a number's span by which two copies' labels must differ to be told."""


def copies(report: FaceReport) -> Iterator[Finding]:
    """Pictures whose files are the same to the last byte."""
    for members in _together([seen.sha256 or None for seen in report.seen]):
        last = members[-1]
        for index in members[:-1]:
            twin = str(report.table.columns["file"][last])
            across = _split(report, index) != _split(report, last)
            same = report.table.files[index] == report.table.files[last]
            text = f"is listed again in {report.table.places[last]}" if same else f"is the same file as {twin}"
            text += f", which is in {_split(report, last)}" if across else ""
            if across or not same:
                yield row_finding(report.table, "copy-across" if across else "copy", index, text, last)
            if differing := _differing(report, index, last):
                yield row_finding(
                    report.table, "copy-differs", index, f"{text}; labelled differently: {differing}", last
                )


def look_alikes(report: FaceReport) -> Iterator[Finding]:
    """Pictures that look like one of another split, or that are labelled otherwise than one that looks like them."""
    known = [index for index, seen in enumerate(report.seen) if seen.hash is not None]
    groups = near_duplicates([report.seen[index].hash or 0 for index in known], ALIKE)
    numbers: list[object] = [None] * len(report.seen)
    for index, group in zip(known, groups, strict=True):
        numbers[index] = group
    for members in _together(numbers):
        for index in members:
            others = [other for other in members if report.seen[other].sha256 != report.seen[index].sha256]
            later = [other for other in others if _place(report, other) > _place(report, index)]
            if later:
                twin = later[0]
                name, split = report.table.columns["file"][twin], _split(report, twin)
                text = f"looks like {name}, which is in {split}"
                yield row_finding(report.table, "alike-across", index, text, twin)
            for twin in (other for other in others if other > index):
                if differing := _differing(report, index, twin):
                    text = f"looks like {report.table.columns['file'][twin]}; labelled differently: {differing}"
                    yield row_finding(report.table, "alike-differs", index, text, twin)
                    break


def _together(keys: Sequence[object]) -> list[list[int]]:
    """The rows that share a key, in order, for each key that two have; None is no key."""
    groups: dict[object, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        if key is not None:
            groups[key].append(index)
    return [members for members in groups.values() if len(members) > 1]


def _split(report: FaceReport, index: int) -> str:
    return str(report.table.columns["split"][index])


def _place(report: FaceReport, index: int) -> int:
    split = _split(report, index)
    return SPLITS.index(split) if split in SPLITS else -1


def _differing(report: FaceReport, first: int, second: int) -> str:
    """The labels in which two rows differ: other classes, or numbers further apart than ``FAR`` of the span."""
    found = []
    for attribute in report.table.attributes:
        pair = report.table.targets[attribute.name][[first, second]]
        if isinstance(attribute, PointsAttribute):
            continue
        if isinstance(attribute, NumericAttribute):
            a, b = middle(pair)
            if abs(a - b) > FAR * (attribute.high - attribute.low):
                found.append(f"{attribute.name} {a:g} and {b:g}")
        elif not np.isnan(pair).any() and pair[0] != pair[1]:
            a, b = (attribute.classes[int(value)] for value in pair)
            found.append(f"{attribute.name} {a} and {b}")
    return ", ".join(found)
