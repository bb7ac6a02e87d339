"""``facepipe data check``, ``data prelabel`` and ``data upload``: what is wrong with a data set, and boxes to start
labelling from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...core.extras import require
from ...core.files import write_figures
from ..console import console, progress, report
from ._options import Confidence, Device

if TYPE_CHECKING:
    from ...core.issues import Finding
    from ...detector.data.quarantine import Moved

FAULTY = 1
"""Exit code: the data set has errors; some pictures could not be read."""


class Format(StrEnum):
    yolo = "yolo"
    coco = "coco"


@dataclass(frozen=True)
class Written:
    """What is written and printed of the findings."""

    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Write a contact sheet: the worst findings, then a sample.")
    ] = None
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the report to this file.")] = (
        None
    )
    every: Annotated[bool, typer.Option("--all", help="Print every finding, not just ten of each kind.")] = False
    seed: Annotated[int, typer.Option(help="Random seed for the sheet's sample.")] = 0


@dataclass(frozen=True)
class OfDetectors:
    """What goes with a detector's data only."""

    persons: Annotated[bool, typer.Option(help="Also run the detector on each picture; this takes a while.")] = False
    detector: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Detector for --persons. Default: the version in use.")
    ] = None
    aside: Annotated[
        Path | None,
        typer.Option(
            "--set-aside", metavar="DIR", help="Move poor and broken pictures to this folder, with their labels."
        ),
    ] = None
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", help="What --set-aside moves, named by the word in brackets; may be repeated."),
    ] = None
    restore_from: Annotated[
        Path | None,
        typer.Option("--restore", metavar="DIR", help="Move back what was set aside in this folder, then exit."),
    ] = None


def check(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="A detector's DATA.yaml, or labelled faces: CSV, Parquet or a folder."),
    ],
    written: Written,
    of: OfDetectors,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with code 1 for warnings too.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of threads that read. Default: one per core.")
    ] = None,
    schema: Annotated[
        Path | None, typer.Option(help="Schema of the faces' attributes (YAML). Default: the shipped one.")
    ] = None,
) -> None:
    """Check a data set for problems: files, labels, boxes or attributes, duplicates, poor pictures, balance.

    Exit codes: 0 no errors, 1 errors (with --strict, also warnings), 2 wrong usage. What was set aside no longer
    counts.
    """
    from ...core.issues import Severity, counts
    from ...detector.data.quarantine import restore
    from ..datasets.check import check_faces, is_faces

    if is_faces(data):
        if of != OfDetectors():
            raise typer.BadParameter("--persons, --set-aside and --restore need a detector's DATA.yaml")
        findings, content = check_faces(data, schema, written.sheet, written.every, workers, written.seed)
        if written.json_file is not None:
            write_figures(written.json_file, content)
    elif schema is not None:
        raise typer.BadParameter("--schema is for labelled faces only")
    elif of.restore_from is not None:
        print(f"{data}: moved back {_moved(restore(data, of.restore_from))}")
        return
    else:
        findings = _check_boxes(data, written, of, workers)
    found = counts(findings)
    if found[Severity.error] or (strict and found[Severity.warning]):
        raise typer.Exit(FAULTY)


def _check_boxes(data: Path, written: Written, of: OfDetectors, workers: int | None) -> list[Finding]:
    """Check a detector's data; the findings that are left."""
    from ...core.contact_sheet import write_sheet
    from ...core.issues import KINDS
    from ...detector.data.check import check_data
    from ...detector.data.check_sheet import check_sheet
    from ...detector.data.quarantine import set_aside
    from ...detector.data.statistics import as_json
    from ...detector.inference.detector import FaceDetector
    from ..datasets.check import open_stored, print_report

    movable = {name for name, kind in KINDS.items() if kind.about_picture}
    if unknown := set(of.kinds or ()) - movable:
        raise typer.BadParameter(f"--kind {', '.join(sorted(unknown))}: expected {', '.join(sorted(movable))}")
    if of.kinds and of.aside is None:
        raise typer.BadParameter("--kind needs --set-aside DIR")
    if of.detector is not None and not of.persons:
        raise typer.BadParameter("--detector needs --persons")
    detector = FaceDetector(of.detector) if of.persons else None
    with progress("reading") as bar:
        report = check_data(data, open_stored, detector, workers, bar)
    print_report(report, console(), None if written.every else 10)
    if written.sheet is not None:
        write_sheet(written.sheet, check_sheet(report, open_stored, written.seed))
        print(f"contact sheet: {written.sheet}")
    if written.json_file is not None:
        write_figures(written.json_file, as_json(report))
    if of.aside is None:
        return report.findings
    chosen = set(of.kinds or (name for name in movable if KINDS[name].aside))
    files = {finding.picture for finding in report.findings if finding.kind in chosen}
    moved = set_aside(report.description, report.csv, files, of.aside)
    print(f"set aside in {of.aside}: {_moved(moved)}")
    if moved.pictures:
        print(f"to undo: facepipe data check {data} --restore {of.aside}")
    return [finding for finding in report.findings if finding.picture not in files]


def _moved(moved: Moved) -> str:
    return (
        f"{moved.pictures} picture{'' if moved.pictures == 1 else 's'} "
        f"({moved.files} files, {moved.lines} lines of the CSV)"
    )


@dataclass(frozen=True)
class Labels:
    """What becomes of the set."""

    form: Annotated[Format, typer.Option("--as", help="Format that the labelling tool reads.")] = Format.yolo
    source: Annotated[str, typer.Option(metavar="NAME", help="Name of the set in its CSV.")] = "prelabelled"
    split: Annotated[str, typer.Option(metavar="SHARES", help="Shares of train, val and optionally test.")] = (
        "0.85,0.15"
    )
    seed: Annotated[int, typer.Option(help="Random seed for the split.")] = 0
    link: Annotated[bool, typer.Option(help="Hard-link the pictures where possible.")] = False
    review: Annotated[float, typer.Option(min=0, max=1, help="List boxes below this confidence in review.csv.")] = 0.5


@dataclass(frozen=True)
class Labelling:
    """The models that label."""

    attributes: Annotated[bool, typer.Option(help="Also read the attributes of each face.")] = False
    detector: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Detector to use. Default: the version in use.")
    ] = None
    classifier: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Classifier to use. Default: the version in use.")
    ] = None
    conf: Confidence = None
    device: Device = "cpu"


@dataclass(frozen=True)
class Upload:
    """Where the set is sent."""

    project: Annotated[
        str | None,
        typer.Option("--upload", metavar="WORKSPACE/PROJECT", help="Send the set to Roboflow for correction."),
    ] = None
    batch: Annotated[
        str | None, typer.Option(metavar="NAME", help="Batch name of the upload. Default: DIR's name.")
    ] = None


def prelabel(
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURES", help="Pictures or folders of pictures.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the new set.")],
    labels: Labels,
    models: Labelling,
    upload: Upload,
) -> None:
    """Label pictures with the released models, for a person to correct in Roboflow, CVAT or another tool.

    Writes a data set that data convert and the labelling tools can read, and review.csv, a list of what to look at
    first. Exit codes: 0 all pictures were read, 1 some could not be read (the others are done), 2 wrong usage or
    set-up.
    """
    if upload.batch is not None and upload.project is None:
        raise typer.BadParameter("--batch needs --upload WORKSPACE/PROJECT")
    if models.classifier is not None and not models.attributes:
        raise typer.BadParameter("--classifier needs --attributes")
    from ...core.errors import RemoteError
    from ...detector.data.folder import check_free
    from ...detector.data.splits import read_shares

    shares = read_shares(labels.split)
    check_free(out, False)
    require("yaml")
    if upload.project is not None:
        from ...detector.data.roboflow import check_access

        check_access(upload.project)
    file, failed = _label(pictures, out, labels, shares, models)
    if upload.project is not None:
        try:
            _send(file, upload.project, upload.batch or out.resolve().name, True)
        except RemoteError as error:
            again = f"facepipe data upload {file} {upload.project} --prediction"
            raise RemoteError(f"{error}; the set is complete; to send it again: {again}") from error
    if failed:
        raise typer.Exit(FAULTY)


def _label(
    pictures: list[Path], out: Path, labels: Labels, shares: dict[str, float], models: Labelling
) -> tuple[Path, bool]:
    """Write the set and say what it holds; its label file, and whether a picture could not be read."""
    from ...classifier.inference.classifier import AttributeClassifier
    from ...detector.inference.detector import FaceDetector
    from ..datasets.prelabel import gather, to_review
    from ..datasets.prelabel import prelabel as label
    from ..datasets.prelabel_files import Form, write_set

    paths = gather(pictures)
    detector = FaceDetector(models.detector, models.device, confidence=models.conf)
    classifier = AttributeClassifier(models.classifier, models.device) if models.attributes else None
    done = []
    with progress("pictures") as bar:
        for picture in label(paths, detector, classifier):
            done.append(picture)
            bar(len(done), len(paths))
    note = f"labelled by facepipe with detector {detector.release.label}"
    note += f" and classifier {classifier.release.label}" if classifier else ""
    rows = to_review(done, labels.review, detector.classes)
    known = classifier.attributes if classifier else ()
    form = Form(labels.form.value, labels.source, note, labels.link, shares, labels.seed)
    file = write_set(out, done, rows, detector.classes, known, form)
    for picture in done:
        if picture.error is not None:
            report(picture.error)
    good = [picture for picture in done if picture.error is None]
    boxes = sum(len(picture.boxes) for picture in good)
    print(f"{file}: {len(good)} pictures, {boxes} boxes, {note} at a confidence of {detector.confidence:g}")
    print(f"{out / 'review.csv'}: {len(rows)} things to look at, the most urgent first")
    return file, len(good) < len(done)


def upload(
    labels: Annotated[Path, typer.Argument(metavar="SET", help="Folder or label file of a data set, in any format.")],
    project: Annotated[str, typer.Argument(metavar="WORKSPACE/PROJECT", help="The project, as in its URL.")],
    batch: Annotated[
        str | None, typer.Option(metavar="NAME", help="Batch name of the upload. Default: the folder's name.")
    ] = None,
    prediction: Annotated[
        bool,
        typer.Option(
            "--prediction", help="Mark the boxes as a model's predictions, still to be corrected by a person."
        ),
    ] = False,
) -> None:
    """Upload a data set, pictures and boxes, to a Roboflow project. The key is read from ROBOFLOW_API_KEY.

    Uploading again is safe: Roboflow recognises pictures that it already has.
    """
    folder = labels if labels.is_dir() else labels.parent
    _send(labels, project, batch or folder.resolve().name, prediction)


def _send(labels: Path, project: str, batch: str, prediction: bool) -> None:
    from ...detector.data.roboflow import upload as send

    with progress("sent") as bar:
        sent = send(labels, project, batch=batch, prediction=prediction, progress=bar)
    print(f"{project}: {sent.sent} pictures sent to the batch {batch}, {sent.known} were already there")
