"""``facepipe data check``, ``data prelabel`` and ``data upload``: what is wrong with a data set, and boxes to start
labelling from."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...core.extras import require

if TYPE_CHECKING:
    from ...core.issues import Finding
    from ...detector.data.quarantine import Moved

FAULTY = 1
"""Exit code: the data set has errors; some pictures could not be read."""


class Format(StrEnum):
    yolo = "yolo"
    coco = "coco"


def check(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="A detector's DATA.yaml; or labelled faces: CSV, Parquet, or a folder."),
    ],
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Write a contact sheet: worst findings, then a sample.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the report there.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings make exit code 1 too.")] = False,
    persons: Annotated[
        bool, typer.Option("--persons", help="Let the detector look at each picture too; takes its time.")
    ] = False,
    detector: Annotated[
        str | None, typer.Option(metavar="VERSION", help="For --persons. Default: that in use.")
    ] = None,
    aside: Annotated[
        Path | None,
        typer.Option("--set-aside", metavar="DIR", help="Move poor and broken pictures there, with their labels."),
    ] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", help="What --set-aside moves, by the word in brackets; may be repeated."),
    ] = None,
    restore_from: Annotated[
        Path | None, typer.Option("--restore", metavar="DIR", help="Move back what was set aside there, and leave.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Print every finding, not ten of a kind.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that read. Default: one a core.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sheet's sample.")] = 0,
    schema: Annotated[
        Path | None, typer.Option(help="YAML of the faces' attributes. Default: the shipped one.")
    ] = None,
) -> None:
    """Look for faults in a data set: files, labels, boxes or attributes, duplicates, poor pictures, balance.

    Exit codes: 0 no errors, 1 errors (with --strict: or warnings), 2 wrong usage. What was set aside no longer counts.
    """
    from ...core.contact_sheet import write_sheet
    from ...core.issues import KINDS
    from ...detector.data.check import check_data
    from ...detector.data.check_sheet import check_sheet
    from ...detector.data.quarantine import restore, set_aside
    from ...detector.data.statistics import as_json
    from ..console import console, progress
    from ..datasets.check import check_faces, is_faces, open_stored, print_report

    if is_faces(data):
        if persons or detector or aside or kinds or restore_from:
            raise typer.BadParameter("--persons, --set-aside and --restore go with a detector's DATA.yaml")
        findings, content = check_faces(data, schema, sheet, every, workers, seed)
        if json_file is not None:
            _write_json(json_file, content)
        _exit(findings, strict)
        return
    if schema is not None:
        raise typer.BadParameter("--schema goes with labelled faces")
    if restore_from is not None:
        moved = restore(data, restore_from)
        print(f"{data}: moved back {_moved(moved)}")
        return
    movable = {name for name, kind in KINDS.items() if kind.about_picture}
    if unknown := set(kinds or ()) - movable:
        raise typer.BadParameter(f"--kind {', '.join(sorted(unknown))}: expected {', '.join(sorted(movable))}")
    if kinds and aside is None:
        raise typer.BadParameter("--kind goes with --set-aside DIR")
    eyes = None
    if persons:
        from ...detector.inference.detector import FaceDetector

        eyes = FaceDetector(detector)
    elif detector is not None:
        raise typer.BadParameter("--detector goes with --persons")
    with progress("reading") as bar:
        report = check_data(data, open_stored, eyes, workers, bar)
    print_report(report, console(), None if every else 10)
    if sheet is not None:
        write_sheet(sheet, check_sheet(report, open_stored, seed))
        print(f"contact sheet: {sheet}")
    if json_file is not None:
        _write_json(json_file, as_json(report))
    left = report.findings
    if aside is not None:
        chosen = set(kinds or (name for name in movable if KINDS[name].aside))
        files = {finding.picture for finding in left if finding.kind in chosen}
        moved = set_aside(report.description, report.csv, files, aside)
        print(f"set aside in {aside}: {_moved(moved)}")
        if moved.pictures:
            print(f"to take it back: facepipe data check {data} --restore {aside}")
        left = [finding for finding in left if finding.picture not in files]
    _exit(left, strict)


def _exit(findings: list[Finding], strict: bool) -> None:
    """Leave with ``FAULTY`` where there are errors, or with ``strict`` warnings."""
    from ...core.issues import Severity, counts

    found = counts(findings)
    if found[Severity.error] or (strict and found[Severity.warning]):
        raise typer.Exit(FAULTY)


def _moved(moved: Moved) -> str:
    return (
        f"{moved.pictures} picture{'' if moved.pictures == 1 else 's'} "
        f"({moved.files} files, {moved.lines} lines of the CSV)"
    )


def prelabel(
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURES", help="Pictures, or folders of them.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the new set.")],
    form: Annotated[Format, typer.Option("--as", help="What the labelling tool is to read.")] = Format.yolo,
    attributes: Annotated[bool, typer.Option("--attributes", help="Read the attributes of each face too.")] = False,
    detector: Annotated[str | None, typer.Option(metavar="VERSION", help="Default: that in use.")] = None,
    classifier: Annotated[str | None, typer.Option(metavar="VERSION", help="Default: that in use.")] = None,
    conf: Annotated[
        float | None, typer.Option(min=0, max=1, help="Least confidence of a box. Default: the detector's own.")
    ] = None,
    review: Annotated[float, typer.Option(min=0, max=1, help="Boxes below it are listed in review.csv.")] = 0.5,
    source: Annotated[str, typer.Option(metavar="NAME", help="The set's name in its CSV.")] = "prelabelled",
    split: Annotated[str, typer.Option(metavar="SHARES", help="Shares of train, val and perhaps test.")] = "0.85,0.15",
    seed: Annotated[int, typer.Option(help="Of the split.")] = 0,
    link: Annotated[bool, typer.Option("--link", help="Hard-link the pictures where it can be.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, tensorrt, coreml or directml.")] = "cpu",
    project: Annotated[
        str | None,
        typer.Option("--upload", metavar="WORKSPACE/PROJECT", help="Send the set to Roboflow for correction."),
    ] = None,
    batch: Annotated[str | None, typer.Option(metavar="NAME", help="Of the upload. Default: DIR's name.")] = None,
) -> None:
    """Label pictures with the released models, for a person to correct in Roboflow, CVAT or another tool.

    Writes a data set that data convert and the tools read, and review.csv: what to look at first. Exit codes: 0 all
    pictures were read, 1 some could not be (the others are done), 2 wrong usage or set-up.
    """
    from ..console import report

    if batch is not None and project is None:
        raise typer.BadParameter("--batch goes with --upload WORKSPACE/PROJECT")
    if classifier is not None and not attributes:
        raise typer.BadParameter("--classifier goes with --attributes")
    from ...classifier.inference.classifier import AttributeClassifier
    from ...core.errors import RemoteError
    from ...detector.data.folder import check_free
    from ...detector.data.splits import read_shares
    from ...detector.inference.detector import FaceDetector
    from ..console import progress
    from ..datasets.prelabel import gather, to_review
    from ..datasets.prelabel import prelabel as label
    from ..datasets.prelabel_files import Form, write_set

    shares = read_shares(split)
    check_free(out, False)
    require("yaml")
    if project is not None:
        from ...detector.data.roboflow import check_access

        check_access(project)
    paths = gather(pictures)
    eyes = FaceDetector(detector, device, confidence=conf)
    reader = AttributeClassifier(classifier, device) if attributes else None
    done = []
    with progress("pictures") as bar:
        for picture in label(paths, eyes, reader):
            done.append(picture)
            bar(len(done), len(paths))
    note = f"labelled by facepipe with detector {eyes.release.version}"
    note += f" and classifier {reader.release.version}" if reader else ""
    rows = to_review(done, review, eyes.classes)
    known = reader.attributes if reader else ()
    labels = write_set(out, done, rows, eyes.classes, known, Form(form.value, source, note, link, shares, seed))
    for picture in done:
        if picture.error is not None:
            report(picture.error)
    good = [picture for picture in done if picture.error is None]
    boxes = sum(len(picture.boxes) for picture in good)
    print(f"{labels}: {len(good)} pictures, {boxes} boxes, {note} at a confidence of {eyes.confidence:g}")
    print(f"{out / 'review.csv'}: {len(rows)} things to look at, the most urgent first")
    if project is not None:
        try:
            _send(labels, project, batch or out.resolve().name, True)
        except RemoteError as error:
            again = f"facepipe data upload {labels} {project} --prediction"
            raise RemoteError(f"{error}; the set is whole, to send it again: {again}") from error
    if len(good) < len(done):
        raise typer.Exit(FAULTY)


def upload(
    labels: Annotated[Path, typer.Argument(metavar="SET", help="A data set's folder or label file, of any format.")],
    project: Annotated[str, typer.Argument(metavar="WORKSPACE/PROJECT", help="As in the project's address.")],
    batch: Annotated[str | None, typer.Option(metavar="NAME", help="Default: the folder's name.")] = None,
    prediction: Annotated[
        bool, typer.Option("--prediction", help="The boxes are a model's and wait for a person's correction.")
    ] = False,
) -> None:
    """Send a data set to a Roboflow project, pictures and boxes. The key is read from ROBOFLOW_API_KEY.

    Sending again is safe: Roboflow knows a picture that it has.
    """
    folder = labels if labels.is_dir() else labels.parent
    _send(labels, project, batch or folder.resolve().name, prediction)


def _send(labels: Path, project: str, batch: str, prediction: bool) -> None:
    from ...detector.data.roboflow import upload as send
    from ..console import progress

    with progress("sent") as bar:
        sent = send(labels, project, batch=batch, prediction=prediction, progress=bar)
    print(f"{project}: {sent.sent} pictures sent to the batch {batch}, {sent.known} were there already")


def _write_json(path: Path, content: object) -> None:
    from ...core.errors import DataError
    from ...core.files import write_whole

    try:
        write_whole(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace"))
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error
