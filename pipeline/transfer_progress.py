"""A progress bar of bytes on standard error, for whoever sits at a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .table import console


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
