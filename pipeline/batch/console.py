"""What a run shows while it goes on, and at its end: tables of a few pictures, a bar and a summary of many."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..console import console, print_line, print_result, printable, progress, report
from ..results import Result

FEW = 20
"""Up to so many pictures have a table each, and all of their errors are printed."""


class DetectScreen:
    """The screen of one run.

    Up to ``FEW`` pictures have a table each. Of more, each has one line where nothing else is written; otherwise there
    is a bar at a terminal, and the errors past ``FEW`` are left to the outputs.

    Args:
        total: pictures of the whole run.
        tables: show pictures on standard output.
        kept: the results are written to a file, too.
    """

    def __init__(self, total: int, tables: bool, kept: bool):
        self.total = total
        self._few = total <= FEW
        self._kept = kept
        self._screen = console() if tables else None
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
            print_result(result, self._screen)
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
        if self._few and pictures == self.pictures:
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


def note(text: str) -> None:
    """Print a line on standard error that is neither an error nor a result."""
    print(printable(text), file=sys.stderr, flush=True)


def _nothing(done: int, total: int) -> None:
    """Where there is no bar."""
