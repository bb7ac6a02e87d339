"""How an error is told on the command line.

A progress bar on standard error, for whoever sits at a terminal.

Results as tables for the eye.

A progress bar of bytes on standard error, for whoever sits at a terminal.

Ctrl-C and SIGTERM: both end a run in order, and the exit code tells them apart.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..classifier.inference.attributes import AttributeValue, ClassValue, NumericValue
from .results import Result

if TYPE_CHECKING:
    from rich.progress import Task


def report(message: str) -> None:
    """Print one error line on standard error."""

    print(f"error: {printable(message)}", file=sys.stderr, flush=True)


@contextmanager
def progress(what: str, rate: str | None = None) -> Iterator[Callable[[int, int], None]]:
    """Show a bar as long as the block runs; nothing at all where standard error is no terminal.

    Standard output is left alone. What the block prints to standard error stands above the bar.

    Args:
        what: stands before the bar.
        rate: the things that are done, such as ``pictures``; their number a second is then shown, too. None: it is not.

    Yields:
        A function of the number of things done and their total.
    """
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:.1f} {rate}/s")

    columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()]
    columns += [*([] if rate is None else [Rate()]), TimeRemainingColumn(elapsed_when_finished=True)]
    with Progress(*columns, console=screen, transient=True, redirect_stdout=False, speed_estimate_period=60) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


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


@contextmanager
def transfer_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar with bytes and their number a second; nothing at all where standard error is no terminal.

    Yields:
        A function of the number of bytes that are there and their total.
    """
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, TimeRemainingColumn(), console=screen, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM."""


def exit_code(interruption: KeyboardInterrupt) -> int:
    """128 and the signal's number, as a shell has it: 130 of Ctrl-C, 143 of SIGTERM."""
    return 128 + (signal.SIGTERM if isinstance(interruption, Terminated) else signal.SIGINT)


@contextmanager
def terminable() -> Iterator[None]:
    """Have SIGTERM raise ``Terminated`` in the block, as Ctrl-C raises ``KeyboardInterrupt``; main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated
