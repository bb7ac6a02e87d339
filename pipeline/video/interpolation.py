"""Fill in boxes for every frame of a video: between analysed frames, and where the detector briefly lost a face.

Boxes are tracked from frame to frame: faces by their track, untracked faces and heads by ByteTrack here. If an object
is seen both before and after a frame, its box in between is interpolated. If it is seen on one side only, its box can
be held for a while, enlarged. For hiding faces both reaches are long: a face visible in a single frame of a published
video is exposed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ...classifier.inference.attributes import AttributeValue, PointsValue
from ..results import Box, Face, Head, Result
from .reader import VideoFrame
from .tracking import Follower

GROWTH = 0.15
"""A held box is enlarged at each end by this share of its sides, because the object may have moved."""


Thing = TypeVar("Thing", Face, Head)


@dataclass(frozen=True)
class Reach:
    """How far a box extends beyond the frames in which it was found.

    Attributes:
        between: seconds; a gap of at most this length between two sightings is interpolated.
        held: seconds for which a box stays at its last position, and appears before its first sighting.
    """

    between: float
    held: float


DRAWING, DRAWING_LIVE = Reach(1.0, 0.0), Reach(0.3, 0.0)
HIDING, HIDING_LIVE = Reach(2.0, 0.5), Reach(0.6, 0.4)
"""For publishing; see docs/video.md. With a live source fewer frames can be held back."""


@dataclass(frozen=True)
class _Sighting:
    """A face or a head in an analysed frame."""

    time: float
    thing: Face | Head


class GapFiller:
    """Gives every frame of a video a result by looking ahead in the results of the analysed frames.

    Args:
        results: of the analysed frames, in order.
        reach: see ``Reach``.
        step: minimum seconds between analysed frames; boxes always reach that far.
        rate: of the video, in frames per second, or None.
    """

    def __init__(self, results: Iterable[Result], reach: Reach, step: float = 0.0, rate: float | None = None):
        self._results = iter(results)
        self._reach = reach
        self._step = step
        self._ahead = max(reach.between, reach.held, 2 * step) + step
        self._faces, self._heads = Follower(rate), Follower(rate)
        self._seen: dict[tuple[str, int], deque[_Sighting]] = {}
        self._waiting: deque[Result] = deque()
        self._newest = -float("inf")
        self._ended = False
        self._last_frame: int | None = None

    def pull(self) -> bool:
        """Take the next result; return False after the last. Called by ``at``, and directly for live sources."""
        result = next(self._results, None)
        if result is None:
            self._ended = True
            return False
        if result.error is not None or result.time is None:
            return True
        self._newest = time = result.time
        self._last_frame = result.frame
        self._waiting.append(result)
        self._note("face", result.faces, self._faces, time)
        self._note("head", result.heads, self._heads, time)
        return True

    def _note(self, kind: str, things: Sequence[Face | Head], follower: Follower, time: float) -> None:
        boxes = np.array([_corners(thing.box) for thing in things], np.float32).reshape(-1, 4)
        numbers = follower.update(boxes, np.array([thing.confidence for thing in things], np.float32), time)
        for each, number in zip(things, numbers, strict=True):
            if isinstance(each, Face) and each.track is not None:
                key = ("person", each.track)
            elif number is not None:
                key = (kind, number)
            else:  # too uncertain to track: reaches one step
                key = ("alone", id(each))
            self._seen.setdefault(key, deque()).append(_Sighting(time, each))

    def known_until(self, time: float) -> bool:
        """Whether there are enough results for a frame at this time."""
        return self._ended or self._newest >= time + self._ahead

    def at(self, frame: VideoFrame, every: int = 1) -> Result | None:
        """The result of a frame: what was found in it, plus interpolated and held boxes. Ask in frame order.

        Args:
            frame: of the same video.
            every: every n-th frame is analysed.

        Returns:
            None for a frame past the last result that was not analysed and is not near one that was. When hiding faces,
            such a frame must not be shown.
        """
        while not self.known_until(frame.time) and self.pull():
            pass
        if self._ended and (self._last_frame is None or frame.number >= self._last_frame + every):
            return None
        self._forget(frame.time)
        base = self._nearest(frame)
        if base is None:
            return None
        exact = base.frame == frame.number
        faces: list[Face] = list(base.faces) if exact else []
        heads: list[Head] = list(base.heads) if exact else []
        for sightings in self._seen.values():
            thing = self._between(sightings, frame.time)
            if isinstance(thing, Face):
                faces.append(thing)
            elif thing is not None:
                heads.append(thing)
        height, width = frame.image.shape[:2]
        return base.model_copy(
            update={
                "frame": frame.number,
                "time": frame.time,
                "faces": tuple(_within(face, width, height) for face in faces),
                "heads": tuple(_within(head, width, height) for head in heads),
            }
        )

    def _between(self, sightings: deque[_Sighting], time: float) -> Face | Head | None:
        """Where an object is at a time when it was not found; None if it was found then, or is too far away in time."""
        before = after = None
        for sighting in sightings:
            if sighting.time <= time:
                before = sighting
            else:
                after = sighting
                break
        if before is not None and before.time == time:
            return None
        if before is not None and after is not None and after.time - before.time <= self._between_limit:
            return _interpolated(before, after, time)
        held = max(self._reach.held, self._step * 0.75)
        if before is not None and time - before.time <= held:
            return _held(before.thing, self._reach.held > 0)
        if after is not None and after.time - time <= held:
            return _held(after.thing, self._reach.held > 0)
        return None

    @property
    def _between_limit(self) -> float:
        return max(self._reach.between, self._step * 1.5)

    def _nearest(self, frame: VideoFrame) -> Result | None:
        """The result of this frame if analysed, else the last one before it, else the first one available."""
        while len(self._waiting) > 1 and (self._waiting[1].time or 0.0) <= frame.time:
            self._waiting.popleft()
        return self._waiting[0] if self._waiting else None

    def _forget(self, time: float) -> None:
        """Drop sightings that are too old to matter. Keep each object's last sighting before the frame."""
        oldest = time - self._ahead
        for key in [key for key, sightings in self._seen.items() if sightings[-1].time < oldest]:
            del self._seen[key]
        for sightings in self._seen.values():
            while len(sightings) > 1 and sightings[1].time <= time:
                sightings.popleft()


def held_frames(filler: GapFiller, frames: deque[VideoFrame]) -> Iterator[VideoFrame]:
    """Hold frames of a live source until there are enough results. Pulling a result puts its frame into ``frames``."""
    more = True
    while more or frames:
        while more and (not frames or not filler.known_until(frames[0].time)):
            more = filler.pull()
        if frames:
            yield frames.popleft()


def _interpolated(before: _Sighting, after: _Sighting, time: float) -> Face | Head:
    share = (time - before.time) / (after.time - before.time)
    start, end = _corners(before.thing.box), _corners(after.thing.box)
    box = _box(start + (end - start) * share)
    update: dict[str, object] = {
        "box": box,
        "confidence": min(before.thing.confidence, after.thing.confidence),
    }
    if isinstance(before.thing, Face):
        update |= {"head": None, "attributes": _carried(before.thing, after.thing, share)}
    return before.thing.model_copy(update=update)


def _carried(before: Face, after: Face | Head, share: float) -> dict[str, AttributeValue] | None:
    """A face's attributes in between: those from before, with interpolated points."""
    attributes = before.attributes or (after.attributes if isinstance(after, Face) else None)
    if attributes is None:
        return None
    later = (after.attributes if isinstance(after, Face) else None) or {}
    carried: dict[str, AttributeValue] = {}
    for name, value in attributes.items():
        end = later.get(name)
        if isinstance(value, PointsValue) and isinstance(end, PointsValue):
            value = PointsValue(
                points={
                    point: (x + (end.points[point][0] - x) * share, y + (end.points[point][1] - y) * share)
                    for point, (x, y) in value.points.items()
                    if point in end.points
                }
            )
        carried[name] = value
    return carried


def _held(thing: Face | Head, grown: bool) -> Face | Head:
    x1, y1, x2, y2 = _corners(thing.box)
    wide, high = ((x2 - x1) * GROWTH, (y2 - y1) * GROWTH) if grown else (0.0, 0.0)
    update: dict[str, object] = {"box": _box(np.array([x1 - wide, y1 - high, x2 + wide, y2 + high]))}
    if isinstance(thing, Face):
        update["head"] = None
    return thing.model_copy(update=update)


def _within(thing: Thing, width: int, height: int) -> Thing:
    box = thing.box
    x1, x2 = (min(max(side, 0.0), float(width)) for side in (box.x1, box.x2))
    y1, y2 = (min(max(side, 0.0), float(height)) for side in (box.y1, box.y2))
    return thing.model_copy(update={"box": Box(x1=x1, y1=y1, x2=x2, y2=y2)})


def _corners(box: Box) -> np.ndarray:
    return np.array([box.x1, box.y1, box.x2, box.y2])


def _box(corners: np.ndarray) -> Box:
    x1, y1, x2, y2 = (round(float(side), 2) for side in corners)
    return Box(x1=x1, y1=y1, x2=x2, y2=y2)
