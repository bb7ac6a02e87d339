"""What is wrong with single rows of labelled faces: impossible numbers, misplaced points, no label at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ...core.issues import Finding
from ...weights.manifest import NumericAttribute, PointsAttribute
from .table import FaceTable

if TYPE_CHECKING:
    from .check import FaceReport


BEYOND = 0.2
"""Numbers that are further than this share of the schema's range above it are taken for faults: an age of 105 may be
true, one of 700 is not."""


def row_finding(
    table: FaceTable, kind: str, index: int, text: str, other: int | None = None, weight: float = 0
) -> Finding:
    """A finding about a row; in a folder that is a picture."""
    picture = str(table.columns["file"][index])
    twin = "" if other is None else str(table.columns["file"][other])
    if table.path.is_dir():
        return Finding(kind, picture, text, None, picture, (), twin, weight)
    return Finding(kind, table.path.name, text, int(table.lines[index]), picture, (), twin, weight)


def numbers(report: FaceReport) -> Iterator[Finding]:
    """Numbers that the schema calls impossible, and numbers outside their own range."""
    table = report.table
    for attribute in table.attributes:
        if not isinstance(attribute, NumericAttribute):
            continue
        names = (attribute.name, f"{attribute.name}_lo", f"{attribute.name}_hi")
        for index, cells in enumerate(table.targets[attribute.name].astype(float)):
            for name, value in zip(names, cells, strict=True):
                # A range may end beyond the span: "70 and over" is written as 70 to 120.
                off = max(attribute.low - value, value - attribute.high if name != names[2] else 0)
                if off > 0:
                    span = f"{attribute.low:g} to {attribute.high:g} {attribute.unit}"
                    near = value > attribute.high and off <= BEYOND * (attribute.high - attribute.low)
                    kind = "number-beyond" if near else "number-outside"
                    yield row_finding(table, kind, index, f"{name} is {value:g}, expected {span}", weight=off)
            value, low, high = cells
            if value < low or value > high:
                text = f"{attribute.name} is {value:g}, but its range is {low:g} to {high:g}"
                yield row_finding(table, "number-unlike", index, text)


def points(report: FaceReport) -> Iterator[Finding]:
    """Points outside their picture, and points whose left and right have changed places."""
    table = report.table
    for attribute in table.attributes:
        if not isinstance(attribute, PointsAttribute):
            continue
        labelled = table.targets[attribute.name].astype(float)
        for index, places in enumerate(labelled):
            height, width = report.seen[index].size or (np.inf, np.inf)
            for name, (x, y) in zip(attribute.points, places, strict=True):
                off = max(-x, -y, x - width, y - height)
                if off > 0:
                    text = f"{name} at {x:g}, {y:g} lies outside the picture of {width} x {height}"
                    yield row_finding(table, "point-outside", index, text, weight=off)
        told: set[int] = set()
        for pair in attribute.mirror:
            left, right = (attribute.points.index(name) for name in pair)
            for index in np.flatnonzero(mirrored(labelled, left, right)).tolist():
                if index not in told:
                    told.add(index)
                    (x1, y1), (x2, y2) = labelled[index, [left, right]]
                    text = f"{pair[0]} at {x1:g}, {y1:g} lies right of {pair[1]} at {x2:g}, {y2:g}"
                    yield row_finding(table, "points-mirrored", index, f"{text}: left is the picture's left")


def mirrored(places: np.ndarray, left: int, right: int) -> np.ndarray:
    """Rows in which a pair of points has changed places.

    The left point lies right of the right one, and the face's other points lie on the other side of the line from left
    to right than they do in the rows that are in order: else the head is upside down, and the labels are right.

    Args:
        places: (n, points, 2), NaN where unlabelled.
        left, right: index of the pair's points.

    Returns:
        bool (n,).
    """
    across = places[:, right] - places[:, left]
    swapped = -across[:, 0] > np.abs(across[:, 1])
    ordered = across[:, 0] > np.abs(across[:, 1])
    others = np.delete(places, [left, right], axis=1)
    known = ~np.isnan(others).any(axis=2)
    middle = np.where(known[:, :, None], others, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)[:, None]
    away = middle - places[:, left]
    side = np.sign(across[:, 0] * away[:, 1] - across[:, 1] * away[:, 0])
    side[~known.any(axis=1)] = 0
    usual = np.sign(side[ordered].sum()) if ordered.sum() > swapped.sum() else 0
    return np.asarray(swapped & ~((side == usual) & (side != 0)))


def unlabelled(report: FaceReport) -> Iterator[Finding]:
    """Rows that teach nothing."""
    table = report.table
    bare = np.ones(len(table), bool)
    for values in table.targets.values():
        bare &= np.isnan(values.reshape(len(table), -1)).all(axis=1)
    for index in np.flatnonzero(bare):
        yield row_finding(table, "unlabelled", int(index), "no attribute of the schema is labelled")
