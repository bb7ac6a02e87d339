"""What ``facepipe detect`` does with its options, from the sources to the exit."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...core.errors import FacepipeError
from .. import STARTED
from ..console import report
from ..inputs.image_reader import Limits
from ..inputs.sources import gather, read_list
from ..outputs.options import Outputs
from ..pipeline import Pipeline
from ..video.options import VideoOptions
from .console import DetectScreen, counted, note
from .images import DetectRun, look_back, named_one_by_one, run_settings, tell_where_it_stands


@dataclass(frozen=True)
class DetectJob:
    """The command's options.

    Attributes:
        sources: as they were given; ``from_list`` names a file with more of them.
        decisive: options of ``Pipeline`` on which the results depend: a run is resumed with the same ones.
        threads, workers: options of ``Pipeline`` on which they do not.
        strict: a picture that is damaged within is an error.
        video: how videos are looked at; ``tracks`` is a file for one row a person.
    """

    sources: tuple[str, ...]
    from_list: str | None
    allow_url: bool
    recursive: bool
    outputs: Outputs
    detector: str | None
    classifier: list[str] | None
    threads: int | None
    workers: int | None
    decisive: Mapping[str, Any]
    resume: bool
    retry_failed: bool
    restart: bool
    timing: bool
    strict: bool
    video: VideoOptions
    tracks: Path | None


def run_job(job: DetectJob) -> bool:
    """Do it all, and say on the screen what there is to say.

    Returns:
        Whether some picture, or a folder, could not be read.

    Raises:
        FacepipeError: of the sources, the outputs, the journal or the models; nothing that was done is lost.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after it was said how to go on.
    """
    outputs = job.outputs
    texts = [*job.sources, *(read_list(job.from_list) if job.from_list is not None else ())]
    found = gather(texts, job.allow_url, job.recursive)
    for problem in found.problems:
        report(problem)
    if found.passed_over:
        note(f"passed over, for no picture has such a name: {counted(found.passed_over, 'file')}")
    pictures = outputs.without_own(found.pictures, named_one_by_one(texts))
    if own := len(found.pictures) - len(pictures):
        note(f"passed over, for they lie in a folder that this run writes to: {counted(own, 'picture')}")
    inputs = [*pictures, *found.videos]
    outputs.check(inputs)
    if found.videos:
        from ..video.analysis import require_video
        from .videos import check_outputs

        check_outputs(outputs, job.tracks, found.videos)
        require_video(job.video)
    elif job.tracks is not None:
        raise FacepipeError(f"--tracks {job.tracks}: there is no video among the sources")
    before = look_back(outputs, job.resume, job.restart)
    if job.resume and before is None and outputs.finished:
        names = ", ".join(map(str, outputs.files.values()))
        if job.retry_failed:
            raise FacepipeError(
                f"{names}: finished already, and the journal is gone, so nothing says what failed but the column "
                "'error'; put those sources in a list, and give it with --from and other outputs"
            )
        note(f"{names}: finished already; --restart begins anew")
        return False
    imported = time.perf_counter() - STARTED
    screen = DetectScreen(len(pictures), not outputs.talks, bool(outputs.files))
    run: DetectRun | None = None
    with Pipeline(
        job.detector,
        job.classifier,
        threads=job.threads,
        workers=job.workers,
        allow_url=job.allow_url,
        limits=Limits(damaged=not job.strict),
        **job.decisive,
    ) as pipeline:
        try:
            options = {**job.decisive, "--strict": job.strict or None}
            if found.videos:
                options["video"] = asdict(job.video)
            settings = run_settings(pipeline, outputs, options)
            with DetectRun(pipeline, outputs, inputs, settings, before, bool(found.videos)) as run:
                failed = _all(run, job, pictures, list(found.videos), screen)
        except (KeyboardInterrupt, FacepipeError) as stop:
            if isinstance(stop, KeyboardInterrupt) or (run is not None and run.journal):
                note(tell_where_it_stands(run, screen.pictures, len(pictures)))
            raise
    if job.timing:
        parts = {"import": imported, **pipeline.stopwatch.seconds, "total": time.perf_counter() - STARTED}
        print("timing: " + ", ".join(f"{part} {spent:.3f} s" for part, spent in parts.items()), file=sys.stderr)
    return failed > 0 or bool(found.problems)


def _all(run: DetectRun, job: DetectJob, pictures: list[str], videos: list[str], screen: DetectScreen) -> int:
    """The pictures, the videos, the files; the number of pictures that could not be read."""
    to_do = run.to_do(pictures, job.retry_failed)
    if done := len(pictures) - len(to_do):
        note(f"done already: {done:,} of {counted(len(pictures), 'picture')}")
    journal = run.journal
    if journal is not None:
        if journal.cut:
            note(f"{journal.path}: {counted(journal.cut, 'torn line')} cut at its end, to be done again")
        present = set(pictures)
        if not videos and (gone := sum(source not in present for source in journal.sources)):
            note(f"no longer among the sources, but their rows stay: {counted(gone, 'picture')}")
    with screen.bar(done):
        run.pictures(to_do, screen)
    if videos:
        from .videos import detect_videos

        detect_videos(run, videos, screen, job.video, job.tracks)
    counts = (screen.pictures, screen.faces, screen.failed)
    if journal is not None:
        counts = (len(journal), journal.faces, journal.failures)
    screen.end()
    run.finish()
    screen.summary(*counts)
    return counts[2]
