"""The classifier's commands: ``facepipe train-classifier`` and ``evaluate-classifier``; and ``data crop``."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

RUNS = Path("runs") / "classifier"


class Precision(StrEnum):
    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


class Compression(StrEnum):
    float32 = "float32"
    float16 = "float16"
    int8 = "int8"


class Missed(StrEnum):
    drop = "drop"
    whole = "whole"


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("train-classifier")(train_classifier)
    app.command("evaluate-classifier")(evaluate_classifier)


def train_classifier(
    data: Annotated[Path, typer.Option(help="CSV of labelled crops.")],
    recipe: Annotated[str, typer.Option(help="A shipped recipe, or a YAML file.")] = "resnet50",
    start: Annotated[
        str, typer.Option(help="An .npz of arrays, a run's folder, a released version, 'imagenet' or 'none'.")
    ] = "imagenet",
    schema: Annotated[Path | None, typer.Option(help="YAML of the attributes. Default: the shipped one.")] = None,
    epochs: Annotated[float | None, typer.Option(min=0.001, help="All stages together. Default: the recipe's.")] = None,
    batch: Annotated[int | None, typer.Option(min=2, help="Crops a step. Default: the recipe's.")] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Epochs without a better validation that end a stage.")
    ] = None,
    size: Annotated[int | None, typer.Option(min=32, help="Side of the crops that are served, in pixels.")] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.01, help="Train no longer; rates fall to their end within it. The release comes after it."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run of that name.")] = False,
    name: Annotated[str, typer.Option(help="The run's name; its folder is runs/classifier/NAME.")] = "default",
    version: Annotated[str | None, typer.Option(help="Version to release as; else 0.0.0-NAME.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a version of that name.")] = False,
    export: Annotated[list[Compression] | None, typer.Option(help="Files to ship, the default first: int8.")] = None,
    terms: Annotated[
        list[str] | None, typer.Option(metavar="[SOURCE=]TEXT", help="Terms of the data, of a source or of all.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the released model.")] = None,
    margin: Annotated[
        float | None, typer.Option(min=0, help="Crop margin to serve with, where no crop.json says it.")
    ] = None,
    precision: Annotated[Precision, typer.Option()] = Precision.auto,
    workers: Annotated[int, typer.Option(min=1, help="Threads that prepare crops.")] = 2,
    memory: Annotated[float, typer.Option(min=0, help="GB that decoded pictures may take.")] = 4.0,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Train the classifier on labelled crops, export it to ONNX, measure it and release it."""
    from ..classifier.command import train_classifier as train
    from ..classifier.recipe import read_recipe
    from ..classifier.schema import DEFAULT, read_schema

    chosen = read_recipe(recipe).changed(epochs, batch, patience, size)
    shipped: tuple = tuple(each.value for each in export or [Compression.int8])
    train(
        RUNS / name,
        data,
        read_schema(schema or DEFAULT),
        chosen,
        version or f"0.0.0-{name}",
        start=start,
        resume=resume,
        seed=seed,
        precision=precision.value,
        workers=workers,
        minutes=minutes,
        memory_gb=memory,
        margin=margin,
        exports=shipped,
        terms=read_terms(terms or []),
        licence=licence,
        replace=replace,
        report=lambda line: print(line, flush=True),
    )


def read_terms(given: list[str]) -> dict[str, str]:
    """``source=text`` by source; a text whose part before ``=`` is no single word holds for all."""
    found = {}
    for text in given:
        source, equals, rest = text.partition("=")
        one = bool(equals) and source.replace("_", "").replace("-", "").isalnum()
        found[source if one else ""] = rest if one else text
    return found


def evaluate_classifier(
    data: Annotated[Path, typer.Option(help="CSV of labelled crops.")],
    classifier: Annotated[
        str | None, typer.Option(help="A version, or a release's folder. Default: that in use.")
    ] = None,
    split: Annotated[str, typer.Option(help="train or val.")] = "val",
    precision: Annotated[Compression | None, typer.Option(help="Of the release's files. Default: its first.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there.")] = None,
) -> None:
    """Measure a released classifier through the ONNX file that serves."""
    from ..classifier.data import read_faces
    from ..classifier.evaluation import evaluate, metrics_table
    from ..classifier.runtime import AttributeClassifier
    from .table import console

    model = AttributeClassifier(classifier, precision=None if precision is None else precision.value)
    metrics = evaluate(model, read_faces(data, model.attributes), split)
    if json_file:
        json_file.write_text(json.dumps(metrics.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")
    console().print(metrics_table(metrics, f"classifier {model.release.version}"))


def crop(
    source: Annotated[Path, typer.Argument(metavar="SOURCE.csv", help="CSV of labelled photos.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the crops and their CSV.")],
    schema: Annotated[Path | None, typer.Option(help="YAML of the attributes. Default: the shipped one.")] = None,
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
    """Cut the labelled faces out of photos as serving does; labelled points move along."""
    from ..classifier.data import CropSet, read_faces
    from ..classifier.schema import DEFAULT, read_schema
    from ..detector.runtime import FaceDetector
    from ..weights.manifest import CropRecipe
    from .cropping import crop_table

    if image_format not in ("jpg", "webp", "png"):
        raise typer.BadParameter(f"--format is jpg, webp or png, got {image_format!r}")
    result = crop_table(
        read_faces(source, read_schema(schema or DEFAULT), must_exist=False),
        out,
        CropSet(recipe=CropRecipe(margin=margin, size=size), context=context),
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
