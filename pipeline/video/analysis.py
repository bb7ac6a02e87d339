"""Run both stages on a video: decode ahead, detect, track, classify every few frames, and summarise each person."""

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
from ..two_stage import Found, assemble, box_of, classify, detect, failed, joint_confidence, shortest
from .decoders import is_live, without_password
from .options import VideoOptions
from .reader import VideoFrame, VideoInfo, VideoReader
from .tracking import Tracker
from .tracks import BestLook, TrackAttributes, TrackSummary, quality

AHEAD, AHEAD_PIXELS = 8, 16_000_000
"""Most frames detected and classified together, and most pixels in such a batch (fewer frames if they are large)."""
CHANGE = 27.0
"""Minimum change between two frames that counts as a cut; see :class:`SceneCuts`."""
SIDE = 64
"""Side in pixels of the thumbnails that are compared."""


def require_video(options: VideoOptions) -> None:
    """Check up front that everything needed for video is installed.

    Raises:
        MissingExtraError: PyAV or the package ``trackers`` is missing.
    """
    require("av")
    if options.track:
        require("trackers")


def stream_video(
    stages: Stages, source: str, options: VideoOptions | None = None
) -> Iterator[tuple[Result, Frame | None]]:
    """Analyse a video frame by frame. Use :class:`VideoRun` to get the people as well.

    Args:
        stages: a pipeline.
        source: the path of a video, ``camera:N``, or an RTSP URL.
        options: how to analyse it.

    Yields:
        The result of each analysed frame (with ``frame``, ``time``, and a ``track`` per face) and the frame itself,
        upright BGR. If the video is damaged, the last result has an ``error`` and no frame.

    Raises:
        VideoError: nothing in it can be read.
        MissingExtraError: PyAV, or the package ``trackers`` for tracking, is not installed.
    """
    with VideoRun(stages, source, options) as run:
        yield from run
        if run.error is not None:
            yield run.failure(run.error), None


class VideoRun:
    """Analyse one video. Iterate over it once, inside ``with``, then ask for the people.

    >>> with Pipeline() as pipeline, VideoRun(pipeline, "clip.mp4", VideoOptions(every=2)) as run:
    ...     for result, frame in run:
    ...         print(result.time, [face.track for face in result.faces])
    ...     for person in run.tracks():
    ...         print(person.track, person.first_time, person.attributes["gender"].value)

    Args:
        stages: the pipeline that detects and classifies the faces.
        source: the path of a video, ``camera:N``, or an RTSP URL.
        options: how to analyse it.

    Attributes:
        info: the video's size, frame rate and length.

    Raises:
        VideoError: it cannot be opened, or is not a video.
        MissingExtraError: PyAV, or the package ``trackers`` for tracking, is not installed.
    """

    def __init__(self, stages: Stages, source: str, options: VideoOptions | None = None):
        self.options = options or VideoOptions()
        self.source = shown_source(source)
        self._stages = stages
        self._parts = stages.parts()
        self._detector, self._classifiers = self._parts
        self._thresholds = {
            each.name: getattr(each, "abstain_below", 0.0)
            for classifier in self._classifiers.by_name.values()
            for each in classifier.attributes
        }
        if self.options.track:
            require("trackers")  # takes a moment, and camera frames would not wait
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
        """Stop the decoding thread. The people seen so far remain available."""
        self._reader.close()

    def stop(self) -> None:
        """End the iteration soon, in an orderly way, e.g. for a camera. Safe to call from a signal handler."""
        self._reader.stop()

    @property
    def error(self) -> str | None:
        """Why the video ended early or which part is damaged, known after the last frame; otherwise None."""
        return self._reader.error

    def failure(self, error: str) -> Result:
        """The result that reports an error of the whole video."""
        return failed(self._stages.models, self.source, error)

    def __iter__(self) -> Iterator[tuple[Result, Frame]]:
        """Yield each analysed frame, in order, with its result.

        Raises:
            VideoError: an error that ends the whole video, such as a frame over the limit; raised after the frames
                before it.
        """
        most = 1 if self.info.live else max(1, min(AHEAD, AHEAD_PIXELS // (self.info.width * self.info.height)))
        frames = iter(self._reader)
        while chunk := self._read(frames, most):
            yield from self._analyse(chunk)

    def _read(self, frames: Iterator[VideoFrame], most: int) -> list[VideoFrame]:
        with self._stages.stopwatch.measure("read"):
            return list(islice(frames, most))

    def tracks(self) -> list[TrackSummary]:
        """A summary of each person, ordered by track number, over all frames yielded so far."""
        return [self._summary(number, person) for number, person in sorted(self._persons.items()) if person.frames]

    def _analyse(self, chunk: Sequence[VideoFrame]) -> Iterator[tuple[Result, Frame]]:
        """Detect and track faces in a chunk of frames, classify those due in one call, and build the results."""
        stopwatch = self._stages.stopwatch
        found = detect(self._parts, [Picture.of(frame.image) for frame in chunk], stopwatch, candidates=False)
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
            if person.met % self.options.classify_every == 0 or person.unread or person.left_out:
                due.append(index)
            person.met += 1
        return _Scene(frame, found, persons, due)

    def _result(self, scene: _Scene, read: Sequence[Reading]) -> Result:
        """The result of a frame: what is known so far of tracked people, and fresh readings of untracked faces."""
        frame = scene.frame
        fresh = dict(zip(scene.due, read, strict=True))
        readings = []
        for index, number in enumerate(scene.persons):
            reading = fresh.get(index)
            if number is None:
                readings.append(reading or Reading())
                continue
            person, box = self._persons[number], box_of(scene.found.faces.boxes[index])
            confidence = shortest(scene.found.faces.confidence[index])
            if reading is not None:
                person.evidence = reading.evidence
            joint = joint_confidence(confidence, person.evidence)
            person.left_out = person.evidence < 0 and joint < self._detector.confidence
            if person.left_out:
                readings.append(Reading(evidence=person.evidence))
                continue
            worth = quality(frame.image, box)
            if reading is not None:
                person.reasons, person.unread = reading.reasons, not reading.attributes
                if reading.attributes:
                    person.known.add(reading.attributes, box, worth)
            person.see(frame, box, joint, worth)
            known = person.known.values(box)
            reasons = {name: reason for name, reason in person.reasons.items() if name not in known}
            readings.append(Reading(attributes=known, reasons=reasons, evidence=person.evidence))
        made = assemble(self._stages.models, self.source, scene.found, readings, tracks=scene.persons)
        return made.model_copy(update={"frame": frame.number, "time": frame.time})

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
    """The state kept for one person."""

    known: TrackAttributes
    first_frame: int
    first_time: float
    last_frame: int = 0
    last_time: float = 0.0
    met: int = 0
    frames: int = 0
    """Analysed frames that contain the face. ``met`` also counts frames whose results have not been yielded yet."""
    reasons: dict[str, str] = field(default_factory=dict)
    unread: bool = False
    """The last look could not be classified, so the next one is due."""
    evidence: float = 0.0
    """What the face check said of the last look; it counts in the frames until the next."""
    left_out: bool = False
    """The face check kept the face out of the last frame, so the next look is due."""
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
    """A frame, what was found in it, the person of each face, and the faces that are due for classification."""

    frame: VideoFrame
    found: Found
    persons: Sequence[int | None]
    due: Sequence[int]


def shown_source(source: str) -> str:
    """A source as it appears in results: valid Unicode, without a password."""
    return without_password(source) if is_live(source) else str(source_name(source))


class SceneCuts:
    """Detects scene cuts, after which the people in view may be different.

    The measure is that of PySceneDetect's ``ContentDetector``: the mean change in hue, saturation and brightness, 0 to
    255, between two frames. A change of 27 or more (its default) is a cut. It is computed on 64-pixel thumbnails for
    speed.
    """

    def __init__(self) -> None:
        self._before: np.ndarray | None = None

    def cut(self, frame: Frame) -> bool:
        """Whether a frame starts a new scene compared with the previous call. The first frame does not."""
        small = cv2.cvtColor(cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2HSV)
        before, self._before = self._before, small.astype(np.int16)
        return before is not None and float(np.abs(self._before - before).mean()) >= CHANGE
