"""The report of an evaluation: a folder with the figures and the pictures that tell what is behind them."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError
from ...core.plotting import require_matplotlib
from ...weights.evaluations import EVALUATION_FILE
from ...weights.manifest import ClassesBase, Metrics, NumericAttribute
from .evaluate import Evaluation
from .evaluation_tables import sentences
from .metrics import confusions
from .mistakes import plot_worst, worst_mistakes
from .plots import (
    plot_bands,
    plot_confusions,
    plot_coverage,
    plot_groups,
    plot_intervals,
    plot_reliability,
)
from .reliability import answers, coverage_curve, interval_curve, reliability

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
    require_matplotlib()
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
