"""``facepipe evaluate``: both models on photos with labelled boxes and attributes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...core.extras import require
from ...core.files import write_figures
from ...weights.store import find
from ..console import report
from ._options import FiguresFile, ModelChoice, PrecisionName

if TYPE_CHECKING:
    from ...classifier.inference.classifier import AttributeClassifier
    from ...detector.inference.detector import FaceDetector
    from ...weights.manifest import Attribute
    from ..evaluation.metrics import Figures
    from ..evaluation.predictions import EndToEnd
    from ..face_check import CheckedDetector

SPLITS = ("train", "val", "test", "all")
FAILED = 1
"""Exit code where some pictures could not be read."""


@dataclass(frozen=True)
class Measured:
    """Which photos are measured, and how a found box is a face's."""

    split: Annotated[
        str, typer.Option(help="train, val, test or all. Data without a split column is measured in full.")
    ] = "val"
    iou: Annotated[
        float, typer.Option(min=0.05, max=0.95, help="Minimum overlap for a found box to match a labelled face.")
    ] = 0.5


def evaluate(
    data: Annotated[
        list[str],
        typer.Option(
            metavar="FILE",
            help="Photos with boxes and attributes: a CSV or Parquet file (file,x1,y1,x2,y2 and the attribute "
            "columns, one row per face) or COCO; may be repeated.",
        ),
    ],
    chosen: ModelChoice,
    measured: Measured,
    precision: PrecisionName = "auto",
    tiles: Annotated[bool, typer.Option("--tiles", help="Also scan larger pictures in tiles.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write the report to this folder: figures, the chart, every face, the worst cases."
        ),
    ] = None,
    json_file: FiguresFile = None,
) -> None:
    """Measure both models together: what is lost to the classifier, to missed faces and to shifted boxes.

    Attributes are read on both the true and the found boxes of the same faces, so that the two models can be improved
    separately.

    Exit codes: 0 all done, 1 some pictures could not be read (the others are measured), 2 wrong usage or set-up.
    """
    from ..console import progress
    from ..evaluation.data import read_photos
    from ..evaluation.metrics import Figures
    from ..evaluation.predictions import predict_end_to_end
    from ..evaluation.report import as_json, evaluation_command, write_report

    if measured.split not in SPLITS:
        raise typer.BadParameter(f"--split must be one of {', '.join(SPLITS)}, got {measured.split!r}")
    if out is not None:
        require("matplotlib.figure")
    detector, stored, models, attributes = _open(chosen, precision, tiles)
    photos = read_photos(data, attributes, measured.split)
    with progress("pictures") as update:
        seen = predict_end_to_end(detector, models, photos, measured.iou, stored, progress=update)
    for reason in seen.failed:
        report(reason)
    figures = Figures(seen)
    _print(seen, figures)
    options = [
        f"--detector {detector.release.label}",
        *(f"--classifier {each.release.label}" for each in models),
        f"--precision {precision}",
        *_words(chosen, tiles),
        f"--iou {measured.iou:g}",
    ]
    command = evaluation_command(seen, options)
    if json_file is not None:
        write_figures(json_file, as_json(seen, figures, command))
    if out is not None:
        write_report(seen, figures, command, out)
        print(f"report: {out}")
    if seen.failed:
        raise typer.Exit(FAILED)


def _words(chosen: ModelChoice, tiles: bool) -> list[str]:
    """Those options that were given and that figures depend on."""
    return [
        *([] if chosen.imgsz is None else [f"--imgsz {chosen.imgsz}"]),
        *(["--tiles"] if tiles else []),
        *([] if chosen.conf is None else [f"--conf {chosen.conf:g}"]),
    ]


def _open(
    chosen: ModelChoice, precision: str, tiles: bool
) -> tuple[FaceDetector | CheckedDetector, str, list[AttributeClassifier], tuple[Attribute, ...]]:
    """The detector and the precision of its file, the classifiers, and the attributes that they read."""
    from ...classifier.inference.classifier import AttributeClassifier
    from ...detector.inference.detector import FaceDetector
    from ...weights.session import choose_file
    from ..classifiers import Classifiers
    from ..face_check import CheckedDetector

    device, threads = chosen.device, chosen.threads
    wanted: list[str] | list[None] = chosen.classifier or [None]
    models = []
    for release in [find("classifier", each) for each in wanted]:
        kind = choose_file(release, precision, device).precision
        models.append(AttributeClassifier(None, device, threads, release=release, precision=kind))
    attributes = tuple(attribute for each in Classifiers(models).by_name.values() for attribute in each.attributes)
    release = find("detector", chosen.detector)
    stored = choose_file(release, precision, device).precision
    detector = FaceDetector(
        None, device, threads, chosen.conf, release=release, precision=stored, imgsz=chosen.imgsz, tiles=tiles
    )
    checked = any(each.face_check is not None for each in models)
    return CheckedDetector(detector, models) if checked else detector, stored, models, attributes


def _print(seen: EndToEnd, figures: Figures) -> None:
    from ..console import console
    from ..evaluation.tables import error_table, headline, loss_table, part_table, sentences

    screen = console()
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
