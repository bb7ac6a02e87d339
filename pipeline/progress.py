"""A progress bar on standard error, for whoever sits at a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .table import console

if TYPE_CHECKING:
    from rich.progress import Task


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
