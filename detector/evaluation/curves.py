"""Curves and plots of an evaluation.

The curves are precision over recall, rates over the threshold, and calibration (precision over confidence). The plots
are drawn by matplotlib without a display.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.extras import require
from ...core.plotting import save_figure
from .evaluate import Evaluation
from .matching import BIG, CLEAR, EVERY, Scored, Sizes

BINS = 20
LEAST = 0.05
"""Least confidence of boxes used for calibration; below it lie thousands of boxes that nobody is shown."""
THRESHOLDS = np.round(np.linspace(0.01, 0.99, 99), 2)
COLOURS = ("#1f77b4", "#d95f02", "#1b9e77", "#7570b3", "#e7298a", "#66a61e")
"""One per class, repeated if there are more classes."""


@dataclass(frozen=True)
class Reliability:
    """Calibration by bins of confidence: how well a confidence predicts the probability that a box is right.

    Attributes:
        confidence: mean in each bin, shape (n,); nan if the bin is empty.
        precision: share of correct boxes in each bin, shape (n,); nan if the bin is empty.
        counts: boxes in each bin, shape (n,).
        edges: of the bins, shape (n + 1,).
        error: expected calibration error: mean of ``|confidence - precision|`` over the bins, weighted by their boxes;
            None without any box.
    """

    confidence: np.ndarray
    precision: np.ndarray
    counts: np.ndarray
    edges: np.ndarray
    error: float | None


def reliability(scored: Scored, least: float = LEAST, bins: int = BINS) -> Reliability:
    """Measure the calibration of detections by their confidence alone.

    This is the expected calibration error of Guo et al. 2017 with precision instead of accuracy (Küppers et al. 2020,
    "Multivariate Confidence Calibration for Object Detection"). It covers only the detections that count, since missed
    boxes have no confidence.

    Args:
        scored: the detections of one class that count.
        least: leave out boxes below this confidence.
        bins: number of bins of equal width from 0 to 1.
    """
    keep = scored.confidence >= least
    confidence, correct = scored.confidence[keep].astype(float), scored.correct[keep]
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    some = counts > 0
    means = np.full((2, bins), np.nan)
    for row, values in enumerate((confidence, correct.astype(float))):
        means[row, some] = np.bincount(place, values, minlength=bins)[some] / counts[some]
    gaps = np.abs(means[0, some] - means[1, some])
    error = float((gaps * counts[some]).sum() / counts.sum()) if some.any() else None
    return Reliability(means[0], means[1], counts, edges, error)


def precision_at_recalls(scored: Scored, points: int = 101) -> tuple[np.ndarray, np.ndarray]:
    """The interpolated precision-recall curve: recalls from 0 to 1 and precisions, both of shape (points,).

    Each precision is the best at that recall or beyond, and 0 past the last one.
    """
    recall, precision, _ = scored.curve()
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    recalls = np.linspace(0, 1, points)
    return recalls, envelope[np.searchsorted(recall, recalls - 1e-12)]


def rates(scored: Scored, thresholds: np.ndarray = THRESHOLDS) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall at each threshold, shapes (n,); nan if undefined."""
    pairs = [scored.at(float(threshold)) for threshold in thresholds]
    precision, recall = (np.array([np.nan if pair[i] is None else pair[i] for pair in pairs], float) for i in (0, 1))
    return precision, recall


def alarm_rate(evaluation: Evaluation, name: str, thresholds: np.ndarray = THRESHOLDS) -> np.ndarray | None:
    """Boxes of one class per picture without objects, at each threshold, shape (n,); None if there is no such picture.

    Args:
        evaluation: of one detector.
        name: of the class.
        thresholds: confidences, (n,), ascending.
    """
    if not evaluation.empty:
        return None
    confidence = np.sort(evaluation.alarms(name))
    return (len(confidence) - np.searchsorted(confidence, thresholds, side="left")) / len(evaluation.empty)


def numbers(evaluation: Evaluation, sizes: Sizes) -> dict[str, dict[str, Any]]:
    """All curves by class, as plain data for JSON."""
    found: dict[str, dict[str, Any]] = {}
    for name in evaluation.classes:
        scored = evaluation.scores[name, sizes]
        recalls, precisions = precision_at_recalls(scored)
        precision, recall = rates(scored)
        bins = reliability(scored)
        alarms = alarm_rate(evaluation, name)
        found[name] = {
            "pr_recall": _listed(recalls),
            "pr_precision": _listed(precisions),
            "threshold": _listed(THRESHOLDS),
            "precision": _listed(precision),
            "recall": _listed(recall),
            "alarms_a_picture": None if alarms is None else _listed(alarms),
            "bin_edges": _listed(bins.edges),
            "bin_boxes": bins.counts.tolist(),
            "bin_confidence": _listed(bins.confidence),
            "bin_precision": _listed(bins.precision),
            "calibration_error": None if bins.error is None else round(bins.error, 4),
        }
    return found


def _listed(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 4) for value in values]


def plot_precision_recall(evaluation: Evaluation, path: Path) -> None:
    """Plot precision over recall by class: boxes of at least 16 px (solid) and of every size (dotted).

    A circle marks the point at the detector's own threshold.
    """
    figure, axes = _figure(1)
    for name, colour in zip(evaluation.classes, _colours(evaluation), strict=True):
        for sizes, style in ((BIG, "-"), (EVERY, ":")):
            scored = evaluation.scores[name, sizes]
            average = scored.average_precision()
            if average is None:
                continue
            text = f"{name}, {sizes}: AP50 {average:.3f} (n = {scored.positives:,})"
            recalls, precisions = precision_at_recalls(scored, 501)
            ends = recalls <= scored.curve()[0].max(initial=0)
            axes[0].plot(recalls[ends], precisions[ends], style, color=colour, label=text)
            precision, recall = scored.at(evaluation.confidence)
            if precision is not None:
                axes[0].plot(recall, precision, "o", color=colour, markerfacecolor="white")
    _finish(
        axes[0], "recall", "precision", f"{evaluation.title}: precision and recall at IoU 0.5", (0, 1.02), (0, 1.02)
    )
    axes[0].plot([], [], "o", color="black", markerfacecolor="white", label=f"at confidence {evaluation.confidence:g}")
    axes[0].legend(loc="lower left", fontsize=8)
    save_figure(figure, path)


def plot_calibration(evaluation: Evaluation, path: Path) -> None:
    """Plot the precision and number of detections (of at least 16 px) by their confidence."""
    figure, axes = _figure(2, heights=(3, 1))
    axes[0].plot([0, 1], [0, 1], color="grey", linewidth=1)
    bottom = np.zeros(0)
    for name, colour in zip(evaluation.classes, _colours(evaluation), strict=True):
        bins = reliability(evaluation.scores[name, BIG])
        if bins.error is None:
            continue
        some = bins.counts > 0
        text = f"{name}: expected calibration error {bins.error:.3f}"
        axes[0].plot(bins.confidence[some], bins.precision[some], "o-", color=colour, markersize=4, label=text)
        bottom = bottom if len(bottom) else np.zeros(len(bins.counts))
        width = bins.edges[1] - bins.edges[0]
        axes[1].bar(bins.edges[:-1] + width / 2, bins.counts, width * 0.9, bottom, color=colour)
        bottom = bottom + bins.counts
    title = f"{evaluation.title}: calibration, boxes {BIG}, confidence >= {LEAST:g}"
    _finish(axes[0], "", "share of correct boxes", title, (0, 1), (0, 1.02))
    _finish(axes[1], "confidence", "boxes", "", (0, 1), None)
    if axes[0].get_legend_handles_labels()[0]:
        axes[0].legend(loc="upper left", fontsize=8)
    save_figure(figure, path)


def plot_thresholds(evaluation: Evaluation, path: Path) -> None:
    """Plot recall, precision, and false alarms in pictures without any box over the confidence threshold."""
    figure, axes = _figure(2, heights=(1.6, 1))
    for name, colour in zip(evaluation.classes, _colours(evaluation), strict=True):
        for sizes, style in ((BIG, "-"), (CLEAR, "--")):
            precision, recall = rates(evaluation.scores[name, sizes])
            axes[0].plot(THRESHOLDS, recall, style, color=colour, label=f"recall, {name} {sizes}")
            if sizes == BIG:
                axes[0].plot(THRESHOLDS, precision, ":", color=colour, label=f"precision, {name} {sizes}")
        alarms = alarm_rate(evaluation, name)
        if alarms is not None:
            axes[1].plot(THRESHOLDS, alarms, color=colour, label=name)
    for each in axes:
        each.axvline(evaluation.confidence, color="grey", linewidth=1)
    _finish(axes[0], "", "", f"{evaluation.title}: effect of the threshold", (0, 1), (0, 1.02))
    axes[0].legend(loc="lower left", fontsize=7)
    alarms_text = f"false alarms a picture\n({evaluation.empty_pictures} pictures without any box)"
    _finish(axes[1], f"confidence threshold (this detector's own: {evaluation.confidence:g})", alarms_text, "", (0, 1))
    axes[1].set_yscale("symlog", linthresh=1 / max(evaluation.empty_pictures, 1))
    axes[1].set_ylim(bottom=0)
    if axes[1].get_legend_handles_labels()[0]:
        axes[1].legend(fontsize=8)
    save_figure(figure, path)


def _figure(rows: int, heights: tuple[float, ...] | None = None) -> tuple[Any, list[Any]]:
    figure = require("matplotlib.figure").Figure(figsize=(7, 5.5), dpi=120, layout="constrained")
    axes = figure.subplots(rows, 1, squeeze=False, sharex=True, height_ratios=heights)
    return figure, list(axes[:, 0])


def _colours(evaluation: Evaluation) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(len(evaluation.classes))]


def _finish(
    axes: Any,
    x: str,
    y: str,
    title: str,
    across: tuple[float, float] | None = None,
    up: tuple[float, float] | None = None,
) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, fontsize=10)
    if across:
        axes.set_xlim(across)
    if up:
        axes.set_ylim(up)
    axes.grid(alpha=0.3)
