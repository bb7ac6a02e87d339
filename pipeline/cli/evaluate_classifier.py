"""``facepipe evaluate-classifier``: measure a classifier, or several side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...core.errors import DataError
from ...core.extras import require
from ...core.files import write_whole

if TYPE_CHECKING:
    from ...classifier.evaluation.evaluate import Evaluation

PRECISIONS = ("float32", "float16", "int8")


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("evaluate-classifier")(evaluate_classifier)


def evaluate_classifier(
    data: Annotated[
        list[str],
        typer.Option(
            metavar="[ATTRIBUTE:]PATH",
            help="Labelled crops: a CSV or Parquet file, a folder of class folders or a Roboflow export; may be "
            "repeated.",
        ),
    ],
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VERSION|FOLDER",
            help="A version, NAME@VERSION or a release's folder. Repeated: side by side. Default: that in use.",
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "val",
    precision: Annotated[
        str | None, typer.Option(help="float32, float16 or int8; else the release's default file.")
    ] = None,
    training_rows: Annotated[
        int | None,
        typer.Option(
            min=0, help="Training rows to measure beside, which tell of overfitting. Default: 600; 0 for none."
        ),
    ] = None,
    size_rows: Annotated[
        int | None,
        typer.Option(
            min=0, help="Rows to measure at every size of the face, from 12 px on. Default: 2000; 0 for none."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, tensorrt, coreml or directml.")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads. Default: one a core.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Threads that read and cut crops.")] = 2,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the report there: figures and plots.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there.")] = None,
) -> None:
    """Measure a released classifier through the ONNX file that serves: by attribute, by group, and its calibration."""
    from ...classifier.evaluation.evaluate import Rows, evaluate, read_as_trained
    from ...classifier.inference.classifier import AttributeClassifier
    from ..console import progress

    if precision is not None and precision not in PRECISIONS:
        raise typer.BadParameter(f"--precision is one of {', '.join(PRECISIONS)}, got {precision!r}")
    wanted: Sequence[str | None] = classifier or [None]
    if len(set(wanted)) < len(wanted):
        raise typer.BadParameter("--classifier names one twice")
    require("fairlearn.metrics")
    if out is not None:
        require("matplotlib.figure")
    models = [AttributeClassifier(each, device, threads, precision=precision) for each in wanted]
    usual = Rows()
    rows = Rows(
        usual.training if training_rows is None else training_rows, usual.sizes if size_rows is None else size_rows
    )
    evaluations = []
    for model in models:
        table = read_as_trained(model, data)
        with progress("crops") as count:
            evaluations.append(evaluate(model, table, split, workers, data, rows, count))
    _print(evaluations)
    if json_file is not None:
        dumps = [_figures(evaluation) for evaluation in evaluations]
        _write_json(json_file, dumps[0] if len(dumps) == 1 else {"classifiers": dumps})
    if out is not None:
        from ...classifier.evaluation.report import write_report

        for evaluation, folder in zip(evaluations, _folders(out, evaluations), strict=True):
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


def _folders(out: Path, evaluations: Sequence[Evaluation]) -> list[Path]:
    """One classifier's report goes to the folder itself, those of several into folders of their names."""
    if len(evaluations) == 1:
        return [out]
    return [out / "".join(c if c.isalnum() or c in "._-" else "-" for c in each.name) for each in evaluations]


def _write_json(path: Path, content: Any) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise DataError(f"{path}: the figures cannot be written ({error.strerror})") from error
