"""What a command shows at a terminal: errors and notes, tables of results, bars, a run's summary; and how it ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from rich.box import HEAVY_HEAD, SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from ..classifier.inference.attributes import AttributeValue, ClassValue, NumericValue, PointsValue
from ..core.library_homes import forget
from .inputs.sources import printable
from .results import Result

if TYPE_CHECKING:
    from rich.progress import Task

WIDE = 140
"""Columns of a table that goes to no terminal."""
FEW = 20
"""Up to so many pictures have a table each, and all of their errors are printed."""
ERROR, WARNING, INFO, DEBUG = range(4)


class Verbosity:
    """How much this process says on standard error, from ``ERROR`` (errors only) to ``DEBUG``."""

    level = INFO


def note(text: str, level: int = INFO) -> None:
    """Print a line on standard error that is neither an error nor a result, unless less is wanted."""
    if level <= Verbosity.level:
        print(printable(text), file=sys.stderr, flush=True)


def report(message: str) -> None:
    """Print one error line on standard error."""
    print(f"error: {printable(message)}", file=sys.stderr, flush=True)


@contextmanager
def progress(what: str, rate: str | None = None) -> Iterator[Callable[[int, int], None]]:
    """Show a bar as long as the block runs; nothing at all where standard error is no terminal.

    Standard output is left alone. What the block prints to standard error stands above the bar.

    Args:
        what: stands before the bar.
        rate: the things that are done, such as ``pictures``; their number a second is then shown, too. ``bytes`` are
            shown in the largest fitting unit. None: no rate.

    Yields:
        A function of the number of things done and their total.
    """
    screen = console(stderr=True)
    if not screen.is_terminal or Verbosity.level < INFO:
        yield lambda done, total: None
        return
    from rich import progress as rich

    class Rate(rich.ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:.1f} {rate}/s")

    columns: list[rich.ProgressColumn] = [rich.TextColumn("{task.description}", markup=False), rich.BarColumn()]
    if rate == "bytes":
        columns += [rich.DownloadColumn(), rich.TransferSpeedColumn()]
    else:
        columns += [rich.MofNCompleteColumn(), *([] if rate is None else [Rate()])]
    columns.append(rich.TimeRemainingColumn(elapsed_when_finished=True))
    with rich.Progress(
        *columns, console=screen, transient=True, redirect_stdout=False, speed_estimate_period=60
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def console(stderr: bool = False) -> Console:
    """A console that takes text as it is: no markup, no highlighting, no wrapping at 80 columns in a pipe."""
    found = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    return (
        found if found.is_terminal else Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=WIDE)
    )


def result_table(result: Result, wide: bool = False) -> Table:
    """One row for each face: its place in ``result.faces``, box, confidence, head, and a column for each attribute.

    Args:
        result: of a picture with faces.
        wide: show points, and a cell on one line where it can be; else the table of the shipped models fits into 80
            columns.
    """
    values = [face.attributes or {} for face in result.faces]
    names = list(dict.fromkeys(name for found in values for name in found))
    if not wide:
        names = [name for name in names if not any(isinstance(each.get(name), PointsValue) for each in values)]
    table = Table(box=HEAVY_HEAD if wide else SIMPLE_HEAD, show_edge=wide, pad_edge=wide)
    for column in ("#", "box", "conf", "head", *names):
        justify: JustifyMethod = "right" if column in ("#", "conf", "head") else "left"
        table.add_column(Text(column), justify=justify, overflow="fold")
    for index, (face, found) in enumerate(zip(result.faces, values, strict=True)):
        box = face.box
        table.add_row(
            str(index),
            f"{box.x1:.0f},{box.y1:.0f}{' – ' if wide else chr(10)}{box.x2:.0f},{box.y2:.0f}",
            f"{face.confidence:.2f}",
            "–" if face.head is None else str(face.head),
            *(Text(attribute_text(found.get(name), wide)) for name in names),
        )
    return table


def print_result(result: Result, to: Console, wide: bool = False) -> None:
    """Print one picture's table, or one line where no face was found; below it, what could not be read and why.

    Args:
        result: of one picture.
        to: the console.
        wide: whether points are shown as well.
    """
    to.print(Text(_title(result), style="bold"), soft_wrap=True)
    if not result.faces:
        return
    to.print(result_table(result, wide))
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


def attribute_text(value: AttributeValue | None, wide: bool = True) -> str:
    """A value as a table shows it, in one line or several; a dash where there is none.

    Args:
        value: of a face.
        wide: a class and its probability share a line, and an unsure one says so; else the class stands above, with a
            question mark where it is unsure.
    """
    if value is None:
        return "–"
    if isinstance(value, ClassValue):
        unsure = value.value is None
        if wide:
            likeliest = f"({value.likeliest} {value.probability:.2f})"
            return f"unsure\n{likeliest}" if unsure else f"{value.value} {value.probability:.2f}"
        return f"{value.likeliest}{'?' if unsure else ''}\n{value.probability:.2f}"
    if isinstance(value, NumericValue):
        return f"{value.value:.0f} {value.unit}\n({value.interval[0]:.0f}–{value.interval[1]:.0f})"
    return "\n".join(f"{name} {x:.0f},{y:.0f}" for name, (x, y) in value.points.items())


class DetectScreen:
    """The screen of one run.

    Up to ``FEW`` pictures have a table each. Of more, each has one line where nothing else is written; otherwise there
    is a bar at a terminal, and the errors past ``FEW`` are left to the outputs.

    Args:
        total: pictures of the whole run.
        tables: show pictures on standard output.
        kept: the results are written to a file, too.
        wide: tables have every column, points too.
    """

    def __init__(self, total: int, tables: bool, kept: bool, wide: bool = False):
        self.total = total
        self._few = total <= FEW
        self._kept = kept
        self._screen = console() if tables else None
        self._wide = wide
        self._lines = not self._few and not kept
        self._errors = 0
        self._began = time.perf_counter()
        self._seconds = 0.0
        self._before = 0
        self._update: Callable[[int, int], None] = _nothing
        self.pictures = self.faces = self.failed = 0

    @contextmanager
    def bar(self, done_before: int) -> Iterator[None]:
        """Show a bar while the block runs, where a person sees one and it would not get into the results."""
        self._began = time.perf_counter()
        self._before = done_before
        busy = sys.stdout.isatty() and (self._screen is None or self._lines)  # results are printed on that terminal
        if self._few or busy:
            yield
            return
        with progress("detect", "pictures") as update:
            self._update = update
            update(done_before, self.total)
            yield
        self._update = _nothing

    def show(self, result: Result) -> None:
        """Show one picture."""
        self.pictures += 1
        self.faces += len(result.faces)
        if result.error is not None:
            self.failed += 1
            self._error(result.error)
        elif self._screen is not None and self._few:
            print_result(result, self._screen, self._wide)
        elif self._screen is not None and self._lines:
            print_line(result, self._screen)
        self._update(self._before + self.pictures, self.total)

    def _error(self, message: str) -> None:
        self._errors += 1
        if self._errors <= FEW or not self._kept:
            report(message)
        elif self._errors == FEW + 1:
            report("more pictures cannot be read; the outputs have a row for each")

    def end(self) -> None:
        """Stop the clock: what follows is writing the files."""
        self._seconds = time.perf_counter() - self._began

    def summary(self, pictures: int, faces: int, failed: int) -> None:
        """Tell the counts of a run of many pictures, or of one that was resumed, and the rate of this one.

        Args:
            pictures: in all.
            faces: in them.
            failed: pictures that could not be read.
        """
        if (self._few and pictures == self.pictures) or Verbosity.level < INFO:
            return
        rate = f"; {self.pictures / self._seconds:.1f} pictures/s" if self.pictures and self._seconds > 0 else ""
        text = f"{counted(pictures, 'picture')}, {counted(faces, 'face')}, {failed:,} failed{rate}"
        if self._screen is None:
            print(text, file=sys.stderr)
        else:
            self._screen.print(text)


def counted(number: int, what: str) -> str:
    """``1 picture``, ``2,000 pictures``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _nothing(done: int, total: int) -> None:
    """Where there is no bar."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM."""


_received: list[KeyboardInterrupt] = []
"""What the first signal within ``terminable`` has raised."""


def exit_code(interruption: KeyboardInterrupt) -> int:
    """128 and the signal's number, as a shell has it: 130 of Ctrl-C, 143 of SIGTERM."""
    return 128 + (signal.SIGTERM if isinstance(interruption, Terminated) else signal.SIGINT)


@contextmanager
def terminable() -> Iterator[None]:
    """Have SIGTERM raise ``Terminated`` in the block, as Ctrl-C raises ``KeyboardInterrupt``; main thread only.

    The first of either ends the block in order. One more ends the process at once, without the clean-up of libraries
    whose threads are still at work, which could abort: what is in a journal is there line by line.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = [each for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.getsignal(each) for each in signals}
    _received.clear()

    def first(number: int, frame: FrameType | None) -> NoReturn:
        for each in signals:
            signal.signal(each, _at_once)
        _received.append(Terminated() if number == signal.SIGTERM else KeyboardInterrupt())
        raise _received[0]

    for each in signals:
        signal.signal(each, first)
    try:
        with unwrapped():
            yield
    finally:
        _received.clear()
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def unwrapped() -> Iterator[None]:
    """Within ``terminable``: an error that comes of an interruption is that interruption.

    A signal's exception is raised wherever Python code runs, also where a library calls it and makes an error of its
    own of any exception, as pydantic's serializer does.
    """
    try:
        yield
    except Exception as error:
        if _received:
            raise _received[0] from error
        raise


def _at_once(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(128 + number)


def leave(code: int) -> NoReturn:
    """Exit after an interruption: what was written is flushed, and no library cleans up under threads at work."""
    forget()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # nobody reads any more
            continue
    os._exit(code)
