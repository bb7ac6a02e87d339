"""Pictures of many clients, decoded and analysed together.

Two kinds of threads: decoders take waiting uploads and make frames of them; a runner, one for each lane of the models,
takes its share of the frames that are ready, once the first of them has waited a few milliseconds for more, and
analyses them in one go. What waits is bounded: the uploads by number, the frames by number and pixels. The event loop
does none of this.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from ...core.errors import FacepipeError
from ..inputs.image_reader import Frame, Limits, read_picture
from ..results import Result
from .metrics import Metrics
from .models import Choice
from .problems import Refusal, unreadable
from .settings import Settings

LOG = logging.getLogger("facepipe.serve")
PIXELS = 64_000_000
"""Decoders pause while frames of this many pixels (192 MB) are ready, being analysed or kept for drawing."""

LONGEST = 30
"""Most seconds that a full queue sends a client away for: half of the time that its pictures will take."""

Run = Callable[[Choice, list[Frame], int | None], tuple[list[Result], dict[str, float]]]
"""As ``Served.run``."""


@dataclass(eq=False)
class Job:
    """One picture on its way.

    Attributes:
        content: the encoded picture; let go of once it is decoded.
        choice: what looks at it.
        keep: keep the frame, for drawing, until the job is dropped.
        future: its result; a ``Refusal`` where it cannot be read.
        frame: the decoded picture.
        sha256: of the encoded picture, once it is decoded.
    """

    content: bytes | bytearray
    choice: Choice
    keep: bool = False
    future: Future[Result] = field(default_factory=Future)
    frame: Frame | None = None
    sha256: str | None = None
    since: float = field(default_factory=time.monotonic)
    """When it began to wait, for a decoder and then for the runner."""
    waited: float = 0.0

    @property
    def pixels(self) -> int:
        """Pixels of the frame that it holds."""
        return 0 if self.frame is None else self.frame.shape[0] * self.frame.shape[1]


class Batcher:
    """Takes pictures, gives results.

    Args:
        run: analyses frames.
        lanes: how many threads may call it at a time.
        settings: the server's.
        metrics: where it counts.
    """

    def __init__(self, run: Run, lanes: int, settings: Settings, metrics: Metrics):
        self._run, self._settings, self._metrics = run, settings, metrics
        self._limits = Limits(settings.max_bytes, settings.max_pixels)
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._ready: deque[Job] = deque()
        self._decoding = 0
        self._pixels = 0
        self._each = 0.0  # seconds a picture, of late
        self._closing = False
        self._lanes, self._busy = lanes, 0
        self._threads = [
            *(
                threading.Thread(target=self._decode, name=f"facepipe-decode-{each}")
                for each in range(settings.decoders)
            ),
            *(
                threading.Thread(target=self._analyse, args=(each,), name=f"facepipe-run-{each}")
                for each in range(lanes)
            ),
        ]
        for thread in self._threads:
            thread.daemon = True

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        """Whether every thread is at work."""
        return all(thread.is_alive() for thread in self._threads)

    @property
    def waiting(self) -> int:
        """Pictures that have been taken and are not being analysed yet."""
        return len(self._waiting) + self._decoding + len(self._ready)

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

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take pictures, all of them or none.

        Raises:
            Refusal: 503, the queue is full or the server stops.
        """
        with self._changed:
            if self._closing:
                raise Refusal(503, "the server is stopping", "stopping")
            if self.waiting + len(jobs) > self._settings.queue:
                raise self._full()
            self._waiting.extend(jobs)
            self._changed.notify_all()

    def drop(self, jobs: Sequence[Job]) -> None:
        """Forget pictures: what has not begun is not begun, and frames that were kept are let go of."""
        with self._changed:
            for job in jobs:
                job.future.cancel()
                for line in (self._waiting, self._ready):
                    if job in line:
                        line.remove(job)
                if job.future.done():
                    self._let_go(job)
                else:
                    job.keep = False  # it is being analysed; the runner lets go of it
            self._changed.notify_all()

    def close(self) -> None:
        """Refuse what comes, finish what was taken, and end the threads."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _let_go(self, job: Job) -> None:
        """Under the lock."""
        self._pixels -= job.pixels
        job.frame = None

    def _decode(self) -> None:
        """A decoder's work."""
        while (job := self._next_upload()) is not None:
            started = time.monotonic()
            job.waited = started - job.since
            frame: Frame | None = None
            error: Exception | None = None
            try:
                frame, job.sha256 = read_picture(job.content, self._limits)
            except FacepipeError as failed:
                error = unreadable(failed)
            except Exception as failed:
                LOG.exception("a picture could not be decoded")
                error = failed
            job.content = b""
            job.since = time.monotonic()
            self._metrics.stage_seconds.labels("decode").observe(job.since - started)
            with self._changed:
                self._decoding -= 1
                if frame is not None and not job.future.cancelled():
                    job.frame = frame
                    self._pixels += job.pixels
                    self._ready.append(job)
                self._changed.notify_all()
            if error is not None and job.future.set_running_or_notify_cancel():
                self._metrics.pictures.labels("unreadable").inc()
                job.future.set_exception(error)

    def _next_upload(self) -> Job | None:
        """The next upload, once there is room for its frame; None when the batcher closes and nothing waits."""
        with self._changed:
            while True:
                room = self._pixels < PIXELS and len(self._ready) + self._decoding < 2 * self._settings.batch
                if self._waiting and room:
                    self._decoding += 1
                    return self._waiting.popleft()
                if self._closing and not self._waiting:
                    return None
                self._changed.wait()

    def _analyse(self, lane: int) -> None:
        """A runner's work."""
        while (batch := self._next_batch()) is not None:
            with self._changed:
                alone = self._busy == len(batch) == 1 and not self.waiting
            together: dict[Choice, list[tuple[Job, Frame]]] = {}
            for job, frame in batch:
                together.setdefault(job.choice, []).append((job, frame))
            for choice, pairs in together.items():
                self._run_together(choice, pairs, None if alone else lane)
            with self._changed:
                self._busy -= 1
                for job, _ in batch:
                    if not job.keep:
                        self._let_go(job)
                self._changed.notify_all()

    def _next_batch(self) -> list[tuple[Job, Frame]] | None:
        """A runner's share of the frames that are ready; None when the batcher is done. Counts the runner as busy."""
        with self._changed:
            while (count := self._share()) is not None:
                batch = []
                for job in [self._ready.popleft() for _ in range(count)]:
                    if job.frame is not None and job.future.set_running_or_notify_cancel():
                        batch.append((job, job.frame))
                    else:
                        self._let_go(job)
                self._changed.notify_all()
                if batch:
                    self._busy += 1
                    break
            else:
                return None
        now = time.monotonic()
        self._metrics.batch.observe(len(batch))
        for job, _ in batch:
            self._metrics.stage_seconds.labels("queue").observe(job.waited + now - job.since)
        return batch

    def _share(self) -> int | None:
        """Wait, under the lock, until the first ready frame has waited its time or there is a batch for each runner.

        Returns:
            How many frames this runner takes, so that the others that are free have as many; None at the end.
        """
        while True:
            ending = self._closing and not self._waiting and not self._decoding
            if not self._ready:
                if ending:
                    return None
                self._changed.wait()
                continue
            free = max(1, self._lanes - self._busy)
            left = self._ready[0].since + self._settings.window - time.monotonic()
            if ending or left <= 0 or len(self._ready) >= self._settings.batch * free:
                return min(self._settings.batch, -(-len(self._ready) // free))
            self._changed.wait(left)

    def _run_together(self, choice: Choice, pairs: list[tuple[Job, Frame]], lane: int | None) -> None:
        """Analyse frames in one call; where that fails, each alone, so that one does not take the others with it."""
        started = time.monotonic()
        try:
            results, stages = self._run(choice, [frame for _, frame in pairs], lane)
        except Exception as error:
            if len(pairs) == 1:
                LOG.exception("a picture could not be analysed")
                pairs[0][0].future.set_exception(error)
                return
            for pair in pairs:
                self._run_together(choice, [pair], lane)
            return
        self._each += 0.2 * ((time.monotonic() - started) / len(pairs) / self._lanes - self._each)
        for stage, seconds in stages.items():
            self._metrics.stage_seconds.labels(stage).observe(seconds)
        for (job, _), result in zip(pairs, results, strict=True):
            self._metrics.pictures.labels("done").inc()
            self._metrics.faces.inc(len(result.faces))
            job.future.set_result(result)
