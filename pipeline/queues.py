"""The queues between the stages of an engine, and the choice of the next task."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ..core.errors import FacepipeError
from .classifiers import Cut, Reading
from .inputs.image_reader import Picture, Source, source_name
from .results import Result
from .stages import Parts, Stages
from .two_stage import Found

PATIENCE = 8
"""Number of detections after which crops that do not fill a batch are classified anyway."""
PIXELS = 64_000_000
"""Limit on decoded pixels in flight (192 MB); a single picture may exceed it."""
FEW = 4
"""From this many crops on, several workers share the crops of a picture that is alone."""


@dataclass(eq=False)
class Ticket:
    """A picture on its way through an engine.

    Attributes:
        source: as for ``Pipeline.run``; dropped once it is read.
        stages: whose models look at it.
        features: also read the features.
        keep: decode every pixel, and keep them until :meth:`Engine.release`.
        steady: give a face the same numbers to the last digit whatever it is batched with; costs a second crop if a
            crop would be alone.
        allow: given the number of faces, returns how many may be classified, the most confident first; None allows all.
        future: its result.
        name: the source's path or URL, or None.
        error: why it could not be read; the result says so too.
        picture: the decoded picture; None before it is read and after it is released.
        waited: seconds spent waiting for a reader and for a detector.

    The others are internal to the engine: ``since`` when it waits for the next stage, its ``number`` in the order of
    submission, its ``pixels`` in the budget, what was ``found``, the ``readings`` to fill, how many ``crops`` are not
    yet classified, the detection count (``turn``) at which they began to wait, and whether it was ``dropped`` or is
    ``done``.
    """

    source: Source
    stages: Stages
    features: bool = False
    keep: bool = False
    steady: bool = False
    allow: Callable[[int], int] | None = None
    future: Future[Result] = field(default_factory=Future, init=False)
    name: str | None = field(default=None, init=False)
    error: FacepipeError | None = field(default=None, init=False)
    picture: Picture | None = field(default=None, init=False)
    waited: float = field(default=0.0, init=False)
    since: float = field(default_factory=time.monotonic, init=False)
    number: int = field(default=0, init=False)
    pixels: int = field(default=0, init=False)
    found: Found | None = field(default=None, init=False)
    readings: list[Reading] = field(default_factory=list, init=False)
    crops: int = field(default=0, init=False)
    turn: int = field(default=0, init=False)
    dropped: bool = field(default=False, init=False)
    done: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.name = source_name(self.source)


class Kind(NamedTuple):
    """What crops must have in common to be classified in one call."""

    stages: Stages
    classifier: str
    features: bool
    steady: bool

    @property
    def batch(self) -> int:
        """Maximum number of crops per call."""
        return self.stages.parts().classifiers.by_name[self.classifier].batch


class Detection(NamedTuple):
    """Pictures for one call of a detector."""

    parts: Parts
    tickets: Sequence[Ticket]


class Classification(NamedTuple):
    """Crops, each with its picture, for one call of a classifier."""

    parts: Parts
    kind: Kind
    crops: Sequence[tuple[Ticket, Cut]]


class PixelBudget:
    """Decides which picture may be decoded, and counts the pixels in flight. Callers hold a lock around every call.

    Pictures are admitted in order of their numbers. If later pictures could take the budget first, an earlier one would
    wait for them while they wait for its result: a deadlock.

    Attributes:
        pixels: number in flight.
    """

    def __init__(self) -> None:
        self.pixels = 0
        self._turn = 0
        self._settled: set[int] = set()
        """Later pictures that no longer need a turn."""

    @property
    def left(self) -> bool:
        """Whether any budget is left."""
        return self.pixels < PIXELS

    def admits(self, number: int, pixels: int, first: bool) -> bool:
        """Whether a picture may be decoded now.

        Args:
            number: of the picture, from 0.
            pixels: number of pixels it has.
            first: no earlier picture is in flight, so this one is admitted however large it is.
        """
        return self._turn == number and (first or self.pixels + pixels <= PIXELS)

    def take(self, pixels: int) -> None:
        """Add a picture's pixels."""
        self.pixels += pixels

    def give_back(self, pixels: int) -> None:
        """Subtract a picture's pixels."""
        self.pixels -= pixels

    def settle(self, number: int) -> None:
        """Pass the turn on: this picture was admitted or needs no room."""
        if number >= self._turn:
            self._settled.add(number)
        while self._turn in self._settled:
            self._settled.remove(self._turn)
            self._turn += 1


class Queues:
    """The waiting pictures and crops. Callers hold a lock around every call.

    Args:
        workers: number of workers that share the work.
        batch: maximum number of pictures per detector call on an accelerator; on a CPU it is one.
        window: seconds that such a call waits for pictures that are being decoded.

    Attributes:
        order: pictures whose results have not been taken, by number.
        to_read, to_detect: pictures that wait.
        reading, detecting: number of pictures being read, and in a detector.
        crops: crops that wait to be classified, with their pictures.
        submitted, detections: number of pictures and detector calls so far.
        active: number of unfinished pictures.
        busy: number of workers at work.
        budget: for decoded pixels.
    """

    def __init__(self, workers: int, batch: int, window: float):
        self._workers, self._batch, self._window = workers, batch, window
        self.order: dict[int, Ticket] = {}
        self.to_read: deque[Ticket] = deque()
        self.to_detect: deque[Ticket] = deque()
        self.crops: dict[Kind, deque[tuple[Ticket, Cut]]] = {}
        self.reading = self.detecting = 0
        self.submitted = self.detections = self.active = self.busy = 0
        self.budget = PixelBudget()

    @property
    def waiting(self) -> int:
        """Number of submitted pictures that no detector is working on yet."""
        return len(self.to_read) + self.reading + len(self.to_detect)

    def add(self, ticket: Ticket) -> None:
        """Add a picture."""
        ticket.number = self.submitted
        if isinstance(ticket.source, np.ndarray):  # already in memory, whether or not there is room
            ticket.pixels = int(np.prod(ticket.source.shape[:2]))
            self.budget.take(ticket.pixels)
        self.submitted += 1
        self.active += 1
        self.order[ticket.number] = ticket
        self.to_read.append(ticket)

    def add_crops(self, ticket: Ticket, cuts: dict[str, list[Cut]]) -> None:
        """Add a picture's crops, by classifier."""
        ticket.crops, ticket.turn = sum(map(len, cuts.values())), self.detections
        for name, each in cuts.items():
            if each:
                kind = Kind(ticket.stages, name, ticket.features, ticket.steady)
                self.crops.setdefault(kind, deque()).extend((ticket, one) for one in each)

    def withdraw(self, ticket: Ticket) -> bool:
        """Remove a picture from every queue; False if a thread is working on it and will finish it."""
        for waiting in (self.to_read, self.to_detect):
            if ticket in waiting:
                waiting.remove(ticket)
                self.budget.settle(ticket.number)
                return True
        before = ticket.crops
        for kind, pairs in [*self.crops.items()]:
            left = deque(pair for pair in pairs if pair[0] is not ticket)
            ticket.crops -= len(pairs) - len(left)
            self.crops[kind] = left
            if not left:
                del self.crops[kind]
        return before > 0 and ticket.crops == 0

    def let_go(self, ticket: Ticket) -> None:
        """Forget a picture and its pixels."""
        self.order.pop(ticket.number, None)
        self.budget.give_back(ticket.pixels)
        ticket.pixels, ticket.picture, ticket.found = 0, None, None

    def admits(self, ticket: Ticket, pixels: int) -> bool:
        """Whether a picture of this many pixels may be decoded now."""
        return self.budget.admits(ticket.number, pixels, first=next(iter(self.order), None) == ticket.number)

    def next_task(self) -> Detection | Classification | None:
        """The next task, later stages first; counts its worker as busy."""
        task = self._full_batch() or self._detection() or self._crops_left()
        if task is not None:
            self.busy += 1
        return task

    def _full_batch(self) -> Classification | None:
        for kind, waiting in self.crops.items():
            late = self.detections - waiting[0][0].turn >= PATIENCE
            shared_out = self._shared_out(kind.stages) and len(waiting) < self._workers * kind.batch
            if late or (len(waiting) >= kind.batch and not shared_out):
                return self._classification(kind, kind.batch)
        return None

    def _detection(self) -> Detection | None:
        if not self.to_detect:
            return None
        first = self.to_detect[0]
        most = 1 if first.stages.parts().detector.device == "cpu" else self._batch
        taken = [ticket for ticket in self.to_detect if ticket.stages is first.stages][:most]
        if len(taken) < most and self.reading and time.monotonic() < first.since + self._window:
            return None
        for ticket in taken:
            self.to_detect.remove(ticket)
        self.detecting += len(taken)
        self.detections += 1
        return Detection(self._parts(first.stages), taken)

    def _crops_left(self) -> Classification | None:
        # Take what there is rather than idle. Waiting for a full batch could wait forever: the pictures that would
        # fill it may have no room until these are done.
        for kind, waiting in self.crops.items():
            share = len(waiting)
            if self._shared_out(kind.stages) and not (self.active == 1 and share < FEW and not self.busy):
                share = max(2, -(-share // self._workers))
            return self._classification(kind, min(kind.batch, share))
        return None

    def _shared_out(self, stages: Stages) -> bool:
        """Whether the waiting crops are the last for now, so that each worker should get a share of them."""
        ends = not (self.waiting or self.detecting)
        return ends and self.submitted > 1 and stages.shared_parts(False) is not None

    def _classification(self, kind: Kind, most: int) -> Classification:
        waiting = self.crops[kind]
        taken = [waiting.popleft() for _ in range(min(most, len(waiting)))]
        if not waiting:
            del self.crops[kind]
        return Classification(self._parts(kind.stages), kind, taken)

    def _parts(self, stages: Stages) -> Parts:
        """The sessions for a new task: those with all threads if nothing else is running."""
        parts = stages.parts()  # raises if the pipeline was closed
        if self.active == 1 and not self.busy and not self.crops:
            return parts
        return stages.shared_parts(False) or parts
