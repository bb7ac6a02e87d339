"""What a run's folder records of itself: its environment, the time it has used, and its figures by epoch.

``environment.json``: Python, platform, packages, processor, version of the code, and the data's hash. ``clock.json``:
seconds trained so far. ``history.csv``: one row an epoch, under ultralytics' names; a row of an epoch that was done
again after a kill takes the old one's place.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core import run_folder as run_record
from ...core.errors import DataError, TrainingError
from ...core.files import write_whole
from ..data.dataset import DataDescription

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
"""Packages whose version is told, where they are installed."""
VALIDATED = ("metrics/", "val/")
"""How names of figures begin that only a validation gives."""


def environment(description: DataDescription, device: str) -> dict[str, Any]:
    """Where a training runs, and on what."""
    import torch

    gpus = [torch.cuda.get_device_name(int(number)) for number in device.split(",") if number.isdigit()]
    data = {
        "labels_sha256": description.labels_sha256,
        "pictures": {split: len(pictures) for split, pictures in description.pictures.items()},
        "classes": list(description.classes),
    }
    return run_record.environment(PACKAGES, data, device=device, gpus=gpus)


def record_environment(run: Path, description: DataDescription, device: str) -> None:
    """Write ``environment.json``; a resumed run's goes under ``resumed`` of the first.

    Raises:
        TrainingError: the labels are not those that the run began with, or the file is damaged.
    """
    otherwise = f"start a new run from its weights (--start {run / 'weights' / 'last.pt'})"
    run_record.record_environment(run, environment(description, device), str(description.yaml), otherwise)


def seconds_used(run: Path) -> float:
    """Seconds that a run has trained, by its clock; by its history where an older facepipe left no clock.

    Raises:
        TrainingError: the clock's file is damaged.
    """
    path = run / CLOCK
    if path.is_file():
        try:
            return float(json.loads(path.read_text(encoding="utf-8"))["seconds"])
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{path}: not a run's clock: {error}") from error
    rows = read_history(run)
    return rows[-1].get("time") or 0.0 if rows else 0.0


def record_seconds(run: Path, seconds: float) -> None:
    """Write the clock."""
    write_whole(run / CLOCK, json.dumps({"seconds": round(seconds, 1)}).encode() + b"\n")


def read_history(run: Path) -> list[dict[str, float | None]]:
    """A run's figures, an epoch each, ``epoch`` counted from 1. A figure that was not measured is None.

    Ultralytics' own file, which runs of facepipe 0.1 left, has zeros for epochs that were not validated.

    Raises:
        DataError: a line of the file is not of numbers.
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
    """Add an epoch, in the place of any row that there is of it or of later ones.

    Args:
        run: the run's folder.
        epoch: counted from 1.
        seconds: trained so far.
        figures: by ultralytics' names; None for one that was not measured.
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
