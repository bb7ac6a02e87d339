"""``facepipe detect``: faces in pictures and videos, and the attributes of each."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ...core.errors import ImageError
from ...core.files import is_standard_output, is_stream
from ..console import DEBUG, WARNING, Verbosity, exit_code, terminable
from ..video.options import CLASSIFY_EVERY
from ._detect_options import HIDE_CONFIDENCE, Drawn, EngineName, Given, Ray, Screen, Tuning, Videos, Written
from ._options import ModelChoice

if TYPE_CHECKING:
    from ..outputs.options import Outputs

Options = Mapping[str, Any]
"""The command's options, by the names of their fields in the groups."""
FAILED = 1
"""Exit code where some input failed."""
JPEG, OTHERS = (".jpg", ".jpeg"), (".png", ".webp", ".bmp", ".tif", ".tiff")
SAVED = (*JPEG, *OTHERS, ".mp4")
"""Suffixes of ``--save`` that name a file."""
SUFFIXES = {
    "json_target": (".jsonl", ".json", ".ndjson"),
    "csv": (".csv", ".tsv", ".txt"),
    "parquet": (".parquet", ".pq"),
    "coco": (".json",),
    "features": (".npz", ".parquet"),
    "tracks": (".csv", ".parquet", ".jsonl"),
    "save": SAVED,
    "crops": (),
}
"""What the names of outputs may end in, by option; other endings are taken unless they stand for another format."""
FORMATS = {
    *(suffix for suffixes in SUFFIXES.values() for suffix in suffixes),
    *(".gif", ".heic", ".avif", ".mov", ".avi", ".mkv", ".webm", ".npy", ".xlsx", ".xls", ".html", ".xml", ".yaml"),
    *(".zip", ".gz", ".bz2", ".xz", ".zst", ".tar"),
} - {".txt"}
"""Endings that say what a file holds."""
LOCAL_ONLY = (
    *("json_target", "csv", "parquet", "coco", "crops", "save", "draw", "label_fields", "review", "strict", "features"),
    *("retry_failed", "workers", "timing", "every", "classify_every", "no_tracks", "tracks", "seconds"),
    *("wide", "show"),
)
RAY_ONLY = ("out", "address", "actors", "block")


def detect(
    given: Given,
    written: Written,
    drawn: Drawn,
    models: ModelChoice,
    tuning: Tuning,
    videos: Videos,
    ray: Ray,
    screen: Screen,
) -> None:
    """Find the faces in pictures and videos and read the attributes of each face.

    Output files are written at the end, from a journal beside the first of them (FILE.partial.jsonl). To continue an
    interrupted run where it stopped, repeat the command with --resume.

    Several classifiers can read the same faces: --classifier face@1.0.0 --classifier shirt@0.1.0. Features are numbers
    for models of your own; they are not an identity embedding, and not suitable for recognising people.

    With --engine ray the work is spread over cores or machines: facepipe detect 's3://bucket/**' --engine ray --out
    s3://bucket/faces.parquet. Repeating the same command continues an interrupted run.

    In videos, persons are tracked and get one line of attributes each; camera:0 and rtsp:// count as videos.

    Exit codes: 0 all pictures were read, 1 some could not be read (the others are done), 2 wrong usage or set-up, 130
    interrupted.
    """
    from ..batch.job import DetectJob, ModelOptions, RunOptions, SourceOptions, VideoJob, run_job

    groups = (given, written, drawn, models, tuning, videos, ray, screen)
    options = {name: value for group in groups for name, value in vars(group).items()}
    check_usage(options)
    if screen.quiet or screen.verbose:
        Verbosity.level = WARNING if screen.quiet else DEBUG
    sources = SourceOptions(tuple(given.sources or ()), given.from_list, given.allow_url, not given.no_recursive)
    decisive = _decisive(models, tuning)
    chosen = ModelOptions(models.detector, models.classifier, decisive, models.threads, tuning.workers)
    if ray.out is not None:  # which only --engine ray takes, and needs
        from ..distributed.job import RayJob, run_ray_job

        ray_job = RayJob(sources, chosen, ray.out, ray.address, ray.actors, ray.block, written.restart)
        end(lambda: run_ray_job(ray_job))
        return
    job = DetectJob(
        sources,
        chosen,
        output_options(options),
        RunOptions(
            written.resume,
            written.retry_failed,
            written.restart,
            screen.timing,
            given.strict,
            screen.wide,
            videos.show,
        ),
        VideoJob(videos.every, videos.classify_every, not videos.no_tracks, videos.seconds, videos.tracks),
    )
    end(lambda: run_job(job))


def _decisive(models: ModelChoice, tuning: Tuning) -> dict[str, Any]:
    """The options on which the results depend."""
    return {
        "device": models.device,
        "precision": tuning.precision.value,
        "confidence": models.conf,
        "imgsz": models.imgsz,
        "tiles": tuning.tile_size or tuning.tiles,
        "reduced_decode": tuning.reduced_decode,
        "face_check": tuning.face_check,
    }


def end(run: Callable[[], bool]) -> None:
    """Run to the end, and leave with the exit code that tells how that went."""
    try:
        with terminable():
            failed = run()
    except KeyboardInterrupt as interruption:
        raise typer.Exit(exit_code(interruption)) from None
    if failed:
        raise typer.Exit(FAILED)


def option(name: str) -> str:
    """How a parameter is typed."""
    return "--json" if name == "json_target" else f"--{name.replace('_', '-')}"


def check_usage(given: Options) -> None:
    """Refuse options that do not go together.

    Raises:
        typer.BadParameter: the message names them.
        ImageError: a source in a bucket, which only ``--engine ray`` reads.
    """
    wrong = {
        "--blur and --pixelate: choose one of them": given["blur"] and given["pixelate"],
        "--blur and --pixelate need --save, where the pictures go": (given["blur"] or given["pixelate"])
        and given["save"] is None,
        "--draw and --label-fields need --save or --show, and draw nothing where faces are hidden": (
            given["draw"] is not None or given["label_fields"] is not None
        )
        and (given["save"] is None or given["blur"] or given["pixelate"])
        and not given["show"],
        "--review and --hide-conf need --blur or --pixelate": (
            given["review"] is not None or given["hide_conf"] != HIDE_CONFIDENCE
        )
        and not (given["blur"] or given["pixelate"]),
        "--resume continues and --restart starts over: choose one of them": given["resume"] and given["restart"],
        "--tracks needs tracking, which --no-tracks turns off: choose one of them": given["no_tracks"]
        and given["tracks"] is not None,
        "--retry-failed needs --resume": given["retry_failed"] and not given["resume"],
        "--quiet and --verbose: choose one of them": given["quiet"] and given["verbose"],
        "name at least one SOURCE, or a list of them with --from": not given["sources"] and given["from_list"] is None,
    }
    for message, holds in wrong.items():
        if holds:
            raise typer.BadParameter(message)
    _check_engine(given)
    for name, allowed in SUFFIXES.items():
        if given[name] is not None:
            check_suffix(option(name), Path(given[name]), allowed)
    if given["engine"] is EngineName.local:
        from ..inputs.sources import is_store

        for source in given["sources"] or ():
            if is_store(source):
                message = "is in a bucket; --engine ray reads it, and writes to --out FOLDER.parquet"
                raise ImageError(f"{source}: {message}")


def _check_engine(given: Options) -> None:
    """Refuse options of the other engine, and Ray without its output."""
    defaults = {"every": 1, "classify_every": CLASSIFY_EVERY}
    ray = given["engine"] is EngineName.ray
    others = [
        option(name)
        for name in (LOCAL_ONLY if ray else RAY_ONLY)
        if given[name] is not None and given[name] is not False and given[name] != defaults.get(name)
    ]
    if others and ray:
        message = "not with --engine ray, which writes rows to --out FOLDER.parquet"
        raise typer.BadParameter(f"{', '.join(others)}: {message}")
    if others:
        raise typer.BadParameter(f"{', '.join(others)}: only with --engine ray")
    if ray and not given["out"]:
        raise typer.BadParameter("--engine ray needs --out FOLDER.parquet")


def check_suffix(name: str, path: Path, allowed: tuple[str, ...]) -> None:
    """Refuse an output whose name says that it holds something else.

    Args:
        name: the option.
        path: what was given; a folder that is there may be called anything.
        allowed: suffixes that fit.

    Raises:
        typer.BadParameter: the suffix contradicts the option.
    """
    suffix = path.suffix.lower()
    if suffix in allowed or suffix not in FORMATS or os.path.isdir(path):
        return
    wanted = f"a name that ends in {' or '.join(allowed)}" if allowed else "a folder"
    raise typer.BadParameter(f"{name} {path}: {name} writes {wanted}")


def output_options(given: Options) -> Outputs:
    """What the run writes.

    Raises:
        typer.BadParameter: ``--resume`` without an output that is kept.
    """
    from ..outputs.options import Outputs

    hidden, save, drawing = given["blur"] or given["pixelate"], given["save"], None
    if given["draw"] is not None or given["label_fields"] is not None:
        from ..drawing.options import DrawOptions

        drawing = DrawOptions.parse(given["draw"], given["label_fields"])
    name = None
    if save is not None and save.suffix.lower() in SAVED and not os.path.isdir(save):
        save, name = save.parent, save.name
    live, live_csv = _live(given["json_target"]), _live(given["csv"])
    if live == live_csv == "-":
        raise typer.BadParameter("--json and --csv both go to standard output: give one of them a file")
    outputs = Outputs(
        json=None if given["json_target"] is None or live else Path(given["json_target"]),
        live=live,
        live_csv=live_csv,
        csv=None if given["csv"] is None or live_csv else Path(given["csv"]),
        parquet=given["parquet"],
        coco=given["coco"],
        features=given["features"],
        crops=given["crops"],
        save=save,
        save_as=name,
        how=None if hidden is None else ("blur" if given["blur"] else "pixelate"),
        what=None if hidden is None else hidden.value,
        drawing=drawing,
        hide_confidence=given["hide_conf"],
        review=given["review"],
    )
    if given["resume"] and (live or live_csv or not outputs.journals):
        raise typer.BadParameter("--resume needs an output in a file or a folder, not --json - or --csv -")
    return outputs


def _live(target: str | None) -> str | None:
    """Where an output goes that is written at once, ``-`` for standard output; None of one that goes to a file."""
    try:
        if target is None or not is_stream(target):
            return None
    except OSError:  # a name that no file system takes, which the check of the outputs tells
        return None
    return "-" if is_standard_output(target) else target
