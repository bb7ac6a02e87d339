"""Results as tables for the eye."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..classifier.inference.attributes import AttributeValue, ClassValue, NumericValue
from .results import Result

WIDE = 140
"""Columns of a table that goes to no terminal."""


def console(stderr: bool = False) -> Console:
    """A console that takes text as it is: no markup, no highlighting, no wrapping at 80 columns in a pipe."""
    found = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    return (
        found if found.is_terminal else Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=WIDE)
    )


def printable(text: str) -> str:
    """Text without control characters, which could move a terminal's cursor; each becomes a replacement character."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def result_table(result: Result) -> Table:
    """One row for each face: its place in ``result.faces``, box, confidence, head, and a column for each attribute."""
    names = list(dict.fromkeys(name for face in result.faces for name in face.attributes or {}))
    table = Table(title=Text(_title(result)), title_justify="left", title_style="bold")
    for column in ("#", "box", "conf", "head", *names):
        table.add_column(Text(column), justify="right" if column in ("#", "conf", "head") else "left")
    for index, face in enumerate(result.faces):
        box = face.box
        table.add_row(
            str(index),
            f"{box.x1:.0f},{box.y1:.0f} – {box.x2:.0f},{box.y2:.0f}",
            f"{face.confidence:.2f}",
            "–" if face.head is None else str(face.head),
            *(Text(attribute_text((face.attributes or {}).get(name))) for name in names),
        )
    return table


def print_result(result: Result, to: Console) -> None:
    """Print one picture's table, or one line where no face was found; below it, what could not be read and why."""
    if not result.faces:
        to.print(Text(_title(result), style="bold"))
        return
    to.print(result_table(result))
    for index, face in enumerate(result.faces):
        if face.reason:
            to.print(Text(f"face {index} was not classified: {face.reason}"))
            continue
        for name, reason in face.reasons.items():
            to.print(Text(f"face {index} has nothing of {name}: {reason}"))


def print_line(result: Result, to: Console) -> None:
    """Print one line for a picture: its name, size, and how much was found."""
    to.print(Text(_title(result)), soft_wrap=True)


def _title(result: Result) -> str:
    faces, heads = len(result.faces), len(result.heads)
    return (
        f"{printable(result.source or 'picture')}  {result.width} x {result.height}: "
        f"{faces or 'no'} face{'' if faces == 1 else 's'}, {heads or 'no'} head{'' if heads == 1 else 's'}"
    )


def attribute_text(value: AttributeValue | None) -> str:
    """A value as a table shows it, in one line or several; a dash where there is none."""
    if value is None:
        return "–"
    if isinstance(value, ClassValue) and value.value is None:
        return f"unsure\n({value.likeliest} {value.probability:.2f})"
    if isinstance(value, ClassValue):
        return f"{value.value} {value.probability:.2f}"
    if isinstance(value, NumericValue):
        return f"{value.value:.0f} {value.unit}\n({value.interval[0]:.0f}–{value.interval[1]:.0f})"
    return "\n".join(f"{name} {x:.0f},{y:.0f}" for name, (x, y) in value.points.items())
