"""What ``benchmarks/recipes.py`` writes from the results of the recipes: the table, the curves and ``reached.json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facepipe.classifier.config.recipe import FOLDER
from facepipe.classifier.training.compare_runs import draw_comparison
from facepipe.core.errors import FacepipeError
from facepipe.core.files import write_whole
from recipe_data import Amount

DONE, BUDGET = "benchmark.json", "budget.json"
"""Names of the files that hold a recipe's results, and the budget of all."""
REACHED = FOLDER / "reached.json"
"""What ``facepipe recipes show`` prints from."""
REPORTED: dict[str, dict[str, float]] = {
    "multitask-mobilenetv2": {"gender": 0.944, "age": 0.297, "eyes": 0.77, "loss": 1.38},
    "multitask-efficientnetb0": {"gender": 0.417, "age": 0.013, "eyes": 0.02, "loss": 0.78},
    "multitask-resnet50": {"gender": 0.97, "age": 0.007, "eyes": 0.001, "loss": 0.11},
    "multitask-mobilenetv2-aug": {"gender": 0.58, "age": 0.011, "eyes": 0.002, "loss": 0.69},
    "multitask-mobilenetv2-aug-weighted": {"gender": 0.58, "age": 0.53, "eyes": 0.32, "loss": 1.98},
    "multitask-mobilenetv2-aug-dense": {"gender": 0.41, "age": 0.04, "eyes": 0.01, "loss": 0.81},
    "multitask-mobilenetv2-dense-weighted": {"gender": 0.95, "age": 0.036, "eyes": 0.09, "loss": 0.68},
    "agegender-mobilenetv2-frozen": {"gender": 0.554, "age": 12.9, "loss": 290.09},
    "agegender-mobilenetv2-unfrozen": {"gender": 0.8167, "age": 7.34, "loss": 103.39},
    "heads-resnet18": {"gender": 0.883, "glasses": 1.0, "shirt colour": 0.976},
    "convnet": {"gender": 0.8},
    "convnet-regularised": {"gender": 0.85},
    "gender-inceptionv3": {"gender": 0.8},
}
"""What the recipes' authors reported, each on their own pictures. Gender is a share; age is in years (``agegender-*``)
or the mean error of an age scaled to 0 to 1, and so is that of the eyes."""
MARKS = ("<!-- table -->", "<!-- /table -->")
COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("age error, years (UTKFace)", "age.mae/utkface", "{:.1f}"),
    ("age error, 0 to 1", "age.mae_normalised/utkface", "{:.3f}"),
    ("age in the right range (FairFace)", "age.range_hit/fairface", "{:.2f}"),
    ("gender (UTKFace)", "gender.accuracy/utkface", "{:.2f}"),
    ("gender (FairFace)", "gender.accuracy/fairface", "{:.2f}"),
    ("eye error", "eyes.eye_error", "{:.2f}"),
    ("glasses", "glasses.accuracy", "{:.2f}"),
    ("smile", "smile.accuracy", "{:.2f}"),
    ("shirt colour", "shirt_colour.accuracy", "{:.2f}"),
)
SHOWN = {each[1] for each in COLUMNS}


def read_records(records: Path) -> list[dict[str, Any]]:
    """Read the results kept in a folder, by the recipes' names.

    Raises:
        FacepipeError: there are none.
    """
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(records.glob(f"*/{DONE}"))]
    if not found:
        raise FacepipeError(f"{records}: no results of any recipe yet")
    return found


def write_table(records: Path, docs: Path) -> None:
    """Write ``reached.json``, and in recipes.md the table and pictures of the curves, from the results kept."""
    runs = read_records(records)
    base: dict[str, float] = {}
    for run in runs:
        base |= run.pop("guesses")
    budget = json.loads((records / BUDGET).read_text(encoding="utf-8"))
    protocol = caption(Amount(budget["train"], budget["val"], budget["seed"]))
    content = {"protocol": protocol, "seed": budget["seed"], "guesses": base, "runs": runs, "reported": REPORTED}
    (docs / "pictures").mkdir(parents=True, exist_ok=True)
    links = []
    for family, names in families([run["recipe"] for run in runs]).items():
        draw_comparison([records / name for name in names], docs / "pictures" / f"recipes-{family}.png")
        links.append(f"[{family}](pictures/recipes-{family}.png)")
    write_whole(REACHED, f"{json.dumps(content, indent=2)}\n".encode())
    write_docs(f"{markdown(runs, base, protocol)}\nTheir curves: {', '.join(links)}.\n", docs)


def families(names: Sequence[str]) -> dict[str, list[str]]:
    """Recipes by the first word of their names, for a picture each; those that are alone join as ``others``."""
    words = [name.split("-")[0] for name in names]
    found: dict[str, list[str]] = {}
    for name, word in zip(names, words, strict=True):
        found.setdefault(word if words.count(word) > 1 else "others", []).append(name)
    return found


def markdown(runs: list[dict[str, Any]], base: dict[str, float], protocol: str) -> str:
    """The table; its columns are those for which any recipe has a figure."""
    columns = [each for each in COLUMNS if any(each[1] in run["figures"] for run in runs)]
    heads = [
        "recipe",
        "backbone, px",
        "start",
        "parameters",
        "ms a crop",
        "pictures",
        "loss",
        *(each[0] for each in columns),
        "its authors reported",
    ]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for run in runs:
        cells = [
            f"`{run['recipe']}`",
            f"{run['backbone']}, {run['size']}",
            run["start"],
            f"{run['parameters'] / 1e6:.1f} M",
            _cell(run["milliseconds"], "{:.1f}"),
            f"{run['images']:,}",
            _cell(run["loss"], "{:.2f}"),
            *(_cell(run["figures"].get(name), form) for _, name, form in columns),
            ", ".join(f"{name} {value:g}" for name, value in REPORTED.get(run["recipe"], {}).items()) or "–",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    cells = ["always the commonest", *["–"] * 6, *(_cell(base.get(name), form) for _, name, form in columns), "–"]
    lines.append(f"| {' | '.join(cells)} |")
    return f"{protocol}\n\n" + "\n".join(lines) + "\n"


def _cell(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def write_docs(text: str, docs: Path) -> None:
    """Insert the table between its marks in recipes.md."""
    page = (docs / "recipes.md").read_text(encoding="utf-8")
    before, found, rest = page.partition(MARKS[0])
    _, ended, after = rest.partition(MARKS[1])
    if not (found and ended):
        raise FacepipeError(f"{docs / 'recipes.md'}: no {MARKS[0]} … {MARKS[1]} to write the table between")
    write_whole(docs / "recipes.md", f"{before}{MARKS[0]}\n{text}{MARKS[1]}{after}".encode())


def caption(amount: Amount) -> str:
    """How the table was made, in words."""
    rows = "all training rows" if amount.train is None else f"at most {amount.train} training rows of each source"
    measured = "all validation rows" if amount.val is None else f"at most {amount.val} validation rows of each"
    return (
        f"From {rows}; measured on {measured}, through the exported float32 file. Accuracies are shares of the rows, "
        "the eye error is a share of the distance between the eyes, the loss is the validation loss of the weights "
        "that were kept. Milliseconds are those of the exported file on one thread; files of one machine were timed in "
        "turn."
    )
