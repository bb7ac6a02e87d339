"""``facepipe detect``: faces in pictures and videos, and the attributes of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ..console import DEBUG, WARNING, Verbosity, exit_code, terminable
from ..video.options import CLASSIFY_EVERY, VideoOptions
from ._detect_options import check_usage, output_options, ray_options
from ._options import (
    DRAWING,
    HIDE_CONFIDENCE,
    INPUT,
    LARGEST_INPUT,
    MODELS,
    MOST_THREADS,
    OUTPUT,
    SPEED,
    VIDEO,
    Actors,
    Address,
    Block,
    Classifier,
    ClassifyEvery,
    Confidence,
    Detector,
    Device,
    Engine,
    EngineName,
    Every,
    Hidden,
    InputSize,
    NoTracks,
    Out,
    Precision,
    Seconds,
    Threads,
    Tracks,
)

FAILED = 1
"""Exit code where some input failed."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(detect)


def detect(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="SOURCE", help="Pictures, folders of them, globs, videos.", show_default=False),
    ] = None,
    from_list: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE|-",
            help="A list of sources, one a line; - is standard input.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    allow_url: Annotated[
        bool, typer.Option("--allow-url", help="Sources may be http and https addresses.", rich_help_panel=INPUT)
    ] = False,
    no_recursive: Annotated[
        bool,
        typer.Option(
            "--no-recursive", help="Of a folder take what lies in it, not in folders below.", rich_help_panel=INPUT
        ),
    ] = False,
    json_target: Annotated[
        str | None,
        typer.Option(
            "--json",
            metavar="FILE|-",
            help="Write one JSON object a line; - is standard output.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    csv: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-", help="Write a table, one row a face; - is standard output.", rich_help_panel=OUTPUT
        ),
    ] = None,
    parquet: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The same as Parquet, with types (extra 'parquet').", rich_help_panel=OUTPUT),
    ] = None,
    coco: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write COCO JSON, to correct the boxes.", rich_help_panel=OUTPUT),
    ] = None,
    crops: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Cut the faces out into this folder, with a CSV of labels.", rich_help_panel=OUTPUT
        ),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz|.parquet",
            help="Write each face's pooled numbers before the heads there.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="A picture that is damaged within is an error, not a warning in its row.",
            rich_help_panel=INPUT,
        ),
    ] = False,
    wide: Annotated[
        bool, typer.Option("--wide", help="Tables on the screen with points, too.", rich_help_panel=OUTPUT)
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with a run that was interrupted; what is done is skipped.", rich_help_panel=OUTPUT
        ),
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            help="With --resume: try pictures again that could not be read.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart", help="Begin anew, and drop what an interrupted run has done.", rich_help_panel=OUTPUT
        ),
    ] = False,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|FILE",
            help="Save annotated pictures and videos in this folder; of one picture or video, a file.",
            rich_help_panel=DRAWING,
        ),
    ] = None,
    draw: Annotated[
        str | None,
        typer.Option(
            metavar="LAYERS",
            help="With --save: draw these of boxes,labels,points,heads. Default: all.",
            rich_help_panel=DRAWING,
        ),
    ] = None,
    label_fields: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="With --save: attributes that labels name, as in age,gender.",
            rich_help_panel=DRAWING,
        ),
    ] = None,
    blur: Annotated[
        Hidden | None,
        typer.Option(help="With --save: blur these, and draw nothing.", show_default=False, rich_help_panel=DRAWING),
    ] = None,
    pixelate: Annotated[
        Hidden | None,
        typer.Option(
            help="With --save: pixelate these, and draw nothing.", show_default=False, rich_help_panel=DRAWING
        ),
    ] = None,
    hide_conf: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="With --blur and --pixelate: least confidence of what is hidden.",
            rich_help_panel=DRAWING,
        ),
    ] = HIDE_CONFIDENCE,
    review: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With --blur and --pixelate: list there the pictures in which nothing was hidden.",
            rich_help_panel=DRAWING,
        ),
    ] = None,
    conf: Confidence = None,
    detector: Detector = None,
    classifier: Classifier = None,
    imgsz: InputSize = None,
    tiles: Annotated[
        bool,
        typer.Option(
            "--tiles",
            help="Look at pictures larger than that in tiles too, for small faces.",
            rich_help_panel=MODELS,
        ),
    ] = False,
    tile_size: Annotated[
        int | None,
        typer.Option(
            min=32,
            max=LARGEST_INPUT,
            help="Side of such a tile, in pixels; implies --tiles. Default: --imgsz.",
            rich_help_panel=MODELS,
        ),
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(
            help="Of the models. auto: the fastest on this machine within the releases' bounds.",
            rich_help_panel=SPEED,
        ),
    ] = Precision.auto,
    device: Device = "cpu",
    threads: Threads = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_THREADS,
            help="Pictures that are worked on at once. Default: by the machine.",
            rich_help_panel=SPEED,
        ),
    ] = None,
    timing: Annotated[
        bool,
        typer.Option("--timing", help="Print where the time went, on standard error.", rich_help_panel=SPEED),
    ] = False,
    every: Every = 1,
    classify_every: ClassifyEvery = CLASSIFY_EVERY,
    no_tracks: NoTracks = False,
    tracks: Tracks = None,
    seconds: Seconds = None,
    show: Annotated[
        bool,
        typer.Option("--show", help="Show videos and cameras in a window; q closes it.", rich_help_panel=VIDEO),
    ] = False,
    engine: Engine = EngineName.local,
    out: Out = None,
    address: Address = None,
    actors: Actors = None,
    block: Block = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No notes, bars and summaries: only errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more: where the time went.")] = False,
) -> None:
    """Find the faces in pictures and videos and read the attributes of each.

    Files are written when all is done, from a journal beside the first of them (FILE.partial.jsonl). A run that was
    interrupted goes on where it was with the same command and --resume.

    Several classifiers look at the same faces: --classifier face@1.0.0 --classifier shirt@0.1.0. Features are numbers
    for models of your own; they are not an identity embedding, and not fit to recognise persons.

    With --engine ray the work is spread over cores or machines: facepipe detect 's3://bucket/**' --engine ray --out
    s3://bucket/faces.parquet. The same command goes on with a run that was interrupted.

    In videos persons are followed, each with one line of attributes; camera:0 and rtsp:// are videos, too.

    Exit codes: 0 every picture was read, 1 some could not be (the others are done), 2 wrong usage or set-up, 130
    interrupted.
    """
    from ..batch.job import DetectJob, ModelOptions, RunOptions, SourceOptions, VideoJob, run_job

    given = {name: value for name, value in locals().items() if name not in ("DetectJob", "run_job")}
    check_usage(given)
    if quiet or verbose:
        Verbosity.level = WARNING if quiet else DEBUG
    decisive = {
        "device": device,
        "precision": precision.value,
        "confidence": conf,
        "imgsz": imgsz,
        "tiles": tile_size or tiles,
    }
    chosen = SourceOptions(tuple(sources or ()), from_list, allow_url, not no_recursive)
    models = ModelOptions(detector, classifier, decisive, threads, workers)
    if out is not None:  # which only --engine ray takes, and needs
        from ..distributed.job import run_ray_job

        ray_job = ray_options(chosen, models, out, address, actors, block, restart)
        end(lambda: run_ray_job(ray_job))
        return
    job = DetectJob(
        chosen,
        models,
        output_options(given),
        RunOptions(resume, retry_failed, restart, timing, strict, wide, show),
        VideoJob(VideoOptions(every, classify_every, not no_tracks, seconds), tracks),
    )
    end(lambda: run_job(job))


def end(run: Callable[[], bool]) -> None:
    """Run to the end, and leave with the exit code that tells how that went."""
    try:
        with terminable():
            failed = run()
    except KeyboardInterrupt as interruption:
        raise typer.Exit(exit_code(interruption)) from None
    if failed:
        raise typer.Exit(FAILED)
