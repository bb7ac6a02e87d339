"""The settings of a training run: as given to the command, as stored in its folder, and as ultralytics' arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ...core.errors import TrainingError, WeightsError
from ...core.files import write_whole
from ...weights.release import Release
from ...weights.store import find
from .augmentation import AFFINE, DEFAULT, Recipe, as_recipe, read_recipe
from .overrides import RESUMABLE, check_overrides

ARCHITECTURES = {"yolov8s": "YOLOv8s", "yolov8n": "YOLOv8n"}
"""The networks that can be trained, and how a manifest names them. YOLOv8n has half the channels of YOLOv8s in each
layer: a third of the computation, and a quarter of the file."""
SETTINGS = "settings.json"
CPU_BATCH = 16
"""Default pictures per step on a CPU, and on each of several GPUs."""
CHANGEABLE = ("data", "device", "minutes", "log", "overrides")
"""Settings that may be changed when resuming a run; the data only if it has moved."""


@dataclass(frozen=True)
class DetectorSettings:
    """The settings of one training run, as given to the command; stored in the run's folder and the manifest.

    Attributes:
        data: DATA.yaml (see ``data.dataset``).
        start: an ultralytics checkpoint (.pt), a .npz of arrays named as in its state_dict, a released version or its
            folder, or ``none``.
        architecture: one of ``ARCHITECTURES``. It may be narrower than the release to start from.
        epochs: passes over the training pictures.
        imgsz: side of the letterboxed square in pixels.
        batch: pictures per step; None: 16 on a CPU and on each of several GPUs, or what fits the memory of one GPU.
        device: ``cpu``, ``0``, ``0,1``, ... in ultralytics' notation; empty: the first GPU, or else the CPU.
        precision: ``auto`` (bfloat16 on a CPU that supports it, ultralytics' AMP on a GPU), ``float32``, or
            ``bfloat16`` (CPU only).
        minutes: training time over all resumed parts; the learning rate then follows the elapsed time. None: it follows
            the completed epochs.
        rect: use batches of similar aspect ratios with little padding (a third faster on photos, no mosaic).
        augmentation: a recipe's content (see ``training.augmentation``); None: ultralytics' own.
        view: random views together with ultralytics' own augmentation, if ``augmentation`` is None; used by runs of
            facepipe 0.1.
        frozen_statistics: fold batch norms into the convolutions and keep their statistics fixed
            (``model.freeze_statistics``); when starting from trained weights, a step on a CPU takes a fifth less.
        log: additional loggers: ``tensorboard``, ``mlflow``.
        seed: of every random number.
        overrides: any other settings of ultralytics' trainer.
    """

    data: str
    start: str = "none"
    architecture: str = "yolov8s"
    epochs: int = 50
    imgsz: int = 640
    batch: int | None = None
    device: str = ""
    precision: str = "auto"
    minutes: float | None = None
    rect: bool = False
    augmentation: dict[str, Any] | None = None
    view: dict[str, Any] | None = None
    frozen_statistics: bool = False
    log: tuple[str, ...] = ()
    seed: int = 0
    overrides: dict[str, Any] = field(default_factory=dict)

    def recipe(self) -> Recipe:
        """The effective augmentation: ``overrides`` take precedence over the recipe.

        Raises:
            TrainingError: the recipe is invalid or contradicts another setting.
        """
        if self.augmentation is not None:
            if self.view is not None:
                raise TrainingError("view is part of the augmentation: give it there")
            recipe = as_recipe(self.augmentation)
        else:
            recipe = read_recipe(DEFAULT)
            if self.view is not None:
                kept = {key: value for key, value in recipe.ultralytics.items() if key not in AFFINE}
                recipe = as_recipe({**recipe.to_dict(), "name": "views", "ultralytics": kept, "view": self.view})
        return recipe.resolved(self.overrides, self.rect)

    def checked(self) -> DetectorSettings:
        """Check the settings and return them with their augmentation spelled out.

        Raises:
            TrainingError: a setting is invalid.
            MissingExtraError: a logger is not installed.
        """
        from .loggers import check_loggers

        check_overrides(self.overrides)
        check_loggers(self.log)
        if self.architecture not in ARCHITECTURES:
            raise TrainingError(f"architecture must be {' or '.join(ARCHITECTURES)}, got {self.architecture!r}")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise TrainingError(f"precision must be auto, float32 or bfloat16, got {self.precision!r}")
        self._check_minutes()
        if self.start != "none" and not Path(self.start).is_file():
            self.release()
        return replace(self, augmentation=self.recipe().to_dict(), view=None)

    def release(self) -> Release | None:
        """The released detector to start from; None if the weights come from a file or there are none.

        Raises:
            TrainingError: the starting weights do not exist.
        """
        if self.start == "none" or Path(self.start).is_file():
            return None
        try:
            return find("detector", Path(self.start) if Path(self.start).is_dir() else self.start)
        except WeightsError as error:
            raise TrainingError(
                f"{self.start}: no such starting weights (a .pt, a .npz, a released version, or none; {error})"
            ) from error

    def changed(self, changes: Mapping[str, Any]) -> DetectorSettings:
        """The settings of a resumed run: these with the allowed changes applied.

        Raises:
            TrainingError: a change is not allowed or invalid.
        """
        if closed := sorted(set(changes) - set(CHANGEABLE)):
            raise TrainingError(f"{', '.join(closed)}: a resumed run may change only {', '.join(CHANGEABLE)}")
        from .loggers import check_loggers

        overrides = dict(changes.get("overrides") or {})
        check_overrides(overrides, resumed=True)
        changed = replace(self, **{**changes, "overrides": {**self.overrides, **overrides}})
        check_loggers(changed.log)
        changed._check_minutes()
        return changed

    def _check_minutes(self) -> None:
        if self.minutes is not None and self.minutes <= 0:
            raise TrainingError(f"minutes must be above 0, got {self.minutes:g}")

    def arguments(self, run: Path, device: str) -> dict[str, Any]:
        """The arguments of ultralytics' trainer for a new run.

        Args:
            run: the run's folder.
            device: as from ``devices.canonical``.
        """
        on_cpu, several = device == "cpu", "," in device
        batch = self.batch or (CPU_BATCH * (device.count(",") + 1) if on_cpu or several else -1)
        arguments: dict[str, Any] = {
            "model": f"{self.architecture}.yaml",
            "pretrained": self.start if self.start.endswith(".pt") else False,
            "data": self.data,
            "epochs": self.epochs,
            "imgsz": self.imgsz,
            "batch": batch,
            "device": device,
            "seed": self.seed,
            "rect": self.rect,
            "amp": not on_cpu and self.precision != "float32",
            "save_dir": str(run),
            "exist_ok": True,
            "plots": False,
            "warmup_epochs": min(3.0, 0.06 * self.epochs),
            **self.overrides,
            **self.recipe().arguments(),
        }
        if self.minutes is not None:
            arguments["time"] = self.minutes / 60
        return arguments

    def resume_arguments(self, run: Path, last: Path, device: str) -> dict[str, Any]:
        """The arguments of ultralytics' trainer to resume from a checkpoint, which holds the other settings.

        Args:
            run: the run's folder.
            last: the checkpoint.
            device: as from ``devices.canonical``.
        """
        arguments: dict[str, Any] = {"resume": str(last), "data": self.data, "device": device, "save_dir": str(run)}
        if self.batch is not None:
            arguments["batch"] = self.batch
        if self.minutes is not None:
            arguments["time"] = self.minutes / 60
        return {**{key: self.overrides[key] for key in RESUMABLE if key in self.overrides}, **arguments}

    def write(self, run: Path) -> None:
        """Write the settings into the run's folder."""
        write_whole(run / SETTINGS, f"{json.dumps(asdict(self), indent=2)}\n".encode())


def read_settings(run: Path) -> DetectorSettings:
    """Read a run's settings.

    Raises:
        TrainingError: the folder holds no settings, or some that this version of facepipe does not know.
    """
    path = run / SETTINGS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"{run}: not a run folder (no {SETTINGS})") from error
    except ValueError as error:
        raise TrainingError(f"{path}: not valid JSON: {error}") from error
    known = {each.name for each in fields(DetectorSettings)}
    if not isinstance(content, dict) or "data" not in content:
        raise TrainingError(f"{path}: not the settings of a detector's run")
    if unknown := sorted(set(content) - known):
        raise TrainingError(f"{path}: unknown setting {', '.join(unknown)}; was it written by a newer facepipe?")
    return DetectorSettings(**{**content, "log": tuple(content.get("log") or ())})
