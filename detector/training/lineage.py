"""How a run was trained, and the runs before it whose weights it started from, as the manifest tells it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...core.errors import TrainingError
from ...core.run_folder import ENVIRONMENT
from .augmentation import FOLDER
from .run_folder import HISTORY, OLD_HISTORY
from .settings import SETTINGS, DetectorSettings, read_settings

EARLIER = 20
"""Most runs that are followed back."""


def lineage(run: Path, depth: int = EARLIER) -> dict[str, Any]:
    """A run's settings, environment and history, and under ``after`` those of the run it started from.

    Files are named without their folders: where they lay is of no use to others.

    Raises:
        TrainingError: the folder is not that of a run, or what it records cannot be read.
    """
    settings = read_settings(run)
    start = Path(settings.start)
    told = {**asdict(settings), "data": Path(settings.data).name, "start": start.name, "log": list(settings.log)}
    told["command"] = training_command(told)
    if (run / ENVIRONMENT).is_file():
        told["environment"] = environment(run)
    histories = [run / name for name in (HISTORY, OLD_HISTORY) if (run / name).is_file()]
    told["history"] = histories[0].read_text(encoding="utf-8").splitlines() if histories else []
    earlier = start.parent.parent
    if depth > 0 and start.suffix == ".pt" and (earlier / SETTINGS).is_file() and earlier != run:
        told["after"] = lineage(earlier, depth - 1)
    return told


def environment(run: Path) -> dict[str, Any]:
    """What ``environment.json`` of a run holds; empty where there is none (runs of facepipe 0.1).

    Raises:
        TrainingError: it is damaged.
    """
    path = run / ENVIRONMENT
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrainingError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise TrainingError(f"{path}: not the environment of a run")
    return content


def training_command(settings: Mapping[str, Any]) -> str:
    """The command line that asks for a run's settings: those that are not the default ones."""
    usual = asdict(DetectorSettings(data=""))
    words = ["facepipe", "train-detector"]
    for name, value in settings.items():
        option = f"--{name.replace('_', '-')}"
        if name == "overrides":
            for key, each in value.items():
                words += ["--set", f"{key}={each if isinstance(each, str) else json.dumps(each)}"]
        elif name == "augmentation" and value is not None:
            recipe = str(value.get("name", "recipe"))
            words += [option, recipe if (FOLDER / f"{recipe}.yaml").is_file() else f"{recipe}.yaml"]
        elif name == "log":
            words += [word for each in value for word in (option, each)]
        elif name not in usual or value == usual[name] or value is None or isinstance(value, dict):
            continue
        elif value is True:
            words.append(option)
        else:
            words += [option, f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(words)
