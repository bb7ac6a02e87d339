"""A run's curves as a picture: losses, precision and recall, mAP50 and mAP50-95, and learning rate by epoch."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .run_folder import read_history

CURVES = "curves.png"
TRAIN, VAL = "#1f6fb4", "#d6622a"
LOSSES = (("box_loss", "box loss"), ("cls_loss", "class loss"), ("dfl_loss", "distribution loss"))
METRICS = (
    (("metrics/precision(B)", "precision"), ("metrics/recall(B)", "recall")),
    (("metrics/mAP50(B)", "mAP50"), ("metrics/mAP50-95(B)", "mAP50-95")),
)


def draw_curves(run: Path) -> Path:
    """Draw a run's history into ``curves.png`` of its folder, in one step that happens or does not.

    Returns:
        The picture's path; nothing is written where there is no history yet.

    Raises:
        DataError: the history is damaged.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    rows = read_history(run)
    path = run / CURVES
    if not rows:
        return path
    figure = Figure(figsize=(12, 6.6), layout="constrained")
    FigureCanvasAgg(figure)
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
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
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
