"""``facepipe benchmark``: how quick the pipeline is on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._options import Classifier, Detector, Device, Precision, Threads


def benchmark(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FOLDER]",
            help="Folder of pictures. Default: generated pictures with ten faces each.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for benchmark.json.")] = Path("benchmark"),
    minutes: Annotated[
        float,
        typer.Option(min=0.1, max=1440, help="Approximate running time in minutes; more time allows more rounds."),
    ] = 1.0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only check that it works; the figures are meaningless.")
    ] = False,
    detector: Detector = None,
    classifier: Classifier = None,
    device: Device = "cpu",
    threads: Threads = None,
    precision: Annotated[Precision, typer.Option(help="Precision of the models.")] = Precision.auto,
    seed: Annotated[int, typer.Option(min=0, help="Random seed for the generated pictures.")] = 0,
) -> None:
    """Time the pipeline against its models' bare sessions, and measure cold start and memory in fresh processes.

    The two sides take turns, so that other load on the machine affects both; their ratio is the figure to compare.
    Prints a table and writes benchmark.json with the seconds of every round.
    """
    import json
    import sys
    import tempfile
    from dataclasses import asdict
    from functools import partial

    from ...core.files import write_whole
    from ...core.version import __version__
    from ..benchmark import Chosen
    from ..benchmark import benchmark as measure
    from ..console import console

    options = {
        "detector": detector,
        "classifier": classifier,
        "device": device,
        "threads": threads,
        "precision": precision.value,
    }
    log = partial(print, file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="facepipe-benchmark-") as drawn:
        seconds, count = (0.0, 2) if quick else (60 * minutes, 16)
        report = measure(Chosen(folder, options, seed), Path(drawn), seconds, count, log)
    content = {"form": 2, "facepipe": __version__, **asdict(report), "ratio": report.ratio}
    write_whole(out / "benchmark.json", f"{json.dumps(content, indent=2)}\n".encode())
    screen = console()
    for name, text in report.rows():
        screen.print(f"{name:<22}{text}")
    for note in report.notes:
        screen.print(f"- {note}")
    if quick:
        screen.print("--quick: the figures are meaningless")
    screen.print(f"report: {out / 'benchmark.json'}")
