"""Runs ``facepipe detect`` with its options, from the sources to the exit code."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ...core.errors import FacepipeError
from .. import STARTED
from ..console import DEBUG, ERROR, INFO, DetectScreen, Verbosity, counted, note, report, unwrapped
from ..inputs.image_reader import Limits
from ..inputs.sources import Gathered, gather, read_list
from ..outputs.names import shared_folder
from ..outputs.options import Outputs
from ..pipeline import Pipeline
from ..video.options import VideoOptions
from .images import DetectRun, look_back, named_one_by_one, progress_text, run_settings


@dataclass(frozen=True)
class SourceOptions:
    """Which sources are processed.

    Attributes:
        texts: as they were given; ``from_list`` names a file with more of them.
        allow_url: allow URLs as sources.
        recursive: search the subfolders of folders.
    """

    texts: tuple[str, ...]
    from_list: str | None = None
    allow_url: bool = False
    recursive: bool = True

    def named(self) -> list[str]:
        """Every source that was given, as an argument or in the list."""
        return [*self.texts, *(read_list(self.from_list) if self.from_list is not None else ())]


@dataclass(frozen=True)
class ModelOptions:
    """Options of ``Pipeline``.

    Attributes:
        detector, classifier: versions.
        decisive: options that affect the results; a resumed run must use the same ones.
        threads, workers: options that do not.
    """

    detector: str | None
    classifier: list[str] | None
    decisive: Mapping[str, Any]
    threads: int | None = None
    workers: int | None = None

    def open(self, allow_url: bool, strict: bool) -> Pipeline:
        """Open the pipeline; if strict, a picture with damage inside is an error."""
        return Pipeline(
            self.detector,
            self.classifier,
            threads=self.threads,
            workers=self.workers,
            allow_url=allow_url,
            limits=Limits(damaged=not strict),
            **self.decisive,
        )


@dataclass(frozen=True)
class RunOptions:
    """How the run goes: whether it resumes, whether damage is an error, and what the screen shows."""

    resume: bool = False
    retry_failed: bool = False
    restart: bool = False
    timing: bool = False
    strict: bool = False
    wide: bool = False
    window: bool = False


@dataclass(frozen=True)
class VideoJob:
    """How videos are processed, and a file with one row per person."""

    every: int
    classify_every: int
    track: bool
    seconds: float | None
    tracks: Path | None = None

    @property
    def options(self) -> VideoOptions:
        """The same options in the form that the run over videos takes."""
        return VideoOptions(self.every, self.classify_every, self.track, self.seconds)


@dataclass(frozen=True)
class DetectJob:
    """The command's options, in groups."""

    sources: SourceOptions
    models: ModelOptions
    outputs: Outputs
    run: RunOptions
    video: VideoJob


def run_job(job: DetectJob) -> bool:
    """Do the whole run, and print its messages.

    Returns:
        Whether a picture or a folder could not be read.

    Raises:
        FacepipeError: from the sources, the outputs, the journal or the models; finished work is not lost.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after printing how to resume.
    """
    texts = job.sources.named()
    outputs = job.outputs
    if outputs.save is not None and outputs.save_as is None:
        outputs = replace(outputs, root=shared_folder(texts))
    found = _gather(job, texts, outputs)
    inputs = [*found.pictures, *found.videos]
    _check(job, outputs, found)
    before = look_back(outputs, job.run.resume, job.run.restart)
    if job.run.resume and before is None and outputs.finished:
        _refuse_finished(job, outputs)
        return False
    imported = time.perf_counter() - STARTED
    shown = not outputs.talks and not (Verbosity.level < INFO and (outputs.files or outputs.save))
    screen = DetectScreen(len(found.pictures), shown, bool(outputs.files), job.run.wide)
    run: DetectRun | None = None
    with job.models.open(job.sources.allow_url, job.run.strict) as pipeline:
        try:
            options = {**job.models.decisive, "--strict": job.run.strict or None}
            if found.videos:
                options["video"] = asdict(job.video.options)
            settings = run_settings(pipeline, outputs, options)
            with unwrapped(), DetectRun(pipeline, outputs, inputs, settings, before, bool(found.videos)) as run:
                failed = _all(run, job, found, screen)
        except (KeyboardInterrupt, FacepipeError) as stop:
            if isinstance(stop, KeyboardInterrupt) or (run is not None and run.journal):
                note(progress_text(run, screen.pictures, len(found.pictures)), ERROR)
            raise
    if job.run.timing or Verbosity.level >= DEBUG:
        parts = {"import": imported, **pipeline.stopwatch.seconds, "total": time.perf_counter() - STARTED}
        print("timing: " + ", ".join(f"{part} {spent:.3f} s" for part, spent in parts.items()), file=sys.stderr)
    return failed > 0 or bool(found.problems)


def _gather(job: DetectJob, texts: list[str], outputs: Outputs) -> Gathered:
    """The pictures and videos, except those that an earlier run left in its own folders."""
    found = gather(texts, job.sources.allow_url, job.sources.recursive)
    for problem in found.problems:
        report(problem)
    if found.passed_over:
        note(f"skipped, not named like a picture: {counted(found.passed_over, 'file')}")
    if outputs.save_as is not None:
        if len(found.pictures) + len(found.videos) != 1:
            number = counted(len(found.pictures) + len(found.videos), "source")
            raise FacepipeError(f"--save {outputs.save_as}: is one file, but there are {number}; name a folder")
        if bool(found.videos) is not (Path(outputs.save_as).suffix.lower() == ".mp4"):
            raise FacepipeError(f"--save {outputs.save_as}: a video is saved as .mp4, a picture as .jpg, .png or .webp")
        return found
    pictures = outputs.without_own(found.pictures, named_one_by_one(texts))
    if own := len(found.pictures) - len(pictures):
        note(f"skipped, in a folder that this run writes to: {counted(own, 'picture')}")
    return replace(found, pictures=tuple(pictures))


def _check(job: DetectJob, outputs: Outputs, found: Gathered) -> None:
    """Reject, before any work, outputs that cannot be written or that do not suit these sources."""
    outputs.check([*found.pictures, *found.videos])
    if found.videos:
        from ..video.analysis import require_video
        from .videos import check_outputs

        check_outputs(outputs, job.video.tracks, found.videos)
        require_video(job.video.options)
        if job.run.window:
            from ..drawing.window import check_display

            check_display("--save DIR writes the annotated video")
    elif job.video.tracks is not None or job.run.window:
        given = "--show" if job.video.tracks is None else f"--tracks {job.video.tracks}"
        raise FacepipeError(f"{given}: there is no video among the sources")


def _refuse_finished(job: DetectJob, outputs: Outputs) -> None:
    """Say that there is nothing to resume."""
    names = ", ".join(map(str, outputs.files.values()))
    if job.run.retry_failed:
        raise FacepipeError(
            f"{names}: already finished, and the journal is gone, so only the column 'error' shows what failed; "
            "list those sources in a file, and pass it with --from and other outputs"
        )
    note(f"{names}: already finished; --restart starts over")


def _all(run: DetectRun, job: DetectJob, found: Gathered, screen: DetectScreen) -> int:
    """Process the pictures and videos, and write the files; return the number of pictures that could not be read."""
    pictures, videos = found.pictures, found.videos
    to_do = run.to_do(pictures, job.run.retry_failed)
    if done := len(pictures) - len(to_do):
        note(f"already done: {done:,} of {counted(len(pictures), 'picture')}")
    journal = run.journal
    if journal is not None:
        if journal.cut:
            note(f"{journal.path}: {counted(journal.cut, 'torn line')} removed from its end, to be redone")
        present = set(pictures)
        if not videos and (gone := sum(source not in present for source in journal.sources)):
            note(f"no longer among the sources, but their rows stay: {counted(gone, 'picture')}")
    with screen.bar(done):
        run.pictures(to_do, screen)
    if videos:
        from .videos import detect_videos

        detect_videos(run, videos, screen, job.video.options, job.video.tracks, job.run.window)
    counts = (screen.pictures, screen.faces, screen.failed)
    if journal is not None:
        counts = (len(journal), journal.faces, journal.failures)
    screen.end()
    run.finish()
    screen.summary(*counts)
    return counts[2]
