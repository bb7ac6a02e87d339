"""``facepipe train-detector``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..weights.errors import TrainingError

RUNS = Path("runs") / "detector"


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("train-detector")(train_detector)


def train_detector(
    data: Annotated[Path | None, typer.Option(help="DATA.yaml; not needed with --resume.")] = None,
    start: Annotated[
        str, typer.Option(help="Starting weights: an ultralytics .pt, a .npz of arrays, or none.")
    ] = "none",
    epochs: Annotated[int, typer.Option(min=1)] = 50,
    imgsz: Annotated[int, typer.Option(min=32, help="Side of the input in pixels.")] = 640,
    batch: Annotated[str, typer.Option(help="Pictures a step, or auto.")] = "auto",
    device: Annotated[str, typer.Option(help="cpu, 0, 0,1, ...; empty: the first GPU, else the CPU.")] = "",
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Train for this long (anew when resumed), not all epochs.")
    ] = None,
    rect: Annotated[bool, typer.Option(help="Batches of like aspect ratio: less padding, no mosaic.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run of that name.")] = False,
    name: Annotated[str, typer.Option(help="The run's name; its folder is runs/detector/NAME.")] = "default",
    version: Annotated[str | None, typer.Option(help="Version to release as; else 0.0.0-NAME.")] = None,
    export: Annotated[
        list[str] | None, typer.Option(help="Files to ship, the default first: float32, float16, int8.")
    ] = None,
    conf: Annotated[float, typer.Option(min=0, max=1, help="The release's default confidence threshold.")] = 0.25,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a version of that name.")] = False,
    seed: Annotated[int, typer.Option()] = 0,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE for ultralytics' trainer; may be repeated.")
    ] = None,
) -> None:
    """Train YOLOv8s on partly labelled faces and heads, export it to ONNX and release it."""
    from ..detector.release import release_run
    from ..detector.training import DetectorSettings, train

    if data is None and not resume:
        raise typer.BadParameter("--data is needed for a new run")
    chosen = DetectorSettings(
        data=str(data and data.resolve()),
        start=start if start == "none" else str(Path(start).resolve()),
        epochs=epochs,
        imgsz=imgsz,
        batch=None if batch == "auto" else _whole_number("--batch", batch),
        device=device,
        precision=precision,
        minutes=minutes,
        rect=rect,
        seed=seed,
        overrides=dict(_setting(text) for text in settings or ()),
    )
    run = (RUNS / name).resolve()
    checkpoint = train(chosen, run, resume)
    release = release_run(
        run, checkpoint, version or f"0.0.0-{name}", tuple(export or ("float16",)), conf, replace=replace
    )
    print(f"released detector {release.version}: {release.folder}")


def _whole_number(option: str, text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise typer.BadParameter(f"{option} takes a whole number or auto, got {text!r}")
    return int(text)


def _setting(text: str) -> tuple[str, Any]:
    import yaml

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise TrainingError(f"--set takes KEY=VALUE, got {text!r}")
    return key, yaml.safe_load(value)
