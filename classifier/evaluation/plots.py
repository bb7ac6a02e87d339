"""The plots of an evaluation, drawn by matplotlib without a display.

Each function returns False and writes no file if there is nothing to show.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ...core.extras import require
from ...core.plotting import save_figure
from ...weights.manifest import ClassesBase, NumericAttribute
from .evaluate import Evaluation
from .metrics import confusions, row_errors
from .reliability import answers, coverage_curve, interval_curve, interval_now, reliability
from .subgroups import SMALLEST, GroupFigure, band_names, bands

BLUE, ORANGE, GREY = "#1f77b4", "#d95f02", "#888888"
COLOURS = (BLUE, ORANGE, "#1b9e77", "#7570b3", "#e7298a", "#66a61e")
ROUGH = 10
"""Bins with fewer rows are drawn hollow."""
ACROSS = 3
"""Panels per row."""


def plot_confusions(evaluation: Evaluation, path: Path) -> bool:
    """Plot a confusion matrix per class attribute: shares of each labelled class, with row counts."""
    seen = evaluation.seen
    found = []
    for attribute in seen.attributes:
        if isinstance(attribute, ClassesBase):
            matrix = confusions(attribute, seen.outputs[attribute.name], seen.targets[attribute.name])
            if matrix.sum():
                found.append((attribute, matrix))
    if not found:
        return False
    figure, panels = _panels(len(found), (3.2, 3.0))
    for (attribute, matrix), axes in zip(found, panels, strict=True):
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        ticks = range(len(attribute.classes))
        axes.set_xticks(ticks, attribute.classes, rotation=0 if len(ticks) < 4 else 90)
        axes.set_yticks(ticks, attribute.classes)
        if len(ticks) <= 8:
            for row in ticks:
                for column in ticks:
                    ink = "white" if shares[row, column] > 0.5 else "black"
                    text = f"{matrix[row, column]:,}\n{shares[row, column]:.1%}"
                    axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=8)
        _finish(axes, "predicted", "labelled", attribute.name, grid=False)
    figure.suptitle(f"{evaluation.title}: predicted against labelled classes", fontsize=10)
    return _save(figure, path)


def plot_reliability(evaluation: Evaluation, path: Path) -> bool:
    """Plot accuracy against confidence in 15 bins of equal width, and each bin's share of the rows.

    Bins with fewer than ``ROUGH`` rows are hollow.
    """
    seen, found = evaluation.seen, []
    for attribute in seen.attributes:
        if isinstance(attribute, ClassesBase):
            given = answers(attribute, seen.outputs[attribute.name], seen.targets[attribute.name])
            if len(given.right):
                found.append((attribute, reliability(given)))
    if not found:
        return False
    figure, panels = _panels(len(found), (3.4, 3.2))
    for (attribute, bins), axes in zip(found, panels, strict=True):
        some, few = bins.counts >= ROUGH, (bins.counts > 0) & (bins.counts < ROUGH)
        width = bins.edges[1] - bins.edges[0]
        axes.bar(bins.edges[:-1] + width / 2, bins.counts / bins.counts.sum(), width * 0.9, color="#dddddd")
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
        axes.plot(bins.confidence[some], bins.accuracy[some], "o-", color=BLUE, markersize=4)
        axes.plot(bins.confidence[few], bins.accuracy[few], "o", color=BLUE, markersize=4, markerfacecolor="white")
        low = 1 / len(attribute.classes)
        title = f"{attribute.name}: ECE {bins.error:.3f} (n {bins.counts.sum():,})"
        _finish(axes, "confidence", "accuracy (bars: share of rows)", title, (low - 0.02, 1.01), (0, 1.02))
    figure.suptitle(f"{evaluation.title}: probability against accuracy", fontsize=10)
    return _save(figure, path)


def plot_coverage(evaluation: Evaluation, path: Path) -> bool:
    """Plot accuracy against coverage, most confident rows first; a circle marks the abstention threshold."""
    seen = evaluation.seen
    figure, (axes,) = _panels(1, (6.5, 4.2))
    lowest, drawn = 1.0, 0
    for attribute in seen.attributes:
        if not isinstance(attribute, ClassesBase):
            continue
        given = answers(attribute, seen.outputs[attribute.name], seen.targets[attribute.name])
        if len(given.right) < SMALLEST:
            continue
        colour = COLOURS[drawn % len(COLOURS)]
        drawn += 1
        thresholds, answered, accuracy = coverage_curve(given)
        stable = answered * len(given.right) >= SMALLEST
        axes.plot(answered[stable], accuracy[stable], color=colour, label=f"{attribute.name} (n {len(given.right):,})")
        last = np.flatnonzero(thresholds >= attribute.abstain_below)
        if attribute.abstain_below and len(last):
            at = last[-1]
            axes.plot(answered[at], accuracy[at], "o", color=colour, markerfacecolor="white")
            note = f"  no answer below {attribute.abstain_below:g}"
            axes.annotate(note, (answered[at], accuracy[at]), fontsize=7, color=colour, va="bottom", ha="right")
        lowest = min([lowest, *accuracy[stable]])
    if not drawn:
        return False
    _finish(axes, "share answered", "accuracy of the answered rows", "", (0, 1.02), (lowest - 0.01, 1.003))
    axes.legend(loc="lower left", fontsize=8)
    figure.suptitle(f"{evaluation.title}: accuracy by coverage", fontsize=10)
    return _save(figure, path)


def plot_intervals(evaluation: Evaluation, path: Path) -> bool:
    """Plot the actual coverage of number intervals against their nominal coverage."""
    seen, found = evaluation.seen, []
    for attribute in seen.attributes:
        if isinstance(attribute, NumericAttribute):
            output, target = seen.outputs[attribute.name], seen.targets[attribute.name]
            if (now := interval_now(attribute, output, target)) is not None:
                found.append((attribute, interval_curve(attribute, output, target), now))
    if not found:
        return False
    figure, panels = _panels(len(found), (4.6, 4.0))
    for (attribute, curve, (share, width)), axes in zip(found, panels, strict=True):
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
        if curve:
            nominal, coverage, _ = zip(*curve, strict=True)
            axes.plot(nominal, coverage, "o-", color=BLUE, markersize=4, label="of the distribution")
        label = f"as served: {share:.3f}, {width:.1f} {attribute.unit} wide"
        axes.plot(attribute.interval, share, "s", color=ORANGE, label=label)
        _finish(axes, "nominal coverage", "actual coverage", attribute.name, (0, 1), (0, 1.02))
        axes.legend(loc="upper left", fontsize=8)
    figure.suptitle(f"{evaluation.title}: intervals", fontsize=10)
    return _save(figure, path)


def plot_bands(evaluation: Evaluation, path: Path) -> bool:
    """Plot number errors by band of the labelled number: middle half of the rows, median and mean."""
    seen, found = evaluation.seen, []
    for attribute in seen.attributes:
        if isinstance(attribute, NumericAttribute):
            target = seen.targets[attribute.name]
            errors = row_errors(attribute, seen.outputs[attribute.name], target)
            if (~np.isnan(errors)).any():
                found.append((attribute, errors, bands(attribute, target)))
    if not found:
        return False
    figure, panels = _panels(len(found), (6.5, 4.0))
    for (attribute, errors, place), axes in zip(found, panels, strict=True):
        known = ~np.isnan(errors)
        names = [name for name in band_names(attribute) if (place[known] == name).any()]
        parts = [errors[known & (place == name)] for name in names]
        axes.boxplot(parts, showfliers=False, whis=(10, 90), medianprops={"color": BLUE})
        means = [part.mean() for part in parts]
        axes.plot(range(1, len(parts) + 1), means, "D", color=ORANGE, markersize=4, label="mean")
        labels = [f"{name}\nn {len(part):,}" for name, part in zip(names, parts, strict=True)]
        axes.set_xticks(range(1, len(parts) + 1), labels, fontsize=7)
        title = f"{attribute.name}: mean {errors[known].mean():.2f} {attribute.unit} (n {known.sum():,})"
        _finish(axes, f"labelled {attribute.name}, {attribute.unit}", f"absolute error, {attribute.unit}", title)
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper left", fontsize=8)
    figure.suptitle(f"{evaluation.title}: box 25-75 %, whiskers 10-90 %", fontsize=10)
    return _save(figure, path)


def plot_groups(evaluation: Evaluation, path: Path) -> bool:
    """Plot each measure by gender, age and race, and by gender x race, with 95 % intervals."""
    figures = [
        figure
        for figure in evaluation.figures
        if "source" not in figure.group and (len(figure.group) == 1 or set(figure.group) == {"gender", "race"})
    ]
    by_measure: dict[tuple[str, str], list[GroupFigure]] = {}
    for each in figures:
        by_measure.setdefault((each.attribute, each.measure), []).append(each)
    if not by_measure:
        return False
    shown = sorted(map(_by_kind, by_measure.values()), key=len, reverse=True)
    heights = [1.0 + 0.17 * len(rows) for rows in shown[::2]]  # two panels per row, tallest first
    figure, panels = _panels(len(shown), (5.2, sum(heights) / len(heights)), 2, heights)
    for rows, axes in zip(shown, panels, strict=True):
        attribute, measure = rows[0].attribute, rows[0].measure
        kinds = list(dict.fromkeys(tuple(row.group) for row in rows))
        for place, row in enumerate(rows):
            colour = COLOURS[kinds.index(tuple(row.group)) % len(COLOURS)]
            axes.plot([row.low, row.high], [place, place], color=colour, linewidth=1.5)
            axes.plot(row.value, place, "o", color=colour, markersize=4)
        labels = [f"{' '.join(row.group.values())} (n {row.count:,})" for row in rows]
        axes.set_yticks(range(len(rows)), labels, fontsize=6)
        axes.invert_yaxis()
        _finish(axes, measure.replace("_", " "), "", attribute)
    figure.suptitle(f"{evaluation.title}: by group, 95 % intervals, groups of at least {SMALLEST} rows", fontsize=10)
    return _save(figure, path)


def _by_kind(figures: list[GroupFigure]) -> list[GroupFigure]:
    """Sort groups by kind, then by name."""
    kinds = list(dict.fromkeys(tuple(figure.group) for figure in figures))
    return sorted(figures, key=lambda figure: (kinds.index(tuple(figure.group)), figure.named))


def _panels(
    count: int, size: tuple[float, float], most: int = ACROSS, heights: list[float] | None = None
) -> tuple[Any, list[Any]]:
    """Create a figure of panels of ``size`` inches, at most ``most`` per row; ``heights`` are relative row heights."""
    across = min(count, most)
    down = math.ceil(count / across)
    figure = require("matplotlib.figure").Figure(
        figsize=(size[0] * across, size[1] * down + 0.3), dpi=120, layout="constrained"
    )
    panels = list(figure.subplots(down, across, squeeze=False, height_ratios=heights).flat)
    for number, axes in enumerate(panels):
        axes.tick_params(labelsize=7)
        if number >= count:
            axes.remove()
    return figure, panels[:count]


def _finish(
    axes: Any,
    x: str,
    y: str,
    title: str,
    across: tuple[float, float] | None = None,
    up: tuple[float, float] | None = None,
    grid: bool = True,
) -> None:
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.set_title(title, fontsize=9)
    if across:
        axes.set_xlim(across)
    if up:
        axes.set_ylim(up)
    if grid:
        axes.grid(alpha=0.3)


def _save(figure: Any, path: Path) -> bool:
    """Write the plot and return True."""
    save_figure(figure, path)
    return True
