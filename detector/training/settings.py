"""The settings of one training run: what the command took, what the run's folder keeps, what ultralytics is told."""

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

ARCHITECTURE = "yolov8s.yaml"
SETTINGS = "settings.json"
CPU_BATCH = 16
"""Pictures a step on a CPU, and on each of several GPUs, where none are asked for."""
CHANGEABLE = ("data", "device", "minutes", "log", "overrides")
"""Settings that a resumed run may be given anew; the data only if it has moved."""


@dataclass(frozen=True)
class DetectorSettings:
    """The settings of one training run, as the command took them; they go into the run folder and the manifest.

    Attributes:
        data: DATA.yaml (``detector/description.py``).
        start: an ultralytics checkpoint (.pt), a .npz of arrays named as in its state_dict, a released version or its
            folder, or ``none``.
        epochs: passes over the training pictures.
        imgsz: side of the letterboxed square in pixels.
        batch: pictures a step; None: 16 on a CPU and on each of several GPUs, what fits the memory on one GPU.
        device: ``cpu``, ``0``, ``0,1``, ... as ultralytics has it; empty: the first GPU, else the CPU.
        precision: ``auto``, ``float32`` or ``bfloat16`` (the latter two for the CPU; a GPU trains in ultralytics' AMP).
        minutes: time to train in, over all resumed parts; the learning rate falls by the time gone. None: by the
            epochs done.
        rect: pictures in batches of like aspect ratio with little padding (a third faster on photos, no mosaic).
        augmentation: a recipe's content (``detector/augmentation.py``); None: ultralytics' own.
        view: random views beside ultralytics' own augmentation, where ``augmentation`` is None: so had runs of facepipe
            0.1 it.
        frozen_statistics: batch norms folded into the convolutions, their statistics left as they are
            (``model.freeze_statistics``): a step on a CPU takes a fifth less, from trained weights.
        log: whom else to tell: ``tensorboard``, ``mlflow``.
        seed: of every random number.
        overrides: anything else that ultralytics' trainer takes.
    """

    data: str
    start: str = "none"
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
        """The augmentation as it is used: what ``overrides`` says wins over the recipe.

        Raises:
            TrainingError: it is none, or contradicts another setting.
        """
        if self.augmentation is not None:
            if self.view is not None:
                raise TrainingError("view is a part of the augmentation: give it there")
            recipe = as_recipe(self.augmentation)
        else:
            recipe = read_recipe(DEFAULT)
            if self.view is not None:
                kept = {key: value for key, value in recipe.ultralytics.items() if key not in AFFINE}
                recipe = as_recipe({**recipe.to_dict(), "name": "views", "ultralytics": kept, "view": self.view})
        return recipe.resolved(self.overrides, self.rect)

    def checked(self) -> DetectorSettings:
        """The settings with their augmentation spelled out.

        Raises:
            TrainingError: a setting is wrong.
            MissingExtraError: a logger is not installed.
        """
        from .loggers import check_loggers

        check_overrides(self.overrides)
        check_loggers(self.log)
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise TrainingError(f"precision is auto, float32 or bfloat16, got {self.precision!r}")
        self._check_minutes()
        if self.start != "none" and not Path(self.start).is_file():
            self.release()
        return replace(self, augmentation=self.recipe().to_dict(), view=None)

    def release(self) -> Release | None:
        """The released detector to start from; None where the weights are a file's or none.

        Raises:
            TrainingError: there are no such starting weights.
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
        """The settings of a resumed run: these, with what may be given anew.

        Raises:
            TrainingError: something else was given.
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
        """What ultralytics' trainer is told.

        Args:
            run: the run's folder.
            device: as ``devices.canonical`` has it.
        """
        on_cpu, several = device == "cpu", "," in device
        batch = self.batch or (CPU_BATCH * (device.count(",") + 1) if on_cpu or several else -1)
        arguments: dict[str, Any] = {
            "model": ARCHITECTURE,
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
        """What ultralytics' trainer is told when it goes on from a checkpoint, which knows the other settings.

        Args:
            run: the run's folder.
            last: the checkpoint.
            device: as ``devices.canonical`` has it.
        """
        arguments: dict[str, Any] = {"resume": str(last), "data": self.data, "device": device, "save_dir": str(run)}
        if self.batch is not None:
            arguments["batch"] = self.batch
        if self.minutes is not None:
            arguments["time"] = self.minutes / 60
        return {**{key: self.overrides[key] for key in RESUMABLE if key in self.overrides}, **arguments}

    def write(self, run: Path) -> None:
        """Write them into the run's folder."""
        write_whole(run / SETTINGS, f"{json.dumps(asdict(self), indent=2)}\n".encode())


def read_settings(run: Path) -> DetectorSettings:
    """Read a run's settings.

    Raises:
        TrainingError: the folder holds none, or others than this version of facepipe knows.
    """
    path = run / SETTINGS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"{run}: not a run folder (no {SETTINGS})") from error
    except ValueError as error:
        raise TrainingError(f"{path}: not JSON: {error}") from error
    known = {each.name for each in fields(DetectorSettings)}
    if not isinstance(content, dict) or "data" not in content:
        raise TrainingError(f"{path}: not the settings of a detector's run")
    if unknown := sorted(set(content) - known):
        raise TrainingError(f"{path}: unknown setting {', '.join(unknown)}; was it written by a newer facepipe?")
    return DetectorSettings(**{**content, "log": tuple(content.get("log") or ())})
