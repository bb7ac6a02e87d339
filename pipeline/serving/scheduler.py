"""Pictures of many clients into one engine, and a queue that has an end."""

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
"""Most seconds that a full queue sends a client away for: half of the time that its pictures will take."""
KEPT = 64
"""Choices whose stages are kept for the next request; they share the models and weigh nothing."""


class FaceBudget:
    """How many faces may be classified of one picture, and of all pictures of a request.

    Args:
        picture: of one picture.
        request: of all of them.
    """

    def __init__(self, picture: int, request: int):
        self._picture, self._left = picture, request

    def take(self, wanted: int) -> int:
        """How many of a picture's faces may be classified; asked once a picture, never by two threads at a time."""
        given = min(wanted, self._picture, self._left)
        self._left -= given
        return given


class _Observed(Stopwatch):
    """Tells the metrics of each time that is added."""

    def __init__(self, metrics: Metrics):
        super().__init__()
        self._metrics = metrics

    def add(self, part: str, seconds: float) -> None:
        super().add(part, seconds)
        self._metrics.stage_seconds.labels("decode" if part == "read" else part).observe(seconds)


class Scheduler:
    """Takes pictures, gives results. Its methods are called by the event loop's thread, which does no other work.

    Args:
        served: the models.
        settings: the server's.
        metrics: where it counts.
    """

    def __init__(self, served: Served, settings: Settings, metrics: Metrics):
        self._served, self._settings, self._metrics = served, settings, metrics
        self._limits = Limits(settings.max_bytes, settings.max_pixels)
        self._stopwatch = _Observed(metrics)
        self._stages: OrderedDict[Choice, Stages] = OrderedDict()
        self._engine = Engine(self._of(served.default), settings.decoders, settings.batch, settings.window, self._begun)
        self._closing = False
        self._each = 0.0  # seconds a picture, of late
        self._last = time.monotonic()

    def start(self) -> None:
        """Start the threads."""
        self._engine.start()

    @property
    def alive(self) -> bool:
        """Whether every thread is at work."""
        return self._engine.alive

    @property
    def waiting(self) -> int:
        """Pictures that have been taken and are not being analysed yet."""
        return self._engine.waiting

    def check(self) -> None:
        """Refuse where not one more picture could be taken: before an upload is read.

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
        """Take the pictures of a request, all of them or none.

        Args:
            choice: what looks at them.
            contents: the encoded pictures.
            keep: keep the frames, for drawing, until the tickets are dropped.

        Raises:
            Refusal: 503, the queue is full or the server stops.
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
        """Forget pictures: what is not done ends after the call that it is in, and frames that were kept are let go."""
        self._engine.release(*tickets)

    def close(self) -> None:
        """Refuse what comes, finish what was taken, and end the threads."""
        self._closing = True
        self._engine.close(finish=True)

    def _of(self, choice: Choice) -> Stages:
        stages = self._stages.pop(choice, None) or self._served.stages(choice, self._limits, self._stopwatch)
        self._stages[choice] = stages  # the last used stands last
        if len(self._stages) > KEPT:
            self._stages.popitem(last=False)
        return stages

    def _begun(self, tickets: Sequence[Ticket]) -> None:
        self._metrics.batch.observe(len(tickets))
        for ticket in tickets:
            self._metrics.stage_seconds.labels("queue").observe(ticket.waited)

    def _done(self, ticket: Ticket, future: Future[Result]) -> None:
        now = time.monotonic()
        if self.waiting:  # else there was time between this picture and the one before
            self._each += 0.2 * (now - self._last - self._each)
        self._last = now
        if future.cancelled() or future.exception() is not None:
            return
        self._metrics.pictures.labels("done" if ticket.error is None else "unreadable").inc()
        self._metrics.faces.inc(len(future.result().faces))
