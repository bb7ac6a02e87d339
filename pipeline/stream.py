"""Runs pictures through both stages with all processors busy: read and decode | detect | crop | classify, overlapped.

Reader threads decode ahead. Worker threads take whatever is ready, later stages first: a full batch of crops (from any
pictures), else a picture to detect in, else the remaining crops. So no thread waits for another stage, and the queues
between the stages stay short. With many pictures, several threads work at once, each calling sessions with few threads;
a single picture uses sessions with every processor. On two cores with AVX512-VNNI the former gives 1.2 times the
detector's throughput and 1.1 times the classifier's.

``Pipeline.stream`` feeds an engine of its own, one window ahead of the results; a server feeds a permanent one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import wait
from contextlib import nullcontext
from functools import partial

from ..core.cpu import one_opencv_thread
from ..core.errors import FacepipeError, ImageError
from ..detector.inference.detector import BATCH
from .classifiers import Classifiers, Cut, Reading
from .inputs.image_reader import Frame, Source
from .queues import Classification, Detection, Queues, Ticket
from .results import Result
from .stages import Stages
from .two_stage import Found, assemble, classify_cuts, cut, detect, failed

WINDOW = 16
"""Minimum window of a stream, in pictures between source and results: two batches of crops at one face per picture."""
LONG = 32
"""From this many pictures on, a stream is long enough to recover the cost of opening the second sessions (0.3 s)."""
POLL = 1.0
"""Seconds after which a waiting thread checks whether the interpreter is shutting down."""
UNREAD = "not classified: the picture, or its request, has more faces than are read"


class _Ended(Exception):
    """A picture was dropped, or the engine stopped, while the picture waited for its turn to be decoded."""


class Engine:
    """The threads and queues of a scheduler. Threads start with the first pictures, or with :meth:`start`.

    Args:
        stages: sets the number of workers; its shared sessions are opened when many pictures come.
        readers: number of threads that decode; None takes as many as there are workers.
        batch: maximum number of pictures per detector call on an accelerator; on a CPU it is one.
        window: seconds that such a call waits for pictures that are being decoded.
        begun: called with the pictures of each detector call, before it.

    One lock guards every attribute; threads wait on its condition.
    """

    def __init__(
        self,
        stages: Stages,
        readers: int | None = None,
        batch: int = BATCH,
        window: float = 0.0,
        begun: Callable[[Sequence[Ticket]], None] | None = None,
    ):
        self.stages = stages
        self._readers, self._window, self._begun = readers or stages.workers, window, begun
        self._changed = threading.Condition()
        self._queues = Queues(stages.workers, batch, window)
        self._error: BaseException | None = None
        self._stopped = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start every thread and open the shared sessions before the first picture comes."""
        self.stages.shared_parts(True)
        with self._changed:
            self._start_threads(several=True)

    def submit(self, *tickets: Ticket) -> None:
        """Submit pictures."""
        with self._changed:
            for ticket in tickets:
                self._queues.add(ticket)
            self._start_threads(several=self._queues.submitted > 1)
            self._changed.notify_all()

    def result(self, ticket: Ticket) -> Result:
        """Wait for a picture's result.

        Raises:
            Exception: what a stage raised for this picture, or the error that ended the engine.
        """
        while not ticket.future.done() and self._error is None:
            wait([ticket.future], POLL)
        with self._changed:
            if self._error is not None:
                raise self._error
            self._queues.order.pop(ticket.number, None)
        return ticket.future.result()

    def release(self, *tickets: Ticket) -> None:
        """Release frames that were kept. Unfinished pictures are dropped and end after their current call."""
        dropped = []
        with self._changed:
            for ticket in tickets:
                ticket.keep, ticket.dropped = False, True
                if ticket.done:
                    self._queues.let_go(ticket)
                elif self._queues.withdraw(ticket):
                    dropped.append(ticket)
            self._changed.notify_all()
        for ticket in dropped:
            self._end(ticket)

    @property
    def room(self) -> bool:
        """Whether more pictures may be decoded at the moment."""
        return self._queues.budget.left

    @property
    def waiting(self) -> int:
        """Number of submitted pictures that no detector is working on yet."""
        return self._queues.waiting

    @property
    def alive(self) -> bool:
        """Whether every thread is running."""
        return self._error is None and all(thread.is_alive() for thread in self._threads)

    def fail(self, error: BaseException) -> None:
        """End with an error, which is raised to everyone who waits for a picture."""
        with self._changed:
            self._error = self._error or error
            left = [*self._queues.order.values()]
            self._changed.notify_all()
        for ticket in left:
            self._end(ticket, fault=error)

    def close(self, finish: bool = False) -> None:
        """End every thread after its current call, and wait for that.

        Args:
            finish: first process everything that was submitted.
        """
        with self._changed:
            while finish and self._queues.active and self.alive:
                self._changed.wait(POLL)
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        for ticket in [*self._queues.order.values()]:
            self._end(ticket)

    def _start_threads(self, several: bool) -> None:
        """Start a reader and a worker, and all the others if several pictures come. Call it under the lock."""
        wanted = [("read", self._reader), ("work", self._worker)]
        if several:
            wanted += [("read", self._reader)] * (self._readers - 1)
            wanted += [("work", self._helper)] * (self.stages.workers - 1)
        for number, (name, target) in enumerate(wanted[len(self._threads) :], len(self._threads)):
            thread = threading.Thread(target=self._guarded, args=(target,), name=f"facepipe-{name}-{number}")
            thread.start()
            self._threads.append(thread)

    def _guarded(self, target: Callable[[], None]) -> None:
        try:
            target()
        except BaseException as error:  # pass any error on to those who wait
            self.fail(error)

    def _wait(self) -> bool:
        """Wait for a change; False if the thread has to end."""
        self._changed.wait(POLL)
        return not self._ending()

    def _ending(self) -> bool:
        # Python joins these threads at exit, before it would drop a stream that nobody closed.
        return self._stopped or self._error is not None or not threading.main_thread().is_alive()

    def _end(self, ticket: Ticket, result: Result | None = None, fault: BaseException | None = None) -> None:
        """Finish a picture: it is done, has failed, or (neither) was dropped. Only the first call counts."""
        with self._changed:
            if ticket.done:
                return
            ticket.done = True
            self._queues.active -= 1
            self._queues.withdraw(ticket)
            if not ticket.keep or result is None:
                self._queues.let_go(ticket)
            self._changed.notify_all()
        if result is not None and ticket.future.set_running_or_notify_cancel():
            ticket.future.set_result(result)
        elif fault is not None and ticket.future.set_running_or_notify_cancel():
            ticket.future.set_exception(fault)
        else:
            ticket.future.cancel()

    def _reader(self) -> None:
        while True:
            with self._changed:
                while not self._queues.to_read and not self._ending():
                    self._changed.wait(POLL)
                if self._ending():
                    return
                ticket = self._queues.to_read.popleft()
                self._queues.reading += 1
            self._read(ticket)

    def _read(self, ticket: Ticket) -> None:
        start, result, fault = time.monotonic(), None, None
        waited = ticket.waited = start - ticket.since
        try:
            ticket.picture = ticket.stages.read(ticket.source, partial(self._admit, ticket))
            if ticket.keep:
                _ = ticket.picture.frame  # decode it here, while others are processed
        except _Ended:
            pass
        except FacepipeError as error:
            ticket.error = error
            result = failed(ticket.stages.models, ticket.name, error)
        except Exception as error:
            fault = error
        ticket.since = time.monotonic()
        ticket.stages.stopwatch.add("read", ticket.since - start - (ticket.waited - waited))
        with self._changed:
            ticket.source = b""  # the encoded bytes are no longer needed
            self._queues.budget.settle(ticket.number)
            self._queues.reading -= 1
            ready = ticket.picture is not None and result is None and fault is None and not ticket.dropped
            if ready:
                self._queues.to_detect.append(ticket)
            self._changed.notify_all()
        if not ready:
            self._end(ticket, result, fault)

    def _admit(self, ticket: Ticket, pixels: int) -> None:
        """Wait until a picture of this many pixels may be decoded: in order, and once there is room."""
        start = time.monotonic()
        with self._changed:
            while not self._queues.admits(ticket, pixels):
                if ticket.dropped or not self._wait():
                    raise _Ended
            ticket.pixels = pixels
            ticket.waited += time.monotonic() - start
            self._queues.budget.take(pixels)
            self._queues.budget.settle(ticket.number)
            self._changed.notify_all()

    def _worker(self) -> None:
        while (task := self._take_task()) is not None:
            if isinstance(task, Detection):
                self._begin(task)
            else:
                self._classify(task)
            with self._changed:
                self._queues.busy -= 1
                self._changed.notify_all()

    def _helper(self) -> None:
        """A worker that waits until many pictures come, then opens the shared sessions."""
        with self._changed:
            while self.stages.shared_parts(False) is None and self._queues.submitted < LONG:
                if self._ending() or not self._wait():
                    return
        self.stages.shared_parts(True)
        with one_opencv_thread() if self.stages.parts().detector.device == "cpu" else nullcontext():
            self._worker()

    def _take_task(self) -> Detection | Classification | None:
        with self._changed:
            while not self._ending():
                if (task := self._queues.next_task()) is not None:
                    return task
                self._changed.wait(max(self._window, 1e-3) if self._queues.to_detect else POLL)
            return None

    def _begin(self, task: Detection) -> None:
        now = time.monotonic()
        for ticket in task.tickets:
            ticket.waited += now - ticket.since
        if self._begun is not None:
            self._begun(task.tickets)
        self._detect(task)

    def _detect(self, task: Detection) -> None:
        """Detect in pictures with one call; if that fails, one by one, so that one picture cannot spoil the rest."""
        parts, tickets = task
        pictures = [ticket.picture for ticket in tickets if ticket.picture is not None]
        try:
            founds = detect(parts, pictures, tickets[0].stages.stopwatch)
        except Exception as error:
            if len(tickets) > 1:
                for ticket in tickets:
                    self._detect(Detection(parts, [ticket]))
                return
            with self._changed:
                self._queues.detecting -= 1
            self._end(tickets[0], fault=error)
            return
        for ticket, found in zip(tickets, founds, strict=True):
            self._cut(parts.classifiers, ticket, found)

    def _cut(self, classifiers: Classifiers, ticket: Ticket, found: Found) -> None:
        """Cut a picture's crops and queue them, for as many faces as are allowed."""
        count = len(found.faces)
        with self._changed:
            allowed = count if ticket.allow is None else ticket.allow(count)
        cuts: dict[str, list[Cut]] = {}
        result, fault = None, None
        try:
            if not ticket.dropped:
                placed = found.placed(None if allowed == count else range(allowed))
                ticket.readings, cuts = cut(classifiers, placed, ticket.stages.stopwatch)
        except ImageError as error:  # the picture was decoded at a reduced size, but not in full
            ticket.error, result = error, failed(ticket.stages.models, ticket.name, error)
        except Exception as error:
            fault = error
        for _ in range(count - allowed):
            ticket.readings.append(Reading(reasons=dict.fromkeys(classifiers.by_name, UNREAD)))
        with self._changed:
            self._queues.detecting -= 1
            ticket.found = found
            if not ticket.dropped:
                self._queues.add_crops(ticket, cuts)
            waits = ticket.crops > 0
            self._changed.notify_all()
        if result is not None or fault is not None:
            self._end(ticket, result, fault)
        elif not waits:
            self._finish(ticket)

    def _classify(self, task: Classification) -> None:
        """Classify crops with one call; if that fails, picture by picture."""
        parts, kind, crops = task
        cuts, stopwatch = [each for _, each in crops], kind.stages.stopwatch
        tickets = [*dict.fromkeys(ticket for ticket, _ in crops)]
        try:
            classify_cuts(parts.classifiers, kind.classifier, cuts, stopwatch, kind.features, kind.steady)
        except Exception as error:
            if len(tickets) == 1:
                self._end(tickets[0], fault=error)
                return
            for ticket in tickets:
                self._classify(Classification(parts, kind, [pair for pair in crops if pair[0] is ticket]))
            return
        with self._changed:
            for ticket, _ in crops:
                ticket.crops -= 1
            done = [ticket for ticket in tickets if ticket.crops == 0]
        for ticket in done:
            self._finish(ticket)

    def _finish(self, ticket: Ticket) -> None:
        """Assemble a picture's result once all of its crops are classified."""
        stages, found = ticket.stages, ticket.found
        if ticket.dropped or found is None:
            self._end(ticket)
            return
        for reading in ticket.readings:
            stages.parts().classifiers.tidy(reading)
        result = assemble(stages.models, ticket.name, found, ticket.readings, ticket.features)
        self._end(ticket, result)


def in_order(
    engine: Engine, sources: Iterable[Source], features: bool = False, frames: bool = True
) -> Generator[tuple[Result, Frame | None]]:
    """Yield the results of any number of pictures in the order of the sources, each with its frame.

    The sources are iterated in the caller's thread. Closing the iterator, an error, or the end of the sources closes
    the engine before it returns.

    Args:
        engine: one that nobody else uses.
        sources: as for ``Pipeline.stream``.
        features: also read the features.
        frames: False gives None in place of each frame.

    Raises:
        Exception: what the sources or a stage raised; a picture that cannot be read gives a result that says so.
    """
    waiting, window, exhausted = iter(sources), deque[Ticket](), False
    most = max(WINDOW, 8 * engine.stages.workers)
    try:
        while True:
            while (
                not exhausted and len(window) < most and not (window and (window[0].future.done() or not engine.room))
            ):
                try:
                    source = next(waiting)
                except StopIteration:
                    exhausted = True
                else:
                    window.append(Ticket(source, engine.stages, features, keep=frames, steady=True))
                    engine.submit(window[-1])
            if not window:
                return
            ticket = window.popleft()
            result = engine.result(ticket)
            picture = ticket.picture if frames and ticket.error is None else None
            yield result, None if picture is None else picture.frame
            engine.release(ticket)
    finally:
        engine.close()
