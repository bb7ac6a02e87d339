"""Feed the pictures of many clients into one engine, through a bounded queue."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial

from ..inputs.image_reader import Limits
from ..queues import Ticket
from ..results import Result
from ..stages import Stages, Stopwatch
from ..stream import Engine
from .metrics import Metrics
from .models import Choice, Served
from .problems import Refusal
from .settings import Settings

LONGEST = 30
"""Longest ``Retry-After`` in seconds for a full queue, which is half the time that the waiting pictures will take."""
KEPT = 64
"""Number of choices whose stages are cached. They share the models, so they cost next to nothing."""


class FaceBudget:
    """Limits how many faces are classified per picture and per request.

    Args:
        picture: limit per picture.
        request: limit for all pictures of the request.
    """

    def __init__(self, picture: int, request: int):
        self._picture, self._left = picture, request

    def take(self, wanted: int) -> int:
        """How many of a picture's faces may be classified. Ask once per picture, never from two threads at a time."""
        given = min(wanted, self._picture, self._left)
        self._left -= given
        return given


class _Observed(Stopwatch):
    """A stopwatch that also reports each time to the metrics."""

    def __init__(self, metrics: Metrics):
        super().__init__()
        self._metrics = metrics

    def add(self, part: str, seconds: float) -> None:
        super().add(part, seconds)
        self._metrics.stage_seconds.labels("decode" if part == "read" else part).observe(seconds)


class Scheduler:
    """Takes pictures and returns results. Called only from the event loop's thread, which does no other work.

    Args:
        served: the models.
        settings: the server's.
        metrics: where to count.
    """

    def __init__(self, served: Served, settings: Settings, metrics: Metrics):
        self._served, self._settings, self._metrics = served, settings, metrics
        self._limits = Limits(settings.max_bytes, settings.max_pixels)
        self._stopwatch = _Observed(metrics)
        self._stages: OrderedDict[Choice, Stages] = OrderedDict()
        self._engine = Engine(self._of(served.default), settings.decoders, settings.batch, settings.window, self._begun)
        self._closing = False
        self._each = 0.0  # seconds per picture, recent average
        self._last = time.monotonic()

    def start(self) -> None:
        """Start the threads."""
        self._engine.start()

    @property
    def alive(self) -> bool:
        """Whether all threads are running."""
        return self._engine.alive

    @property
    def waiting(self) -> int:
        """Pictures accepted but not yet being analysed."""
        return self._engine.waiting

    def check(self) -> None:
        """Refuse a request before its upload is read if the queue has no room for a single picture.

        Raises:
            Refusal: 503, the queue is full.
        """
        if self.waiting >= self._settings.queue:
            raise self._full()

    def _full(self) -> Refusal:
        seconds = min(LONGEST, max(1, math.ceil(self.waiting * self._each / 2)))
        detail = f"{self.waiting} pictures are waiting already; try again"
        return Refusal(503, detail, "queue-full", {"Retry-After": str(seconds)})

    def submit(self, choice: Choice, contents: Sequence[bytes | bytearray], keep: bool = False) -> list[Ticket]:
        """Queue the pictures of a request, all of them or none.

        Args:
            choice: the models to use.
            contents: the encoded pictures.
            keep: keep the frames, for drawing, until the tickets are dropped.

        Raises:
            Refusal: 503, the queue is full or the server is stopping.
        """
        if self._closing:
            raise Refusal(503, "the server is stopping", "stopping")
        if self.waiting + len(contents) > self._settings.queue:
            raise self._full()
        stages = self._of(choice)
        faces = FaceBudget(self._settings.max_faces, self._settings.max_request_faces)
        tickets = [Ticket(content, stages, keep=keep, allow=faces.take) for content in contents]
        for ticket in tickets:
            ticket.future.add_done_callback(partial(self._done, ticket))
        self._engine.submit(*tickets)
        return tickets

    def drop(self, tickets: Sequence[Ticket]) -> None:
        """Drop pictures: unfinished ones stop after the call they are in, and kept frames are released."""
        self._engine.release(*tickets)

    def close(self) -> None:
        """Refuse new pictures, finish the accepted ones, and stop the threads."""
        self._closing = True
        self._engine.close(finish=True)

    def _of(self, choice: Choice) -> Stages:
        stages = self._stages.pop(choice, None) or self._served.stages(choice, self._limits, self._stopwatch)
        self._stages[choice] = stages  # most recently used last
        if len(self._stages) > KEPT:
            self._stages.popitem(last=False)
        return stages

    def _begun(self, tickets: Sequence[Ticket]) -> None:
        self._metrics.batch.observe(len(tickets))
        for ticket in tickets:
            self._metrics.stage_seconds.labels("queue").observe(ticket.waited)

    def _done(self, ticket: Ticket, future: Future[Result]) -> None:
        now = time.monotonic()
        if self.waiting:  # otherwise there was idle time since the previous picture
            self._each += 0.2 * (now - self._last - self._each)
        self._last = now
        if future.cancelled() or future.exception() is not None:
            return
        self._metrics.pictures.labels("done" if ticket.error is None else "unreadable").inc()
        self._metrics.faces.inc(len(future.result().faces))
