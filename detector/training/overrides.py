"""Check settings of ultralytics' trainer that are given by name: known keys with valid values only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any

from ...core.errors import TrainingError

OWN_OPTIONS = {
    "batch": "--batch",
    "data": "--data",
    "device": "--device",
    "epochs": "--epochs",
    "exist_ok": "--name",
    "imgsz": "--imgsz",
    "name": "--name",
    "pretrained": "--start",
    "project": "--name",
    "rect": "--rect",
    "resume": "--resume",
    "save_dir": "--name",
    "seed": "--seed",
    "time": "--minutes",
}
"""Settings that have their own option, and are recorded in the run's settings."""
CLOSED = {
    "cfg": "give its settings one by one",
    "classes": "choose the classes in the data set (facepipe data convert --map)",
    "mode": "this command trains",
    "model": "choose it with --architecture",
    "single_cls": "choose the classes in the data set (facepipe data convert --map)",
    "task": "the task is detection",
}
"""Settings that cannot be given, with the reason."""
RESUMABLE = (
    "cache",
    "close_mosaic",
    "freeze",
    "patience",
    "plots",
    "save_period",
    "val",
    "workers",
)
"""Settings that ultralytics lets a resumed run change (``BaseTrainer.check_resume``)."""
OPTIMIZERS = ("auto", "SGD", "MuSGD", "Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSprop")
"""The optimizers of ``BaseTrainer.build_optimizer``; case does not matter."""


def check_overrides(overrides: Mapping[str, Any], resumed: bool = False) -> None:
    """Check the settings given with ``--set`` before anything starts.

    Raises:
        TrainingError: ultralytics has no such setting, it cannot be given here, or its value is invalid.
    """
    for key in overrides:
        if key in OWN_OPTIONS:
            raise TrainingError(f"--set {key}: it has an option of its own, {OWN_OPTIONS[key]}")
        if key in CLOSED:
            raise TrainingError(f"--set {key}: {CLOSED[key]}")
        if resumed and key not in RESUMABLE:
            raise TrainingError(f"--set {key}: a resumed run may change only {', '.join(RESUMABLE)}")
    try:
        check_keys(overrides)
    except TrainingError as error:
        raise TrainingError(f"--set {error}") from error


def check_keys(settings: Mapping[str, Any], allowed: Iterable[str] | None = None) -> None:
    """Check settings against ultralytics' own.

    Args:
        settings: values by key.
        allowed: the keys that may be given; None means every key of ultralytics.

    Raises:
        TrainingError: an unknown key or an invalid value; the message begins with the key.
        MissingExtraError: ultralytics is not installed.
    """
    from . import ultralytics_setup  # noqa: F401  isort: skip
    from ultralytics.cfg import get_cfg
    from ultralytics.utils import DEFAULT_CFG_DICT

    known = [*DEFAULT_CFG_DICT, "augmentations"]
    names = known if allowed is None else [key for key in allowed if key in known]
    for key, value in settings.items():
        if key not in names:
            near = get_close_matches(str(key), names, n=2)
            hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(sorted(names))}"
            what = (
                "not an ultralytics setting" if key not in known else "not a setting that changes pictures with boxes"
            )
            raise TrainingError(f"{key}: {what}; {hint}")
        if key == "optimizer" and str(value).lower() not in {name.lower() for name in OPTIMIZERS}:
            raise TrainingError(f"{key}: no optimizer {value!r}; one of {', '.join(OPTIMIZERS)}")
        if key == "augmentations":
            _check_albumentations(value)
            continue
        try:
            get_cfg(overrides={key: value})
        except (TypeError, ValueError) as error:
            raise TrainingError(f"{key}: {' '.join(str(error).split())}") from error


def _check_albumentations(value: Any) -> None:
    """Check that ``augmentations`` is a list of transforms as written by ``albumentations.to_dict``."""
    if value is None:
        return
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise TrainingError("augmentations: a list of albumentations' transforms, each as its to_dict() writes it")
    if find_spec("albumentations") is None:
        raise TrainingError("augmentations: albumentations is not installed (pip install albumentations)")
