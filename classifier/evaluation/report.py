"""The report of an evaluation: a folder with the figures and the pictures that tell what is behind them.

What an evaluation prints: tables of its figures, and what they mean in sentences.

The worst mistakes of an evaluation: which crops, what was said, what was labelled; and a sheet that shows them.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import DataError
from ...core.extras import require
from ...weights.manifest import Attribute, ClassesBase, Metric, Metrics, NumericAttribute, PointsAttribute
from ...weights.metrics import EVALUATION_FILE
from ..data.loader import CropSource
from ..inference.attributes import numbers, probabilities
from .evaluate import Evaluation
from .metrics import confusions, row_errors
from .plots import (
    plot_bands,
    plot_confusions,
    plot_coverage,
    plot_groups,
    plot_intervals,
    plot_reliability,
)
from .predictions import Predictions
from .reliability import answers, coverage_curve, interval_curve, reliability
from .subgroups import SMALLEST, GroupFigure

if TYPE_CHECKING:
    from rich.table import Table


MOST_CLASSES = 12
"""Confusion matrices of more classes are only in the report."""


def figure_table(evaluation: Evaluation) -> Table:
    """Every figure: one column for all rows and one for each source."""
    found: dict[str, dict[str, Metric]] = {}
    for metric in (*evaluation.overall, *evaluation.details):
        name, _, subject = metric.name.partition("/")
        if ("=" in subject and not subject.startswith("class=")) or name.endswith("_gap"):
            continue
        if subject.startswith("class="):
            name, subject = f"{name}, {subject.removeprefix('class=')}", ""
        found.setdefault(name, {})[subject] = metric
    columns = list(dict.fromkeys(subject for row in found.values() for subject in row))
    table = _table(evaluation.title, "figure", *(column or "all rows" for column in columns))
    before = ""
    for name, row in found.items():
        if before and name.partition(".")[0] != before:
            table.add_section()
        before = name.partition(".")[0]
        table.add_row(name, *(_cell(row.get(column)) for column in columns))
    return table


def group_tables(evaluation: Evaluation) -> list[Table]:
    """A table for each feature alone and one for gender x race, with intervals."""
    kinds: dict[tuple[str, ...], list[GroupFigure]] = {}
    for figure in evaluation.figures:
        if len(figure.group) <= 2 and tuple(figure.group) != ("source",):
            kinds.setdefault(tuple(figure.group), []).append(figure)
    tables = []
    for kind, figures in kinds.items():
        columns = list(dict.fromkeys(f"{figure.attribute} {figure.measure}" for figure in figures))
        table = _table(f"by {' x '.join(kind)} (groups of at least {SMALLEST} rows)", "group", *columns)
        rows: dict[str, dict[str, GroupFigure]] = {}
        for figure in figures:
            rows.setdefault(" ".join(figure.group.values()), {})[f"{figure.attribute} {figure.measure}"] = figure
        for name in sorted(rows):
            table.add_row(name, *(_interval(rows[name].get(column)) for column in columns))
        tables.append(table)
    return tables


def confusion_tables(evaluation: Evaluation) -> list[Table]:
    """Rows by true class (down) and by what was said (across); of few classes only."""
    tables = []
    for attribute in evaluation.seen.attributes:
        if not isinstance(attribute, ClassesBase) or len(attribute.classes) > MOST_CLASSES:
            continue
        seen = evaluation.seen
        matrix = confusions(attribute, seen.outputs[attribute.name], seen.targets[attribute.name])
        if matrix.sum():
            table = _table(attribute.name, "labelled \\ said", *attribute.classes)
            for name, row in zip(attribute.classes, matrix, strict=True):
                table.add_row(name, *(f"{count:,}" for count in row))
            tables.append(table)
    return tables


def sentences(evaluation: Evaluation) -> list[str]:
    """The largest gaps between groups, and training rows against these rows."""
    lines = []
    for gap in evaluation.gaps:
        worst, best = gap.worst, gap.best
        kind = " x ".join(feature for feature in worst.group if feature != "source")
        within = f" of {worst.group['source']}" if len(worst.group) > 1 and "source" in worst.group else ""
        lines.append(
            f"{worst.attribute} {worst.measure.replace('_', ' ')}, largest gap by {kind}{within}: {gap.value:.3f}, "
            f"{_told(worst)} against {_told(best)}; {gap.groups} groups of at least {SMALLEST} rows"
        )
    return lines + [f"{fit}." for fit in evaluation.fits]


def side_by_side(evaluations: Sequence[Evaluation]) -> Table:
    """The figures over all rows of several classifiers, one column each."""
    table = _table("side by side", "figure", *(evaluation.title for evaluation in evaluations))
    columns = [{metric.name: metric for metric in evaluation.overall} for evaluation in evaluations]
    for name in dict.fromkeys(name for column in columns for name in column):
        table.add_row(name, *(_cell(column.get(name)) for column in columns))
    return table


def _table(title: str, first: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _told(figure: GroupFigure) -> str:
    names = [value for feature, value in figure.group.items() if feature != "source" or len(figure.group) == 1]
    return f"{' '.join(names)} {figure.value:.3f} (n {figure.count:,})"


def _cell(metric: Metric | None) -> str:
    return "" if metric is None or metric.value is None else f"{metric.value:.4f} ({metric.count:,})"


def _interval(figure: GroupFigure | None) -> str:
    if figure is None:
        return ""
    return f"{figure.value:.3f} [{figure.low:.3f}–{figure.high:.3f}] ({figure.count:,})"


MOST = 8
"""Crops shown for each attribute."""


@dataclass(frozen=True)
class Mistake:
    """One row that went wrong.

    Attributes:
        attribute: its name.
        row: index into the evaluation's rows.
        file: the picture's name.
        said, labelled: in words.
        size: how bad it is: the probability of the wrong class above that of the right one; the error.
    """

    attribute: str
    row: int
    file: str
    said: str
    labelled: str
    size: float


def worst_mistakes(seen: Predictions, attribute: Attribute, most: int = MOST) -> list[Mistake]:
    """The worst rows of an attribute, the worst first; none that is right."""
    output, target = seen.outputs[attribute.name], seen.targets[attribute.name]
    errors = row_errors(attribute, output, target)
    if isinstance(attribute, ClassesBase):
        likely = probabilities(attribute, output)
        truth = np.where(np.isnan(target), 0, target).astype(int)
        surer = likely.max(axis=1) - likely[np.arange(len(truth)), truth]
        errors = np.where(errors > 0, surer, np.nan)
    order = [int(row) for row in np.argsort(-np.nan_to_num(errors, nan=-1.0), kind="stable")[:most]]
    found = []
    for row in order:
        if np.isnan(errors[row]) or errors[row] <= 0:
            continue
        said, labelled = _words(attribute, output[row], target[row], errors[row])
        name = str(seen.table.files[row].name)
        found.append(Mistake(attribute.name, row, name, said, labelled, float(errors[row])))
    return found


def plot_worst(evaluation: Evaluation, path: Path, most: int = MOST) -> bool:
    """A row of crops for each attribute, the worst mistakes first; points green as labelled, red as said."""
    seen = evaluation.seen
    rows = [found for attribute in seen.attributes if (found := worst_mistakes(seen, attribute, most))]
    if not rows:
        return False
    source = CropSource(seen.table, evaluation.size, (114, 114, 114))
    module = require("matplotlib.figure")
    figure = module.Figure(figsize=(1.75 * most, 2.25 * len(rows) + 0.4), dpi=100, layout="constrained")
    panels = figure.subplots(len(rows), most, squeeze=False)
    by_name = {attribute.name: attribute for attribute in seen.attributes}
    for line, found in zip(panels, rows, strict=True):
        for axes in line[len(found) :]:
            axes.remove()
        for axes, mistake in zip(line, found, strict=False):
            crop, _, _ = source.crop(mistake.row, None, np.random.default_rng(0))
            axes.imshow(crop[..., ::-1])
            if isinstance(by_name[mistake.attribute], PointsAttribute):
                true = seen.targets[mistake.attribute][mistake.row] * evaluation.size
                said = seen.outputs[mistake.attribute][mistake.row].reshape(-1, 2) * evaluation.size
                axes.plot(*true.T, ".", color="#20c040", markersize=5)
                axes.plot(*said.T, ".", color="#f03030", markersize=5)
            axes.set_axis_off()
            axes.set_title(f"{mistake.attribute}: {mistake.said}\nlabelled {mistake.labelled}", fontsize=7)
    figure.suptitle(f"{evaluation.title}: the worst mistakes; what looks right may be labelled wrong", fontsize=10)
    figure.savefig(path, format="png", metadata={"Software": None})
    return True


def _words(attribute: Attribute, output: np.ndarray, target: np.ndarray, error: float) -> tuple[str, str]:
    if isinstance(attribute, NumericAttribute):
        value = float(numbers(attribute, output[None])[0][0])
        return f"{value:.0f} {attribute.unit}", f"{float(target[0]):g}"
    if isinstance(attribute, ClassesBase):
        row = probabilities(attribute, output[None])[0]
        return f"{attribute.classes[int(row.argmax())]} {row.max():.2f}", attribute.classes[int(target)]
    of = "eye distance" if attribute.mirror else "side"
    return f"{error:.2f} of {of}", "green, said red"


PLOTS = {
    "confusion.png": plot_confusions,
    "reliability.png": plot_reliability,
    "coverage.png": plot_coverage,
    "intervals.png": plot_intervals,
    "bands.png": plot_bands,
    "groups.png": plot_groups,
    "worst.png": plot_worst,
}
CURVE_POINTS = 50
"""Points of a coverage curve in ``evaluation.json``."""


def write_report(evaluation: Evaluation, folder: Path, further: tuple[Metrics, ...] = ()) -> list[str]:
    """Write ``evaluation.json`` and the plots that there is something to show in.

    All are made before the first is put in its place, the figures last; plots of an earlier report go.

    Args:
        folder: made where it is missing.
        further: records of the same file for ``metrics``, such as those of its calibration.

    Returns:
        Names of the files.

    Raises:
        MissingExtraError: matplotlib is not installed.
        DataError: a picture cannot be read any more, or the folder cannot be written.
    """
    require("matplotlib.figure")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".report-", dir=folder) as temporary:
            part = Path(temporary)
            names = [name for name, plot in PLOTS.items() if plot(evaluation, part / name)]
            text = json.dumps(content(evaluation, further), indent=1, ensure_ascii=False) + "\n"
            (part / EVALUATION_FILE).write_text(text, encoding="utf-8")
            for name in set(PLOTS) - set(names):
                (folder / name).unlink(missing_ok=True)
            for name in (*names, EVALUATION_FILE):
                os.replace(part / name, folder / name)
    except OSError as error:
        raise DataError(f"{folder}: the report cannot be written ({error.strerror})") from error
    return [*names, EVALUATION_FILE]


def content(evaluation: Evaluation, further: tuple[Metrics, ...] = ()) -> dict[str, Any]:
    """The content of ``evaluation.json``.

    ``metrics`` is what a manifest holds (``weights.manifest.Metrics``); the rest is what tables, plots and the sheet
    are made of: ``groups`` holds every group, crossed ones too.
    """
    seen = evaluation.seen
    matrices, bins, coverage, intervals = {}, {}, {}, {}
    for attribute in seen.attributes:
        output, target = seen.outputs[attribute.name], seen.targets[attribute.name]
        if isinstance(attribute, NumericAttribute) and (curve := interval_curve(attribute, output, target)):
            intervals[attribute.name] = [
                {"nominal": level, "coverage": round(share, 4), "width": round(width, 3)}
                for level, share, width in curve
            ]
        if not isinstance(attribute, ClassesBase):
            continue
        given = answers(attribute, output, target)
        if not len(given.right):
            continue
        matrices[attribute.name] = {
            "classes": list(attribute.classes),
            "labelled_by_said": confusions(attribute, output, target).tolist(),
        }
        found = reliability(given)
        bins[attribute.name] = {
            "ece": round(found.error, 4),
            "bins": [
                {
                    "from": round(float(low), 4),
                    "rows": int(count),
                    "confidence": _rounded(sure),
                    "right": _rounded(good),
                }
                for low, count, sure, good in zip(
                    found.edges[:-1], found.counts, found.confidence, found.accuracy, strict=True
                )
            ],
        }
        points = np.stack(coverage_curve(given), axis=1)
        chosen = np.unique(np.linspace(0, len(points) - 1, min(CURVE_POINTS, len(points))).round().astype(int))
        coverage[attribute.name] = [
            {"least_confidence": round(least, 4), "answered": round(share, 4), "accuracy": round(right, 4)}
            for least, share, right in points[chosen].tolist()
        ]
    return {
        "classifier": evaluation.name,
        "split": evaluation.split,
        "rows": len(seen.table),
        "milliseconds_a_crop": round(seen.milliseconds, 2),
        "metrics": [record.model_dump(mode="json") for record in (*evaluation.records(), *further)],
        "sentences": sentences(evaluation),
        "confusions": matrices,
        "reliability": bins,
        "coverage": coverage,
        "intervals": intervals,
        "groups": [
            {
                "attribute": figure.attribute,
                "measure": figure.measure,
                "group": figure.group,
                "value": round(figure.value, 4),
                "interval": [round(figure.low, 4), round(figure.high, 4)],
                "rows": figure.count,
            }
            for figure in evaluation.figures
        ],
        "worst": [
            {"attribute": each.attribute, "file": each.file, "said": each.said, "labelled": each.labelled}
            for attribute in seen.attributes
            for each in worst_mistakes(seen, attribute)
        ],
    }


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)
