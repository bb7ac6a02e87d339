"""``facepipe train-classifier``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from .crop import Region
from .export_detector import tell_exported
from .options import typed
from .weights import tell_published

RUNS = Path("runs") / "classifier"
INTERRUPTED = 130
"""Exit code of a training that was interrupted, as shells have it."""
RESUMING = {
    "classifier_name",
    "data",
    "devices",
    "export",
    "licence",
    "memory",
    "minutes",
    "name",
    "replace",
    "resume",
    "terms",
    "version",
    "workers",
}
"""Options that go with ``--resume``."""


class Precision(StrEnum):
    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


class Compression(StrEnum):
    float32 = "float32"
    float16 = "float16"
    int8 = "int8"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("train-classifier")(train_classifier)


def train_classifier(
    context: typer.Context,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[ATTRIBUTE:]PATH[=WEIGHT]",
            help="Labelled crops: a CSV or Parquet file, a folder of class folders or a Roboflow export; may be "
            "repeated. With --resume only if they have moved.",
        ),
    ] = None,
    recipe: Annotated[str, typer.Option(help="A shipped recipe (facepipe recipes list), or a YAML file.")] = "resnet50",
    start: Annotated[
        str | None,
        typer.Option(
            help="An .npz of arrays, a run's folder, a released version, imagenet or none. Default: the recipe's."
        ),
    ] = None,
    schema: Annotated[
        Path | None, typer.Option(help="A shipped schema, or a YAML file. Default: the recipe's.")
    ] = None,
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
    devices: Annotated[
        str | None,
        typer.Option(help="cpu, 0 (the first GPU), or several that share each batch: 0,1. Default: the backend's own."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run of that --name.")] = False,
    name: Annotated[
        str | None, typer.Option(help="The run's name; its folder is runs/classifier/NAME. Default: the recipe's.")
    ] = None,
    version: Annotated[str | None, typer.Option(help="Publish the run as this version when it is done.")] = None,
    classifier_name: Annotated[
        str | None,
        typer.Option(help="Which of several classifiers it becomes: shirt for shirt@0.1.0. Default: that of faces."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a version of that name.")] = False,
    export: Annotated[list[Compression] | None, typer.Option(help="Files to ship, the default first: int8.")] = None,
    terms: Annotated[
        list[str] | None, typer.Option(metavar="[SOURCE=]TEXT", help="Terms of the data, of a source or of all.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the released model.")] = None,
    margin: Annotated[
        float | None, typer.Option(min=0, help="Crop margin to serve with, where no crop.json says it.")
    ] = None,
    region: Annotated[
        Region | None, typer.Option(help="What the crops show, where no crop.json says it. Default: the face.")
    ] = None,
    precision: Annotated[Precision, typer.Option()] = Precision.auto,
    workers: Annotated[int, typer.Option(min=1, help="Threads that prepare crops.")] = 2,
    memory: Annotated[float, typer.Option(min=0, help="GB that decoded pictures may take.")] = 4.0,
    seed: Annotated[int, typer.Option(min=0, help="Of every random number.")] = 0,
) -> None:
    """Train the classifier on labelled crops, export it to ONNX and measure the files."""
    from ...classifier.config.recipe import read_recipe, recipe_path
    from ...classifier.config.schema import find_schema, read_schema
    from ...classifier.train import train_classifier as train

    given = {key for key in context.params if typed(context, key)}
    chosen: dict[str, Any] = {}
    if resume:
        if name is None:
            there = ", ".join(sorted(path.parent.name for path in RUNS.glob("*/settings.json")))
            raise typer.BadParameter(f"--resume needs the run's --name; there are: {there or 'none'}")
        if closed := sorted(given - RESUMING):
            options = ", ".join(f"--{key.replace('_', '-')}" for key in closed)
            raise typer.BadParameter(f"{options}: a resumed run keeps its settings; start a new one from its weights")
    else:
        if not data:
            raise typer.BadParameter("--data is needed for a new run")
        learns = read_recipe(recipe).changed(epochs, batch, patience, size)
        chosen = {
            "recipe": learns,
            "attributes": read_schema(
                find_schema(str(schema)) if schema else find_schema(learns.schema_file, recipe_path(recipe).parent)
            ),
            "start": start,
            "seed": seed,
            "precision": precision.value,
            "margin": margin,
            "region": None if region is None else region.value,
        }
    folder = RUNS / (name or Path(recipe).stem)
    try:
        published = train(
            folder,
            data or (),
            version=version,
            resume=resume,
            devices=None if devices is None else [each for each in devices.split(",") if each],
            workers=workers if "workers" in given or not resume else None,
            memory_gb=memory if "memory" in given or not resume else None,
            minutes=minutes,
            exports=tuple(each.value for each in export or [Compression.int8]),
            terms=read_terms(terms or []),
            licence=licence,
            classifier_name=classifier_name,
            replace=replace,
            report=lambda line: print(line, flush=True),
            **chosen,
        )
    except KeyboardInterrupt:
        print(f"to go on: facepipe train-classifier --resume --name {folder.name}", flush=True)
        raise typer.Exit(INTERRUPTED) from None
    if published is None:
        tell_exported(folder)
    else:
        tell_published(published)
    print(f"its curves: {folder / 'curves.png'}; beside other runs: facepipe compare {folder.name} OTHER")


def read_terms(given: list[str]) -> dict[str, str]:
    """``source=text`` by source; a text whose part before ``=`` is no single word holds for all."""
    found = {}
    for text in given:
        source, equals, rest = text.partition("=")
        one = bool(equals) and source.replace("_", "").replace("-", "").isalnum()
        found[source if one else ""] = rest if one else text
    return found
