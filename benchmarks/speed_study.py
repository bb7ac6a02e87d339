"""How fast the pipeline is compared with its bare models and with the original notebooks' method, in one run.

python benchmarks/speed_study.py [FOLDER] --out study [--minutes 6]
python benchmarks/speed_page.py study
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from facepipe.core.errors import FacepipeError
from facepipe.pipeline.cli._options import Classifier, Detector, Device, Threads


def main(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[FOLDER]", help="Pictures. Default: drawn ones, ten faces each.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where benchmark.json and .png go.")] = Path("study"),
    minutes: Annotated[float, typer.Option(min=0.5, help="Time to take, roughly; more gives more rounds.")] = 6.0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only see that it works; the figures are worth nothing.")
    ] = False,
    detector: Detector = None,
    classifier: Classifier = None,
    device: Device = "cpu",
    threads: Threads = None,
    precision: Annotated[str, typer.Option(help="auto, or a precision that the models have a file for.")] = "auto",
    notebook: Annotated[
        bool | None,
        typer.Option(
            "--notebook/--no-notebook",
            help="Time the way of the original notebooks (ultralytics, then Keras face by face). Default: if the "
            "training extra is there and not --quick.",
            show_default=False,
        ),
    ] = None,
    notebook_detector: Annotated[
        Path | None, typer.Option(metavar="FILE.pt", help="Its YOLO, your own file. Default: YOLOv8s, random weights.")
    ] = None,
    notebook_classifier: Annotated[
        Path | None, typer.Option(metavar="FILE.keras", help="Its Keras model. Default: ResNet50, random weights.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the drawn pictures.")] = 0,
) -> None:
    """Time the pipeline against its own bare models and against the notebooks, in one run and in turn.

    Speed is reported as ratios, each the median over rounds in which the sides took turns. Also measured: cold start
    and memory of fresh processes, and how speed depends on faces, picture size, batches and precision. Writes
    benchmark.json (every round), benchmark.png (needs matplotlib) and tables.
    """
    import sys
    from functools import partial

    from facepipe.core.errors import MissingExtraError
    from facepipe.core.files import write_whole
    from facepipe.pipeline.console import console
    from study.chart import draw_chart
    from study.comparisons import benchmark as measure
    from study.settings import QUICK, Chosen, Extent
    from study.tables import tables

    chosen = Chosen(
        folder,
        detector,
        tuple(classifier or ()),
        device,
        threads,
        precision,
        False if quick and notebook is None else notebook,
        notebook_detector,
        notebook_classifier,
        seed,
    )
    extent = QUICK if quick else Extent(60 * minutes)
    report = measure(chosen, extent, _typed(sys.argv[1:]), partial(print, file=sys.stderr, flush=True))
    write_whole(out / "benchmark.json", f"{report.model_dump_json(indent=2)}\n".encode())
    screen = console()
    for table in tables(report):
        screen.print(table)
    for note in dict.fromkeys([*report.notes, *(n for c in report.comparisons.get("notebook", ()) for n in c.notes)]):
        screen.print(f"- {note}")
    if quick:
        screen.print("--quick: the figures are worth nothing")
    try:
        draw_chart(report, out / "benchmark.png")
    except MissingExtraError as error:
        screen.print(f"{out / 'benchmark.json'} is written; no chart: {error}")
        return
    screen.print(f"{out / 'benchmark.json'} and {out / 'benchmark.png'} are written")


def _typed(arguments: list[str]) -> str:
    import shlex

    return shlex.join(["python", "benchmarks/speed_study.py", *arguments])


if __name__ == "__main__":
    try:
        typer.run(main)
    except FacepipeError as error:
        raise SystemExit(f"error: {error}") from error
