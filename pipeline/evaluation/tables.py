"""The output of ``facepipe evaluate``: tables of losses, errors and sizes, and what they mean in sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .metrics import STEPS, Errors, Figure, Figures, Part
from .predictions import EndToEnd

if TYPE_CHECKING:
    from rich.table import Table

ALIKE = 0.75
"""If the mean IoU of found and true boxes is below this, they follow different conventions."""
HEADINGS = {
    "unread": "too small to read",
    "classifier": "the classifier",
    "missed": "missed faces",
    "shifted": "shifted boxes",
}
"""Names of ``STEPS``."""


def loss_table(figures: Figures) -> Table:
    """From perfect to end to end: a row per attribute, with each step's loss and its interval."""
    shown = [step for step in STEPS if step != "unread" or any(each.steps[step].value for each in figures.losses)]
    table = _table(
        "share right, and what is lost where [95 % intervals]",
        *("attribute", "right is", "faces", "true boxes"),
        *(f"lost to {HEADINGS[step]}" if step != "unread" else HEADINGS[step] for step in shown),
        "end to end",
        left=2,
    )
    for each in figures.losses:
        table.add_row(
            each.attribute,
            each.right,
            f"{each.end.count:,}",
            _two_lines(each.on_true),
            *(_two_lines(each.steps[step]) for step in shown),
            _two_lines(each.end),
        )
    return table


def error_table(figures: Figures) -> Table:
    """Errors of numbers and points on both boxes of the same faces."""
    table = _table(
        "errors of the faces that were found, on both boxes",
        *("figure", "true boxes, all faces", "faces", "true boxes", "found boxes", "lost to shifted boxes"),
    )
    for each in figures.errors:
        name = f"{each.attribute} {each.measure.replace('_', ' ')}"
        table.add_row(
            name,
            _number(each.every),
            f"{each.shift.count:,}",
            _number(each.on_true),
            _number(each.on_found),
            _share(_loss_of(each)),
        )
    return table


def part_table(figures: Figures, sizes: bool = True) -> Table:
    """By face size, or by groups of people and sources: the share found, and each attribute on either box."""
    names = [each.attribute for each in figures.losses]
    title = (
        "by the longer side of the face, the picture scaled to 640 px" if sizes else "by group (of at least 30 faces)"
    )
    table = _table(
        title, "faces of" if sizes else "group", "faces", "found", *(f"{name}\ntrue → end" for name in names)
    )
    before = ""
    for part in figures.parts:
        if (part.kind == "size") != sizes:
            continue
        if before and part.kind != before:
            table.add_section()
        before = part.kind
        losses = {each.attribute: each for each in part.losses}
        cells = [
            f"{losses[name].on_true.value:.3f} → {losses[name].end.value:.3f}" if name in losses else ""
            for name in names
        ]
        table.add_row(_part_name(part), f"{part.found.count:,}", _share(part.found), *cells)
    return table


def headline(seen: EndToEnd, figures: Figures) -> list[str]:
    """What was measured, and how the detector alone did."""
    photos = seen.photos
    classifiers = ", ".join(
        f"classifier {each}" if name == "face" else f"classifier {name}: {each}"
        for name, each in seen.classifiers.items()
    )
    lines = [
        f"detector {seen.detector} at confidence {seen.confidence:g}, {classifiers}",
        f"{' and '.join(photos.data)}, split {photos.split}: {len(photos.faces):,} labelled faces in "
        f"{len(photos.photos):,} pictures; a found box is a face's from an overlap (IoU) of {seen.least:g}",
        f"found: {_share(figures.found)} of the faces ({int(seen.found.sum()):,}); false alarms: {len(seen.alarms):,}, "
        f"{_share(figures.alarms)} a picture",
    ]
    if photos.without_split:
        lines.append(f"no column 'split' in {', '.join(photos.without_split)}: every row was measured")
    return lines


def sentences(seen: EndToEnd, figures: Figures) -> list[str]:
    """How well the boxes agree, and where most is lost."""
    lines = []
    if seen.found.any():
        offset = figures.convention
        lines.append(
            f"found boxes overlap the true ones by {_share(figures.overlap)} on average; in the median they are "
            f"{offset['width']:.2f} times as wide and {offset['height']:.2f} times as high, and lie "
            f"{_way(offset['right'], 'right', 'left')} and {_way(offset['down'], 'lower', 'higher')}"
        )
        if figures.overlap.value < ALIKE:
            lines.append(
                f"note: an overlap below {ALIKE} on average says that these labels draw a face's box by another "
                "convention than the detector; 'shifted boxes' is then partly the labels' own, and the boxes on which "
                "the classifier was trained may suit it better than these"
            )
    for each in figures.losses:
        step = max(STEPS, key=lambda one: each.steps[one].value)
        largest = each.steps[step]
        if largest.value > 0 and largest.low > 0:
            lines.append(f"{each.attribute}: most is lost to {_to(step)}, {_share(largest)}")
    alarms = len(seen.alarms)
    if alarms and seen.found.any() and alarms > 0.1 * seen.found.sum():
        lines.append(
            "note: a face that the data do not label counts as a false alarm; give its region a row with ignore=yes"
        )
    return lines


def _to(step: str) -> str:
    return "faces too small to read" if step == "unread" else HEADINGS[step]


def _way(value: float, above: str, below: str) -> str:
    return f"{abs(value):.2f} of a side {above if value >= 0 else below}"


def _loss_of(each: Errors) -> Figure:
    """The shift as a loss: a drop in coverage counts as one too."""
    shift = each.shift
    if each.measure != "interval_coverage":
        return shift
    return Figure(-shift.value, -shift.high, -shift.low, shift.count)


def _part_name(part: Part) -> str:
    return part.name if part.kind == "size" else f"{part.kind} {part.name}"


def _share(figure: Figure) -> str:
    """Format a figure as ``0.912 [0.899, 0.925]``."""
    if math.isnan(figure.value):
        return "–"
    return f"{_plain(figure.value)} [{_plain(figure.low)}, {_plain(figure.high)}]"


def _two_lines(figure: Figure) -> str:
    """The same, for a narrow column."""
    return _share(figure).replace(" [", "\n[", 1)


def _number(figure: Figure) -> str:
    return "–" if math.isnan(figure.value) else _plain(figure.value)


def _plain(value: float) -> str:
    """Three decimals, without a minus sign before zero."""
    return f"{value:.3f}".replace("-0.000", "0.000")


def _table(title: str, *columns: str, left: int = 1) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right")
    return table
