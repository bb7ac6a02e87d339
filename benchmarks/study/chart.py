"""Draw a benchmark's findings as one chart: up to four panels, one per answered question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from facepipe.core.extras import require
from facepipe.core.files import replacing
from facepipe.core.plotting import save_figure

from .report import BOUND, NOTEBOOK, PIPELINE, Comparison, Report

BLUE, GREY, RED = "#2a6f97", "#9aa5ad", "#b5473c"


def draw_chart(report: Report, path: Path) -> None:
    """Write the PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    panels = _panels(report)
    module = require("matplotlib.figure")
    figure = module.Figure(figsize=(11, 3.9 * -(-len(panels) // 2)), dpi=110, layout="constrained")
    grid = figure.subplots(-(-len(panels) // 2), 2, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        panel(axes)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    machine = report.machine
    cores = f"{machine.cores} core{'' if machine.cores == 1 else 's'}"
    onnxruntime = machine.packages.get("onnxruntime", "?")
    figure.suptitle(f"facepipe {report.facepipe} on {machine.cpu}, {cores}, onnxruntime {onnxruntime}", fontsize=10)
    with replacing(path) as part:
        save_figure(figure, part)


def _panels(report: Report) -> list[Callable[[Any], None]]:
    found = report.comparisons
    bounds = [*found.get("main", ()), *found.get("faces", ())]
    panels: list[Callable[[Any], None]] = []
    if bounds:
        bounds.sort(key=lambda each: max(each.pictures.faces, default=0) if each.pictures else 0)
        panels.append(lambda axes: _against_bound(axes, bounds))
    if slow := found.get("notebook", ()):
        panels.append(lambda axes: _against_notebook(axes, slow[0]))
    if sizes := found.get("size", ()):
        panels.append(lambda axes: _sizes(axes, sizes))
    if batches := found.get("batch", ()):
        panels.append(lambda axes: _batches(axes, batches[0]))
    return panels


def _against_bound(axes: Any, comparisons: Sequence[Comparison]) -> None:
    places = range(len(comparisons))
    medians = [each.ratios[0].median for each in comparisons]
    reach = [
        [each.ratios[0].median - each.ratios[0].spread[0] for each in comparisons],
        [each.ratios[0].spread[1] - each.ratios[0].median for each in comparisons],
    ]
    axes.bar(places, medians, color=BLUE, yerr=reach, ecolor="black", capsize=4, width=0.6)
    for place, (value, each) in enumerate(zip(medians, comparisons, strict=True)):
        axes.text(place, 0.03, f"{value:.2f}\n{_rate(each, PIPELINE)}/s", ha="center", color="white", fontsize=9)
    axes.axhline(1, color=GREY, linewidth=1)
    axes.axhline(0.9, color=RED, linewidth=1, linestyle="--")
    axes.text(1.01, 0.9, "wanted", color=RED, va="center", fontsize=8, transform=axes.get_yaxis_transform())
    axes.set_xticks(places, [each.label for each in comparisons], fontsize=8)
    axes.set_ylim(0, max(1.15, *(value * 1.1 for value in medians)))
    axes.set_title("Pipeline / the two bare ONNX sessions", fontsize=10)


def _against_notebook(axes: Any, comparison: Comparison) -> None:
    series = sorted(comparison.series, key=lambda each: each.rate)
    places = range(len(series))
    spent = [1000 / each.rate for each in series]
    axes.barh(places, spent, color=[GREY if each.name == NOTEBOOK else BLUE for each in series], height=0.6)
    ratios = {ratio.name.partition(f" / {NOTEBOOK}")[0]: ratio.median for ratio in comparison.ratios}
    for place, (value, each) in enumerate(zip(spent, series, strict=True)):
        times = f", {ratios[each.name]:.1f} times as quick" if each.name in ratios else ""
        inside = value > 0.5 * max(spent)
        axes.text(
            value * 0.98 if inside else value + 0.015 * max(spent),
            place,
            f"{value:.0f} ms{times}",
            va="center",
            ha="right" if inside else "left",
            color="white" if inside else "black",
            fontsize=9,
        )
    axes.set_yticks(places, [each.name for each in series], fontsize=9)
    axes.set_xlabel("milliseconds a picture", fontsize=9)
    axes.set_title(f"The notebook way: {comparison.label}", fontsize=10)


def _sizes(axes: Any, comparisons: Sequence[Comparison]) -> None:
    millions = [each.pictures.megapixels for each in comparisons if each.pictures]
    for name, colour in ((PIPELINE, BLUE), (BOUND, GREY)):
        rates = [side.rate for each in comparisons if (side := each.side(name)) is not None]
        axes.plot(millions, rates, "o-", color=colour, label=name)
    axes.set_xscale("log")
    axes.set_xticks(millions, [f"{value:.1f}" if value < 2 else f"{value:.0f}" for value in millions])
    axes.minorticks_off()
    axes.set_ylim(0)
    axes.set_xlabel("megapixels", fontsize=9)
    axes.set_ylabel("pictures a second", fontsize=9)
    axes.legend(frameon=False, fontsize=9)
    axes.set_title("Size of a picture with one face", fontsize=10)


def _batches(axes: Any, comparison: Comparison) -> None:
    places = range(len(comparison.series))
    axes.bar(places, [each.rate for each in comparison.series], color=BLUE, width=0.6)
    axes.set_xticks(places, [each.name for each in comparison.series])
    axes.set_xlabel("crops in one call", fontsize=9)
    axes.set_ylabel("crops a second", fontsize=9)
    axes.set_title("The classifier alone, all threads", fontsize=10)


def _rate(comparison: Comparison, name: str) -> str:
    side = comparison.side(name)
    return "–" if side is None else f"{side.rate:.1f}"
