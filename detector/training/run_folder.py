"""The records of a run's folder: environment, training time, metrics by epoch with their plot, and lineage.

``environment.json`` holds Python, platform, packages, processor, code version, and the data's hash. ``clock.json``
holds the seconds trained so far. ``history.csv`` has one row per epoch under ultralytics' names; if an epoch is
repeated after an interruption, its row is replaced. ``curves.png`` plots losses, precision and recall, mAP50 and
mAP50-95, and learning rate by epoch. The lineage for the manifest is how a run was trained, and the runs whose weights
it started from.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...core import run_folder as run_record
from ...core.errors import DataError, TrainingError
from ...core.extras import require
from ...core.files import write_whole
from ...core.run_folder import ENVIRONMENT
from ..data.dataset import DataDescription
from .augmentation import FOLDER
from .settings import SETTINGS, DetectorSettings, read_settings

CLOCK, HISTORY, OLD_HISTORY = "clock.json", "history.csv", "results.csv"
PACKAGES = (
    "torch",
    "torchvision",
    "ultralytics",
    "numpy",
    "opencv-python",
    "onnx",
    "onnxruntime",
    "pydantic",
    "albumentations",
    "mlflow",
    "tensorboard",
)
"""Packages whose versions are recorded, if installed."""
VALIDATED = ("metrics/", "val/")
"""Name prefixes of metrics that only a validation provides."""
EARLIER = 20
"""Most earlier runs to follow."""
CURVES = "curves.png"
TRAIN, VAL = "#1f6fb4", "#d6622a"
LOSSES = (("box_loss", "box loss"), ("cls_loss", "class loss"), ("dfl_loss", "distribution loss"))
METRICS = (
    (("metrics/precision(B)", "precision"), ("metrics/recall(B)", "recall")),
    (("metrics/mAP50(B)", "mAP50"), ("metrics/mAP50-95(B)", "mAP50-95")),
)


def environment(description: DataDescription, device: str) -> dict[str, Any]:
    """The environment and the data of a training."""
    import torch

    gpus = [torch.cuda.get_device_name(int(number)) for number in device.split(",") if number.isdigit()]
    data = {
        "labels_sha256": description.labels_sha256,
        "pictures": {split: len(pictures) for split, pictures in description.pictures.items()},
        "classes": list(description.classes),
    }
    return run_record.environment(PACKAGES, data, device=device, gpus=gpus)


def record_environment(run: Path, description: DataDescription, device: str) -> None:
    """Write ``environment.json``; for a resumed run, add to ``resumed`` in the existing file.

    Args:
        run: the run's folder.
        description: the data set.
        device: that it trains on.

    Raises:
        TrainingError: the labels are not those that the run started with, or the file is damaged.
    """
    otherwise = f"start a new run from its weights (--start {run / 'weights' / 'last.pt'})"
    run_record.record_environment(run, environment(description, device), str(description.yaml), otherwise)


def seconds_used(run: Path) -> float:
    """Seconds that a run has trained, from its clock, or from its history for runs of older versions without one.

    Raises:
        TrainingError: the clock file is damaged.
    """
    path = run / CLOCK
    if path.is_file():
        try:
            return float(json.loads(path.read_text(encoding="utf-8"))["seconds"])
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{path}: not the clock of a run: {error}") from error
    rows = read_history(run)
    return rows[-1].get("time") or 0.0 if rows else 0.0


def record_seconds(run: Path, seconds: float) -> None:
    """Write the clock file."""
    write_whole(run / CLOCK, json.dumps({"seconds": round(seconds, 1)}).encode() + b"\n")


def read_history(run: Path) -> list[dict[str, float | None]]:
    """A run's metrics, one row per epoch, with ``epoch`` counted from 1. Metrics that were not measured are None.

    Ultralytics' own file, from runs of facepipe 0.1, has zeros for epochs without validation.

    Raises:
        DataError: a line of the file is not numeric.
    """
    path = next((run / name for name in (HISTORY, OLD_HISTORY) if (run / name).is_file()), None)
    if path is None:
        return []
    rows: list[dict[str, float | None]] = []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        for line in reader:
            try:
                row = {str(key).strip(): float(value) if value else None for key, value in line.items()}
            except (TypeError, ValueError) as error:
                raise DataError(f"{path}: line {reader.line_num}: {error}") from error
            if path.name == OLD_HISTORY and not any(row[key] for key in row if key.startswith("val/")):
                row.update({key: None for key in row if key.startswith(VALIDATED)})
            rows.append(row)
    return rows


def add_to_history(run: Path, epoch: int, seconds: float, figures: Mapping[str, float | None]) -> None:
    """Add an epoch, and remove any existing rows for it or later ones.

    Args:
        run: the run's folder.
        epoch: counted from 1.
        seconds: trained so far.
        figures: metrics by ultralytics' names; None for any that was not measured.
    """
    rows = [row for row in read_history(run) if (row.get("epoch") or 0) < epoch]
    rows.append({"epoch": epoch, "time": seconds, **figures})
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer.writerow(names)
    for row in rows:
        writer.writerow(["" if (value := row.get(name)) is None else f"{value:.6g}" for name in names])
    write_whole(run / HISTORY, text.getvalue().encode())


def lineage(run: Path, depth: int = EARLIER) -> dict[str, Any]:
    """A run's settings, environment and history, with those of the run that it started from under ``after``.

    Files are named without their folders, which mean nothing to others.

    Raises:
        TrainingError: the folder is not a run's, or its records cannot be read.
    """
    settings = read_settings(run)
    start = Path(settings.start)
    record = {**asdict(settings), "data": Path(settings.data).name, "start": start.name, "log": list(settings.log)}
    record["command"] = training_command(record)
    if (run / ENVIRONMENT).is_file():
        record["environment"] = run_environment(run)
    histories = [run / name for name in (HISTORY, OLD_HISTORY) if (run / name).is_file()]
    record["history"] = histories[0].read_text(encoding="utf-8").splitlines() if histories else []
    earlier = start.parent.parent
    if depth > 0 and start.suffix == ".pt" and (earlier / SETTINGS).is_file() and earlier != run:
        record["after"] = lineage(earlier, depth - 1)
    return record


def run_environment(run: Path) -> dict[str, Any]:
    """The content of a run's ``environment.json``; empty if there is none (runs of facepipe 0.1).

    Raises:
        TrainingError: the file is damaged.
    """
    path = run / ENVIRONMENT
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrainingError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise TrainingError(f"{path}: not the environment of a run")
    return content


def training_command(settings: Mapping[str, Any]) -> str:
    """The command line for a run's settings, without those at their defaults."""
    usual = asdict(DetectorSettings(data=""))
    words = ["facepipe", "train-detector"]
    for name, value in settings.items():
        option = f"--{name.replace('_', '-')}"
        if name == "overrides":
            for key, each in value.items():
                words += ["--set", f"{key}={each if isinstance(each, str) else json.dumps(each)}"]
        elif name == "augmentation" and value is not None:
            recipe = str(value.get("name", "recipe"))
            words += [option, recipe if (FOLDER / f"{recipe}.yaml").is_file() else f"{recipe}.yaml"]
        elif name == "log":
            words += [word for each in value for word in (option, each)]
        elif name not in usual or value == usual[name] or value is None or isinstance(value, dict):
            continue
        elif value is True:
            words.append(option)
        else:
            words += [option, f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(words)


def draw_curves(run: Path) -> Path:
    """Plot a run's history to ``curves.png`` in its folder, written atomically.

    Returns:
        Path of the plot; nothing is written while there is no history.

    Raises:
        DataError: the history is damaged.
    """
    rows = read_history(run)
    path = run / CURVES
    if not rows:
        return path
    locator = require("matplotlib.ticker").MaxNLocator
    figure = require("matplotlib.figure").Figure(figsize=(12, 6.6), layout="constrained")
    panels = figure.subplots(2, 3).ravel()
    rates = [name for name in rows[-1] if name.startswith("lr/")]
    drawn: list[list[tuple[str, str, str]]] = [
        *([(f"train/{name}", "training", TRAIN), (f"val/{name}", "validation", VAL)] for name, _ in LOSSES),
        *([(first[0], first[1], TRAIN), (second[0], second[1], VAL)] for first, second in METRICS),
        [(rates[0], "learning rate", TRAIN)] if rates else [],
    ]
    titles = [*(title for _, title in LOSSES), "precision and recall", "mAP50 and mAP50-95", "learning rate"]
    for panel, lines, title in zip(panels, drawn, titles, strict=True):
        measured = False
        for name, label, colour in lines:
            points = _points(rows, name)
            if points:
                measured = True
                few = "o" if len(points) <= 25 else ""
                panel.plot(*zip(*points, strict=True), color=colour, label=label, marker=few, markersize=3.5)
        panel.set_title(title, fontsize=10)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        panel.xaxis.set_major_locator(locator(integer=True, min_n_ticks=1))
        panel.set_xlim(0.5, max((row["epoch"] or 0) for row in rows) + 0.5)
        if len(lines) > 1 and measured:
            panel.legend(fontsize=8, frameon=False)
        if not measured:
            panel.text(0.5, 0.5, "not measured", ha="center", va="center", transform=panel.transAxes, color="grey")
    for panel in panels[3:5]:
        panel.set_ylim(0, 1)
    for panel in panels[3:]:
        panel.set_xlabel("epoch", fontsize=9)
    minutes = (rows[-1].get("time") or 0) / 60
    figure.suptitle(f"{run.name}: {len(rows)} epoch{'s' * (len(rows) > 1)}, {minutes:.1f} minutes", fontsize=11)
    with tempfile.TemporaryDirectory(prefix=".curves-", dir=run) as temporary:
        part = Path(temporary) / CURVES
        figure.savefig(part, dpi=110)
        os.replace(part, path)
    return path


def _points(rows: Sequence[dict[str, float | None]], name: str) -> list[tuple[float, float]]:
    return [
        (epoch, value) for row in rows if (value := row.get(name)) is not None and (epoch := row["epoch"]) is not None
    ]
