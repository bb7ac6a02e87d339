"""Videos, cameras and streams among the sources of ``facepipe detect``.

Each processed frame has its own entry in the journal. A video's last entry is under the video's name, which is how a
resumed run knows that the video is done. An interrupted video is done again from its start, because persons cannot be
tracked from its middle.
"""

from __future__ import annotations

import math
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from ...core.errors import FacepipeError, VideoError
from ...core.extras import require
from ..console import DetectScreen, console, note, printable, progress, report
from ..inputs.image_reader import Frame
from ..outputs.images import ENDINGS
from ..outputs.names import FreeNames, stem_of
from ..outputs.options import Outputs
from ..results import Result
from ..video.analysis import VideoRun, shown_source
from ..video.interpolation import DRAWING, DRAWING_LIVE, HIDING, HIDING_LIVE, GapFiller, held_frames
from ..video.options import VideoOptions
from ..video.reader import VideoFrame, VideoReader
from ..video.tracks import TrackForm, TrackSummary, check_suffix, read_tracks, tracks_table, write_tracks
from ..video.writer import Change, VideoWriter
from .images import DetectRun

if TYPE_CHECKING:
    from ..drawing.window import Show

CAMERA_RATE = 25.0
"""Frame rate of a saved camera video if the camera does not report one."""


def detect_videos(
    run: DetectRun,
    videos: Sequence[str],
    screen: DetectScreen,
    options: VideoOptions | None = None,
    tracks: Path | None = None,
    window: bool = False,
) -> None:
    """Process the videos of a run: rows, JSON and saved videos as its outputs say, and a table of persons for each.

    Args:
        run: with its journal.
        videos: paths, ``camera:N``, RTSP URLs.
        screen: counts frames as pictures.
        options: how the videos are processed.
        tracks: a ``.csv``, ``.parquet`` or ``.jsonl`` file for one row per person.
        window: show the frames in a live window.

    Raises:
        FacepipeError: an output that is for pictures only, or one that cannot be written.
        MissingExtraError: PyAV or the package ``trackers`` is not installed.
    """
    options = options or VideoOptions()
    check_outputs(run.outputs, tracks, videos)
    persons = _from_journal(run)
    with _live_window(run.outputs) if window else nullcontext() as show:
        for video in run.to_do(videos):
            one = _Video(run, screen, options, video, run.names, show)
            one.do()
            persons[video] = one.persons
    if tracks is not None:
        classifiers = run.pipeline.parts()[1].by_name
        form = TrackForm([each for found in classifiers.values() for each in found.attributes], list(classifiers))
        write_tracks(tracks, [person for video in videos for person in persons.get(video, ())], form)


def _live_window(outputs: Outputs) -> AbstractContextManager[Show]:
    from ..drawing.window import live_window

    return live_window(outputs.drawing)


def check_outputs(outputs: Outputs, tracks: Path | None, videos: Sequence[str] = ()) -> None:
    """Reject outputs that do not suit the frames of a video, and an unsuitable ``tracks`` file.

    Args:
        outputs: of the run.
        tracks: the file of persons.
        videos: the inputs.

    Raises:
        FacepipeError: an output that is for pictures only, or a ``tracks`` file that is an input, another output, or of
            an unsupported suffix.
        MissingExtraError: Parquet is requested and pyarrow is not installed.
    """
    asked = {"--coco": outputs.coco, "--crops": outputs.crops, "--features": outputs.features}
    if wrong := [option for option, path in asked.items() if path is not None]:
        raise FacepipeError(f"{', '.join(wrong)}: for pictures only; leave the videos out, or process them separately")
    if tracks is None:
        return
    check_suffix(tracks)
    if tracks.suffix.lower() == ".parquet":
        require("pyarrow")
    taken = {os.path.realpath(path): option for option, path in outputs.files.items()}
    taken |= {os.path.realpath(video): "a source" for video in videos}
    if (other := taken.get(os.path.realpath(tracks))) is not None:
        raise FacepipeError(f"{tracks}: --tracks and {other} both name it; give --tracks another name")


@dataclass
class _Video:
    """One video of a run."""

    run: DetectRun
    screen: DetectScreen
    options: VideoOptions
    source: str
    names: FreeNames | None
    window: Show | None = None
    persons: list[TrackSummary] = field(default_factory=list)
    _faces: int = 0
    _hidden: int = 0
    _frames: int = 0
    _last: Result | None = None
    _target: str | None = None

    def do(self) -> None:
        try:
            with VideoRun(self.run.pipeline, self.source, self.options) as video:
                self._through(video)
        except VideoError as error:
            models = self.run.pipeline.models
            name = shown_source(self.source)
            self._end(
                Result(source=name, width=None, height=None, faces=(), heads=(), models=models, error=str(error)), {}
            )

    def _through(self, video: VideoRun) -> None:
        info = video.info
        total = info.frames if info.frames else round((info.seconds or 0) * (info.rate or 0))
        if self.options.seconds is not None and info.rate:
            limit = math.ceil(self.options.seconds * info.rate)
            total = min(total, limit) if total else limit
        total = math.ceil(total / self.options.every)
        files: dict[str, Any] = {}
        stopping = stopped_by_signals(video.stop) if info.live else nullcontext()
        with stopping, progress(Path(video.source).name, "frames") as bar:

            def update(done: int) -> None:
                bar(done, max(done + (done >= total), total))

            if self.names is None:
                for _ in self._recorded(video, update, None):
                    pass
            else:
                files["save"] = self._save(video, update, self.names)
                if self.run.outputs.how is not None:
                    files["hidden"] = self._hidden
        self.persons = video.tracks()
        files["tracks"] = [person.model_dump_json() for person in self.persons]
        self._flush(files, last=video.error is None)
        if video.error is not None:
            self._end(video.failure(video.error), files)
        self._show(video)

    def _recorded(
        self, video: VideoRun, update: Callable[[int], None], kept: deque[VideoFrame] | None
    ) -> Iterator[Result]:
        """Yield the results, each after it is in the journal and on standard output; append frames to ``kept``."""
        for result, frame in video:
            if self._target is not None:
                result = result.model_copy(update={"saved": self._target})
            if self.window is not None and not self.window(frame, result):
                video.stop()  # frames that are already decoded still come
                self.window = None
            if kept is not None:
                kept.append(VideoFrame(result.frame or 0, result.time or 0.0, frame))
            self._flush({}, last=False)
            self._last = result
            self._frames += 1
            self._faces += len(result.faces)
            self.screen.pictures += 1
            self.screen.faces += len(result.faces)
            self.run.write_live(result)
            update(self._frames)
            yield result

    def _flush(self, files: dict[str, Any], last: bool) -> None:
        """Write the pending result to the journal: under the video's name if it is the last, which ends the video."""
        result, journal = self._last, self.run.journal
        if result is None or journal is None:
            return
        journal.add(self.source if last else f"{self.source} frame {result.frame}", result, files if last else {})
        self._last = None

    def _end(self, failure: Result, files: dict[str, Any]) -> None:
        """Report what is wrong with the video in a row of its own."""
        self.screen.failed += 1
        self.screen.pictures += 1
        report(str(failure.error))
        self.run.write_live(failure)
        if self.run.journal is not None:
            self.run.journal.add(self.source, failure, files)

    def _save(self, video: VideoRun, update: Callable[[int], None], names: FreeNames) -> str:
        """Write the video with results drawn or faces hidden, while it is processed."""
        outputs, info, options = self.run.outputs, video.info, self.options
        if outputs.save_as is None:
            target = names.take(safe(stem_of(video.source)) + ENDINGS[outputs.how], ".mp4", self.source)
        else:
            target = names.folder / outputs.save_as
        target.parent.mkdir(parents=True, exist_ok=True)
        self._target = str(target)
        reach = DRAWING if outputs.how is None else HIDING
        step = options.every / (info.rate or 25.0)
        change = self._change()
        sound = None if info.live else self.source
        with VideoWriter(target, info.rate or CAMERA_RATE, sound) as writer, ExitStack() as stack:
            frames: Iterator[VideoFrame]
            if info.live:
                kept: deque[VideoFrame] = deque()
                filler = GapFiller(
                    self._recorded(video, update, kept), HIDING_LIVE if outputs.how else DRAWING_LIVE, 0.0
                )
                frames = held_frames(filler, kept)
            else:
                filler = GapFiller(self._recorded(video, update, None), reach, step, info.rate)
                limits = self.run.pipeline.limits
                again = stack.enter_context(VideoReader(self.source, seconds=options.seconds, limits=limits))
                frames = iter(again)
            for frame in frames:
                result = filler.at(frame, options.every)
                if result is None:
                    break
                writer.add(change(frame.image, result), frame.time)
            while filler.pull():
                pass
        note(writer.summary + ("" if not info.live else " (of a live source)"))
        return target.relative_to(names.folder).as_posix()

    def _change(self) -> Change:
        outputs = self.run.outputs
        if outputs.how is None or outputs.what is None:
            from ..drawing.draw import Drawer

            return Drawer(outputs.drawing)
        from ..drawing.anonymize import hide

        how, what, look = outputs.how, outputs.what, self.run.second_look()

        def hidden(frame: Frame, result: Result) -> Frame:
            more = [] if look is None else look.find(frame, turns=False)
            self._hidden += len(result.faces) + len(more) + (len(result.heads) if what == "heads" else 0)
            return hide(frame, result, how, what, more)

        return hidden

    def _show(self, video: VideoRun) -> None:
        if self.run.outputs.talks:
            return
        counts = f"{self._frames:,} frames, {self._faces:,} faces"
        if self.options.track:
            console().print(tracks_table(printable(video.source), self.persons, counts))
        else:
            console().print(f"{printable(video.source)}: {counts}")


def _from_journal(run: DetectRun) -> dict[str, list[TrackSummary]]:
    """The persons of videos that were done before this run was interrupted."""
    if run.journal is None:
        return {}
    entries = ((entry.source, entry.files.get("tracks")) for entry in run.journal.entries())
    return {source: read_tracks(lines) for source, lines in entries if lines is not None}


def safe(name: str) -> str:
    """A name without the characters that some file systems reject: ``camera:0`` becomes ``camera-0``."""
    return "".join("-" if letter in '<>:"/\\|?*' else letter for letter in name)


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Make the first Ctrl-C or SIGTERM in the block call ``stop``, so that everything ends in order.

    The second one interrupts.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, frame: FrameType | None) -> None:
        for each, handler in before.items():
            signal.signal(each, handler)
        stop()

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
