"""Time, summed by the part of the work that took it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Sums the time of each part; ``seconds`` maps each part's name to its sum, in the order of first use.

    Every thread adds its own time. Where parts overlap, as in ``Pipeline.stream``, the sums are those of all threads
    together, so they come to more than has passed on the clock.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add the time that the ``with`` block takes to ``part``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(part, time.perf_counter() - start)

    def add(self, part: str, seconds: float) -> None:
        """Add seconds to ``part``."""
        with self._lock:
            self.seconds[part] = self.seconds.get(part, 0.0) + seconds
