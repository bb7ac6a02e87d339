"""``facepipe train-detector`` and ``facepipe export-detector``."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ...core.errors import TrainingError
from ._options import typed
from .weights import exported_at, print_comparison, print_published

RUNS = Path("runs") / "detector"
RESUMING = {
    "conf",
    "data",
    "device",
    "export",
    "log",
    "minutes",
    "name",
    "replace",
    "resume",
    "settings",
    "version",
}
"""Options that go with ``--resume``."""
RELEASE_OPTIONS = {"version": "version", "replace": "replace", "confidence": "conf", "precisions": "export"}
"""The option that gives each field of ``ReleaseOptions``."""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("train-detector")(train_detector)


def train_detector(
    context: typer.Context,
    data: Annotated[
        Path | None, typer.Option(help="DATA.yaml; with --resume only if it has moved.", show_default=False)
    ] = None,
    start: Annotated[
        str, typer.Option(help="Starting weights: an ultralytics .pt, a .npz of arrays, a released version, or none.")
    ] = "none",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training pictures.")] = 50,
    imgsz: Annotated[int, typer.Option(min=32, help="Side of the input in pixels.")] = 640,
    batch: Annotated[str, typer.Option(help="Pictures a step, or auto.")] = "auto",
    device: Annotated[str, typer.Option(help="cpu, 0, 0,1, ...; empty: the first GPU, else the CPU.")] = "",
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16 (a CPU's).")] = "auto",
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Train for this long in all, resumed parts counted in, whatever --epochs says."),
    ] = None,
    rect: Annotated[bool, typer.Option(help="Batches of like aspect ratio: less padding, no mosaic.")] = False,
    augmentation: Annotated[
        str, typer.Option(help="A recipe's name (ultralytics, roboflow, views), or its FILE.yaml.")
    ] = "ultralytics",
    frozen_statistics: Annotated[
        bool, typer.Option(help="Leave batch norms' statistics as they are: quicker on a CPU, from trained weights.")
    ] = False,
    log: Annotated[
        list[str] | None, typer.Option(help="Whom else to tell: tensorboard, mlflow; may be repeated.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run of that name.")] = False,
    name: Annotated[str, typer.Option(help="The run's name; its folder is runs/detector/NAME.")] = "default",
    version: Annotated[str | None, typer.Option(help="Publish the run as this version when it is done.")] = None,
    export: Annotated[
        list[str] | None, typer.Option(help="Files to ship, the default first: float32, float16, int8.")
    ] = None,
    conf: Annotated[str, typer.Option(help="The release's default confidence threshold, or auto.")] = "0.25",
    replace: Annotated[bool, typer.Option("--replace", help="Replace a version of that name.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of every random number.")] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="KEY=VALUE for ultralytics' trainer (freeze=10, cos_lr=True, ...); may be repeated."
        ),
    ] = None,
) -> None:
    """Train YOLOv8s on partly labelled faces and heads, export it to ONNX and measure the files.

    SIGTERM and Ctrl-C end it after a checkpoint; --resume goes on from there, and ends as the run was asked to.
    """
    from ...detector.export.release import ReleaseOptions
    from ...detector.train import resume_detector
    from ...detector.train import train_detector as train
    from ...detector.training.augmentation import read_recipe
    from ...detector.training.settings import DetectorSettings
    from ..console import exit_code, terminable

    given = {key for key in context.params if typed(context, key)}
    if data is None and not resume:
        raise typer.BadParameter("--data is needed for a new run")
    if resume and (closed := sorted(given - RESUMING)):
        options = ", ".join(f"--{key}" for key in closed)
        raise typer.BadParameter(f"{options}: a resumed run keeps its settings; start a new one from its weights")
    overrides = dict(_setting(text) for text in settings or ())
    run = (RUNS / name).resolve()
    release: dict[str, Any] = {"version": version, "replace": replace, "confidence": confidence(conf)}
    release |= {"precisions": tuple(export)} if export else {}
    before = exported_at(run)
    try:
        with terminable():
            if resume:
                changes: dict[str, Any] = {"device": device, "minutes": minutes, "log": tuple(log or ())}
                changes = {key: value for key, value in changes.items() if key in given}
                if data is not None:
                    changes["data"] = str(data.resolve())
                anew = {key: release[key] for key in release if RELEASE_OPTIONS[key] in given}
                published = resume_detector(run, {**changes, "overrides": overrides}, anew)
            else:
                chosen = DetectorSettings(
                    data=str(data and data.resolve()),
                    start=str(Path(start).resolve()) if Path(start).exists() else start,
                    epochs=epochs,
                    imgsz=imgsz,
                    batch=None if batch == "auto" else _whole_number("--batch", batch),
                    device=device,
                    precision=precision,
                    minutes=minutes,
                    rect=rect,
                    augmentation=read_recipe(augmentation).to_dict(),
                    frozen_statistics=frozen_statistics,
                    log=tuple(log or ()),
                    seed=seed,
                    overrides=overrides,
                )
                published = train(run, chosen, ReleaseOptions(**release))
    except KeyboardInterrupt as interruption:
        raise typer.Exit(exit_code(interruption)) from None
    if published is None:
        print_comparison(run, before)
    else:
        print_published(published)


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


class Checkpoint(StrEnum):
    """Which of a run's checkpoints."""

    best = "best"
    last = "last"


def register_export(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("export-detector")(export_detector)


def export_detector(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, such as runs/detector/NAME.")],
    export: Annotated[
        list[str] | None, typer.Option(help="Files to ship, the default first: float32, float16, int8.")
    ] = None,
    conf: Annotated[str, typer.Option(help="The release's default confidence threshold, or auto.")] = "0.25",
    false_alarms: Annotated[
        float | None, typer.Option(min=0, help="With --conf auto: most a training picture without anybody.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="DATA.yaml, if it is not where it was in training.")] = None,
    checkpoint: Annotated[Checkpoint, typer.Option(help="Of the run, which may still be going on.")] = Checkpoint.best,
) -> None:
    """Export a run's weights to ONNX and measure the files, as training does at its end; then `weights publish`."""
    from ...detector.export.release import DEFAULT_PRECISIONS, ReleaseOptions, release_run
    from ...detector.export.threshold import FALSE_ALARMS

    options = ReleaseOptions(
        precisions=tuple(export or DEFAULT_PRECISIONS),
        confidence=confidence(conf),
        false_alarms=FALSE_ALARMS if false_alarms is None else false_alarms,
    )
    release_run(run, run / "weights" / f"{checkpoint.value}.pt", options, data=data)
    tell_exported(run)


def tell_exported(run: Path) -> None:
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
