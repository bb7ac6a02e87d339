"""The report of an evaluation: a folder with the figures and the pictures that tell what is behind them."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import cv2

from ...core.contact_sheet import contact_sheet
from ...core.errors import DataError
from ...core.plotting import require_matplotlib
from .curves import numbers
from .evaluate import Evaluation
from .matching import BIG, RANGES
from .plots import plot_calibration, plot_precision_recall, plot_thresholds
from .worst_cases import most_confident_alarms, most_missed, worst_cells

FIGURES = "evaluation.json"
FILES = ("pr.png", "calibration.png", "thresholds.png", "worst.png", FIGURES)


def write_report(evaluation: Evaluation, folder: Path, command: str | None = None) -> None:
    """Write ``FILES``. All are made before the first is put in its place, the figures last.

    Args:
        evaluation: as :func:`evaluation.evaluate` returns it; its pictures must still be where they were.
        folder: made where it is missing; files of an earlier report are replaced.
        command: the command line that measured it, where it is not the plain one.

    Raises:
        MissingExtraError: matplotlib is not installed.
        DataError: a picture cannot be read any more, or the folder cannot be written.
    """
    require_matplotlib()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".report-", dir=folder) as temporary:
            part = Path(temporary)
            plot_precision_recall(evaluation, part / "pr.png")
            plot_calibration(evaluation, part / "calibration.png")
            plot_thresholds(evaluation, part / "thresholds.png")
            sheet = contact_sheet(worst_cells(evaluation), columns=6, side=280)
            (part / "worst.png").write_bytes(cv2.imencode(".png", sheet)[1].tobytes())
            text = json.dumps(figures(evaluation, command), indent=1, ensure_ascii=False) + "\n"
            (part / FIGURES).write_text(text, encoding="utf-8")
            for name in FILES:
                os.replace(part / name, folder / name)
    except OSError as error:
        raise DataError(f"{folder}: the report cannot be written ({error.strerror})") from error


def figures(evaluation: Evaluation, command: str | None = None) -> dict[str, Any]:
    """The content of ``evaluation.json``.

    ``metrics`` is what a manifest holds (``weights.manifest.Metrics``); ``by_source``, ``curves`` (boxes of at least
    16 px) and ``worst`` are what the tables, plots and the sheet are made of.
    """
    return {
        "detector": evaluation.name,
        "confidence": evaluation.confidence,
        "classes": list(evaluation.classes),
        "pictures": evaluation.pictures,
        "milliseconds_a_picture": evaluation.milliseconds,
        "metrics": evaluation.metrics(command).model_dump(mode="json"),
        "coco": [
            {"class": name, "boxes": str(sizes), "ap50": _rounded(score.ap50), "ap50_95": _rounded(score.ap)}
            for (name, sizes), score in evaluation.coco.items()
        ],
        "by_source": [
            {
                "source": source,
                "class": name,
                "boxes": str(sizes),
                "count": scored.positives,
                "ap50": _rounded(scored.average_precision()),
                "recall": _rounded(scored.at(evaluation.confidence)[1]),
            }
            for (source, name, sizes), scored in evaluation.by_source.items()
            if sizes in RANGES and scored.positives
        ],
        "curves": numbers(evaluation, BIG),
        "worst": {
            "missed": [
                {"file": each.observed.picture.file, "missed": each.missed, "of": each.wanted}
                for each in most_missed(evaluation)
            ],
            "false_alarms": [
                {
                    "file": each.observed.picture.file,
                    "class": each.name,
                    "confidence": round(each.confidence, 4),
                    "box": [round(float(side), 1) for side in each.box],
                }
                for each in most_confident_alarms(evaluation)
            ],
        },
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
