"""Train every shipped recipe and its variants on the same rows for a given number of pictures; report the results.

    python benchmarks/recipes.py --data crops/faces.csv --make-starts runs/starts --images 60000
    python benchmarks/recipes.py --data crops/faces.csv --starts runs/starts --images 60000 --heavy-images 20000
    python benchmarks/recipes.py --table

The first command makes a start for each backbone, for machines without a network and hence without pretrained weights:
a training run on every attribute of the schema ``face``, so that frozen and unfrozen recipes differ. Without
``--starts`` all begin at random. Each recipe gets a run folder under ``--out``; finished recipes are skipped,
interrupted ones resume. What a finished recipe reached, and its curves, are kept in ``benchmarks/recipe_runs``. From
these files the table in docs/recipes.md, the curves in docs/pictures and ``reached.json``, which ``facepipe recipes
show`` prints from, are made at the end, or by ``--table`` alone.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from facepipe.classifier.config.recipe import Recipe, read_recipe, recipe_path, shipped_recipes
from facepipe.classifier.config.schema import find_schema, read_schema
from facepipe.classifier.data.label_files import read_table_file
from facepipe.classifier.train import Ending, NewRun, RunOptions, train_classifier
from facepipe.classifier.training.compare_runs import compare
from facepipe.classifier.training.keras_backend import import_keras
from facepipe.classifier.training.run_folder import HISTORY, read_history
from facepipe.core.errors import FacepipeError
from facepipe.core.files import write_whole
from recipe_data import Amount, guesses, subset
from recipe_table import BUDGET, DONE, REACHED, SHOWN, write_table
from rich.console import Console
from rich.table import Table

DOCS = Path(__file__).resolve().parent.parent / "docs"
RECORDS = Path(__file__).resolve().parent / "recipe_runs"
VARIANTS = Path(__file__).resolve().parent / "recipe_variants"
"""Recipes that only this comparison needs, for a question that the shipped ones leave open."""
DESCRIPTION = "start.txt"
HEAVY = ("resnet50", "efficientnetb0", "inceptionv3")
"""Backbones limited to ``--heavy-images``, because they take that much longer."""
START = {
    "description": "A start for recipes of this backbone.",
    "schema": "face",
    "batch": 48,
    "recalibration": 40,
    "validation": 2000,
    "sized_rows": 400,
    "stages": [{"name": "all", "size": 128, "epochs": 1, "learning_rate": 1e-3}],
}
"""The recipe of a start, except for its backbone."""
COST = {
    "resnet50": 0.11,
    "resnet18": 0.06,
    "mobilenetv2": 0.06,
    "efficientnetb0": 0.09,
    "inceptionv3": 0.14,
    "convnet": 0.04,
}
"""Approximate training seconds per 224 px picture on two CPU cores; other sizes scale with their pixels."""
FIXED = 45.0
"""Approximate seconds per recipe for building, validating, exporting and measuring."""
VALIDATIONS = 6
"""Validations of each recipe in its number of pictures; fewer if its rows are so few that it has fewer epochs."""
CHEAP: dict[str, Any] = {"recalibration": 12, "validation": 1500, "sized_rows": 400}
"""Instead of the recipes' own: batches for remeasuring batch norms, and rows, of each validation during training, and
rows of the calibration by face size, which takes longest and is not in the table."""


def all_recipes() -> list[str]:
    """The names of the shipped recipes and the files of their variants."""
    return [*shipped_recipes(), *(str(path) for path in sorted(VARIANTS.glob("*.yaml")))]


def start_of(recipe: Recipe, starts: Path | None) -> str:
    """Where a recipe starts: from the run of its backbone among the starts, or at random if there is none."""
    folder = None if starts is None else starts / recipe.backbone
    return str(folder) if folder is not None and (folder / "weights.npz").is_file() else "none"


def describe_start(start: str) -> str:
    """What the table calls a start; ``start.txt`` beside it says so for one that ``--make-starts`` did not make."""
    if start == "none":
        return "random"
    path = Path(start) / DESCRIPTION
    return path.read_text(encoding="utf-8").strip() if path.is_file() else "our own"


def make_starts(data: Path, names: list[str], out: Path, images: int, seed: int) -> None:
    """Train a start for every backbone of the recipes named, except those made from scratch."""
    backbones = {read_recipe(name).backbone for name in names} - {"convnet"}
    attributes = read_schema(find_schema("face"))
    count = sum(cell.get("split") == "train" for cell in read_table_file(data).cells)
    for backbone in sorted(backbones):
        folder = out / backbone
        recipe = Recipe.model_validate_json(json.dumps({**START, "backbone": backbone})).changed(epochs=images / count)
        new = NewRun(attributes, recipe, "none", seed, progress_seconds=60.0)
        if not (folder / "weights.npz").is_file():
            print(f"start of {backbone}: {folder}", flush=True)
            resumed = (folder / "settings.json").is_file()
            options = RunOptions((str(data),))
            train_classifier(folder, options, None if resumed else new, Ending(exports=("float32",)), print)


def seconds_of(recipe: Recipe, images: int) -> float:
    """Approximate seconds that a recipe takes."""
    whole = sum(stage.epochs for stage in recipe.stages)
    pixels = sum(stage.epochs / whole * (stage.size / 224) ** 2 for stage in recipe.stages)
    return FIXED * len(recipe.stages) ** 0.5 + images * pixels * COST.get(recipe.backbone, 0.1)


def run_one(
    name: str,
    recipe: Recipe,
    sources: list[str],
    folder: Path,
    images: int,
    start: str,
    seed: int,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Train and measure one recipe; the results are also written to its folder."""
    rows = [cell for text in sources for cell in read_table_file(Path(text)).cells]
    count = sum(cell.get("split") == "train" for cell in rows)
    every = recipe.batch * math.ceil(images / VALIDATIONS / recipe.batch)  # whole batches: the last ends with the run
    cut = recipe.changed(epochs=images / count).model_copy(update={**CHEAP, "validation_interval": every})
    began = time.perf_counter()
    resumed = (folder / "settings.json").is_file()
    new = NewRun(attributes_of(recipe, name), cut, start, seed, progress_seconds=60.0)
    train_classifier(folder, RunOptions(tuple(sources)), None if resumed else new, Ending(exports=("float32",)), report)
    run = compare([folder], timing=False)[0]
    known = {
        "recipe": folder.name,
        "backbone": recipe.backbone,
        "size": recipe.size,
        "start": describe_start(start),
        "train_rows": count,
        "images": cut.batch * steps(folder),
        "seconds": None if resumed else round(time.perf_counter() - began, 1),
        "parameters": run.parameters,
        "milliseconds": None,
        "loss": run.loss,
        "figures": {name: value for name, value in read_figures(folder).items() if name in SHOWN},
        "guesses": guesses(rows),
    }
    write_whole(folder / DONE, f"{json.dumps(known, indent=2)}\n".encode())
    return known


def attributes_of(recipe: Recipe, name: str) -> tuple[Any, ...]:
    """The schema that a recipe names."""
    return read_schema(find_schema(recipe.schema_file, recipe_path(name).parent))


def steps(folder: Path) -> int:
    """Training steps of all stages together."""
    by_stage: dict[object, float] = {}
    for row in read_history(folder):
        by_stage[row["stage"]] = max(float(row["step"] or 0), by_stage.get(row["stage"], 0.0))
    return int(sum(by_stage.values()))


def read_figures(folder: Path) -> dict[str, float]:
    """The figures measured on the val rows at the end of training, using the exported file."""
    content = json.loads((folder / "evaluation" / "float32" / "evaluation.json").read_text(encoding="utf-8"))
    records = content["metrics"] if isinstance(content["metrics"], list) else [content["metrics"]]
    figures: dict[str, float] = {}
    for record in records:
        if not record["protocol"].startswith("training rows"):
            figures |= {each["name"]: each["value"] for each in record["values"] if each["value"] is not None}
    return figures


def keep(folder: Path, records: Path) -> None:
    """Copy a finished recipe's results and history, which the table and the curves are made from."""
    (records / folder.name).mkdir(parents=True, exist_ok=True)
    for name in (DONE, HISTORY):
        shutil.copyfile(folder / name, records / folder.name / name)


def time_all(out: Path, records: Path) -> None:
    """Time the exports of the runs in a folder in turn, and add the milliseconds to their results."""
    folders = [folder for folder in sorted(out.iterdir()) if (folder / DONE).is_file()]
    for folder, figures in zip(folders, compare(folders), strict=True):
        run = json.loads((folder / DONE).read_text(encoding="utf-8")) | {"milliseconds": figures.milliseconds}
        write_whole(folder / DONE, f"{json.dumps(run, indent=2)}\n".encode())
        keep(folder, records)


def train_in_turn(names: Sequence[str], options: Sequence[str], jobs: int, out: Path) -> list[str]:
    """Train recipes in processes of their own, some at a time, each with its share of the cores.

    Small networks use one core better than several: on two cores, two MobileNetV2 at a time took in 85 pictures a
    second, one 65.

    Args:
        names: of the recipes.
        options: of this script, as given.
        jobs: recipes at a time.
        out: the folder of the runs; what a process prints goes to ``NAME.log`` in it.

    Returns:
        The recipes that failed.
    """
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    limits = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), threads)

    def train(name: str) -> bool:
        began = time.monotonic()
        with (out / f"{Path(name).stem}.log").open("ab") as log:
            command = [sys.executable, str(Path(__file__).resolve()), *options, "--recipe", name, "--here"]
            done = subprocess.run(command, stdout=log, stderr=log, env={**os.environ, **limits}, check=False)
        state = "done" if done.returncode == 0 else f"failed, see {log.name}"
        print(f"{name}: {state}, {(time.monotonic() - began) / 60:.1f} min", flush=True)
        return done.returncode == 0

    with ThreadPoolExecutor(jobs) as pool:
        return [name for name, good in zip(names, pool.map(train, names), strict=True) if not good]


def estimates(recipes: dict[str, Recipe], images: dict[str, int], done: set[str]) -> tuple[Table, float]:
    """What remains to be done, with the number of pictures per recipe, and about how long it takes."""
    shown, total = Table(title="times are rough guesses for two idle CPU cores"), 0.0
    for heading in ("recipe", "backbone", "px", "pictures", "about"):
        shown.add_column(heading)
    for name, recipe in recipes.items():
        spent = 0.0 if name in done else seconds_of(recipe, images[name])
        total += spent
        about = "done" if name in done else f"{spent / 60:.0f} min"
        shown.add_row(Path(name).stem, recipe.backbone, str(recipe.size), f"{images[name]:,}", about)
    shown.add_row("all", "", "", "", f"{total / 60:.0f} min")
    return shown, total


def agree(out: Path, budget: dict[str, Any]) -> None:
    """Record the budget in the folder of the runs, so that one table never mixes two budgets.

    Raises:
        FacepipeError: the runs in it were made with another budget.
    """
    path = out / BUDGET
    if path.is_file() and (before := json.loads(path.read_text(encoding="utf-8"))) != budget:
        raise FacepipeError(
            f"{out}: holds runs with {before}, not {budget}; give another --out and --records, or the same budget"
        )
    out.mkdir(parents=True, exist_ok=True)
    write_whole(path, f"{json.dumps(budget)}\n".encode())


def main(
    data: Annotated[Path | None, typer.Option(help="Label file of crops of utkface, fairface and mtfl.")] = None,
    starts: Annotated[Path | None, typer.Option(help="Folder that --make-starts made. Default: all at random.")] = None,
    make: Annotated[
        Path | None, typer.Option("--make-starts", metavar="DIR", help="Only train a start for each backbone.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option("--recipe", help="Only these, by name or file.")] = None,
    images: Annotated[int, typer.Option(min=2, help="Pictures that each recipe sees in training.")] = 60_000,
    heavy_images: Annotated[int, typer.Option(min=2, help=f"The same of {', '.join(HEAVY)}.")] = 20_000,
    train: Annotated[int | None, typer.Option(min=1, help="Training rows of each source. Default: all.")] = None,
    val: Annotated[int | None, typer.Option(min=1, help="Validation rows of each source. Default: all.")] = None,
    size: Annotated[int | None, typer.Option(min=32, help="Side of all inputs. Default: each recipe's own.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Recipes trained at a time; they share the cores.")] = 1,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the runs.")] = Path("runs") / "recipes",
    records: Annotated[Path, typer.Option(metavar="DIR", help="Folder of what finished runs reached.")] = RECORDS,
    docs: Annotated[Path, typer.Option(metavar="DIR", help="Where recipes.md is.")] = DOCS,
    most_minutes: Annotated[float, typer.Option(help="Do not begin if it is likely to take longer.")] = 600.0,
    estimate: Annotated[bool, typer.Option("--estimate", help="Only say how long it would take.")] = False,
    table: Annotated[bool, typer.Option("--table", help="Only write the table and the curves anew.")] = False,
    here: Annotated[bool, typer.Option("--here", help="Train in this process, and write no table.")] = False,
    seed: Annotated[int, typer.Option(help="Of the rows and of the trainings.")] = 0,
) -> None:
    """Run the recipes that are not done yet, and write the table."""
    if table:
        write_table(records, docs)
        return
    if data is None:
        raise FacepipeError("give --data, the label file of the crops")
    if make is not None:
        import_keras()
        make_starts(data, only or all_recipes(), make, images, seed)
        return
    console = Console()
    recipes = {name: read_recipe(name).changed(size=size) for name in only or all_recipes()}
    budgets = {name: heavy_images if recipe.backbone in HEAVY else images for name, recipe in recipes.items()}
    done = {name for name in recipes if (records / Path(name).stem / DONE).is_file()}
    shown, total = estimates(recipes, budgets, done)
    console.print(shown)
    if estimate:
        return
    budget = {"images": images, "heavy": heavy_images, "train": train, "val": val, "size": size, "seed": seed}
    for folder in (out, records):
        agree(folder, budget)
    if total > 60 * most_minutes:
        raise FacepipeError(
            f"about {total / 60:.0f} minutes; take fewer --images, some --recipe, or more --most-minutes"
        )
    waiting = [name for name in recipes if name not in done]
    if not here:
        options = options_without(sys.argv[1:], "--recipe", "--jobs")
        failed = train_in_turn(waiting, options, jobs, out)
        time_all(out, records)
        write_table(records, docs)
        console.print(f"{docs / 'recipes.md'}, {REACHED} and the curves beside it are written")
        if failed:
            raise FacepipeError(f"failed: {', '.join(failed)}")
        return
    import_keras()
    for name in waiting:
        recipe, folder = recipes[name], out / Path(name).stem
        rows = out / "data" / folder.name
        sources = subset(data, folder.name, attributes_of(recipe, name), Amount(train, val, seed), rows)
        run_one(
            name, recipe, sources, folder, budgets[name], start_of(recipe, starts), seed, partial(print, flush=True)
        )
        keep(folder, records)


def options_without(given: Sequence[str], *names: str) -> list[str]:
    """A command line without some options and their values."""
    kept: list[str] = []
    skip = False
    for text in given:
        if skip:
            skip = False
        elif text in names:
            skip = True
        elif not text.startswith(tuple(f"{name}=" for name in names)):
            kept.append(text)
    return kept


if __name__ == "__main__":
    try:
        typer.run(main)
    except FacepipeError as error:
        raise SystemExit(f"error: {error}") from error
