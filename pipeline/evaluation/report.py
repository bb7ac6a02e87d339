"""Write the report of an end-to-end evaluation: figures as JSON, a waterfall chart, a row per face, the worst cases."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ...classifier.inference.attributes import decode
from ...core.contact_sheet import Cell, Mark, contact_sheet, write_sheet
from ...core.errors import DataError, os_errors_as
from ...core.extras import require
from ...core.files import write_figures, write_whole
from ...core.plotting import save_figure
from ...core.version import __version__
from ...detector.evaluation.worst_cases import AROUND, LEAST_SIDE, MISSED, RIGHT, WRONG
from ...weights.manifest import ClassesBase, NumericAttribute, PointsAttribute
from ..inputs.image_reader import read_frame
from .metrics import STEPS, Errors, Figure, Figures, Losses
from .predictions import EndToEnd
from .tables import headline, sentences

FIGURES, CHART, FACES, WORST = "evaluation.json", "losses.png", "faces.csv", "worst.png"
"""The report's files."""
MOST = 12
"""Maximum worst cases of each kind."""
COLOURS = {"unread": "#9aa0a6", "classifier": "#d1495b", "missed": "#edae49", "shifted": "#7768ae"}
END, INK = "#2a7f62", "#333333"
SHORT = {"unread": "too\nsmall", "classifier": "classifier", "missed": "missed\nfaces", "shifted": "shifted\nboxes"}
ACROSS = 3
"""Panels per row."""
HEADROOM = 1.35
"""The axis extends this many times as far down as the lowest bar, so that small losses stay distinguishable."""
LEAST = 0.9
"""Highest value at which the axes may start."""


def as_json(seen: EndToEnd, figures: Figures, command: str) -> dict[str, Any]:
    """Everything that was measured.

    Args:
        seen: both models on the photos.
        figures: of the same.
        command: that measures it again.
    """
    photos = seen.photos
    return {
        "facepipe": __version__,
        "command": command,
        "detector": seen.detector,
        "classifiers": seen.classifiers,
        "sha256": seen.sha256,
        "confidence": seen.confidence,
        "iou": seen.least,
        "data": list(photos.data),
        "data_sha256": photos.faces.sha256,
        "split": photos.split,
        "pictures": len(photos.photos),
        "faces": len(photos.faces),
        "unreadable": list(seen.failed),
        "found": _figure(figures.found),
        "overlap": _figure(figures.overlap),
        "boxes_against_labels": figures.convention,
        "false_alarms": {"count": len(seen.alarms), "a_picture": _figure(figures.alarms)},
        "losses": [_losses(each) for each in figures.losses],
        "errors": [_errors(each) for each in figures.errors],
        "parts": [
            {
                "kind": part.kind,
                "name": part.name,
                "found": _figure(part.found),
                "losses": [_losses(each) for each in part.losses],
            }
            for part in figures.parts
        ],
        "scores": {
            name: [metric.model_dump(mode="json", exclude_none=True) for metric in metrics]
            for name, metrics in figures.scores().items()
        },
        "sentences": [*headline(seen, figures), *sentences(seen, figures)],
    }


def write_report(seen: EndToEnd, figures: Figures, command: str, folder: Path) -> None:
    """Write ``evaluation.json``, ``losses.png``, ``faces.csv`` and ``worst.png``.

    Args:
        seen: both models on the photos; the pictures must still be where they were.
        figures: of the same.
        command: that measures it again.
        folder: created if missing.

    Raises:
        DataError: a file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    with os_errors_as(DataError, f"{folder}: the report cannot be written"):
        folder.mkdir(parents=True, exist_ok=True)
        draw_chart(seen, figures, folder / CHART)
        write_whole(folder / FACES, _faces(seen).encode())
        write_figures(folder / FIGURES, as_json(seen, figures, command))
    write_sheet(folder / WORST, contact_sheet(worst_cells(seen)))


def worst_cells(seen: EndToEnd, most: int = MOST) -> list[Cell]:
    """Cells of a contact sheet with the worst cases.

    These are the largest missed faces (yellow), the found boxes that agree least with the truth (truth green, found box
    white), and the most confident false alarms (red).
    """
    rows, boxes = np.arange(len(seen.picture)), seen.photos.faces.boxes
    missed = sorted(rows[~seen.found], key=lambda row: -seen.sides[row])[:most]
    loose = sorted(rows[seen.found], key=lambda row: seen.overlap[row])[:most]
    alarms = sorted(seen.alarms, key=lambda alarm: -alarm.confidence)[:most]
    chosen: list[tuple[int, str, np.ndarray, list[tuple[np.ndarray, tuple[int, int, int]]]]] = []
    chosen += [(int(seen.picture[row]), "missed", boxes[row], [(boxes[row], MISSED)]) for row in missed]
    for row in loose:
        pair = [(boxes[row], RIGHT), (seen.boxes[row], (255, 255, 255))]
        chosen.append((int(seen.picture[row]), f"IoU {seen.overlap[row]:.2f}", boxes[row], pair))
    chosen += [(alarm.photo, f"alarm {alarm.confidence:.2f}", alarm.box, [(alarm.box, WRONG)]) for alarm in alarms]
    return [_cell(seen, *each) for each in chosen]


def _cell(
    seen: EndToEnd, photo: int, label: str, around: np.ndarray, boxes: list[tuple[np.ndarray, tuple[int, int, int]]]
) -> Cell:
    """One face with its surroundings."""
    each = seen.photos.photos[photo]
    frame = read_frame(each.file)
    middle, side = (around[:2] + around[2:]) / 2, max(AROUND * (around[2:] - around[:2]).max(), LEAST_SIDE)
    size = np.array(frame.shape[1::-1])
    low = np.clip(middle - side / 2, 0, size).astype(int)
    high = np.clip(np.ceil(middle + side / 2), low + 1, size).astype(int)
    marks = [Mark(tuple((box - [*low, *low]).tolist()), colour, bold=True) for box, colour in boxes]
    return Cell(frame[low[1] : high[1], low[0] : high[0]], f"{label}: {each.name.rpartition('/')[2]}", marks)


def _faces(seen: EndToEnd) -> str:
    """One line per labelled face: its box, the found one, and what was read on both."""
    lines: list[dict[str, Any]] = []
    table = seen.photos.faces
    read: list[dict[str, list[str]]] = []
    for part in (seen.on_true, seen.on_found):
        read.append(
            {each.name: _decoded(each, part.seen.outputs[each.name], part.sides[each.name]) for each in seen.attributes}
        )
    for row in range(len(table)):
        line: dict[str, Any] = {"file": table.columns["file"][row]}
        line |= dict(zip(("x1", "y1", "x2", "y2"), (f"{value:.6g}" for value in table.boxes[row]), strict=True))
        line |= {"found": "yes" if seen.found[row] else "no", "iou": _blank(seen.overlap[row])}
        line |= {f"found_{name}": _blank(value) for name, value in zip(("x1", "y1", "x2", "y2"), seen.boxes[row])}  # noqa: B905
        for each in seen.attributes:
            if not isinstance(each, PointsAttribute):
                line[each.name] = table.columns.get(each.name, np.full(len(table), ""))[row]
                line[f"{each.name}_on_true"] = read[0][each.name][row]
                line[f"{each.name}_on_found"] = read[1][each.name][row]
        lines.append(line)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _decoded(attribute: Any, outputs: np.ndarray, sides: np.ndarray) -> list[str]:
    """The value that each row's output decodes to, blank if it was not read; points are left out."""
    if isinstance(attribute, PointsAttribute):
        return []
    known = np.isfinite(outputs).all(axis=1)
    found = [""] * len(outputs)
    for row, value in zip(np.flatnonzero(known), decode(attribute, outputs[known], 1, sides[known]), strict=True):
        if isinstance(attribute, ClassesBase):
            found[row] = value.likeliest  # type: ignore[union-attr]
        elif isinstance(attribute, NumericAttribute):
            found[row] = f"{value.value:.2f}"  # type: ignore[union-attr]
    return found


def _blank(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"


def _figure(figure: Figure) -> dict[str, Any]:
    if math.isnan(figure.value):
        return {"value": None, "interval": None, "count": figure.count}
    return {"value": figure.value, "interval": [figure.low, figure.high], "count": figure.count}


def _losses(each: Losses) -> dict[str, Any]:
    return {
        "attribute": each.attribute,
        "right": each.right,
        "on_true": _figure(each.on_true),
        "lost": {step: _figure(figure) for step, figure in each.steps.items()},
        "end_to_end": _figure(each.end),
        "found_faces": {"on_true": _figure(each.on_true_found), "on_found": _figure(each.on_found)},
    }


def _errors(each: Errors) -> dict[str, Any]:
    return {
        name: _figure(Figure(**value)) if isinstance(value, dict) else value for name, value in asdict(each).items()
    }


def evaluation_command(seen: EndToEnd, options: Sequence[str]) -> str:
    """The command that measures it again, without folders of this machine."""
    data = " ".join(f"--data {name}" for name in seen.photos.data)
    return " ".join([f"facepipe evaluate {data} --split {seen.photos.split}", *options])


def draw_chart(seen: EndToEnd, figures: Figures, path: Path) -> None:
    """Write the chart as PNG.

    Args:
        seen: both models on the photos.
        figures: of the same.
        path: of the PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    module = require("matplotlib.figure")
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
    """Where the axes start."""
    lowest = min(min(each.end.low, each.end.value) for each in losses)
    return min(max(0.0, math.floor((1 - (1 - lowest) * HEADROOM) * 20) / 20), LEAST)


def _waterfall(axis: Any, losses: Losses, steps: list[str], floor: float) -> None:
    """One attribute: each step hangs from what the previous ones left; the lines are 95 % intervals of the step."""
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
