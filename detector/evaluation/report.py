"""The report of an evaluation: a folder with metrics, plots and the worst pictures, and tables for the terminal."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
from rich.table import Table
from rich.text import Text

from ...core.bootstrap import listed
from ...core.contact_sheet import contact_sheet
from ...core.errors import DataError, os_errors_as
from ...core.extras import require
from .curves import numbers, plot_calibration, plot_precision_recall, plot_thresholds
from .evaluate import Evaluation
from .matching import BANDS, BIG, CLEAR, EVERY, RANGES, Sizes
from .predictions import COMMON
from .worst_cases import most_confident_alarms, most_missed, worst_cells

FIGURES = "evaluation.json"
FILES = ("pr.png", "calibration.png", "thresholds.png", "worst.png", FIGURES)
NOTHING = "–"


def write_report(evaluation: Evaluation, folder: Path, command: str | None = None) -> None:
    """Write ``FILES``. All are created before any is moved into place; the metrics are moved last.

    Args:
        evaluation: from :func:`facepipe.detector.evaluation.evaluate.evaluate`; its pictures must still be in place.
        folder: created if missing; files of an earlier report are replaced.
        command: the command line that measured it, if not the default one.

    Raises:
        MissingExtraError: matplotlib is not installed.
        DataError: a picture can no longer be read, or the folder cannot be written.
    """
    require("matplotlib.figure")
    with os_errors_as(DataError, f"{folder}: the report cannot be written"):
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


def figures(evaluation: Evaluation, command: str | None = None) -> dict[str, Any]:
    """The content of ``evaluation.json``.

    ``metrics`` is what a manifest holds (``weights.manifest.Metrics``). ``by_source``, ``curves`` (boxes of at least
    16 px) and ``worst`` are the data of the tables, plots and contact sheet. ``resampled`` holds metrics over
    resamplings of the pictures, which are the same for every detector.
    """
    return {
        "detector": evaluation.name,
        "confidence": evaluation.confidence,
        "classes": list(evaluation.classes),
        "pictures": evaluation.pictures,
        "milliseconds_a_picture": evaluation.milliseconds,
        "metrics": evaluation.metrics(command).model_dump(mode="json"),
        "resampled": {name: listed(values) for name, values in evaluation.resampled.items()},
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
                {"file": each.prediction.picture.file, "missed": each.missed, "of": each.wanted}
                for each in most_missed(evaluation)
            ],
            "false_alarms": [
                {
                    "file": each.prediction.picture.file,
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


def size_table(evaluation: Evaluation) -> Table:
    """Table with one row per class and size range."""
    table = Table(title=Text(f"{evaluation.title}, boxes by size"), title_justify="left", title_style="bold")
    at = f" at {evaluation.confidence:g}"
    for column in ("boxes", "n", "AP50", "AP50-95", f"precision{at}", f"recall{at}"):
        table.add_column(Text(column), justify="left" if column == "boxes" else "right")
    for name in evaluation.classes:
        for sizes in RANGES:
            scored, coco = evaluation.scores[name, sizes], evaluation.coco[name, sizes]
            precision, recall = scored.at(evaluation.confidence)
            figures = (scored.average_precision(), coco.ap, precision, recall)
            table.add_row(
                Text(f"{name} {sizes}"),
                f"{scored.positives:,}",
                *map(_shown, figures),
                end_section=sizes == RANGES[-1],
            )
    return table


def source_table(evaluation: Evaluation) -> Table:
    """Table with one row per source and class."""
    table = Table(title=Text(f"{evaluation.title}, by source"), title_justify="left", title_style="bold")
    at = f" at {evaluation.confidence:g}"
    big_text, every_text = _short(BIG), _short(EVERY)
    columns = [
        *("source", "class", "pictures", f"boxes {big_text}", f"AP50 {big_text}", f"recall {big_text}{at}"),
        *(f"wrong {big_text} a picture{at}", f"boxes {every_text}", f"AP50 {every_text}"),
    ]
    for column in columns:
        table.add_column(Text(column), justify="left" if column in ("source", "class") else "right")
    for source, name in sorted({key[:2] for key in evaluation.by_source}):
        big, every = (evaluation.by_source[source, name, sizes] for sizes in (BIG, EVERY))
        pictures = sum(o.picture.source == source and name in o.truth for o in evaluation.predictions)
        wrong = int((~big.correct[big.confidence >= evaluation.confidence]).sum())
        table.add_row(
            Text(source),
            Text(name),
            f"{pictures:,}",
            f"{big.positives:,}",
            _shown(big.average_precision()),
            _shown(big.at(evaluation.confidence)[1]),
            f"{wrong / pictures:.3f}",
            f"{every.positives:,}",
            _shown(every.average_precision()),
        )
    return table


def further_lines(evaluation: Evaluation) -> list[str]:
    """Metrics missing from the tables: means over classes, false alarms, and those of other protocols."""
    prefixes = ("mAP", "false ")
    wanted = [metric for metric in evaluation.metrics().values if metric.name.startswith(prefixes)]
    return [
        f"{_shown(metric.value)}  {metric.name} (n = {metric.count:,})"
        for metric in dict.fromkeys((*wanted, *evaluation.further))
    ]


def side_by_side(evaluations: Sequence[Evaluation]) -> Table:
    """Table with one column per detector and one row per metric; ``n`` counts boxes or pictures."""
    first = evaluations[0]
    table = Table(title=Text(f"{first.pictures:,} pictures, sizes at 640 px"), title_justify="left", title_style="bold")
    table.add_column("")
    table.add_column("n", justify="right")
    for evaluation in evaluations:
        table.add_column(Text(evaluation.title), justify="right", overflow="fold")

    def row(text: str, count: int | None, figure: Callable[[Evaluation], str], last: bool = False) -> None:
        count_text = "" if count is None else f"{count:,}"
        table.add_row(Text(text), count_text, *(figure(each) for each in evaluations), end_section=last)

    for name in dict.fromkeys(name for evaluation in evaluations for name in evaluation.classes):
        _class_rows(name, evaluations, row)
    if first.empty_pictures:
        for name in dict.fromkeys(name for evaluation in evaluations for name in evaluation.classes):
            for threshold in (COMMON, None):
                row(
                    f"false {name} alarms a picture without any box, {_at(threshold)}",
                    first.empty_pictures,
                    lambda each, name=name, threshold=threshold: _alarms(each, name, threshold),  # type: ignore[misc]
                )
    for text in dict.fromkeys(_plain(each, metric.name) for each in evaluations for metric in each.further):
        counts = [m.count for each in evaluations for m in each.further if _plain(each, m.name) == text]
        row(text, counts[0], lambda each, text=text: _further(each, text))  # type: ignore[misc]
    row("own threshold", None, lambda each: f"{each.confidence:g}")
    if first.milliseconds is not None:
        row("ms a picture, at its own threshold", None, lambda each: f"{each.milliseconds:.1f}")
        row("  over the first's", None, lambda each: f"{(each.milliseconds or 0) / (first.milliseconds or 1):.2f}")
    return table


def _class_rows(name: str, evaluations: Sequence[Evaluation], row: Callable[..., None]) -> None:
    one = next(each for each in evaluations if name in each.classes)

    def add(text: str, sizes: Sizes, figure: Callable[[Evaluation], float | None], last: bool = False) -> None:
        count = one.scores[name, sizes].positives
        row(f"{name} {text}", count, lambda each: _shown(figure(each)) if name in each.classes else NOTHING, last)

    def average(sizes: Sizes) -> Callable[[Evaluation], float | None]:
        return lambda each: each.scores[name, sizes].average_precision()

    def recall(sizes: Sizes, threshold: float | None) -> Callable[[Evaluation], float | None]:
        return lambda each: each.scores[name, sizes].at(each.confidence if threshold is None else threshold)[1]

    for sizes in (BIG, EVERY, *BANDS):
        add(f"AP50, {_short(sizes)}", sizes, average(sizes))
    for sizes in (BIG, EVERY):
        add(f"AP50-95, {_short(sizes)}", sizes, lambda each, sizes=sizes: each.coco[name, sizes].ap)  # type: ignore[misc]
    sources = sorted({key[0] for key in one.by_source if key[1] == name and one.by_source[key].positives})
    for source in sources if len(sources) > 1 else ():
        key = (source, name, BIG)
        count = one.by_source[key].positives
        row(
            f"{name} AP50, {_short(BIG)}, {source}",
            count,
            lambda each, key=key: _shown(each.by_source[key].average_precision()) if name in each.classes else NOTHING,
        )
    for sizes in (BIG, CLEAR):
        for threshold in (COMMON, None):
            last = (sizes, threshold) == (CLEAR, None)
            add(f"recall, {_short(sizes)}, {_at(threshold)}", sizes, recall(sizes, threshold), last)


def _short(sizes: Sizes) -> str:
    return str(sizes).removesuffix(" at 640")


def _at(threshold: float | None) -> str:
    return "at its own threshold" if threshold is None else f"at {threshold:g}"


def _alarms(evaluation: Evaluation, name: str, threshold: float | None) -> str:
    if name not in evaluation.classes:
        return NOTHING
    least = evaluation.confidence if threshold is None else threshold
    return _shown(float((evaluation.alarms(name) >= least).sum()) / evaluation.empty_pictures)


def _plain(evaluation: Evaluation, name: str) -> str:
    """A metric's name with the detector's own threshold replaced by words."""
    return name.replace(f" at {evaluation.confidence:g},", f" {_at(None)},")


def _further(evaluation: Evaluation, text: str) -> str:
    """A further metric by its plain name, or by its own name if the detector's own threshold is the common one."""
    values = [metric.value for metric in evaluation.further if text in (_plain(evaluation, metric.name), metric.name)]
    return _shown(values[0]) if values else NOTHING


def _shown(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"
