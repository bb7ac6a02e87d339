"""``facepipe train-detector`` and ``facepipe export-detector``."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...core.errors import TrainingError
from ..console import exit_code, terminable
from ._options import typed
from .weights import exported_at, print_comparison, print_published, reporting_worse

if TYPE_CHECKING:
    from ...weights.publish import Published

RUNS = Path("runs") / "detector"
RESUMING = {
    *("conf", "data", "device", "export", "log", "minutes"),
    *("name", "replace", "resume", "settings", "version"),
}
"""Options that go with ``--resume``."""
RELEASE_OPTIONS = {"version": "version", "replace": "replace", "confidence": "conf", "precisions": "export"}
"""The option that gives each field of ``ReleaseOptions``."""
Name = Annotated[str, typer.Option(help="Name of the run; its folder is runs/detector/NAME.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run of that name.")]
Export = Annotated[list[str] | None, typer.Option(help="Files to ship, the default first: float32, float16, int8.")]
Threshold = Annotated[str, typer.Option(help="Default confidence threshold of the release, or auto.")]


@dataclass(frozen=True)
class Fixed:
    """What decides a run and never changes."""

    start: Annotated[
        str, typer.Option(help="Starting weights: an ultralytics .pt, an .npz of arrays, a released version, or none.")
    ] = "none"
    architecture: Annotated[str, typer.Option(help="yolov8s, or the smaller and faster yolov8n.")] = "yolov8s"
    epochs: Annotated[int, typer.Option(min=1, help="Number of passes over the training pictures.")] = 50
    imgsz: Annotated[int, typer.Option(min=32, help="Side of the input, in pixels.")] = 640
    batch: Annotated[str, typer.Option(help="Pictures per step, or auto.")] = "auto"
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16 (CPU only).")] = "auto"
    rect: Annotated[
        bool, typer.Option("--rect/--no-rect", help="Batch pictures of similar aspect ratio: less padding, no mosaic.")
    ] = False
    augmentation: Annotated[
        str, typer.Option(help="Name of a recipe (ultralytics, roboflow, views), or a recipe's FILE.yaml.")
    ] = "ultralytics"
    frozen_statistics: Annotated[
        bool,
        typer.Option(
            "--frozen-statistics/--no-frozen-statistics",
            help="Keep batch norm statistics frozen: faster on a CPU, when starting from trained weights.",
        ),
    ] = False
    seed: Annotated[int, typer.Option(min=0, help="Seed for all random numbers.")] = 0


@dataclass(frozen=True)
class Changeable:
    """What a run may be given anew when it is resumed."""

    data: Annotated[
        Path | None, typer.Option(help="DATA.yaml; with --resume, only if it has moved.", show_default=False)
    ] = None
    device: Annotated[
        str, typer.Option(help="cpu, 0, 0,1, ...; empty: the first GPU, or the CPU if there is none.")
    ] = ""
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Total training time, including resumed parts; overrides --epochs."),
    ] = None
    log: Annotated[list[str] | None, typer.Option(help="Also log to tensorboard or mlflow; may be repeated.")] = None
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="KEY=VALUE for the ultralytics trainer (freeze=10, cos_lr=True, ...); may be repeated."
        ),
    ] = None

    @property
    def values(self) -> dict[str, Any]:
        """The same as settings of the run."""
        return {
            "data": str(self.data and self.data.resolve()),
            "device": self.device,
            "minutes": self.minutes,
            "log": tuple(self.log or ()),
            "overrides": dict(_setting(text) for text in self.settings or ()),
        }


@dataclass(frozen=True)
class Released:
    """What the run becomes."""

    version: Annotated[
        str | None,
        typer.Option(
            help="Publish the finished run as this version, unless it is worse than its start or the version in use."
        ),
    ] = None
    export: Export = None
    conf: Threshold = "0.25"
    replace: Annotated[bool, typer.Option(help="Replace an existing version of that name.")] = False

    @property
    def values(self) -> dict[str, Any]:
        """The same as fields of ``ReleaseOptions``."""
        found = {"version": self.version, "replace": self.replace, "confidence": confidence(self.conf)}
        return {**found, "precisions": tuple(self.export)} if self.export else found


def train_detector(
    context: typer.Context,
    fixed: Fixed,
    changeable: Changeable,
    released: Released,
    resume: Resume = False,
    name: Name = "default",
) -> None:
    """Train YOLOv8s or YOLOv8n on partly labelled faces and heads, export it to ONNX and measure the files.

    Ctrl+C or SIGTERM stops the run after writing a checkpoint; --resume continues from there and finishes the run as
    first requested.
    """
    from ...detector.export.release import ReleaseOptions
    from ...detector.train import resume_detector
    from ...detector.train import train_detector as train
    from ...detector.training.augmentation import read_recipe
    from ...detector.training.settings import DetectorSettings

    given = {key for key in context.params if typed(context, key)}
    if changeable.data is None and not resume:
        raise typer.BadParameter("--data is needed for a new run")
    run = (RUNS / name).resolve()
    settings, release = changeable.values, released.values
    if resume:
        refuse_closed(given - RESUMING)
        changes = {key: value for key, value in settings.items() if key in given or key == "overrides"}
        anew = {key: release[key] for key in release if RELEASE_OPTIONS[key] in given}
        train_and_report(run, lambda: resume_detector(run, changes, anew))
        return
    settings |= vars(fixed)
    settings["start"] = str(Path(fixed.start).resolve()) if Path(fixed.start).exists() else fixed.start
    settings["batch"] = None if fixed.batch == "auto" else _whole_number("--batch", fixed.batch)
    settings["augmentation"] = read_recipe(fixed.augmentation).to_dict()
    train_and_report(run, lambda: train(run, DetectorSettings(**settings), ReleaseOptions(**release)))


def refuse_closed(options: set[str]) -> None:
    """Refuse options that a resumed run keeps."""
    if options:
        names = ", ".join(f"--{key.replace('_', '-')}" for key in sorted(options))
        raise typer.BadParameter(f"{names}: a resumed run keeps its settings; start a new one from its weights")


def train_and_report(run: Path, train: Callable[[], Published | None]) -> Published | None:
    """Train, and print what was published, or how the export compares; an interruption becomes its exit code."""
    before = exported_at(run)
    try:
        with terminable(), reporting_worse():
            published = train()
    except KeyboardInterrupt as interruption:
        raise typer.Exit(exit_code(interruption)) from None
    if published is None:
        print_comparison(run, before)
    else:
        print_published(published)
    return published


class Checkpoint(StrEnum):
    """Which of a run's checkpoints."""

    best = "best"
    last = "last"


def export_detector(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, such as runs/detector/NAME.")],
    export: Export = None,
    conf: Threshold = "0.25",
    false_alarms: Annotated[
        float | None,
        typer.Option(min=0, help="With --conf auto: maximum false alarms per training picture without people."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="DATA.yaml, if it has moved since training.")] = None,
    checkpoint: Annotated[
        Checkpoint, typer.Option(help="Checkpoint of the run to export; the run may still be in progress.")
    ] = Checkpoint.best,
) -> None:
    """Export a run's weights to ONNX and measure the files, as at the end of training; next, use `weights publish`."""
    from ...detector.export.release import DEFAULT_PRECISIONS, ReleaseOptions, release_run
    from ...detector.export.threshold import FALSE_ALARMS

    options = ReleaseOptions(
        precisions=tuple(export or DEFAULT_PRECISIONS),
        confidence=confidence(conf),
        false_alarms=FALSE_ALARMS if false_alarms is None else false_alarms,
    )
    release_run(run, run / "weights" / f"{checkpoint.value}.pt", options, data=data)
    print_exported(run)


def print_exported(run: Path) -> None:
    """Print where a run's export is, and what to do with it."""
    print(
        f"{run / 'export'}: a working release; publish it with: "
        f"facepipe weights publish {shlex.quote(str(run))} --version VERSION"
    )


def confidence(text: str) -> float | None:
    """The option ``--conf``: a number from 0 to 1, or None for ``auto``."""
    if text == "auto":
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise typer.BadParameter(f"--conf takes a number from 0 to 1 or auto, got {text!r}")
    return value


def _whole_number(option: str, text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise typer.BadParameter(f"{option} takes a whole number or auto, got {text!r}")
    return int(text)


def _setting(text: str) -> tuple[str, Any]:
    from ...core.yaml import parse_yaml

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise TrainingError(f"--set takes KEY=VALUE, got {text!r}")
    return key, parse_yaml(value, f"--set {key}", TrainingError)
