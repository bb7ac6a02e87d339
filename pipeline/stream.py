"""Pictures through both stages with all processors busy: read and decode | detect | crop | classify, overlapped.

Reading threads decode ahead. Working threads take whatever is ready, the later stage first: a full batch of crops (of
whichever pictures), else a picture to detect in, else the crops that are left. So no thread waits for another stage,
and what lies between the stages stays little. A stream of many pictures is worked on by several threads at once, each
calling sessions of few threads; one of a few pictures by one thread whose sessions use every processor. On two cores
with AVX512-VNNI the former gets 1.2 times as much through the detector and 1.1 times through the classifier.

The sources are asked for in the caller's own thread, a window's worth ahead of the results.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from ..core.cpu import one_opencv_thread
from ..core.errors import FacepipeError
from ..detector.inference.detector import BATCH
from .classifiers import Classifiers, Cut, Reading
from .inputs.image_reader import Frame, Source, source_name
from .pixel_budget import Room
from .results import Result
from .stages import Parts, Stages
from .two_stage import Found, assemble, classify_cuts, cut, detect, failed

WINDOW = 16
"""Pictures between the source and the results, at least: two batches of crops where each has one face."""
LONG = 32
"""From so many pictures on a stream is long: opening the second sessions (0.3 s) is made good by then."""
POLL = 1.0
"""Seconds after which a waiting thread looks whether the interpreter is ending."""


@dataclass(eq=False)
class _Job:
    """A picture on its way."""

    index: int
    source: Source
    name: str | None
    frame: Frame | None = None
    sha256: str | None = None
    """Of the encoded picture."""
    pixels: int = 0
    found: Found | None = None
    readings: list[Reading] = field(default_factory=list)
    waited: float = 0.0
    """Seconds until it was its turn to be decoded."""
    waiting: int = 0
    """Crops that are not classified yet."""
    result: Result | None = None


class Engine:
    """The threads and queues of one stream.

    Args:
        stages: whose models work.
        features: read the features, too.

    Every attribute is guarded by one lock; threads wait on its condition.
    """

    def __init__(self, stages: Stages, features: bool = False):
        self._stages, self._features = stages, features
        self._classifiers = stages.parts().classifiers
        self._changed = threading.Condition()
        self._window: deque[_Job] = deque()
        self._to_read: deque[_Job] = deque()
        self._to_detect: deque[_Job] = deque()
        self._cuts: dict[str, deque[tuple[_Job, Cut]]] = {name: deque() for name in self._classifiers.by_name}
        self._upstream = 0
        """Pictures that are being read or detected in, or wait for it."""
        self._pulled = 0
        self._room = Room()
        self._shared: Parts | None = stages.shared_parts(False)
        self._most = max(WINDOW, 8 * stages.workers)
        self._error: BaseException | None = None
        self._stopped = False
        self._threads: list[threading.Thread] = []

    def run(self, sources: Iterable[Source]) -> Generator[tuple[Result, Frame | None]]:
        """The results in the order of the sources, each with its frame.

        Closing the iterator, an error, or the end of the sources ends every thread before it returns.
        """
        waiting = iter(sources)
        exhausted = False
        try:
            while True:
                while not exhausted and self._has_room():
                    try:
                        source = next(waiting)
                    except StopIteration:
                        exhausted = True
                    else:
                        self._put(source)
                job = self._next()
                if job is None:
                    return
                assert job.result is not None
                yield job.result, job.frame
                self._release(job)
        finally:
            self.stop()

    def fail(self, error: BaseException) -> None:
        """End the stream with an error, which its consumer gets in place of the next result."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def stop(self) -> None:
        """Have every thread end after the call that it is in, and wait for that."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._window.clear()

    # The consumer's side

    def _has_room(self) -> bool:
        with self._changed:
            if self._error is not None or len(self._window) >= self._most:
                return False
            if self._window and self._window[0].result is not None:
                return False  # first give what is there
            return not self._window or self._room.left

    def _put(self, source: Source) -> None:
        with self._changed:
            job = _Job(self._pulled, source, source_name(source))
            if isinstance(source, np.ndarray):  # in memory already, whether there is room or not
                job.pixels = int(np.prod(source.shape[:2]))
                self._room.take(job.pixels)
            self._pulled += 1
            self._upstream += 1
            self._window.append(job)
            self._to_read.append(job)
            self._start_threads()
            self._changed.notify_all()

    def _start_threads(self) -> None:
        """A reader and a worker for the first picture; all others with the second."""
        wanted = [("read", self._reader), ("work", self._worker)]
        if self._pulled > 1:
            wanted += [("read", self._reader), ("work", self._helper)] * (self._stages.workers - 1)
        for number, (name, target) in enumerate(wanted[len(self._threads) :], len(self._threads)):
            thread = threading.Thread(target=self._guarded, args=(target,), name=f"facepipe-{name}-{number // 2}")
            thread.start()
            self._threads.append(thread)

    def _next(self) -> _Job | None:
        """Wait for the first picture in flight; None where there is none."""
        with self._changed:
            while True:
                if self._error is not None:
                    raise self._error
                if not self._window:
                    return None
                if self._window[0].result is not None:
                    return self._window.popleft()
                self._changed.wait(POLL)

    def _release(self, job: _Job) -> None:
        with self._changed:
            self._room.give_back(job.pixels)
            self._changed.notify_all()

    # The threads' side

    def _guarded(self, target: Callable[[], None]) -> None:
        try:
            target()
        except BaseException as error:  # whatever it is, the consumer has it
            self.fail(error)

    def _wait(self) -> bool:
        """Wait for a change; False where the thread has to end."""
        self._changed.wait(POLL)
        return not self._ending()

    def _ending(self) -> bool:
        # Python joins these threads when it ends, before it would drop a stream that nobody closed.
        return self._stopped or self._error is not None or not threading.main_thread().is_alive()

    def _reader(self) -> None:
        while (job := self._take_unread()) is not None:
            start, result = time.perf_counter(), None
            try:
                job.frame, job.sha256 = self._stages.read(job.source, partial(self._admit, job))
            except _Ended:
                return
            except FacepipeError as error:
                result = failed(self._stages.models, job.name, error)
            self._stages.stopwatch.add("read", time.perf_counter() - start - job.waited)
            with self._changed:
                job.source = b""  # a picture's encoded bytes are not needed any more
                self._room.settle(job.index)
                if result is None:
                    self._to_detect.append(job)
                else:
                    self._upstream -= 1
                    job.result = result
                self._changed.notify_all()

    def _take_unread(self) -> _Job | None:
        with self._changed:
            while not self._ending():
                if self._to_read:
                    return self._to_read.popleft()
                self._wait()
            return None

    def _admit(self, job: _Job, pixels: int) -> None:
        """Wait until a picture of so many pixels may be decoded: in order, and when there is room for it."""
        start = time.perf_counter()
        with self._changed:
            while not self._room.admits(job.index, pixels, first=self._window[0] is job):
                if not self._wait():
                    raise _Ended
            job.pixels, job.waited = pixels, time.perf_counter() - start
            self._room.take(pixels)
            self._room.settle(job.index)
            self._changed.notify_all()

    def _worker(self) -> None:
        while (task := self._take_task()) is not None:
            task()

    def _helper(self) -> None:
        """A worker that waits until the stream proves long, and opens the sessions for several at once."""
        with self._changed:
            while self._shared is None and self._pulled < LONG:
                if self._ending() or not self._wait():
                    return
        shared = self._stages.shared_parts(True)
        with self._changed:
            self._shared = shared
        with one_opencv_thread() if shared is not None and shared[0].device == "cpu" else nullcontext():
            self._worker()

    def _take_task(self) -> Callable[[], None] | None:
        """The next piece of work, the later stage first."""
        with self._changed:
            while not self._ending():
                parts = self._parts()
                detector, classifiers = parts
                for name, waiting in self._cuts.items():
                    full = classifiers.by_name[name].batch
                    if len(waiting) >= full:
                        return partial(self._classify, classifiers, name, self._take(name, full))
                if self._to_detect:
                    most = 1 if detector.device == "cpu" else BATCH
                    jobs = [self._to_detect.popleft() for _ in range(min(most, len(self._to_detect)))]
                    return partial(self._detect, parts, jobs)
                # Rather than idle take what there is. To wait for a full batch would be to wait for ever where the
                # pictures that would fill it have no room until these are done.
                for name, waiting in self._cuts.items():
                    if waiting:
                        ends = self._upstream == 0 and self._several()
                        share = -(-len(waiting) // self._stages.workers) if ends else len(waiting)
                        return partial(self._classify, classifiers, name, self._take(name, max(2, share)))
                self._changed.wait(POLL)
            return None

    def _take(self, name: str, most: int) -> list[tuple[_Job, Cut]]:
        waiting = self._cuts[name]
        return [waiting.popleft() for _ in range(min(most, len(waiting)))]

    def _several(self) -> bool:
        """Whether several workers share the processors; a picture that is alone has all of them."""
        return self._shared is not None and self._pulled > 1

    def _parts(self) -> Parts:
        parts = self._stages.parts()  # an error where the pipeline was closed
        return self._shared if self._shared is not None and self._pulled > 1 else parts

    def _detect(self, parts: Parts, jobs: list[_Job]) -> None:
        frames = [job.frame for job in jobs if job.frame is not None]
        stopwatch = self._stages.stopwatch
        for job, found in zip(jobs, detect(parts.detector, frames, stopwatch), strict=True):
            job.found = found
            job.readings, cuts = cut(parts.classifiers, found.placed(), stopwatch)
            with self._changed:
                self._upstream -= 1
                job.waiting = sum(len(each) for each in cuts.values())
                for name, each in cuts.items():
                    self._cuts[name].extend((job, one) for one in each)
                self._changed.notify_all()
            if job.waiting == 0:
                self._finish([job])

    def _classify(self, classifiers: Classifiers, name: str, taken: list[tuple[_Job, Cut]]) -> None:
        classify_cuts(classifiers, name, [each for _, each in taken], self._stages.stopwatch, self._features)
        with self._changed:
            for job, _ in taken:
                job.waiting -= 1
            done = [job for job in dict.fromkeys(job for job, _ in taken) if job.waiting == 0]
        self._finish(done)

    def _finish(self, jobs: list[_Job]) -> None:
        for job in jobs:
            assert job.found is not None
            for reading in job.readings:
                self._classifiers.tidy(reading)
            result = assemble(self._stages.models, job.name, job.found, job.readings, self._features, job.sha256)
            with self._changed:
                job.result = result
                self._changed.notify_all()


class _Ended(FacepipeError):
    """The stream ended while a picture waited for its turn."""
