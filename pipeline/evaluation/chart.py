"""The picture of an end-to-end evaluation: a waterfall for each attribute, from perfect down to end to end."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ...core.plotting import require_matplotlib, save_figure
from .metrics import STEPS, Figures, Losses
from .predictions import EndToEnd

COLOURS = {"unread": "#9aa0a6", "classifier": "#d1495b", "missed": "#edae49", "shifted": "#7768ae"}
END, INK = "#2a7f62", "#333333"
SHORT = {"unread": "too\nsmall", "classifier": "classifier", "missed": "missed\nfaces", "shifted": "shifted\nboxes"}
ACROSS = 3
"""Panels in a row."""
ROOM = 1.35
"""The axis reaches so many times as far down as the deepest bar's end, so that small losses can be told apart."""

LEAST = 0.9
"""The axes begin there at the latest."""


def draw_chart(seen: EndToEnd, figures: Figures, path: Path) -> None:
    """Write the picture as PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    module = require_matplotlib()
    losses = figures.losses
    steps = [step for step in STEPS if step != "unread" or any(each.steps[step].value for each in losses)]
    columns = min(ACROSS, len(losses))
    rows = -(-len(losses) // columns)
    figure = module.Figure(figsize=(4.1 * columns, 0.9 + 3.1 * rows), dpi=110, layout="constrained")
    figure.suptitle(
        f"detector {seen.detector}, classifier {', '.join(seen.classifiers.values())}: "
        f"{len(seen.photos.faces):,} labelled faces, {figures.found.value:.1%} found",
        fontsize=11,
        color=INK,
    )
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    floor = _floor(losses)
    for axis, each in zip(axes, losses, strict=False):
        _waterfall(axis, each, steps, floor)
    for axis in axes[len(losses) :]:
        axis.set_visible(False)
    for axis in axes[::columns]:
        axis.set_ylabel("share of labelled faces")
    save_figure(figure, path)


def _floor(losses: tuple[Losses, ...]) -> float:
    """Where the axes begin."""
    lowest = min(min(each.end.low, each.end.value) for each in losses)
    return min(max(0.0, math.floor((1 - (1 - lowest) * ROOM) * 20) / 20), LEAST)


def _waterfall(axis: Any, losses: Losses, steps: list[str], floor: float) -> None:
    """One attribute: each step hangs from what the steps before it left; the lines are 95 % intervals of the step."""
    top = 1.0
    for place, step in enumerate(steps):
        lost = losses.steps[step]
        axis.bar(place, -lost.value, bottom=top, color=COLOURS[step], width=0.7)
        axis.vlines(place, top - lost.high, top - lost.low, color=INK, linewidth=1.2)
        axis.hlines(top - lost.value, place - 0.35, place + 1.35, color=INK, linewidth=0.6)
        below = min(top - lost.high, top)
        label = f"{-lost.value:+.3f}".replace("-", "−")
        axis.annotate(label, (place, below), (0, -3), textcoords="offset points", ha="center", va="top", fontsize=8)
        top -= lost.value
    end = losses.end
    axis.bar(len(steps), end.value - floor, bottom=floor, color=END, width=0.7)
    axis.vlines(len(steps), end.low, end.high, color=INK, linewidth=1.2)
    place, middle = len(steps), (floor + end.value) / 2
    axis.annotate(f"{end.value:.3f}", (place, middle), ha="center", va="center", fontsize=10, color="white")
    axis.set_title(f"{losses.attribute}: {losses.right}  (n = {losses.end.count:,})", fontsize=9, color=INK)
    axis.set_xticks(range(len(steps) + 1), [*(SHORT[step] for step in steps), "end to\nend"], fontsize=8)
    axis.set_ylim(floor, 1.0)
    axis.axhline(1.0, color=INK, linewidth=0.8)
    axis.grid(axis="y", alpha=0.25)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
