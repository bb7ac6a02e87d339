"""``facepipe evaluate``: both models on photos with labelled boxes and attributes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...core.extras import require
from ...weights.store import find
from ..console import report
from ._options import (
    Classifier,
    Confidence,
    Detector,
    Device,
    InputSize,
    Threads,
)

SPLITS = ("train", "val", "test", "all")
FAILED = 1
"""Exit code where some pictures could not be read."""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(evaluate)


def evaluate(
    data: Annotated[
        list[str],
        typer.Option(
            metavar="FILE",
            help="Photos with boxes and attributes: a CSV or Parquet file (file,x1,y1,x2,y2 and the attributes' "
            "columns, a row a face) or COCO; may be repeated.",
        ),
    ],
    detector: Detector = None,
    classifier: Classifier = None,
    split: Annotated[
        str, typer.Option(help="train, val, test or all. Data without such a column are measured whole.")
    ] = "val",
    iou: Annotated[
        float, typer.Option(min=0.05, max=0.95, help="Overlap from which a found box is the labelled face's.")
    ] = 0.5,
    conf: Confidence = None,
    precision: Annotated[
        str, typer.Option(help="auto (what detect takes), int8, float16 or float32, of both models.")
    ] = "auto",
    imgsz: InputSize = None,
    tiles: Annotated[bool, typer.Option("--tiles", help="Look at larger pictures in tiles, too.")] = False,
    device: Device = "cpu",
    threads: Threads = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the report there: figures, the chart, every face, the worst cases."),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there.")] = None,
) -> None:
    """Measure both models together: what is lost to the classifier, to missed faces and to shifted boxes.

    Attributes are read on the true boxes and on the found ones, of the same faces, so that the two models can be
    improved apart.

    Exit codes: 0 all done, 1 some pictures could not be read (the others are measured), 2 wrong usage or set-up.
    """
    from ...classifier.inference.classifier import AttributeClassifier
    from ...detector.inference.detector import FaceDetector
    from ...weights.session import choose_file
    from ..classifiers import Classifiers
    from ..console import console, progress
    from ..evaluation.data import read_photos
    from ..evaluation.metrics import Figures
    from ..evaluation.predictions import predict_end_to_end
    from ..evaluation.report import as_json, evaluation_command, write_figures, write_report
    from ..evaluation.tables import error_table, headline, loss_table, part_table, sentences

    if split not in SPLITS:
        raise typer.BadParameter(f"--split is one of {', '.join(SPLITS)}, got {split!r}")
    if out is not None:
        require("matplotlib.figure")
    wanted: list[str] | list[None] = classifier or [None]
    releases = [find("classifier", each) for each in wanted]
    models = [
        AttributeClassifier(
            None, device, threads, release=each, precision=choose_file(each, precision, device).precision
        )
        for each in releases
    ]
    attributes = tuple(attribute for each in Classifiers(models).by_name.values() for attribute in each.attributes)
    release = find("detector", detector)
    stored = choose_file(release, precision, device).precision
    eyes = FaceDetector(None, device, threads, conf, release=release, precision=stored, imgsz=imgsz, tiles=tiles)
    photos = read_photos(data, attributes, split)
    with progress("pictures") as update:
        seen = predict_end_to_end(eyes, models, photos, iou, stored, progress=update)
    for reason in seen.failed:
        report(reason)
    figures, screen = Figures(seen), console()
    for line in headline(seen, figures):
        print(line)
    screen.print(loss_table(figures))
    if figures.errors:
        screen.print(error_table(figures))
    screen.print(part_table(figures))
    if any(part.kind != "size" for part in figures.parts):
        screen.print(part_table(figures, sizes=False))
    for line in sentences(seen, figures):
        print(line)
    command = evaluation_command(
        seen,
        [
            f"--detector {eyes.release.label}",
            *(f"--classifier {each.release.label}" for each in models),
            f"--precision {precision}",
            *([] if imgsz is None else [f"--imgsz {imgsz}"]),
            *(["--tiles"] if tiles else []),
            *([] if conf is None else [f"--conf {conf:g}"]),
            f"--iou {iou:g}",
        ],
    )
    if json_file is not None:
        write_figures(json_file, as_json(seen, figures, command))
    if out is not None:
        write_report(seen, figures, command, out)
        print(f"report: {out}")
    if seen.failed:
        raise typer.Exit(FAILED)
