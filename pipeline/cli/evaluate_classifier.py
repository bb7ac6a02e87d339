"""``facepipe evaluate-classifier``: measure a classifier, or several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...core.extras import require
from ...core.files import write_figures
from ._options import Device, FiguresFile, ReportFolder, Threads, report_folders

if TYPE_CHECKING:
    from ...classifier.evaluation.evaluate import Evaluation


@dataclass(frozen=True)
class Beside:
    """What is measured beside the split."""

    training_rows: Annotated[
        int | None,
        typer.Option(
            min=0, help="Training rows to measure for comparison, to reveal overfitting. Default: 600; 0 for none."
        ),
    ] = None
    size_rows: Annotated[
        int | None,
        typer.Option(min=0, help="Rows to measure at every face size, from 12 px up. Default: 2000; 0 for none."),
    ] = None


@dataclass(frozen=True)
class Speed:
    """Where it runs."""

    device: Device = "cpu"
    threads: Threads = None
    workers: Annotated[int, typer.Option(min=1, help="Number of threads that read and cut crops.")] = 2


def evaluate_classifier(
    data: Annotated[
        list[str],
        typer.Option(
            metavar="[ATTRIBUTE:]PATH",
            help="Labelled crops: a CSV or Parquet file, a folder of class folders or a Roboflow export; may be "
            "repeated.",
        ),
    ],
    beside: Beside,
    speed: Speed,
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VERSION|FOLDER",
            help="A version, NAME@VERSION or a release folder; repeat to compare side by side. Default: the "
            "version in use.",
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Split to measure: train, val or test.")] = "val",
    precision: Annotated[
        str | None, typer.Option(help="float32, float16 or int8. Default: the release's default file.")
    ] = None,
    out: ReportFolder = None,
    json_file: FiguresFile = None,
) -> None:
    """Measure a released classifier through the ONNX file that serves: per attribute, per group, and calibration."""
    from ...classifier.evaluation.evaluate import Rows, evaluate, read_as_trained
    from ...classifier.inference.classifier import AttributeClassifier
    from ...weights.session import PRECISIONS
    from ..console import progress

    if precision is not None and precision not in PRECISIONS:
        raise typer.BadParameter(f"--precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    wanted: Sequence[str | None] = classifier or [None]
    if len(set(wanted)) < len(wanted):
        raise typer.BadParameter("--classifier: the same one is given twice")
    require("fairlearn.metrics")
    if out is not None:
        require("matplotlib.figure")
    models = [AttributeClassifier(each, speed.device, speed.threads, precision=precision) for each in wanted]
    usual, training, sizes = Rows(), beside.training_rows, beside.size_rows
    rows = Rows(usual.training if training is None else training, usual.sizes if sizes is None else sizes)
    evaluations = []
    for model in models:
        table = read_as_trained(model, data)
        with progress("crops") as count:
            evaluations.append(evaluate(model, table, split, speed.workers, data, rows, count))
    _print(evaluations)
    if json_file is not None:
        dumps = [_figures(evaluation) for evaluation in evaluations]
        write_figures(json_file, dumps[0] if len(dumps) == 1 else {"classifiers": dumps})
    if out is not None:
        from ...classifier.evaluation.report import write_report

        folders = report_folders(out, [each.name for each in evaluations])
        for evaluation, folder in zip(evaluations, folders, strict=True):
            write_report(evaluation, folder)
            print(f"report: {folder}")


def _print(evaluations: Sequence[Evaluation]) -> None:
    from ...classifier.evaluation.tables import (
        confusion_tables,
        figure_table,
        group_tables,
        sentences,
        side_by_side,
        size_table,
    )
    from ..console import console

    screen = console()
    for evaluation in evaluations:
        print(f"{evaluation.title}: {evaluation.protocol}")
    if len(evaluations) > 1:
        screen.print(side_by_side(evaluations))
        return
    (evaluation,) = evaluations
    sizes = size_table(evaluation)
    tables = (figure_table(evaluation), *confusion_tables(evaluation), *group_tables(evaluation))
    for table in tables if sizes is None else (sizes, *tables):
        screen.print(table)
    for line in sentences(evaluation):
        print(line)


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    """What a manifest holds, with the classifier's name and what is said in words."""
    from ...classifier.evaluation.tables import sentences

    dump = evaluation.metrics().model_dump(mode="json")
    return {"classifier": evaluation.name, **dump, "sentences": sentences(evaluation)}
