"""``facepipe export-detector``."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Checkpoint(StrEnum):
    """Which of a run's checkpoints."""

    best = "best"
    last = "last"


def register(app: typer.Typer) -> None:
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
    from ...detector.export.release_part import DEFAULT_PRECISIONS, release_run
    from ...detector.export.threshold import FALSE_ALARMS

    weights = run / "weights" / f"{checkpoint.value}.pt"
    rate = FALSE_ALARMS if false_alarms is None else false_alarms
    precisions = tuple(export or DEFAULT_PRECISIONS)
    release_run(run, weights, None, precisions, confidence(conf), data=data, false_alarms=rate)
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
