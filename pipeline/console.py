"""Terminal output of the commands (errors, notes, tables, progress bars, run summaries) and how they exit."""

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
"""Width in columns of output that does not go to a terminal."""
FEW = 20
"""Up to this many pictures get a table each, and all of their errors are printed."""
ERROR, WARNING, INFO, DEBUG = range(4)


class Verbosity:
    """How much this process prints on standard error, from ``ERROR`` (errors only) to ``DEBUG``."""

    level = INFO


def note(text: str, level: int = INFO) -> None:
    """Print a line that is neither an error nor a result on standard error, if the verbosity allows."""
    if level <= Verbosity.level:
        print(printable(text), file=sys.stderr, flush=True)


def report(message: str) -> None:
    """Print one error line on standard error."""
    print(f"error: {printable(message)}", file=sys.stderr, flush=True)


@contextmanager
def progress(what: str, rate: str | None = None) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar while the block runs; show nothing if standard error is not a terminal.

    Standard output is left alone. What the block prints to standard error appears above the bar.

    Args:
        what: text before the bar.
        rate: unit of what is counted, such as ``pictures``; the number per second is then shown too. ``bytes`` are
            shown in the largest unit that fits. None: no rate.

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
    """A console that prints text verbatim: no markup, no highlighting, no wrapping at 80 columns in a pipe."""
    found = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    return (
        found if found.is_terminal else Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=WIDE)
    )


def result_table(result: Result, wide: bool = False) -> Table:
    """One row per face: its index in ``result.faces``, box, confidence, head, and a column for each attribute.

    Args:
        result: of a picture with faces.
        wide: show points, and put cells on one line where possible; otherwise the table of the shipped models fits into
            80 columns.
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
    """Print one picture's table, or one line if no face was found; below it, what could not be read and why.

    Args:
        result: of one picture.
        to: the console.
        wide: also show points.
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
            to.print(Text(f"face {index} has no {name}: {reason}"))


def print_line(result: Result, to: Console) -> None:
    """Print one line for a picture: its name, its size and the number of faces and heads."""
    to.print(Text(_title(result)), soft_wrap=True)


def _title(result: Result) -> str:
    faces, heads = len(result.faces), len(result.heads)
    return (
        f"{printable(result.source or 'picture')}  {result.width} x {result.height}: "
        f"{faces or 'no'} face{'' if faces == 1 else 's'}, {heads or 'no'} head{'' if heads == 1 else 's'}"
    )


def attribute_text(value: AttributeValue | None, wide: bool = True) -> str:
    """Format a value for a table, on one or more lines; a dash if there is none.

    Args:
        value: of a face.
        wide: put a class and its probability on one line and write "unsure" if it is; otherwise put the class above its
            probability, with a question mark if unsure.
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
    """The terminal output of one run.

    Up to ``FEW`` pictures get a table each. With more, each picture gets one line if nothing else is written; otherwise
    a terminal shows a bar, and errors beyond ``FEW`` appear only in the outputs.

    Args:
        total: number of pictures in the whole run.
        tables: show pictures on standard output.
        kept: the results are also written to a file.
        wide: tables show every column, including points.
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
        """Show a bar while the block runs, if a terminal shows it and it does not mix with the results."""
        self._began = time.perf_counter()
        self._before = done_before
        busy = sys.stdout.isatty() and (self._screen is None or self._lines)  # results go to the same terminal
        if self._few or busy:
            yield
            return
        with progress("detect", "pictures") as update:
            self._update = update
            update(done_before, self.total)
            yield
        self._update = _nothing

    def show(self, result: Result) -> None:
        """Show one picture and count it."""
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
        """Stop the clock before the files are written."""
        self._seconds = time.perf_counter() - self._began

    def summary(self, pictures: int, faces: int, failed: int) -> None:
        """Print the totals of a run of many pictures, or of a resumed run, and the rate of this run.

        Args:
            pictures: total number.
            faces: total number.
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
    """Does nothing; used when there is no bar."""


class Terminated(KeyboardInterrupt):
    """SIGTERM asked the process to end."""


_received: list[KeyboardInterrupt] = []
"""The exception that the first signal within ``terminable`` raised."""


def exit_code(interruption: KeyboardInterrupt) -> int:
    """128 plus the signal's number, as in a shell: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (signal.SIGTERM if isinstance(interruption, Terminated) else signal.SIGINT)


@contextmanager
def terminable() -> Iterator[None]:
    """Make SIGTERM raise ``Terminated`` in the block, as Ctrl-C raises ``KeyboardInterrupt``; main thread only.

    The first signal ends the block in order. A second one ends the process at once, without the clean-up of libraries
    whose threads are still running, which could abort. The journal is safe: it is written line by line.
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
    """Within ``terminable``, turn an error caused by an interruption back into that interruption.

    A signal's exception is raised wherever Python code runs, even inside a library that wraps every exception in an
    error of its own, as pydantic's serializer does.
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
    """Exit after an interruption: flush what was written, and skip library clean-up while threads are running."""
    forget()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # the reader is gone
            continue
    os._exit(code)
