"""``facepipe verify``: results made again with the models that they name, and compared."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..console import console, counted, printable, progress
from ._options import Threads

if TYPE_CHECKING:
    from ..verify.compare import Difference
    from ..verify.verify import Checked, Report

MOST = 40
"""Rows of the table; --json has all."""
SHA256 = re.compile("[0-9a-f]{64}")
DIFFERS = 1
"""Exit code where something is not as it was."""
NOT_RUN = 2
"""Exit code where nothing differs, but a model is not here."""
STYLES = {"different": "red", "changed": "yellow", "missing": "yellow"}


def print_report(report: Report, to: Console) -> None:
    """Print the table of what is not as it was, the notes (why something was not run, too), and the summary."""
    from ..verify.verify import GOOD

    rows = [row for each in report.checked if each.verdict not in (*GOOD, "not run") for row in _rows(each)]
    if rows:
        table = Table()
        for column in ("picture", "verdict", "where", "field", "then", "now", "difference"):
            table.add_column(column, justify="right" if column == "difference" else "left", overflow="fold")
        for row in rows[:MOST]:
            table.add_row(*row)
        to.print(table)
        if len(rows) > MOST:
            to.print(f"… and {len(rows) - MOST:,} more; --json has all")
    for note in report.notes:
        to.print(Text(f"note: {printable(note)}"), soft_wrap=True)
    for line in summary(report):
        to.print(Text(line), soft_wrap=True)


def summary(report: Report) -> Iterator[str]:
    """The last lines: how many were looked at, what came of them, and the largest differences."""
    from ..verify.verify import VERDICTS

    seed = "" if report.seed is None else f" (seed {report.seed})"
    yield f"{printable(report.results)}: {len(report.checked):,} of {counted(report.pictures, 'picture')}{seed}"
    for reason, count in report.skipped.items():
        yield f"skipped: {counted(count, 'result')} {reason}"
    counts = report.counts
    if counts["identical"] + counts["within tolerance"] + counts["different"]:
        largest = report.largest
        yield (
            f"largest differences: {largest['px']:.3g} px, {largest['share']:.3g} in a probability, "
            f"{100 * largest['range']:.3g} % of a number's range"
        )
    yield ", ".join(
        f"{counts[verdict]:,} {verdict}" for verdict in VERDICTS if counts[verdict] or verdict == "identical"
    )


def to_dict(report: Report) -> dict[str, Any]:
    """The report as plain data."""
    return {**asdict(report), "counts": report.counts, "largest": report.largest, "same": _same(report)}


def _same(report: Report) -> bool:
    return not report.differs and not report.counts["not run"]


def _rows(checked: Checked) -> Iterator[tuple[Text, ...]]:
    """What is out of tolerance, or why the picture could not be read."""
    start = (checked.source, checked.verdict)
    if checked.problem:
        yield _texts(*start, "", "", "", checked.problem.removeprefix(f"{checked.source}: "), "")
    for each in checked.differences:
        if not each.within:
            yield _texts(*start, each.part, each.field, _shown(each.then), _shown(each.now), _amount(each))


def _texts(*cells: str) -> tuple[Text, ...]:
    verdict = cells[1]
    return tuple(
        Text(printable(cell), style=STYLES.get(verdict, "") if number == 1 else "") for number, cell in enumerate(cells)
    )


def _shown(value: str | float | None) -> str:
    from ..verify.verify import SHORT

    if value is None:
        return "–"
    if isinstance(value, str):
        return f"{value[:SHORT]}…" if SHA256.fullmatch(value) else value
    return f"{value:.6g}"


def _amount(difference: Difference) -> str:
    if difference.measure == "px":
        return f"{difference.amount:.2f} px"
    if difference.measure == "share":
        return f"{difference.amount:.4f}"
    return f"{100 * difference.amount:.2f} %" if difference.measure == "range" else ""


def verify(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="Output of facepipe detect: JSON lines, CSV or Parquet.")
    ],
    sample: Annotated[int, typer.Option(min=1, help="Number of pictures to run again, chosen at random.")] = 50,
    every: Annotated[bool, typer.Option("--all", help="Run all pictures again.")] = False,
    seed: Annotated[int, typer.Option(help="Random seed for the sample: the same seed chooses the same pictures.")] = 0,
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder that relative paths start from. Default: the current folder."),
    ] = None,
    allow_url: Annotated[bool, typer.Option("--allow-url", help="Re-fetch pictures that came from URLs.")] = False,
    device: Annotated[
        str | None, typer.Option(help="Device to run on. Default: the one that the results were made on.")
    ] = None,
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, with every difference.")] = False,
) -> None:
    """Run a sample of the pictures again, with the versions and settings named in the results, and compare.

    Each picture is identical, within tolerance (floats from another processor), different, changed (another SHA-256)
    or missing. Video frames are skipped.

    Exit codes: 0 all are identical or within tolerance, 1 something is not as it was, 2 wrong usage, or a model is not
    installed.
    """
    from ..verify.verify import VerifyOptions
    from ..verify.verify import verify as run

    options = VerifyOptions(None if every else sample, seed, root, device, threads, allow_url)
    with progress("verify", "pictures") as done:
        report = run(results, options, done)
    if as_json:
        print(json.dumps(to_dict(report), indent=2))
    else:
        print_report(report, console())
    if report.differs:
        raise typer.Exit(DIFFERS)
    if report.counts["not run"]:
        raise typer.Exit(NOT_RUN)
