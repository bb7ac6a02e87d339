"""``facepipe detect``: faces in pictures and videos, and the attributes of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ...core.files import is_standard_output, is_stream
from ..video.options import CLASSIFY_EVERY, VideoOptions
from ._options import (
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
    check_engine,
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
        str | None, typer.Option("--from", metavar="FILE|-", help="A list of sources, one a line; - is standard input.")
    ] = None,
    allow_url: Annotated[bool, typer.Option("--allow-url", help="Sources may be http and https addresses.")] = False,
    no_recursive: Annotated[
        bool, typer.Option("--no-recursive", help="Of a folder take what lies in it, not in folders below.")
    ] = False,
    json_target: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="Write one JSON object a line; - is standard output.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE|-", help="Write a table, one row a face.")] = None,
    parquet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The same as Parquet, with types (extra 'parquet').")
    ] = None,
    coco: Annotated[Path | None, typer.Option(metavar="FILE", help="Write COCO JSON, to correct the boxes.")] = None,
    crops: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Cut the faces out into this folder, with a CSV of labels.")
    ] = None,
    save: Annotated[Path | None, typer.Option(metavar="DIR", help="Save annotated pictures in this folder.")] = None,
    draw: Annotated[
        str | None,
        typer.Option(metavar="LAYERS", help="With --save: draw these of boxes,labels,points,heads. Default: all."),
    ] = None,
    label_fields: Annotated[
        str | None, typer.Option(metavar="NAMES", help="With --save: attributes that labels name, as in age,gender.")
    ] = None,
    blur: Annotated[
        Hidden | None, typer.Option(help="With --save: blur these, and draw nothing.", show_default=False)
    ] = None,
    pixelate: Annotated[
        Hidden | None, typer.Option(help="With --save: pixelate these, and draw nothing.", show_default=False)
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz|.parquet", help="Write each face's pooled numbers before the heads there."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="A picture that is damaged within is an error, not a warning in its row.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was interrupted; what is done is skipped.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="With --resume: try pictures again that could not be read.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew, and drop what an interrupted run has done.")
    ] = False,
    conf: Confidence = None,
    detector: Detector = None,
    classifier: Classifier = None,
    device: Device = "cpu",
    precision: Annotated[
        Precision, typer.Option(help="Of the models. auto: the fastest on this machine within the releases' bounds.")
    ] = Precision.auto,
    threads: Threads = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Pictures that are worked on at once. Default: by the machine.")
    ] = None,
    timing: Annotated[bool, typer.Option("--timing", help="Print where the time went, on standard error.")] = False,
    imgsz: InputSize = None,
    tiles: Annotated[
        bool, typer.Option("--tiles", help="Look at pictures larger than that in tiles too, for small faces.")
    ] = False,
    tile_size: Annotated[
        int | None, typer.Option(min=32, help="Side of such a tile, in pixels; implies --tiles. Default: --imgsz.")
    ] = None,
    every: Every = 1,
    classify_every: ClassifyEvery = CLASSIFY_EVERY,
    no_tracks: NoTracks = False,
    tracks: Tracks = None,
    seconds: Seconds = None,
    engine: Engine = EngineName.local,
    out: Out = None,
    address: Address = None,
    actors: Actors = None,
    block: Block = None,
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
    from ...core.errors import ImageError
    from ..batch.job import DetectJob, run_job
    from ..drawing.options import DrawOptions
    from ..inputs.url import is_store
    from ..outputs.options import Outputs

    if blur and pixelate:
        raise typer.BadParameter("--blur and --pixelate: choose one of them")
    if (blur or pixelate) and save is None:
        raise typer.BadParameter("--blur and --pixelate need --save DIR, where the pictures go")
    if (draw is not None or label_fields is not None) and (save is None or blur or pixelate):
        raise typer.BadParameter("--draw and --label-fields need --save DIR, and draw nothing where faces are hidden")
    if resume and restart:
        raise typer.BadParameter("--resume goes on and --restart begins anew: choose one of them")
    if no_tracks and tracks is not None:
        raise typer.BadParameter("--tracks writes persons, and --no-tracks follows none: choose one of them")
    if retry_failed and not resume:
        raise typer.BadParameter("--retry-failed needs --resume")
    if not sources and from_list is None:
        raise typer.BadParameter("name at least one SOURCE, or a list of them with --from")
    local_only = {
        "--json": json_target is not None,
        "--csv": csv,
        "--parquet": parquet,
        "--coco": coco,
        "--crops": crops,
        "--save": save,
        "--draw": draw,
        "--label-fields": label_fields,
        "--strict": strict,
        "--features": features,
        "--retry-failed": retry_failed,
        "--workers": workers,
        "--timing": timing,
        "--every": every != 1,
        "--classify-every": classify_every != CLASSIFY_EVERY,
        "--no-tracks": no_tracks,
        "--tracks": tracks,
        "--seconds": seconds is not None,
    }
    check_engine(engine, local_only, {"--out": out, "--address": address, "--actors": actors, "--block": block})
    decisive = {
        "device": device,
        "precision": precision.value,
        "confidence": conf,
        "imgsz": imgsz,
        "tiles": tile_size or tiles,
    }
    if out is not None:  # which only --engine ray takes, and needs
        from ..distributed.job import RayJob, run_ray_job

        ray_job = RayJob(
            sources=tuple(sources or ()),
            from_list=from_list,
            allow_url=allow_url,
            recursive=not no_recursive,
            out=out,
            detector=detector,
            classifier=classifier,
            decisive=decisive,
            address=address,
            actors=actors,
            threads=threads,
            block=block,
            restart=restart,
        )
        _end(lambda: run_ray_job(ray_job))
        return
    for source in sources or ():
        if is_store(source):
            raise ImageError(f"{source}: lies in a bucket; --engine ray reads it, and writes to --out FOLDER.parquet")
    live, live_csv = _live(json_target), _live(csv)
    if live == live_csv == "-":
        raise typer.BadParameter("--json and --csv: only one of them can go to standard output")
    hidden = blur or pixelate
    outputs = Outputs(
        json=None if json_target is None or live else Path(json_target),
        live=live,
        live_csv=live_csv,
        csv=None if live_csv else csv,
        parquet=parquet,
        coco=coco,
        features=features,
        crops=crops,
        save=save,
        how=None if hidden is None else ("blur" if blur else "pixelate"),
        what=None if hidden is None else hidden.value,
        drawing=DrawOptions.parse(draw, label_fields),
    )
    if resume and (live or live_csv or not outputs.journals):
        raise typer.BadParameter("--resume needs an output in a file or a folder, and not --json -")
    job = DetectJob(
        sources=tuple(sources or ()),
        from_list=from_list,
        allow_url=allow_url,
        recursive=not no_recursive,
        outputs=outputs,
        detector=detector,
        classifier=classifier,
        threads=threads,
        workers=workers,
        decisive=decisive,
        resume=resume,
        retry_failed=retry_failed,
        restart=restart,
        timing=timing,
        strict=strict,
        video=VideoOptions(every, classify_every, not no_tracks, seconds),
        tracks=tracks,
    )
    _end(lambda: run_job(job))


def _end(run: Callable[[], bool]) -> None:
    """Run to the end, and leave with the exit code that tells how that went."""
    from ..console import exit_code, terminable

    try:
        with terminable():
            failed = run()
    except KeyboardInterrupt as interruption:
        raise typer.Exit(exit_code(interruption)) from None
    if failed:
        raise typer.Exit(FAILED)


def _live(target: str | Path | None) -> str | None:
    """Where an output goes that is written at once, ``-`` for standard output; None of one that goes to a file."""
    if target is None or not is_stream(target):
        return None
    return "-" if is_standard_output(target) else str(target)
