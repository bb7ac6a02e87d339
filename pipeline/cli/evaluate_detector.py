"""``facepipe evaluate-detector``: measure a detector, or several and other people's side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...core.extras import require
from ...core.files import write_figures
from ..console import console, progress
from ._options import Device, FiguresFile, ReportFolder, Threads, report_folders

if TYPE_CHECKING:
    from ...detector.evaluation.closeups import Closeups
    from ...detector.evaluation.evaluate import Evaluation
    from ...detector.evaluation.predictions import Detector


CHECKED_BY = "with the face check"
"""After the name of a detector whose faces a classifier has checked."""


@dataclass(frozen=True)
class How:
    """How our releases run; baselines have their own size."""

    precision: Annotated[str | None, typer.Option(help="float32, float16 or int8. Default: the release's default.")] = (
        None
    )
    imgsz: Annotated[int | None, typer.Option(help="Input size for facepipe releases. Default: their own.")] = None
    tiles: Annotated[bool, typer.Option(help="Have facepipe releases also scan large pictures in tiles.")] = False
    face_check: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION",
            help="Measure facepipe releases a second time, with their faces checked by this classifier.",
        ),
    ] = None
    device: Device = "cpu"
    threads: Threads = None

    @property
    def words(self) -> str:
        """Those options that were given and that figures depend on."""
        given = (("--precision", self.precision), ("--imgsz", self.imgsz), ("--face-check", self.face_check))
        return "".join(f" {option} {value}" for option, value in given if value) + " --tiles" * self.tiles


@dataclass(frozen=True)
class Further:
    """What is measured besides the pictures of ``--data``."""

    wider_splits: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of WIDER FACE's four .mat files, to measure its easy, medium and hard AP."
        ),
    ] = None
    closeups: Annotated[
        Path | None,
        typer.Option(metavar="FACES.csv", help="CSV of pictures filled by a face, to measure how often it is found."),
    ] = None
    closeup_sources: Annotated[
        str, typer.Option(help="Sources to use from the --closeups CSV, separated by commas.")
    ] = "utkface,fairface"
    blank: Annotated[
        bool, typer.Option("--blank", help="Also count in how many generated blank pictures something is found.")
    ] = False


def evaluate_detector(
    how: How,
    further: Further,
    data: Annotated[
        Path | None, typer.Option(help="DATA.yaml of the pictures to measure on; not needed for --closeups alone.")
    ] = None,
    detector: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VERSION[@PRECISION]|FOLDER|KIND:FILE",
            help="A version or a release folder, or a baseline: yunet:, scrfd: or yolov8: followed by an ONNX "
            "file. Repeat to compare side by side. Default: the version in use.",
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Split to measure: train, val or test.")] = "val",
    out: ReportFolder = None,
    json_file: FiguresFile = None,
) -> None:
    """Measure a detector as it is served: AP, recall by size and false alarms, by a protocol that is printed."""
    if data is None and (further.closeups is None or out or further.wider_splits):
        raise typer.BadParameter("--data is needed")
    named = _open_all(detector or [None], how)
    closeups = _CloseUps.measure(named, further, split)
    if data is None:
        assert closeups is not None  # checked above
        closeups.print_all(named, json_file)
        return
    if out is not None:
        require("matplotlib.figure")
    evaluations = _evaluate(named, data, split, how, further, closeups)
    _print(evaluations)
    if json_file is not None:
        dumps = [evaluation.metrics().model_dump(mode="json") for evaluation in evaluations]
        named_dumps = [{"detector": each.name, **dump} for each, dump in zip(evaluations, dumps, strict=True)]
        write_figures(json_file, dumps[0] if len(dumps) == 1 else {"detectors": named_dumps})
    if out is not None:
        from ...detector.evaluation.report import write_report

        folders = report_folders(out, [each.name for each in evaluations])
        for evaluation, folder in zip(evaluations, folders, strict=True):
            write_report(evaluation, folder)
            print(f"report: {folder}")


def _evaluate(
    named: dict[str, Detector], data: Path, split: str, how: How, further: Further, closeups: _CloseUps | None
) -> list[Evaluation]:
    from ...detector.data.dataset import read_description
    from ...detector.evaluation.blank_pictures import blank_alarms, blank_metrics
    from ...detector.evaluation.evaluate import evaluate_all
    from ...detector.evaluation.wider import read_splits, wider_metrics

    description, splits = read_description(data), further.wider_splits
    if splits is not None:
        read_splits(splits)  # what is wrong with them is reported before the pictures are looked at
    with progress("pictures") as bar:
        evaluations = evaluate_all([*named.values()], description, split, bar, [*named])
    alarms: dict[str, dict[str, int]] = {}
    if further.blank:
        with progress("pictures of nothing") as bar:
            alarms = dict(zip(named, blank_alarms([*named.values()], bar), strict=True))
    found = []
    for evaluation, (name, one) in zip(evaluations, named.items(), strict=True):
        given = name.removesuffix(f" {CHECKED_BY}")
        command = evaluation.command.replace(f"--detector {name}", f"--detector {given}")
        evaluation = replace(
            evaluation,
            command=f"{command}{how.words}{' --blank' * further.blank}",
            file_sha256=_sha256(one, given, how.precision),
        )
        if splits is not None and "face" in evaluation.classes:
            evaluation = evaluation.with_further(*wider_metrics(evaluation, splits))
        if closeups is not None:
            evaluation = evaluation.with_further(*closeups.figures(name, one))
        if further.blank:
            evaluation = evaluation.with_further(*blank_metrics(alarms[name], one.confidence))
        found.append(evaluation)
    return found


def _open_all(wanted: Sequence[str | None], how: How) -> dict[str, Detector]:
    """The detectors by name, no two the same."""
    from ...classifier.inference.classifier import AttributeClassifier
    from ...detector.evaluation.baselines import is_baseline, open_baseline
    from ...detector.evaluation.evaluate import detector_name
    from ...detector.inference.detector import FaceDetector
    from ...weights.session import PRECISIONS
    from ..face_check import CheckedDetector

    checker = None if how.face_check is None else AttributeClassifier(how.face_check, how.device, how.threads)
    found: dict[str, Detector] = {}
    for text in wanted:
        one: Detector
        if text is not None and is_baseline(text):
            one = open_baseline(text, how.device, how.threads)
            name = detector_name(one)
        else:
            version, at, stated = (text or "").rpartition("@")
            if not at or stated not in PRECISIONS:
                version, stated = text or "", ""
            one = FaceDetector(
                version or None,
                how.device,
                how.threads,
                precision=stated or how.precision,
                imgsz=how.imgsz,
                tiles=how.tiles,
            )
            name = detector_name(one) + (f"@{stated}" if stated else "")
        if name in found:
            raise typer.BadParameter(f"--detector {text}: given twice")
        found[name] = one
        if checker is not None and isinstance(one, FaceDetector):
            found[f"{name} {CHECKED_BY}"] = CheckedDetector(one, [checker])
    return found


def _sha256(detector: Detector, name: str, precision: str | None) -> str | None:
    """Of the file that ran."""
    from ...weights.session import PRECISIONS

    release = getattr(detector, "release", None)
    if release is None:
        return getattr(detector, "sha256", None)
    stated = name.rpartition("@")[2]
    return str(release.entry(stated if stated in PRECISIONS else precision).sha256)


@dataclass(frozen=True)
class _CloseUps:
    """What the detectors find in pictures that a face fills, by name."""

    results: dict[str, list[Closeups]]
    faces: Path
    split: str

    @classmethod
    def measure(cls, named: dict[str, Detector], further: Further, split: str) -> _CloseUps | None:
        """None where there are no such pictures."""
        if further.closeups is None:
            return None
        from ...detector.evaluation.closeups import closeup_recall

        sources = tuple(source for source in further.closeup_sources.split(",") if source)
        with progress("close-ups") as bar:
            found = closeup_recall([*named.values()], further.closeups, sources, split, bar)
        return cls(dict(zip(named, found, strict=True)), further.closeups, split)

    def figures(self, name: str, detector: Detector) -> tuple[Any, str]:
        """One detector's metrics and their protocol."""
        from ...detector.evaluation.closeups import closeup_metrics

        return closeup_metrics(self.results[name], detector.confidence, self.faces, self.split)

    def print_all(self, named: dict[str, Detector], json_file: Path | None) -> None:
        """Print all, where nothing else was measured."""
        dumps = []
        for name, detector in named.items():
            metrics, protocol = self.figures(name, detector)
            print(f"{name}: {protocol}")
            for metric in metrics:
                print(f"{metric.value:.4f}  {metric.name} (n = {metric.count:,})")
            values = [metric.model_dump(mode="json") for metric in metrics]
            dumps.append({"detector": name, "protocol": protocol, "values": values})
        if json_file is not None:
            write_figures(json_file, {"detectors": dumps})


def _print(evaluations: Sequence[Evaluation]) -> None:
    from ...detector.evaluation.report import further_lines, side_by_side, size_table, source_table

    screen = console()
    for evaluation in evaluations:
        print(f"{evaluation.title}: {evaluation.protocol}")
    if len(evaluations) > 1:
        screen.print(side_by_side(evaluations))
        return
    screen.print(size_table(evaluations[0]))
    screen.print(source_table(evaluations[0]))
    for line in further_lines(evaluations[0]):
        print(line)
