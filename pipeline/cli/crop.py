"""``facepipe data crop``: labelled photos in, labelled crops out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Missed(StrEnum):
    drop = "drop"
    whole = "whole"


class Region(StrEnum):
    face = "face"
    head = "head"
    torso = "torso"


def register(app: typer.Typer) -> None:
    """Add the command to ``facepipe data``."""
    app.command("crop")(crop)


def crop(
    source: Annotated[Path, typer.Argument(metavar="SOURCE.csv", help="CSV of labelled photos.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the crops and their CSV.")],
    schema: Annotated[Path | None, typer.Option(help="YAML of the attributes. Default: the shipped one.")] = None,
    region: Annotated[
        Region, typer.Option(help="What is cut: the face, its head, or the torso below it.")
    ] = Region.face,
    detector: Annotated[str | None, typer.Option(metavar="VERSION", help="Default: that in use.")] = None,
    confidence: Annotated[float, typer.Option(min=0, max=1, help="Least confidence of a face.")] = 0.25,
    margin: Annotated[
        float, typer.Option(min=0, max=2, help="Added on each side, as a fraction of the longer side of the box.")
    ] = 0.05,
    size: Annotated[int, typer.Option(min=16, max=512, help="Side of the recipe's crop in pixels.")] = 224,
    context: Annotated[
        float, typer.Option(min=0, max=0.5, help="Real picture kept around each crop, in which training jitters.")
    ] = 0.15,
    pad: Annotated[
        float, typer.Option(min=0, max=2, help="Border around pictures without a face, for a second look.")
    ] = 0.5,
    missed: Annotated[Missed, typer.Option(help="Pictures in which no face is found.")] = Missed.drop,
    tight: Annotated[
        list[str] | None, typer.Option(metavar="SOURCE", help="A source whose pictures are tight crops already.")
    ] = None,
    across: Annotated[int, typer.Option(min=1, max=8, help="Detect small pictures ACROSS x ACROSS at a time.")] = 3,
    image_format: Annotated[str, typer.Option("--format", help="jpg, webp or png.")] = "jpg",
    workers: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Cut the labelled faces, or their heads or torsos, out of photos as serving does; labelled points move along."""
    from ...classifier.config.schema import DEFAULT, read_schema
    from ...classifier.data.table import CropSet, read_faces
    from ...detector.inference.detector import FaceDetector
    from ...weights.manifest import CropRecipe
    from ..datasets.crops import crop_table

    if image_format not in ("jpg", "webp", "png"):
        raise typer.BadParameter(f"--format is jpg, webp or png, got {image_format!r}")
    result = crop_table(
        read_faces(source, read_schema(schema or DEFAULT), must_exist=False),
        out,
        CropSet(recipe=CropRecipe(region=region.value, margin=margin, size=size), context=context),
        lambda: FaceDetector(detector, confidence=confidence),
        pad,
        missed.value,
        tight or (),
        across,
        image_format,
        workers,
        report=lambda line: print(line, flush=True),
    )
    for file, reason in result.missed:
        print(f"left out: {file}: {reason}")
    print(
        f"{result.csv}: {result.cut} cut ({result.retried} found at the second look), {result.tight} tight, "
        f"{result.whole} kept whole, {len(result.missed)} left out (see {out / 'missed.csv'})"
    )
