"""``facepipe evaluate-detector``: measure a detector, or several and other people's side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...core.errors import DataError
from ...core.extras import require

if TYPE_CHECKING:
    from ...detector.evaluation.closeups import Closeups
    from ...detector.evaluation.evaluate import Evaluation
    from ...detector.evaluation.predictions import Detector

PRECISIONS = ("float32", "float16", "int8")


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("evaluate-detector")(evaluate_detector)


def evaluate_detector(
    data: Annotated[
        Path | None, typer.Option(help="DATA.yaml of the pictures to measure on; --closeups alone needs none.")
    ] = None,
    detector: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VERSION[@PRECISION]|FOLDER|KIND:FILE",
            help="A version or a release folder, or a baseline: yunet:, scrfd: or yolov8: and an ONNX file. Repeated: "
            "side by side. Default: the version in use.",
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "val",
    precision: Annotated[str | None, typer.Option(help="float32, float16 or int8; else the release's default.")] = None,
    imgsz: Annotated[int | None, typer.Option(help="Input size of our releases. Default: their own.")] = None,
    tiles: Annotated[bool, typer.Option("--tiles", help="Our releases look at large pictures in tiles, too.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, tensorrt, coreml or directml.")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads. Default: one a core.")] = None,
    wider_splits: Annotated[
        Path | None, typer.Option(metavar="DIR", help="WIDER FACE's four .mat files: its easy, medium and hard AP.")
    ] = None,
    closeups: Annotated[
        Path | None, typer.Option(metavar="FACES.csv", help="Pictures that a face fills: how often it is found.")
    ] = None,
    closeup_sources: Annotated[str, typer.Option(help="Sources of that CSV, with commas.")] = "utkface,fairface",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the report there: figures and plots.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there.")] = None,
) -> None:
    """Measure a detector as it serves: AP, recall by size, false alarms, by a protocol that is printed."""
    if data is None and (closeups is None or out or wider_splits):
        raise typer.BadParameter("--data is needed")
    named = _open_all(detector or [None], precision, imgsz, tiles, device, threads)
    sources = tuple(source for source in closeup_sources.split(",") if source)
    near = None if closeups is None else _closeups(named, closeups, sources, split)
    if data is None:
        assert closeups is not None  # checked above
        _tell_closeups(named, near or [], closeups, split, json_file)
        return
    from ...detector.data.dataset import read_description
    from ...detector.evaluation.evaluate import evaluate_all
    from ...detector.evaluation.wider import read_splits, wider_metrics

    description = read_description(data)
    if wider_splits is not None:
        read_splits(wider_splits)  # what is wrong with them is told before the pictures are looked at
    if out is not None:
        require("matplotlib.figure")
    with _bar("pictures") as progress:
        evaluations = evaluate_all([each for _, each in named], description, split, progress, [n for n, _ in named])
    options = (
        "".join(f" {option} {value}" for option, value in (("--precision", precision), ("--imgsz", imgsz)) if value)
        + " --tiles" * tiles
    )
    for index, (evaluation, (_, one)) in enumerate(zip(evaluations, named, strict=True)):
        evaluation = replace(
            evaluation,
            command=f"{evaluation.command}{options}",
            file_sha256=_sha256(one, evaluation.name, precision),
        )
        if wider_splits is not None and "face" in evaluation.classes:
            evaluation = evaluation.with_further(*wider_metrics(evaluation, wider_splits))
        if near is not None and closeups is not None:
            evaluation = evaluation.with_further(*_closeup_figures(near[index], one, closeups, split))
        evaluations[index] = evaluation
    _tell(evaluations)
    if json_file is not None:
        dumps = [evaluation.metrics().model_dump(mode="json") for evaluation in evaluations]
        named_dumps = [{"detector": each.name, **dump} for each, dump in zip(evaluations, dumps, strict=True)]
        _write_json(json_file, dumps[0] if len(dumps) == 1 else {"detectors": named_dumps})
    if out is not None:
        from ...detector.evaluation.report import write_report

        for evaluation, folder in zip(evaluations, _folders(out, evaluations), strict=True):
            write_report(evaluation, folder)
            print(f"report: {folder}")


def _open_all(
    wanted: Sequence[str | None],
    precision: str | None,
    imgsz: int | None,
    tiles: bool,
    device: str,
    threads: int | None,
) -> list[tuple[str, Detector]]:
    """The detectors with a name each, no two the same."""
    from ...detector.evaluation.baselines import is_baseline, open_baseline
    from ...detector.evaluation.evaluate import detector_name
    from ...detector.inference.detector import FaceDetector

    found: list[tuple[str, Detector]] = []
    for text in wanted:
        one: Detector
        if text is not None and is_baseline(text):
            one = open_baseline(text, device, threads)
            name = detector_name(one)
        else:
            version, at, told = (text or "").rpartition("@")
            if not at or told not in PRECISIONS:
                version, told = text or "", ""
            one = FaceDetector(version or None, device, threads, precision=told or precision, imgsz=imgsz, tiles=tiles)
            name = detector_name(one) + (f"@{told}" if told else "")
        if name in [other for other, _ in found]:
            raise typer.BadParameter(f"--detector {text}: given twice")
        found.append((name, one))
    return found


def _sha256(detector: Detector, name: str, precision: str | None) -> str | None:
    """Of the file that ran."""
    release = getattr(detector, "release", None)
    if release is None:
        return getattr(detector, "sha256", None)
    told = name.rpartition("@")[2]
    return str(release.entry(told if told in PRECISIONS else precision).sha256)


def _closeups(
    named: Sequence[tuple[str, Detector]], faces: Path, sources: Sequence[str], split: str
) -> list[list[Closeups]]:
    from ...detector.evaluation.closeups import closeup_recall

    with _bar("close-ups") as progress:
        return closeup_recall([each for _, each in named], faces, sources, split, progress)


def _closeup_figures(results: Sequence[Closeups], detector: Detector, faces: Path, split: str) -> tuple[Any, str]:
    from ...detector.evaluation.closeups import closeup_metrics

    return closeup_metrics(results, detector.confidence, faces, split)


def _tell_closeups(
    named: Sequence[tuple[str, Detector]],
    results: Sequence[Sequence[Closeups]],
    faces: Path,
    split: str,
    json_file: Path | None,
) -> None:
    dumps = []
    for (name, detector), each in zip(named, results, strict=True):
        metrics, protocol = _closeup_figures(each, detector, faces, split)
        print(f"{name}: {protocol}")
        for metric in metrics:
            print(f"{metric.value:.4f}  {metric.name} (n = {metric.count:,})")
        values = [metric.model_dump(mode="json") for metric in metrics]
        dumps.append({"detector": name, "protocol": protocol, "values": values})
    if json_file is not None:
        _write_json(json_file, {"detectors": dumps})


def _tell(evaluations: Sequence[Evaluation]) -> None:
    from ...detector.evaluation.report import further_lines, side_by_side, size_table, source_table
    from ..console import console

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


def _folders(out: Path, evaluations: Sequence[Evaluation]) -> list[Path]:
    """One detector's report goes to the folder itself, those of several into folders of their names."""
    if len(evaluations) == 1:
        return [out]
    return [out / "".join(c if c.isalnum() or c in "._-" else "-" for c in each.name) for each in evaluations]


def _write_json(path: Path, content: Any) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise DataError(f"{path}: the figures cannot be written ({error.strerror})") from error


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, where that is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from ..console import console

    screen = console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
