"""A plot of a run's curves: training and validation losses, metrics, learnt loss weights and learning rate."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.extras import require
from ...core.files import write_whole
from ...weights.manifest import Attribute
from .run_folder import Row, read_history

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES = "curves.png"
TRAIN, VAL = "#1f6fb4", "#d6622a"
COLOURS = ("#1f6fb4", "#d6622a", "#3a923a", "#8d5fbf", "#c44e6b", "#7f6a55", "#4bacc6", "#b8960b")
COLUMNS = 4
FEW = 25
"""Validations are marked by points if there are at most this many."""

Line = tuple[str, str]
"""A column of the history and its label."""


def draw_curves(folder: Path, attributes: Iterable[Attribute]) -> Path:
    """Draw a run's history to ``curves.png`` in its folder, written atomically.

    Args:
        folder: the run folder.
        attributes: its schema.

    Returns:
        The picture's path; nothing is written if there is no history yet.

    Raises:
        DataError: the history is damaged.
    """
    rows = read_history(folder)
    path = folder / CURVES
    if not rows:
        return path
    panels = _panels(tuple(attributes), rows)
    columns = min(COLUMNS, len(panels))
    figure = new_figure(columns, math.ceil(len(panels) / columns))
    axes = figure.subplots(math.ceil(len(panels) / columns), columns, squeeze=False).ravel()
    starts = _stage_starts(rows)
    for axis, (title, lines, top) in zip(axes, panels, strict=False):
        colours = (TRAIN, VAL) if len(lines) == 2 else COLOURS
        for colour, (name, label) in zip(_again(colours), lines, strict=False):
            points = series(rows, name)
            if any(value for _, value in points):  # unlabelled attributes have a constant loss of 0
                marker = "o" if len(points) <= FEW else ""
                axis.plot(*zip(*points, strict=True), color=colour, label=label, marker=marker, markersize=3.5)
        finish(axis, title, series(rows, "minutes")[-1][0], top)
        for start in starts[1:]:
            axis.axvline(start, color="grey", linewidth=0.8, linestyle=":")
        if not axis.lines[: len(axis.lines) - len(starts[1:])]:
            axis.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axis.transAxes, color="grey")
        elif len(lines) > 1:
            axis.legend(fontsize=8, frameon=False)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    minutes = rows[-1].get("minutes") or 0
    stages = ", ".join(dict.fromkeys(str(row["stage"]) for row in rows))
    many = "s" * (len(rows) > 1)
    figure.suptitle(
        f"{folder.name}: {len(rows)} validation{many} in {minutes:.1f} minutes; stages: {stages}", fontsize=11
    )
    save_figure(figure, path)
    return path


def _panels(attributes: tuple[Attribute, ...], rows: list[Row]) -> list[tuple[str, list[Line], float | None]]:
    """Return title, lines and upper limit of each panel."""
    both = (("train", "training"), ("val", "validation"))
    panels: list[tuple[str, list[Line], float | None]] = [
        ("loss, all", [(f"{part}_loss", label) for part, label in both], None)
    ]
    measured = {name for row in rows for name, value in row.items() if value is not None}
    for attribute in attributes:
        lines = [(f"{part}_{attribute.name}_loss", label) for part, label in both]
        panels.append((f"loss, {attribute.name}", lines, None))
    names = [attribute.name for attribute in attributes]
    classes = [(f"{name}.accuracy", name) for name in names if f"{name}.accuracy" in measured]
    if classes:
        panels.append(("accuracy, validation", classes, 1.002))
    for attribute in attributes:
        if attribute.kind == "numeric":
            panels.append((f"{attribute.name}: mean error, {attribute.unit}", [(f"{attribute.name}.mae", "")], None))
        if attribute.kind == "points":
            metric = "eye_error" if attribute.mirror else "point_error_of_side"
            title = f"{attribute.name}: error, share of the {'eye distance' if attribute.mirror else 'side'}"
            panels.append((title, [(f"{attribute.name}.{metric}", "")], None))
    factors = [(f"factor_{name}", name) for name in names if f"factor_{name}" in measured]
    if factors:
        panels.append(("learnt weights of the losses", factors, None))
    panels.append(("learning rate", [("rate", "")], None))
    return panels


def series(rows: list[Row], name: str) -> list[tuple[float, float]]:
    """Return epochs and measured values of a column; in runs of facepipe 0.1 the row number is the epoch."""
    points = []
    for number, row in enumerate(rows, 1):
        value, epoch = row.get(name), row.get("epoch")
        if isinstance(value, int | float):
            points.append((float(number if epoch is None else epoch), float(value)))
    return points


def _stage_starts(rows: list[Row]) -> list[float]:
    """Return the epochs at which the stages started."""
    starts, before, stage = [], 0.0, None
    for row in rows:
        if row["stage"] != stage:
            starts.append(before)
            stage = row["stage"]
        before = float(row.get("epoch") or 0)
    return starts


def _again(colours: tuple[str, ...]) -> Iterable[str]:
    while True:
        yield from colours


def new_figure(columns: int, rows: int) -> Figure:
    """Create an empty figure for a grid of panels; needs no display."""
    size = (3.6 * columns + 0.6, 2.9 * rows + 0.5)
    return require("matplotlib.figure").Figure(figsize=size, layout="constrained")


def finish(axis: Any, title: str, epochs: float, top: float | None = None) -> None:
    """Set a panel's title, grid and epoch axis.

    Args:
        axis: the matplotlib axes.
        title: above the panel.
        epochs: end of the epoch axis.
        top: upper limit of the other axis; None leaves it unchanged.
    """
    axis.set_title(title, fontsize=10)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.xaxis.set_major_locator(require("matplotlib.ticker").MaxNLocator(5, integer=epochs >= 2, min_n_ticks=1))
    axis.set_xlim(0, epochs * 1.02 or 1)
    axis.set_xlabel("epoch", fontsize=8)
    axis.tick_params(labelsize=8)
    if top is not None:
        axis.set_ylim(top=top)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG atomically."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    write_whole(path, content.getvalue())
