"""Ctrl-C and SIGTERM: both end a run in order, and the exit code tells them apart."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


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
