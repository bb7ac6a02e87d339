"""``facepipe compare``: trainings of the classifier side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...core.files import write_whole
from .train_classifier import RUNS

if TYPE_CHECKING:
    from rich.table import Table

    from ...classifier.training.compare_runs import RunFigures

MISSING = "-"
BESIDE = 4
"""Most runs that get a column each; more get a row each."""


def register(app: typer.Typer) -> None:
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
    from ..table import console

    folders = list(dict.fromkeys(find_run(text, RUNS) for text in runs))
    found = read(folders, timing)
    if out is not None:
        draw_comparison(folders, out)
    if json_target is not None:
        text = json.dumps({"runs": [run.told() for run in found]}, indent=2) + "\n"
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
