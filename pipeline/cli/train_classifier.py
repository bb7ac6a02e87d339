"""``facepipe train-classifier``, and ``facepipe recipes …``: which recipes there are for it, and what one says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import console
from ._app import App
from ._options import Region, read_terms, typed
from .train_detector import print_exported, refuse_closed, train_and_report

if TYPE_CHECKING:
    from ...classifier.config.recipe import Recipe
    from ...weights.manifest import Attribute


RUNS = Path("runs") / "classifier"
RESUMING = {
    *("classifier_name", "data", "devices", "export", "licence", "memory", "minutes"),
    *("name", "replace", "resume", "terms", "version", "workers"),
}
"""Options that go with ``--resume``."""
app = App(help="Recipes for train-classifier: list, show.")


class Precision(StrEnum):
    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


@dataclass(frozen=True)
class Learnt:
    """What is trained, and in which steps."""

    recipe: Annotated[str, typer.Option(help="A shipped recipe (see facepipe recipes list) or a YAML file.")] = (
        "resnet50"
    )
    schema: Annotated[Path | None, typer.Option(help="A shipped schema or a YAML file. Default: the recipe's.")] = None
    epochs: Annotated[
        float | None, typer.Option(min=0.001, help="Epochs of all stages together. Default: the recipe's.")
    ] = None
    batch: Annotated[int | None, typer.Option(min=2, help="Crops per step. Default: the recipe's.")] = None
    patience: Annotated[
        int | None, typer.Option(min=1, help="End a stage after this many epochs without a better validation result.")
    ] = None
    size: Annotated[int | None, typer.Option(min=32, help="Side of the crops used in serving, in pixels.")] = None


@dataclass(frozen=True)
class Begun:
    """What else decides a new run and never changes."""

    start: Annotated[
        str | None,
        typer.Option(
            help="Starting weights: an .npz of arrays, a run's folder, a released version, imagenet or none. "
            "Default: the recipe's."
        ),
    ] = None
    margin: Annotated[float | None, typer.Option(min=0, help="Crop margin for serving, if no crop.json states it.")] = (
        None
    )
    region: Annotated[
        Region | None, typer.Option(help="What the crops show, if no crop.json states it. Default: the face.")
    ] = None
    precision: Annotated[Precision, typer.Option()] = Precision.auto
    seed: Annotated[int, typer.Option(min=0, help="Seed for all random numbers.")] = 0


@dataclass(frozen=True)
class Changeable:
    """What a resumed run may be given anew."""

    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[ATTRIBUTE:]PATH[=WEIGHT]",
            help="Labelled crops: a CSV or Parquet file, a folder of class folders or a Roboflow export; may be "
            "repeated. With --resume, only if they have moved.",
        ),
    ] = None
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="Time limit for training; learning rates decay fully within it. The release comes afterwards.",
        ),
    ] = None
    devices: Annotated[
        str | None,
        typer.Option(
            help="cpu, 0 (the first GPU), or several that share each batch: 0,1. Default: the backend's choice."
        ),
    ] = None
    classifier_name: Annotated[
        str | None,
        typer.Option(
            help="Name of the classifier, if there are several: shirt for shirt@0.1.0. Default: the face classifier."
        ),
    ] = None
    workers: Annotated[int, typer.Option(min=1, help="Number of threads that prepare crops.")] = 2
    memory: Annotated[float, typer.Option(min=0, help="Maximum memory for decoded pictures, in GB.")] = 4.0


@dataclass(frozen=True)
class Released:
    """What the run becomes."""

    version: Annotated[
        str | None,
        typer.Option(
            help="Publish the finished run as this version, unless it is worse than its start or the version in use."
        ),
    ] = None
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing version of that name.")] = False
    export: Annotated[
        list[str] | None, typer.Option(help="Files to ship, the default first: float32, float16, int8. Default: int8.")
    ] = None
    terms: Annotated[
        list[str] | None,
        typer.Option(metavar="[SOURCE=]TEXT", help="Terms of use of the data, for one source or for all."),
    ] = None
    licence: Annotated[str | None, typer.Option(help="Licence of the released model.")] = None


def train_classifier(
    context: typer.Context,
    learnt: Learnt,
    begun: Begun,
    changeable: Changeable,
    released: Released,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run given by --name.")] = False,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the run; its folder is runs/classifier/NAME. Default: the recipe's name."),
    ] = None,
) -> None:
    """Train the classifier on labelled crops, export it to ONNX and measure the files.

    Ctrl+C or SIGTERM stops the run after writing a checkpoint; --resume continues from there.
    """
    from ...classifier.train import Ending, NewRun, RunOptions
    from ...classifier.train import train_classifier as train

    given = {key for key in context.params if typed(context, key)}
    devices, kept = changeable.devices, resume and "workers" not in given
    options = RunOptions(
        data=tuple(changeable.data) if changeable.data else None,
        devices=None if devices is None else tuple(each for each in devices.split(",") if each),
        workers=None if kept else changeable.workers,
        minutes=changeable.minutes,
        memory_gb=None if resume and "memory" not in given else changeable.memory,
        classifier_name=changeable.classifier_name,
    )
    ending = Ending(
        version=released.version,
        exports=tuple(released.export) if released.export else None,  # type: ignore[arg-type]  # checked as it is stored
        terms=read_terms(released.terms) if released.terms else None,
        licence=released.licence,
        replace=released.replace or None,
    )
    new: NewRun | None = None
    if resume:
        _check_resumed(name, given)
    elif not changeable.data:
        raise typer.BadParameter("--data is needed for a new run")
    else:
        recipe, attributes = _recipe_and_schema(learnt)
        new = NewRun(
            attributes,
            recipe,
            begun.start,
            begun.seed,
            begun.precision.value,
            begun.margin,
            None if begun.region is None else begun.region.value,
        )
    folder = RUNS / (name or Path(learnt.recipe).stem)
    published = train_and_report(
        folder, lambda: train(folder, options, new, ending, lambda line: print(line, flush=True))
    )
    if published is None:
        print_exported(folder)
    print(f"curves: {folder / 'curves.png'}; to compare with other runs: facepipe compare {folder.name} OTHER")


def _check_resumed(name: str | None, given: set[str]) -> None:
    """Refuse to resume without a name, or with options that a run keeps."""
    if name is None:
        there = ", ".join(sorted(path.parent.name for path in RUNS.glob("*/settings.json")))
        raise typer.BadParameter(f"--resume needs the run's --name; there are: {there or 'none'}")
    refuse_closed(given - RESUMING)


def _recipe_and_schema(learnt: Learnt) -> tuple[Recipe, tuple[Attribute, ...]]:
    """The recipe with what the command line changes, and the schema that it learns."""
    from ...classifier.config.recipe import read_recipe, recipe_path
    from ...classifier.config.schema import find_schema, read_schema

    recipe = read_recipe(learnt.recipe).changed(
        epochs=learnt.epochs, batch=learnt.batch, patience=learnt.patience, size=learnt.size
    )
    if learnt.schema:
        return recipe, read_schema(find_schema(str(learnt.schema)))
    return recipe, read_schema(find_schema(recipe.schema_file, recipe_path(learnt.recipe).parent))


@app.command("list")
def list_recipes() -> None:
    """List the recipes that come with facepipe, with the backbone, input size and attributes of each."""
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
    recipe: Annotated[str, typer.Argument(help="A shipped recipe or a YAML file.", show_default=False)],
    whole: Annotated[
        bool, typer.Option("--whole", help="Print every field, including those of its base and the defaults.")
    ] = False,
) -> None:
    """Print a recipe as YAML, as a starting point for your own, followed by the results it reached."""
    from ...classifier.config.recipe import reached, read_recipe, recipe_path
    from ...core.yaml import dump_yaml

    found = read_recipe(recipe)
    if whole:
        print(dump_yaml(found.model_dump(mode="json", by_alias=True)), end="")
    else:
        print(recipe_path(recipe).read_text(encoding="utf-8"), end="")
    for line in reached(recipe):
        print(f"# {line}")
