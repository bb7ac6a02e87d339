"""Videos through both stages: decoded ahead, detected, followed, classified now and then; persons at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from ...core.extras import require
from ..classifiers import Reading
from ..inputs.image_reader import Frame, Picture, source_name
from ..results import Box, Result
from ..stages import Stages
from ..two_stage import Found, assemble, box_of, classify, detect, failed, shortest
from .decoders import is_live, without_password
from .options import VideoOptions
from .reader import VideoFrame, VideoInfo, VideoReader
from .tracking import Tracker
from .tracks import BestLook, TrackAttributes, TrackSummary, quality

AHEAD, AHEAD_PIXELS = 8, 16_000_000
"""Frames that are detected together, and whose faces are classified in one call: so many, or fewer of large ones."""
CHANGE = 27.0
"""Change between two frames from which on there is a cut, see :class:`SceneCuts`."""
SIDE = 64
"""Pixels of the small pictures that are compared."""


def require_video(options: VideoOptions) -> None:
    """Check, before any work is done, that what videos need is installed.

    Raises:
        MissingExtraError: PyAV or the package ``trackers`` is not there.
    """
    require("av")
    if options.track:
        require("trackers")


def stream_video(
    stages: Stages, source: str, options: VideoOptions | None = None
) -> Iterator[tuple[Result, Frame | None]]:
    """Analyse a video frame by frame; :class:`VideoRun` gives the persons too.

    Args:
        stages: a pipeline.
        source: a video's path, ``camera:N``, or an RTSP URL.
        options: how it is looked at.

    Yields:
        Each looked-at frame's result (``frame``, ``time``, and faces with ``track``) and the frame, upright BGR. Of a
        damaged video the last result has an ``error``, and no frame.

    Raises:
        VideoError: nothing of it can be read.
        MissingExtraError: PyAV, or to follow persons the package ``trackers``, is not installed.
    """
    with VideoRun(stages, source, options) as run:
        yield from run
        if run.error is not None:
            yield run.failure(run.error), None


class VideoRun:
    """One video on its way through a pipeline. Iterate over it once, in ``with``; then ask for the persons.

    >>> with Pipeline() as pipeline, VideoRun(pipeline, "clip.mp4", VideoOptions(every=2)) as run:
    ...     for result, frame in run:
    ...         print(result.time, [face.track for face in result.faces])
    ...     for person in run.tracks():
    ...         print(person.track, person.first_time, person.attributes["gender"].value)

    Args:
        stages: a pipeline, which finds and reads the faces.
        source: a video's path, ``camera:N``, or an RTSP URL.
        options: how it is looked at.

    Attributes:
        info: the video's size, rate and length.

    Raises:
        VideoError: it cannot be opened, or is no video.
        MissingExtraError: PyAV, or to follow persons the package ``trackers``, is not installed.
    """

    def __init__(self, stages: Stages, source: str, options: VideoOptions | None = None):
        self.options = options or VideoOptions()
        self.source = shown_source(source)
        self._stages = stages
        self._detector, self._classifiers = stages.parts()
        self._thresholds = {
            each.name: getattr(each, "abstain_below", 0.0)
            for classifier in self._classifiers.by_name.values()
            for each in classifier.attributes
        }
        if self.options.track:
            require("trackers")  # takes a moment, and frames of a camera would not wait
        self._reader = VideoReader(source, self.options.every, self.options.seconds, stages.limits)
        self.info: VideoInfo = self._reader.info
        try:
            self._tracker = Tracker(self.info.rate) if self.options.track else None
        except BaseException:
            self._reader.close()
            raise
        self._cuts = SceneCuts()
        self._persons: dict[int, _Person] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the decoding thread. The persons seen so far can still be asked for."""
        self._reader.close()

    def stop(self) -> None:
        """Have the iteration end soon, in order: for a camera, which has no end. A signal handler may call it."""
        self._reader.stop()

    @property
    def error(self) -> str | None:
        """After the last frame, why the video ended before its time, or what of it is damaged; else None."""
        return self._reader.error

    def failure(self, error: str) -> Result:
        """The result that tells an error of the whole video."""
        return failed(self._stages.models, self.source, error)

    def __iter__(self) -> Iterator[tuple[Result, Frame]]:
        """The frames that are looked at, in order, each with its result.

        Raises:
            VideoError: what ends the whole video, as a frame over the limit does; after the frames before it.
        """
        most = 1 if self.info.live else max(1, min(AHEAD, AHEAD_PIXELS // (self.info.width * self.info.height)))
        frames = iter(self._reader)
        while chunk := self._read(frames, most):
            yield from self._analyse(chunk)

    def _read(self, frames: Iterator[VideoFrame], most: int) -> list[VideoFrame]:
        with self._stages.stopwatch.measure("read"):
            return list(islice(frames, most))

    def tracks(self) -> list[TrackSummary]:
        """A record of each person, in the order of their numbers; of all frames that were given so far."""
        return [self._summary(number, person) for number, person in sorted(self._persons.items()) if person.frames]

    def _analyse(self, chunk: Sequence[VideoFrame]) -> Iterator[tuple[Result, Frame]]:
        """Detect in some frames, follow, classify the faces that are due in all of them, and build the results."""
        stopwatch = self._stages.stopwatch
        found = detect(self._detector, [Picture.of(frame.image) for frame in chunk], stopwatch)
        scenes = [self._follow(frame, each) for frame, each in zip(chunk, found, strict=True)]
        readings = classify(self._classifiers, [scene.found.placed(scene.due) for scene in scenes], stopwatch)
        for scene, read in zip(scenes, readings, strict=True):
            yield self._result(scene, read), scene.frame.image

    def _follow(self, frame: VideoFrame, found: Found) -> _Scene:
        persons: list[int | None] = [None] * len(found.faces)
        if self._tracker is not None:
            if self._cuts.cut(frame.image):
                self._tracker.cut()
            persons = self._tracker.update(found.faces, found.heads, found.head_of, frame.time)
        due = []
        for index, number in enumerate(persons):
            if number is None:
                due.append(index)
                continue
            person = self._persons.get(number)
            if person is None:
                person = self._persons[number] = _Person(TrackAttributes(self._thresholds), frame.number, frame.time)
            if person.met % self.options.classify_every == 0 or person.unread:
                due.append(index)
            person.met += 1
        return _Scene(frame, found, persons, due)

    def _result(self, scene: _Scene, read: Sequence[Reading]) -> Result:
        """The result of a frame: of a person what is known by now, of a face alone what was read of it."""
        frame = scene.frame
        fresh = dict(zip(scene.due, read, strict=True))
        readings = []
        for index, number in enumerate(scene.persons):
            reading = fresh.get(index)
            if number is None:
                readings.append(reading or Reading())
                continue
            person, box = self._persons[number], box_of(scene.found.faces.boxes[index])
            worth = quality(frame.image, box)
            if reading is not None:
                person.reasons, person.unread = reading.reasons, not reading.attributes
                if reading.attributes:
                    person.known.add(reading.attributes, box, worth)
            person.see(frame, box, shortest(scene.found.faces.confidence[index]), worth)
            known = person.known.values(box)
            reasons = {name: reason for name, reason in person.reasons.items() if name not in known}
            readings.append(Reading(attributes=known, reasons=reasons))
        made = assemble(self._stages.models, self.source, scene.found, readings)
        faces = tuple(
            face.model_copy(update={"track": number}) for face, number in zip(made.faces, scene.persons, strict=True)
        )
        return made.model_copy(update={"faces": faces, "frame": frame.number, "time": frame.time})

    def _summary(self, number: int, person: _Person) -> TrackSummary:
        assert person.best is not None
        assert person.last_box is not None
        attributes = person.known.values(person.last_box)
        return TrackSummary(
            source=self.source,
            track=number,
            first_frame=person.first_frame,
            first_time=person.first_time,
            last_frame=person.last_frame,
            last_time=person.last_time,
            frames=person.frames,
            looks=person.known.looks,
            attributes=attributes or None,
            reason=None if attributes else "; ".join(dict.fromkeys(person.reasons.values())) or "never classified",
            best=person.best,
            models=self._stages.models,
        )


@dataclass
class _Person:
    """What is held of one person."""

    known: TrackAttributes
    first_frame: int
    first_time: float
    last_frame: int = 0
    last_time: float = 0.0
    met: int = 0
    frames: int = 0
    """Frames that were looked at and have the face; ``met`` is ahead by those whose results were not given yet."""
    reasons: dict[str, str] = field(default_factory=dict)
    unread: bool = False
    """The last look could not be classified: the next one is due."""
    last_box: Box | None = None
    best: BestLook | None = None
    worth: float = -1.0

    def see(self, frame: VideoFrame, box: Box, confidence: float, worth: float) -> None:
        self.frames += 1
        self.last_frame, self.last_time, self.last_box = frame.number, frame.time, box
        if worth > self.worth:
            self.worth = worth
            self.best = BestLook(frame=frame.number, time=frame.time, box=box, confidence=confidence)


@dataclass(frozen=True)
class _Scene:
    """A frame, what was found in it, who it is, and whose face is due."""

    frame: VideoFrame
    found: Found
    persons: Sequence[int | None]
    due: Sequence[int]


def shown_source(source: str) -> str:
    """A source as results name it: valid Unicode, and without a password."""
    return without_password(source) if is_live(source) else str(source_name(source))


class SceneCuts:
    """Where a film cuts from one scene to another: who is in front of the camera then is somebody else.

    The measure is that of PySceneDetect's ``ContentDetector``: the mean change of hue, saturation and brightness, 0 to
    255, between two frames; 27 and more is a cut (its default). It is taken on pictures of 64 pixels, which is quick.
    """

    def __init__(self) -> None:
        self._before: np.ndarray | None = None

    def cut(self, frame: Frame) -> bool:
        """Whether a frame begins another scene than that of the frame given before; the first one does not."""
        small = cv2.cvtColor(cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2HSV)
        before, self._before = self._before, small.astype(np.int16)
        return before is not None and float(np.abs(self._before - before).mean()) >= CHANGE
