"""``facepipe compare``: trainings side by side, of the classifier or of the detector."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from ...core.errors import TrainingError
from ...core.files import write_whole
from ...weights.publish import EXPORT
from ...weights.release import MANIFEST, open_release
from ..console import console
from .train_classifier import RUNS
from .train_detector import RUNS as DETECTOR_RUNS

if TYPE_CHECKING:
    from rich.table import Table

    from ...classifier.training.compare_runs import RunFigures

SETTINGS, HISTORY = "settings.json", "history.csv"
"""Files of a run's folder."""
TIMED = 5
"""Pictures that a detector's export is timed on; the first does not count."""
AP = "metrics/mAP50-95(B)"
"""The figure by which ultralytics keeps a detector's best epoch."""
MISSING = "-"
BESIDE = 4
"""Most runs that get a column each; more get a row each."""


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Runs of train-classifier or of train-detector: names or folders.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Plot the curves of all runs to this file.")
    ] = None,
    json_target: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE|-", help="Write the figures to this file; - is standard output."),
    ] = None,
    timing: Annotated[bool, typer.Option("--timing/--no-timing", help="Time each run's exported file.")] = True,
) -> None:
    """Compare training runs of the classifier or the detector: figures, losses, parameters, time per input."""
    from ...classifier.training.compare_runs import compare as read
    from ...classifier.training.compare_runs import draw_comparison

    folders = list(dict.fromkeys(find_run(text) for text in runs))
    detectors = {_is_detector(folder) for folder in folders}
    if len(detectors) > 1:
        raise TrainingError("compare takes runs of the classifier or of the detector, not both at once")
    detector = detectors.pop()
    if detector and out is not None:
        raise TrainingError("--out plots classifier runs only; a detector's curves are in curves.png in its folder")
    found = [read_detector_run(folder, timing) for folder in folders] if detector else read(folders, timing)
    if out is not None:
        draw_comparison(folders, out)
    if json_target is not None:
        text = json.dumps({"runs": [run.to_dict() for run in found]}, indent=2) + "\n"
        if json_target == "-":
            print(text, end="")
            return
        write_whole(Path(json_target), text.encode())
    screen = console()
    screen.print(comparison_table(found, "picture" if detector else "crop"))
    if any(run.measured == "training" for run in found):
        screen.print("* not exported: figures of the best validation during training, on the rows used for it")
    losses = "" if detector else "losses are comparable only between runs with the same losses and attributes; "
    screen.print(f"{losses}ms are for one thread")
    if out is not None:
        screen.print(f"curves: {out}")


def find_run(text: str) -> Path:
    """A run's folder by its path, or by its name among the runs of the classifier and of the detector.

    Raises:
        TrainingError: there is none, or the name is one of both.
    """
    if (Path(text) / SETTINGS).is_file():
        return Path(text)
    found = [root / text for root in (RUNS, DETECTOR_RUNS) if (root / text / SETTINGS).is_file()]
    if len(found) > 1:
        raise TrainingError(f"{text}: there are two runs of that name; name a folder: {found[0]} or {found[1]}")
    if found:
        return found[0]
    there = sorted(path.parent.name for root in (RUNS, DETECTOR_RUNS) for path in root.glob(f"*/{SETTINGS}"))
    raise TrainingError(
        f"{text}: neither a run's folder nor a name in {RUNS} or {DETECTOR_RUNS}; there are: "
        f"{', '.join(there) or 'none'}"
    )


def _settings(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{folder / SETTINGS}: not the settings of a run ({error})") from error
    return content if isinstance(content, dict) else {}


def _is_detector(folder: Path) -> bool:
    """Whether a run is a detector's: its settings say ``imgsz``, a classifier's say a recipe."""
    return "imgsz" in _settings(folder)


def read_detector_run(folder: Path, timing: bool = True) -> RunFigures:
    """What the folder of a detector's run says of it; the run need not be over.

    Args:
        folder: of the run.
        timing: time the export on one thread, too.

    Raises:
        TrainingError: its settings or its history are damaged.
        WeightsError: its export is.
    """
    from ...classifier.training.compare_runs import RunFigures

    settings = _settings(folder)
    found = RunFigures(folder.resolve().name, folder, Path(str(settings.get("start"))).stem, settings["imgsz"])
    rows = _history(folder / HISTORY)
    if rows:
        best = max(rows, key=lambda row: row.get(AP, -1.0))
        found.epochs, found.measured = rows[-1].get("epoch"), "training"
        found.figures = {name: value for name, value in best.items() if name.startswith("metrics/")}
    if (folder / EXPORT / MANIFEST).is_file():
        release = open_release(folder / EXPORT)
        manifest = release.manifest
        found.backbone, found.megabytes = manifest.architecture, manifest.files[0].bytes / 1e6
        if manifest.metrics:
            found.figures = {each.name: each.value for each in manifest.metrics[0].values if each.value is not None}
            found.measured = "export"
        if timing:
            from ...detector.inference.detector import FaceDetector

            detector = FaceDetector(release=release, threads=1)
            side = detector.input.size
            frame = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
            spent = []
            for _ in range(TIMED):
                began = time.perf_counter()
                detector.detect([frame])
                spent.append(1000 * (time.perf_counter() - began))
            found.milliseconds = float(np.median(spent[1:]))
    return found


def _history(path: Path) -> list[dict[str, float]]:
    """A detector's rows by epoch, numbers only; none where there is no history yet."""
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                {name.strip(): float(cell) for name, cell in row.items() if name and cell and cell.strip()}
                for row in csv.DictReader(file)
            ]
    except (ValueError, AttributeError) as error:
        raise TrainingError(f"{path}: not the history of a run ({error})") from error


def _headings(runs: Sequence[RunFigures]) -> list[tuple[str, str, str]]:
    """The table's columns of figures: heading, metric and format; those that some run has."""
    from ...classifier.training.compare_runs import columns

    classifier = columns(runs)
    if classifier:
        return classifier
    return [
        (name.removeprefix("metrics/"), name, ".4f") for name in dict.fromkeys(n for run in runs for n in run.figures)
    ]


def comparison_table(runs: list[RunFigures], what: str = "crop") -> Table:
    """Every run's figures; what is not known is ``-``. Few runs stand beside each other, many one below the other.

    Args:
        runs: all of the classifier, or all of the detector.
        what: goes through the model at a time: a crop or a picture.
    """
    from rich.table import Table
    from rich.text import Text

    rows: list[tuple[str, list[str]]] = [
        ("", [f"{run.name}{'*' * (run.measured == 'training')}" for run in runs]),
        ("backbone, px", [f"{run.backbone or MISSING}, {run.size or MISSING}" for run in runs]),
        ("epochs", [_cell(run.epochs, ".1f") for run in runs]),
    ]
    for heading, name, form in _headings(runs):
        rows.append((heading, [_cell(run.figures.get(name), form) for run in runs]))
    if what == "crop":
        rows.append(("validation loss", [_cell(run.loss, ".4f") for run in runs]))
        rows.append(("parameters", [_cell(run.parameters, ",") for run in runs]))
    rows += [
        (f"ms a {what}", [_cell(run.milliseconds, ".1f") for run in runs]),
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
