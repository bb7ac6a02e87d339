"""``facepipe train-classifier``.

``facepipe recipes …``: which recipes there are for ``train-classifier``, and what one says.

``facepipe compare``: trainings of the classifier side by side.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...core.files import write_whole
from ..console import console, exit_code, terminable
from ._options import Region, read_terms, typed
from .train_detector import tell_exported
from .weights import print_published

if TYPE_CHECKING:
    from rich.table import Table

    from ...classifier.config.recipe import Recipe
    from ...classifier.training.compare_runs import RunFigures
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
        exports=tuple(each.value for each in export) if export else None,
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
    try:
        with terminable():
            published = train(folder, options, new, ending, lambda line: print(line, flush=True))
    except KeyboardInterrupt as interruption:
        raise typer.Exit(exit_code(interruption)) from None
    if published is None:
        tell_exported(folder)
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


app = typer.Typer(no_args_is_help=True, help="Recipes of train-classifier: list, show.", rich_markup_mode=None)


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


MISSING = "-"
BESIDE = 4
"""Most runs that get a column each; more get a row each."""


def register_compare(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("compare")(compare)


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Runs of train-classifier: names, or folders.", show_default=False),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the curves of all runs into this picture.")
    ] = None,
    json_target: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="Write the figures there; - is standard output.")
    ] = None,
    timing: Annotated[
        bool, typer.Option("--timing/--no-timing", help="Time a crop through each run's exported file.")
    ] = True,
) -> None:
    """Compare trainings of the classifier: figures, losses, parameters, time of a crop."""
    from ...classifier.training.compare_runs import compare as read
    from ...classifier.training.compare_runs import draw_comparison, find_run

    folders = list(dict.fromkeys(find_run(text, RUNS) for text in runs))
    found = read(folders, timing)
    if out is not None:
        draw_comparison(folders, out)
    if json_target is not None:
        text = json.dumps({"runs": [run.to_dict() for run in found]}, indent=2) + "\n"
        if json_target == "-":
            print(text, end="")
            return
        write_whole(Path(json_target), text.encode())
    screen = console()
    screen.print(comparison_table(found))
    if any(run.measured == "training" for run in found):
        screen.print("* not exported: figures of Keras at the best validation, on the rows that training validates on")
    screen.print("losses compare only between runs with the same losses and attributes; ms are those of one thread")
    if out is not None:
        screen.print(f"curves: {out}")


def comparison_table(runs: list[RunFigures]) -> Table:
    """Every run's figures; what is not known is ``-``. Few runs stand beside each other, many one below the other."""
    from rich.table import Table
    from rich.text import Text

    from ...classifier.training.compare_runs import columns

    rows: list[tuple[str, list[str]]] = [
        ("", [f"{run.name}{'*' * (run.measured == 'training')}" for run in runs]),
        ("backbone, px", [f"{run.backbone or MISSING}, {run.size or MISSING}" for run in runs]),
        ("epochs", [_cell(run.epochs, ".1f") for run in runs]),
    ]
    for heading, name, form in columns(runs):
        rows.append((heading, [_cell(run.figures.get(name), form) for run in runs]))
    rows += [
        ("validation loss", [_cell(run.loss, ".4f") for run in runs]),
        ("parameters", [_cell(run.parameters, ",") for run in runs]),
        ("ms a crop", [_cell(run.milliseconds, ".1f") for run in runs]),
        ("MB", [_cell(run.megabytes, ".1f") for run in runs]),
    ]
    lines = [[heading, *cells] for heading, cells in rows]
    if len(runs) > BESIDE:
        lines = [list(line) for line in zip(*lines, strict=True)]
    table = Table()
    for place, heading in enumerate(lines[0]):
        table.add_column(Text(heading), justify="right" if place else "left", no_wrap=not place)
    for line in lines[1:]:
        table.add_row(*map(Text, line))
    return table


def _cell(value: float | None, form: str) -> str:
    return MISSING if value is None else format(value, form)
