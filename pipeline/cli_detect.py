"""``facepipe detect``: faces in pictures, and the attributes of each."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from . import STARTED
from .error_line import report

FAILED = 1
"""Exit code where some input failed."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(detect)


def detect(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Pictures to read.", show_default=False)],
    json_target: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="Write one JSON object a line; - is standard output.")
    ] = None,
    save: Annotated[Path | None, typer.Option(metavar="DIR", help="Save annotated pictures in this folder.")] = None,
    features: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz|.parquet", help="Write each face's pooled numbers before the heads there."),
    ] = None,
    conf: Annotated[
        float | None, typer.Option(min=0, max=1, help="Least confidence of a box. Default: the detector's own.")
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="Detector: a version or a release's folder. Default: that in use."),
    ] = None,
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VERSION",
            help="Classifier: a version, NAME@VERSION or a release's folder; may be repeated. Default: that in use.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, tensorrt, coreml or directml.")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads. Default: one a core.")] = None,
    timing: Annotated[bool, typer.Option("--timing", help="Print where the time went, on standard error.")] = False,
    imgsz: Annotated[
        int | None,
        typer.Option(min=32, help="Longer side of a picture for the detector, in pixels. Default: the detector's own."),
    ] = None,
    tiles: Annotated[
        bool, typer.Option("--tiles", help="Look at pictures larger than that in tiles too, for small faces.")
    ] = False,
    tile_size: Annotated[
        int | None, typer.Option(min=32, help="Side of such a tile, in pixels; implies --tiles. Default: --imgsz.")
    ] = None,
) -> None:
    """Find the faces in pictures and read the attributes of each.

    Several classifiers look at the same faces: --classifier face@1.0.0 --classifier shirt@0.1.0. Features are numbers
    for models of your own; they are not an identity embedding, and not fit to recognise persons.

    Exit codes: 0 every picture was read, 1 some could not be (the others are done), 2 wrong usage or set-up.
    """
    from .connector import Pipeline
    from .feature_files import SUFFIXES, FeatureFile
    from .table import console, print_result
    from .writers import PictureFolder, json_lines, write_line

    imported = time.perf_counter() - STARTED
    if json_target is not None and Path(json_target).resolve() in {Path(image).resolve() for image in images}:
        raise typer.BadParameter(f"--json {json_target} would overwrite that picture")
    if features is not None and json_target is not None and features.resolve() == Path(json_target).resolve():
        raise typer.BadParameter(f"--features and --json both name {features}")
    if features is not None and features.suffix.lower() not in SUFFIXES:
        raise typer.BadParameter(f"--features {features}: expected a name that ends in {' or '.join(SUFFIXES)}")
    failed = False
    with Pipeline(detector, classifier, device, threads, conf, imgsz=imgsz, tiles=tile_size or tiles) as pipeline:
        screen = None if json_target == "-" else console()
        folder = None if save is None else PictureFolder(save, images)
        widths = None if features is None else pipeline.feature_widths
        with (
            nullcontext() if json_target is None else json_lines(json_target) as lines,
            nullcontext() if features is None or widths is None else FeatureFile(features, widths) as rows,
        ):
            for result, frame in pipeline.stream(images, features is not None):
                if lines is not None:
                    write_line(result, lines)
                if rows is not None:
                    rows.add(result)
                if result.error is not None:
                    failed = True
                    report(result.error)
                    continue
                if screen is not None:
                    print_result(result, screen)
                if folder is not None and frame is not None:
                    folder.save(frame, result)
    if timing:
        parts = {"import": imported, **pipeline.stopwatch.seconds, "total": time.perf_counter() - STARTED}
        print("timing: " + ", ".join(f"{part} {spent:.3f} s" for part, spent in parts.items()), file=sys.stderr)
    if failed:
        raise typer.Exit(FAILED)
