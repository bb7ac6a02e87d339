"""``facepipe train-classifier``, and ``facepipe recipes …``: which recipes there are for it, and what one says."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..console import console, exit_code, terminable
from ._app import App
from ._options import Region, read_terms, typed
from .train_detector import tell_exported
from .weights import exported_at, print_comparison, print_published

if TYPE_CHECKING:
    from ...classifier.config.recipe import Recipe
    from ...weights.manifest import Attribute


RUNS = Path("runs") / "classifier"
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
    export: Annotated[
        list[str] | None, typer.Option(help="Files to ship, the default first: float32, float16, int8. Default: int8.")
    ] = None,
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
    """Train the classifier on labelled crops, export it to ONNX and measure the files.

    Ctrl+C or SIGTERM writes a checkpoint before it ends; --resume goes on from there.
    """
    from ...classifier.train import Ending, NewRun, RunOptions
    from ...classifier.train import train_classifier as train

    given = {key for key in context.params if typed(context, key)}
    options = RunOptions(
        data=tuple(data) if data else None,
        devices=None if devices is None else tuple(each for each in devices.split(",") if each),
        workers=workers if "workers" in given or not resume else None,
        minutes=minutes,
        memory_gb=memory if "memory" in given or not resume else None,
        classifier_name=classifier_name,
    )
    ending = Ending(
        version=version,
        exports=tuple(export) if export else None,  # type: ignore[arg-type]  # checked as it is stored
        terms=read_terms(terms) if terms else None,
        licence=licence,
        replace=replace or None,
    )
    new: NewRun | None = None
    if resume:
        _check_resumed(name, given)
    else:
        if not data:
            raise typer.BadParameter("--data is needed for a new run")
        learns, attributes = _recipe_and_schema(
            recipe, schema, {"epochs": epochs, "batch": batch, "patience": patience, "size": size}
        )
        new = NewRun(attributes, learns, start, seed, precision.value, margin, None if region is None else region.value)
    folder = RUNS / (name or Path(recipe).stem)
    before = exported_at(folder)
    try:
        with terminable():
            published = train(folder, options, new, ending, lambda line: print(line, flush=True))
    except KeyboardInterrupt as interruption:
        raise typer.Exit(exit_code(interruption)) from None
    if published is None:
        tell_exported(folder)
        print_comparison(folder, before)
    else:
        print_published(published)
    print(f"its curves: {folder / 'curves.png'}; beside other runs: facepipe compare {folder.name} OTHER")


def _check_resumed(name: str | None, given: set[str]) -> None:
    """Refuse to resume without a name, or with options that a run keeps."""
    if name is None:
        there = ", ".join(sorted(path.parent.name for path in RUNS.glob("*/settings.json")))
        raise typer.BadParameter(f"--resume needs the run's --name; there are: {there or 'none'}")
    if closed := sorted(given - RESUMING):
        options = ", ".join(f"--{key.replace('_', '-')}" for key in closed)
        raise typer.BadParameter(f"{options}: a resumed run keeps its settings; start a new one from its weights")


def _recipe_and_schema(name: str, schema: Path | None, changes: dict[str, Any]) -> tuple[Recipe, tuple[Attribute, ...]]:
    """The recipe with what the command line changes, and the schema that it learns."""
    from ...classifier.config.recipe import read_recipe, recipe_path
    from ...classifier.config.schema import find_schema, read_schema

    recipe = read_recipe(name).changed(**changes)
    file = find_schema(str(schema)) if schema else find_schema(recipe.schema_file, recipe_path(name).parent)
    return recipe, read_schema(file)


app = App(help="Recipes of train-classifier: list, show.")


def register_recipes(parent: typer.Typer) -> None:
    """Add the commands to the app."""
    parent.add_typer(app, name="recipes")


@app.command("list")
def list_recipes() -> None:
    """List the recipes that come with facepipe: backbone, input size and attributes of each."""
    from rich.table import Table
    from rich.text import Text

    from ...classifier.config.recipe import read_recipe, recipe_path, shipped_recipes
    from ...classifier.config.schema import find_schema, read_schema

    table = Table()
    for heading in ("recipe", "backbone", "px", "attributes", "what it is"):
        table.add_column(heading, justify="right" if heading == "px" else "left", no_wrap=heading == "recipe")
    for name in shipped_recipes():
        recipe = read_recipe(name)
        attributes = read_schema(find_schema(recipe.schema_file, recipe_path(name).parent))
        cells = (
            name,
            recipe.backbone,
            str(recipe.size),
            ", ".join(each.name for each in attributes),
            recipe.description,
        )
        table.add_row(*map(Text, cells))
    console().print(table)


@app.command()
def show(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe, or a YAML file.", show_default=False)],
    whole: Annotated[
        bool, typer.Option("--whole", help="Every field, those of its base and the defaults included.")
    ] = False,
) -> None:
    """Print a recipe as YAML, to start one of your own from."""
    from ...classifier.config.recipe import read_recipe, recipe_path
    from ...core.yaml import dump_yaml

    found = read_recipe(recipe)
    if not whole:
        print(recipe_path(recipe).read_text(encoding="utf-8"), end="")
        return
    content = found.model_dump(mode="json", by_alias=True)
    print(dump_yaml(content), end="")
