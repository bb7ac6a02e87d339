"""How a run was trained, and the runs before it whose weights it started from, as the manifest tells it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from ...core.errors import TrainingError
from ...core.run_folder import ENVIRONMENT
from ..config.recipe import read_recipe, shipped_recipes
from ..evaluation.evaluate import portable
from .history import HISTORY
from .run_folder import SETTINGS, Settings, read_settings

EARLIER = 20
"""Most runs that are followed back."""


def lineage(run: Path, settings: Settings | None = None, depth: int = EARLIER) -> dict[str, Any]:
    """A run's settings, environment and history, and under ``after`` those of the run it started from.

    Attributes and crop are left out: the manifest has them. Files are named without their folders: where they lay is of
    no use to others.

    Args:
        settings: of the run; None reads its ``settings.json``.

    Raises:
        TrainingError: the folder is not that of a run, or what it records cannot be read.
    """
    settings = settings or read_settings(run)
    told = {name: value for name, value in settings.told().items() if name not in ("attributes", "crop")}
    start = Path(settings.start)
    told |= {"data": _weighed(settings.data), "start": start.name}
    told["recipe"]["start"] = Path(settings.recipe.start).name
    told["recipe"]["schema"] = Path(settings.recipe.schema_file).name
    told["command"] = training_command(settings)
    path = run / ENVIRONMENT
    if path.is_file():
        try:
            told["environment"] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise TrainingError(f"{path}: not JSON: {error}") from error
    history = run / HISTORY
    told["history"] = history.read_text(encoding="utf-8").splitlines() if history.is_file() else []
    earlier = start if start.is_dir() else start.parent
    if depth > 0 and (earlier / SETTINGS).is_file() and earlier.resolve() != run.resolve():
        try:
            told["after"] = lineage(earlier, depth=depth - 1)
        except TrainingError:  # of a facepipe before 1.0, whose settings read otherwise
            told["after"] = {"name": earlier.name}
    return told


def training_command(settings: Settings) -> str:
    """The command line that asks for a run's settings; a recipe that was changed is called ``recipe.yaml``."""
    words = ["facepipe", "train-classifier"]
    for text in _weighed(settings.data):
        words += ["--data", text]
    shipped = [name for name in shipped_recipes() if read_recipe(name) == settings.recipe]
    words += ["--recipe", shipped[0] if shipped else "recipe.yaml", "--name", settings.name]
    if settings.start != settings.recipe.start:
        words += ["--start", Path(settings.start).name]
    if settings.precision != "auto":
        words += ["--precision", settings.precision]
    if settings.minutes is not None:
        words += ["--minutes", f"{settings.minutes:g}"]
    if settings.seed:
        words += ["--seed", str(settings.seed)]
    return shlex.join(words)


def _weighed(data: tuple[str, ...]) -> list[str]:
    """``--data`` texts without folders, with their weights."""
    weights = [text.rpartition("=")[2] if _has_weight(text) else "" for text in data]
    return [f"{name}={weight}" if weight else name for name, weight in zip(portable(data), weights, strict=True)]


def _has_weight(text: str) -> bool:
    from ..data.readers import parse_source

    return parse_source(text).weight != 1.0
