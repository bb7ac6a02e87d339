"""``facepipe verify``: results made again with the models that they name, and compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ._options import Threads

DIFFERS = 1
"""Exit code where something is not as it was."""
NOT_RUN = 2
"""Exit code where nothing differs, but a model is not here."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(verify)


def verify(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="JSON lines, CSV or Parquet of facepipe detect.")],
    sample: Annotated[int, typer.Option(min=1, help="Pictures to look at again, drawn at random.")] = 50,
    every: Annotated[bool, typer.Option("--all", help="Look at all of them.")] = False,
    seed: Annotated[int, typer.Option(help="Of the sample: the same one draws the same pictures.")] = 0,
    root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where relative paths begin. Default: the current folder.")
    ] = None,
    allow_url: Annotated[bool, typer.Option("--allow-url", help="Fetch pictures again that came from URLs.")] = False,
    device: Annotated[str | None, typer.Option(help="Where to run. Default: where the results were made.")] = None,
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, with every difference.")] = False,
) -> None:
    """Run a sample of the pictures again, with the versions and settings that the results name, and compare.

    Each picture is identical, within tolerance (floats of another processor), different, changed (another SHA-256) or
    missing. Frames of videos are passed over.

    Exit codes: 0 all are identical or within tolerance, 1 something is not as it was, 2 wrong usage, or a model is not
    here.
    """
    from ..progress import progress
    from ..table import console
    from ..verify.verify import How
    from ..verify.verify import verify as run
    from .verify import as_json as plain
    from .verify import print_report

    how = How(None if every else sample, seed, root, device, threads, allow_url)
    with progress("verify", "pictures") as tell:
        report = run(results, how, tell)
    if as_json:
        print(json.dumps(plain(report), indent=2))
    else:
        print_report(report, console())
    if report.differs:
        raise typer.Exit(DIFFERS)
    if report.counts["not run"]:
        raise typer.Exit(NOT_RUN)
