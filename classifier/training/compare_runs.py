"""Comparison of training runs: their results and costs, and a plot of their curves."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import TrainingError
from ...weights.manifest import Manifest
from ...weights.publish import EXPORT
from ...weights.release import MANIFEST, Release, open_release
from ..inference.classifier import AttributeClassifier
from .curves import COLOURS, FEW, finish, new_figure, save_figure, series
from .run_folder import BEST, FINAL, SETTINGS, Row, read_history

ROUNDS = 30
"""Number of crops for timing each run's export."""


@dataclass
class RunFigures:
    """The known figures of a run; unknown ones are None or left out.

    Attributes:
        name: of its folder.
        folder: as given.
        backbone: of its recipe.
        size: side of its input in pixels.
        measured: source of the figures: ``export``, the ONNX file on all val rows, or ``training``, Keras at the best
            validation.
        figures: by metric, such as ``age.mae`` and ``gender.accuracy``.
        units: of the numeric attributes.
        loss: validation loss of the released weights: the lowest at the served size.
        epochs: number of epochs trained.
        parameters: number of values in its weights.
        milliseconds: median time of one crop through the export on this machine.
        megabytes: size of the exported file.
    """

    name: str
    folder: Path
    backbone: str | None = None
    size: int | None = None
    measured: str | None = None
    figures: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    loss: float | None = None
    epochs: float | None = None
    parameters: int | None = None
    milliseconds: float | None = None
    megabytes: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON data."""
        return asdict(self) | {"folder": str(self.folder)}


def read_run(folder: Path) -> RunFigures:
    """Read the figures of a run from its folder, except the time per crop.

    The run may be unfinished or from another version of facepipe.

    Raises:
        TrainingError: its settings are damaged.
        DataError: its history is damaged.
    """
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        attributes = list(settings["attributes"])
        recipe = settings["recipe"]
        found = RunFigures(folder.resolve().name, folder, recipe["backbone"], recipe["stages"][-1]["size"])
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise TrainingError(f"{folder / SETTINGS}: not the settings of a run ({error!r})") from error
    rows = read_history(folder)
    best = _best(rows, recipe["stages"])
    if best is not None:
        found.loss = _float(best.get("val_loss"))
        found.epochs = _float(rows[-1].get("epoch"))
        found.figures = {name: value for name in best if "." in name and (value := _float(best[name])) is not None}
        found.measured = "training"
    for release in _exported(folder):
        entry = release.manifest.files[0]
        found.megabytes = entry.bytes / 1e6
        if figures := _figures(release.manifest):
            found.figures, found.measured = figures, "export"
    for attribute in attributes:
        if attribute["kind"] == "numeric":
            found.units[attribute["name"]] = attribute["unit"]
            mae = found.figures.get(f"{attribute['name']}.mae")
            if mae is not None:
                span = attribute["high"] - attribute["low"]
                found.figures.setdefault(f"{attribute['name']}.mae_normalised", mae / span)
    found.parameters = _parameters(folder)
    return found


def _best(rows: list[Row], stages: list[dict[str, Any]]) -> Row | None:
    """Find the history row of the weights to release.

    It has the lowest validation loss at the served size among the stages that learn every attribute. If there is no
    such row yet, it is the best of the current stage.
    """
    partial = {stage.get("name") for stage in stages if stage.get("attributes") is not None}
    measured = [row for row in rows if row.get("val_loss") is not None]
    served = [row for row in measured if row.get("size") == stages[-1]["size"] and row["stage"] not in partial]
    chosen = served or [row for row in measured if row["stage"] == rows[-1]["stage"]]
    return min(chosen, key=lambda row: _float(row["val_loss"]) or 0.0) if chosen else None


def _float(value: str | float | None) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _exported(folder: Path) -> list[Release]:
    """Open the run's export, if it is complete."""
    if not (folder / EXPORT / MANIFEST).is_file():
        return []
    return [open_release(folder / EXPORT)]


def _figures(manifest: Manifest) -> dict[str, float]:
    """Return the metrics of the default file over all val rows, which are in the first record."""
    if not manifest.metrics:
        return {}
    return {metric.name: metric.value for metric in manifest.metrics[0].values if metric.value is not None}


def _parameters(folder: Path) -> int | None:
    """Count the values in a run's weights, including batch norm statistics."""
    for name in (FINAL, BEST):
        if (folder / name).is_file():
            with np.load(folder / name, allow_pickle=False) as archive:
                return int(sum(archive[each].size for each in archive.files))
    return None


def time_exports(runs: Sequence[RunFigures], rounds: int = ROUNDS, threads: int | None = 1) -> None:
    """Fill in the median time per crop through each run's export.

    The exports take turns, so that all see the same machine load.

    Args:
        runs: those without an export are left unchanged.
        rounds: crops per run.
        threads: of ONNX Runtime; None for one per core. With more than one, the sessions disturb each other.

    Raises:
        WeightsError: an export is damaged.
    """
    models = [
        (run, AttributeClassifier(release=release, threads=threads))
        for run in runs
        for release in _exported(run.folder)
    ]
    random = np.random.default_rng(0)
    crops = {
        model.input.size: random.integers(0, 256, (1, model.input.size, model.input.size, 3), dtype=np.uint8)
        for _, model in models
    }
    spent: list[list[float]] = [[] for _ in models]
    for _ in range(rounds + 1):
        for (_, model), each in zip(models, spent, strict=True):
            began = time.perf_counter()
            model.outputs(crops[model.input.size])
            each.append(1000 * (time.perf_counter() - began))
    for (run, _), each in zip(models, spent, strict=True):
        run.milliseconds = float(np.median(each[1:]))  # the first is a warm-up


def columns(runs: Sequence[RunFigures]) -> list[tuple[str, str, str]]:
    """Return heading, metric and format of the table's columns, for the metrics of at least one run."""
    have = list(dict.fromkeys(name for run in runs for name in run.figures))
    units = {name: unit for run in runs for name, unit in run.units.items()}
    chosen: list[tuple[str, str, str]] = []
    for name in have:
        attribute, _, metric = name.partition(".")
        if metric == "mae":
            chosen.append((f"{attribute} MAE, {units.get(attribute, '')}".rstrip(", "), name, ".2f"))
            chosen.append((f"{attribute} MAE, of range", f"{attribute}.mae_normalised", ".4f"))
        elif metric == "eye_error":
            chosen.append((f"{attribute} error, of eye distance", name, ".4f"))
        elif metric == "point_error_of_side":
            chosen.append((f"{attribute} error, of side", name, ".4f"))
        elif metric == "accuracy":
            chosen.append((f"{attribute} accuracy", name, ".4f"))
    return chosen


def draw_comparison(folders: Sequence[Path], path: Path) -> Path:
    """Draw the curves of several runs: training (dashed) and validation losses, and the validation metrics.

    Args:
        folders: of the runs.
        path: of the PNG.

    Raises:
        DataError: a history is damaged.
        TrainingError: no run has a history.
    """
    histories = {folder.resolve().name: read_history(folder) for folder in folders}
    histories = {name: rows for name, rows in histories.items() if rows}
    if not histories:
        raise TrainingError(f"no curves to draw: none of {', '.join(map(str, folders))} has a history yet")
    runs = [RunFigures(name, Path(name), figures=_measured_in(rows)) for name, rows in histories.items()]
    panels = [("loss: validation, dashed training", "val_loss")]
    panels += [(heading, name) for heading, name, _ in columns(runs) if not name.endswith("_normalised")]
    across = min(3, len(panels))
    down = math.ceil(len(panels) / across)
    figure = new_figure(across, down)
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for axis, (title, name) in zip(axes, panels, strict=False):
        longest = 0.0
        for index, (run, rows) in enumerate(histories.items()):
            colour = COLOURS[index % len(COLOURS)]
            points = series(rows, name)
            if points:
                longest = max(longest, points[-1][0])
                marker = "o" if len(points) <= FEW else ""
                style = "-" if index < len(COLOURS) else "-."
                look = {"color": colour, "label": run, "marker": marker, "markersize": 3, "linewidth": 1.3}
                axis.plot(*zip(*points, strict=True), style, **look)
            if name == "val_loss" and (trained := series(rows, "train_loss")):
                axis.plot(*zip(*trained, strict=True), "--", color=colour, linewidth=1)
        finish(axis, title, longest or 1)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), fontsize=8, frameon=False)
    save_figure(figure, path)
    return path


def _measured_in(rows: list[Row]) -> dict[str, float]:
    """Return the metrics that occur in any row."""
    return {name: value for row in rows for name in row if "." in name and (value := _float(row[name])) is not None}


def compare(folders: Sequence[Path], timing: bool = True) -> list[RunFigures]:
    """Read the runs, and time their exports side by side.

    Raises:
        TrainingError, DataError, WeightsError: a run's settings, history or export is damaged.
    """
    found = [read_run(folder) for folder in folders]
    if timing:
        time_exports(found)
    return found
