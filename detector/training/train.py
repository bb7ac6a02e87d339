"""Train YOLOv8s with ultralytics' trainer, in a run folder that records everything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import ultralytics_setup  # noqa: F401  isort: skip
from ultralytics.utils.patches import torch_load

from ...core.errors import TrainingError
from ...core.extras import require
from ..data.dataset import DataDescription, read_description
from ..inference.preprocessing import STRIDE
from .devices import canonical, check_several
from .model import cpu_has_bf16
from .preview import write_augmentation
from .run_folder import CURVES, draw_curves, record_environment, seconds_used
from .settings import SETTINGS, DetectorSettings, read_settings
from .trainer import FaceTrainer

FINISHED = "finished.txt"
"""Names the checkpoint of a completed run. Resuming such a run only releases it, unless it is given more minutes."""
ONE_VALUE = "more than 1 value per channel"
"""Part of torch's error for a batch norm trained on a single value."""
TOO_SMALL = (
    "a batch of one picture at this input size leaves a batch norm a single value to learn from: choose --imgsz 64 or "
    "more, or a --batch that leaves no single picture over"
)

__all__ = ["DetectorSettings", "FaceTrainer", "train"]


def train(
    settings: DetectorSettings, run: Path, resume: bool = False, changes: Mapping[str, Any] | None = None
) -> Path:
    """Train a detector in a run folder.

    Args:
        settings: how to train; when resuming, those in the run folder are used instead.
        run: the run's own folder; it must be new unless resuming.
        resume: continue from the last checkpoint in that folder.
        changes: new values for settings of a resumed run (``settings.CHANGEABLE``).

    Returns:
        The best checkpoint (``weights/best.pt``; by mAP50-95 on the validation pictures).

    Raises:
        TrainingError: the folder already holds a run or none to resume, or a setting cannot be met.
        DataError: the data set does not match its description.
        DeviceError: the device is not available.
        MissingExtraError: a logger is not installed.
    """
    if resume:
        settings, finished = _resumed(run, changes or {})
        if finished is not None:
            _show(settings, read_description(Path(settings.data)), run)
            return finished
    elif (run / SETTINGS).exists():
        raise TrainingError(f"{run}: already holds a run; resume it, choose another name, or delete the folder")
    else:
        settings = settings.checked()
    description = read_description(Path(settings.data))
    device = _check_device(settings)
    _check_split(settings, description)
    _check_batches(settings, description)
    last = run / "weights" / "last.pt"
    run.mkdir(parents=True, exist_ok=True)
    record_environment(run, description, device)
    settings.write(run)
    _show(settings, description, run)
    (run / FINISHED).unlink(missing_ok=True)
    go_on = resume and last.is_file()
    arguments = settings.resume_arguments(run, last, device) if go_on else settings.arguments(run, device)
    trainer = FaceTrainer(overrides=arguments)
    try:
        trainer.train()
    except KeyboardInterrupt:
        trainer.keep()
        raise
    except ValueError as error:
        if ONE_VALUE not in str(error):
            raise
        raise TrainingError(TOO_SMALL) from error
    return _finish(run)


def is_over(run: Path, changes: Mapping[str, Any]) -> bool:
    """Whether a run's training is complete and ``changes`` give it no more time."""
    minutes = changes.get("minutes")
    more = minutes is not None and minutes * 60 > seconds_used(run)
    return (run / FINISHED).is_file() and not more


def _resumed(run: Path, changes: Mapping[str, Any]) -> tuple[DetectorSettings, Path | None]:
    """The settings to resume with, and the checkpoint if the run is complete.

    A run that was interrupted before its first checkpoint starts again.
    """
    last = run / "weights" / "last.pt"
    settings = read_settings(run).changed(changes)
    if is_over(run, changes):
        return settings, run / (run / FINISHED).read_text(encoding="utf-8").strip()
    if settings.minutes is None and last.is_file():
        checkpoint = torch_load(last, map_location="cpu")
        if checkpoint["epoch"] + 1 >= checkpoint["train_args"]["epochs"]:  # interrupted after its last epoch
            return settings, _finish(run)
    return settings, None


def _finish(run: Path) -> Path:
    weights = run / "weights"
    checkpoint = weights / "best.pt" if (weights / "best.pt").exists() else weights / "last.pt"
    (run / FINISHED).write_text(f"{checkpoint.relative_to(run).as_posix()}\n", encoding="utf-8")
    return checkpoint


def _show(settings: DetectorSettings, description: DataDescription, run: Path) -> None:
    """Write the recipe, and draw the preview and the curves if they are missing."""
    write_augmentation(settings.recipe(), description, run, settings.imgsz, settings.rect, settings.seed)
    if not (run / CURVES).exists():
        draw_curves(run)


def _check_device(settings: DetectorSettings) -> str:
    """The device in ultralytics' notation, after checking that the settings can be met on it."""
    device = canonical(settings.device)
    check_several(device, settings.rect, settings.batch)
    if settings.precision == "bfloat16" and device == "cpu" and not cpu_has_bf16():
        raise TrainingError("precision bfloat16 was asked for, but this CPU has neither AVX-512 BF16 nor AMX")
    if "," in device:
        require("cloudpickle")  # ultralytics uses it to send the trainer to its processes
    if device not in ("cpu", "mps") and settings.precision == "bfloat16":
        raise TrainingError("precision bfloat16 is for the CPU; a GPU takes --set amp=bf16")
    return device


def _check_batches(settings: DetectorSettings, description: DataDescription) -> None:
    """Check in advance, as far as possible, that no batch leaves a batch norm with one value per channel.

    Raises:
        TrainingError: one does.
    """
    if settings.imgsz >= 2 * STRIDE or settings.frozen_statistics or settings.batch is None:
        return
    if settings.batch == 1 or len(description.pictures["train"]) % settings.batch == 1:
        raise TrainingError(TOO_SMALL)


def _check_split(settings: DetectorSettings, description: DataDescription) -> None:
    split = settings.overrides.get("split", "val")
    if split not in description.pictures:
        raise TrainingError(f"--set split={split}: {description.yaml} has {', '.join(description.pictures)}")
