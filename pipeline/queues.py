"""What lies between the stages of an engine, and which of it is done next."""

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
"""Detections after which crops that do not fill a batch are classified as they are."""
PIXELS = 64_000_000
"""Decoded pixels in flight (192 MB), or one picture, if it alone has more."""
FEW = 4
"""Crops of a picture that is alone from which on several workers share them."""


@dataclass(eq=False)
class Ticket:
    """A picture on its way through an engine.

    Attributes:
        source: as for ``Pipeline.run``; let go of once it is read.
        stages: whose models look at it.
        features: read the features, too.
        keep: decode every pixel, and keep them until :meth:`Engine.release`.
        steady: give a face the same numbers to the last digit whatever it is classified with; costs a second crop
            where one is alone.
        allow: says how many of so many faces may be classified, the most confident first; None is for all of them.
        future: its result.
        name: the source's path or URL, or None.
        error: why it could not be read; the result says so, too.
        picture: as it was read; None before, and after it was let go of.
        waited: seconds that it has waited for a reader and for a detector.

    The others are the engine's own: ``since`` when it waits for the next stage, its ``pixels`` in the budget, what was
    ``found``, the ``readings`` to fill, how many ``crops`` are not classified yet, at which detection (``turn``) they
    began to wait, and whether it was ``dropped`` or is ``done``.
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
        """Most crops in a call."""
        return self.stages.parts().classifiers.by_name[self.classifier].batch


class Detection(NamedTuple):
    """Pictures to detect in by one call."""

    parts: Parts
    tickets: Sequence[Ticket]


class Classification(NamedTuple):
    """Crops, each with its picture, to classify by one call."""

    parts: Parts
    kind: Kind
    crops: Sequence[tuple[Ticket, Cut]]


class PixelBudget:
    """Who may decode, and how many pixels are in flight. The caller holds a lock around every call.

    Turns go by the pictures' numbers. If later pictures could take the budget first, an earlier one would wait for it,
    and they for the earlier one's result, for ever.

    Attributes:
        pixels: in flight.
    """

    def __init__(self) -> None:
        self.pixels = 0
        self._turn = 0
        self._settled: set[int] = set()
        """Pictures after the one whose turn it is that need no turn any more."""

    @property
    def left(self) -> bool:
        """Whether any is left."""
        return self.pixels < PIXELS

    def admits(self, number: int, pixels: int, first: bool) -> bool:
        """Whether a picture may be decoded now.

        Args:
            number: of the picture, from 0.
            pixels: that it has.
            first: no earlier picture is on its way: it is admitted, however large it is.
        """
        return self._turn == number and (first or self.pixels + pixels <= PIXELS)

    def take(self, pixels: int) -> None:
        """Count a picture's pixels from now on."""
        self.pixels += pixels

    def give_back(self, pixels: int) -> None:
        """Count them no more."""
        self.pixels -= pixels

    def settle(self, number: int) -> None:
        """A picture was admitted, or needs no room: pass the turn on."""
        if number >= self._turn:
            self._settled.add(number)
        while self._turn in self._settled:
            self._settled.remove(self._turn)
            self._turn += 1


class Queues:
    """The pictures and crops that wait. The caller holds a lock around every call.

    Args:
        workers: that share the work.
        batch: most pictures in one call of a detector on an accelerator; on a CPU it is one.
        window: seconds that such a call waits for pictures that are being decoded.

    Attributes:
        order: pictures that nobody has taken yet, by number.
        to_read, to_detect: pictures that wait.
        reading, detecting: pictures that are being read, and that a detector looks at.
        crops: that wait to be classified, with their pictures.
        submitted, detections: pictures and calls of detectors so far.
        active: pictures that are not done.
        busy: workers that are at work.
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
        """Pictures that have been taken and that no detector looks at yet."""
        return len(self.to_read) + self.reading + len(self.to_detect)

    def add(self, ticket: Ticket) -> None:
        """Take a picture."""
        ticket.number = self.submitted
        if isinstance(ticket.source, np.ndarray):  # in memory already, whether there is room or not
            ticket.pixels = int(np.prod(ticket.source.shape[:2]))
            self.budget.take(ticket.pixels)
        self.submitted += 1
        self.active += 1
        self.order[ticket.number] = ticket
        self.to_read.append(ticket)

    def add_crops(self, ticket: Ticket, cuts: dict[str, list[Cut]]) -> None:
        """Take a picture's crops, by classifier."""
        ticket.crops, ticket.turn = sum(map(len, cuts.values())), self.detections
        for name, each in cuts.items():
            if each:
                kind = Kind(ticket.stages, name, ticket.features, ticket.steady)
                self.crops.setdefault(kind, deque()).extend((ticket, one) for one in each)

    def withdraw(self, ticket: Ticket) -> bool:
        """Take a picture out of every queue; False where a thread is at it, which will see to its end."""
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
        """Whether a picture of so many pixels may be decoded now."""
        return self.budget.admits(ticket.number, pixels, first=next(iter(self.order), None) == ticket.number)

    def next_task(self) -> Detection | Classification | None:
        """The next piece of work, the later stage first; it counts as a busy worker's."""
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
        # Rather than idle take what there is. To wait for a full batch would be to wait for ever where the pictures
        # that would fill it have no room until these are done.
        for kind, waiting in self.crops.items():
            share = len(waiting)
            if self._shared_out(kind.stages) and not (self.active == 1 and share < FEW and not self.busy):
                share = max(2, -(-share // self._workers))
            return self._classification(kind, min(kind.batch, share))
        return None

    def _shared_out(self, stages: Stages) -> bool:
        """Whether the crops that wait are the last for now, so that each worker has to have its share of them."""
        ends = not (self.waiting or self.detecting)
        return ends and self.submitted > 1 and stages.shared_parts(False) is not None

    def _classification(self, kind: Kind, most: int) -> Classification:
        waiting = self.crops[kind]
        taken = [waiting.popleft() for _ in range(min(most, len(waiting)))]
        if not waiting:
            del self.crops[kind]
        return Classification(self._parts(kind.stages), kind, taken)

    def _parts(self, stages: Stages) -> Parts:
        """The sessions for a task just taken: those with every thread where nobody else has anything to do."""
        parts = stages.parts()  # an error where the pipeline was closed
        if self.active == 1 and not self.busy and not self.crops:
            return parts
        return stages.shared_parts(False) or parts
