"""The report of an evaluation: a folder with figures, plots and a contact sheet of the worst mistakes."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.bootstrap import listed
from ...core.errors import DataError, os_errors_as
from ...core.extras import require
from ...weights.manifest import Attribute, ClassesBase, Metrics, NumericAttribute, PointsAttribute
from ...weights.metrics import EVALUATION_FILE
from ..data.loader import CropSource
from ..inference.attributes import numbers, probabilities
from .evaluate import Evaluation
from .metrics import confusions, row_errors
from .plots import plot_bands, plot_confusions, plot_coverage, plot_groups, plot_intervals, plot_reliability
from .predictions import Predictions
from .reliability import Answers, answers, coverage_curve, interval_curve, reliability
from .tables import sentences

CURVE_POINTS = 50
"""Maximum points of a coverage curve in ``evaluation.json``."""
MOST = 8
"""Crops shown per attribute."""


@dataclass(frozen=True)
class Mistake:
    """One wrong prediction.

    Attributes:
        attribute: its name.
        row: index into the evaluation's rows.
        file: the picture's name.
        predicted, labelled: both in words.
        size: how bad it is: the error, or for classes the margin of the wrong class over the right one.
    """

    attribute: str
    row: int
    file: str
    predicted: str
    labelled: str
    size: float


def worst_mistakes(seen: Predictions, attribute: Attribute, most: int = MOST) -> list[Mistake]:
    """Return the worst mistakes of an attribute, worst first; correct rows are never included.

    Args:
        seen: outputs and labels.
        attribute: one of theirs.
        most: maximum number of rows.
    """
    output, target = seen.outputs[attribute.name], seen.targets[attribute.name]
    errors = row_errors(attribute, output, target)
    if isinstance(attribute, ClassesBase):
        likely = probabilities(attribute, output)
        truth = np.where(np.isnan(target), 0, target).astype(int)
        margins = likely.max(axis=1) - likely[np.arange(len(truth)), truth]
        errors = np.where(errors > 0, margins, np.nan)
    order = [int(row) for row in np.argsort(-np.nan_to_num(errors, nan=-1.0), kind="stable")[:most]]
    found = []
    for row in order:
        if np.isnan(errors[row]) or errors[row] <= 0:
            continue
        predicted, labelled = _words(attribute, output[row], target[row], errors[row])
        name = str(seen.table.files[row].name)
        found.append(Mistake(attribute.name, row, name, predicted, labelled, float(errors[row])))
    return found


def plot_worst(evaluation: Evaluation, path: Path, most: int = MOST) -> bool:
    """Plot a row of crops per attribute, worst mistakes first; labelled points are green, predicted ones red.

    Args:
        evaluation: of one classifier.
        path: of the PNG.
        most: maximum number of crops per attribute.
    """
    seen = evaluation.seen
    rows = [found for attribute in seen.attributes if (found := worst_mistakes(seen, attribute, most))]
    if not rows:
        return False
    source = CropSource(seen.table, evaluation.crop.size, evaluation.crop.border)
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
                true = seen.targets[mistake.attribute][mistake.row] * evaluation.crop.size
                predicted = seen.outputs[mistake.attribute][mistake.row].reshape(-1, 2) * evaluation.crop.size
                axes.plot(*true.T, ".", color="#20c040", markersize=5)
                axes.plot(*predicted.T, ".", color="#f03030", markersize=5)
            axes.set_axis_off()
            axes.set_title(f"{mistake.attribute}: {mistake.predicted}\nlabelled {mistake.labelled}", fontsize=7)
    figure.suptitle(f"{evaluation.title}: the worst mistakes; what looks right may be mislabelled", fontsize=10)
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
    return f"{error:.2f} of {of}", "green, predicted red"


PLOTS = {
    "confusion.png": plot_confusions,
    "reliability.png": plot_reliability,
    "coverage.png": plot_coverage,
    "intervals.png": plot_intervals,
    "bands.png": plot_bands,
    "groups.png": plot_groups,
    "worst.png": plot_worst,
}


def write_report(evaluation: Evaluation, folder: Path, further: tuple[Metrics, ...] = ()) -> list[str]:
    """Write ``evaluation.json`` and every plot that has something to show.

    All files are made before the first one is moved into place, ``evaluation.json`` last. Stale plots of an earlier
    report are deleted.

    Args:
        evaluation: to report.
        folder: created if missing.
        further: additional records for ``metrics`` on the same file, such as those of its calibration.

    Returns:
        Names of the files.

    Raises:
        MissingExtraError: matplotlib is not installed.
        DataError: a picture can no longer be read, or the folder cannot be written.
    """
    require("matplotlib.figure")
    with os_errors_as(DataError, f"{folder}: the report cannot be written"):
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
    return [*names, EVALUATION_FILE]


def content(evaluation: Evaluation, further: tuple[Metrics, ...] = ()) -> dict[str, Any]:
    """Build the content of ``evaluation.json``.

    ``metrics`` holds records as in a manifest (``weights.manifest.Metrics``). The rest is the data behind the tables,
    plots and contact sheet; ``groups`` holds every group, including crossed ones.

    Args:
        evaluation: to report.
        further: additional records for ``metrics``.
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
        bins[attribute.name] = _reliability_bins(given)
        coverage[attribute.name] = _coverage_points(given)
    return {
        "classifier": evaluation.name,
        "split": evaluation.split,
        "rows": len(seen.table),
        "milliseconds_a_crop": round(seen.milliseconds, 2),
        "metrics": [record.model_dump(mode="json") for record in (*evaluation.records(), *further)],
        "resampled": {name: listed(values) for name, values in evaluation.resampled.items()},
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
            {"attribute": each.attribute, "file": each.file, "said": each.predicted, "labelled": each.labelled}
            for attribute in seen.attributes
            for each in worst_mistakes(seen, attribute)
        ],
    }


def _reliability_bins(given: Answers) -> dict[str, Any]:
    found = reliability(given)
    rows = zip(found.edges[:-1], found.counts, found.confidence, found.accuracy, strict=True)
    bins = [
        {"from": round(float(low), 4), "rows": int(count), "confidence": _rounded(sure), "right": _rounded(good)}
        for low, count, sure, good in rows
    ]
    return {"ece": round(found.error, 4), "bins": bins}


def _coverage_points(given: Answers) -> list[dict[str, float]]:
    """Thin the coverage curve to at most ``CURVE_POINTS`` points."""
    points = np.stack(coverage_curve(given), axis=1)
    chosen = np.unique(np.linspace(0, len(points) - 1, min(CURVE_POINTS, len(points))).round().astype(int))
    return [
        {"least_confidence": round(least, 4), "answered": round(share, 4), "accuracy": round(right, 4)}
        for least, share, right in points[chosen].tolist()
    ]


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)
