"""What a run of the classifier was asked to do, as its folder keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from ...core.errors import TrainingError
from ...core.files import write_whole
from ...weights.manifest import Attribute, CropRecipe, Record
from ..config.recipe import Recipe

Precision = Literal["auto", "float32", "bfloat16"]
SETTINGS = "settings.json"
CHECKPOINT, BEST, FINAL = "checkpoint.npz", "best.npz", "weights.npz"
"""Files of a run's folder: where it stands, the weights of the stage's best validation, and the finished run's."""


class Settings(Record):
    """Everything that decides a run; written to ``settings.json`` in its folder, and into the manifest."""

    name: str
    data: tuple[str, ...] = Field(min_length=1, strict=False)
    """As ``--data`` takes them: ``PATH``, ``PATH=WEIGHT`` or ``ATTRIBUTE:PATH``."""
    start: str
    recipe: Recipe
    attributes: tuple[Attribute, ...] = Field(strict=False)
    crop: CropRecipe
    labels_sha256: str
    seed: int = 0
    precision: Precision = "auto"
    devices: tuple[str, ...] = Field(default=(), strict=False)
    workers: int = 2
    minutes: float | None = None
    """Running time of all stages together; the rates fall to their end within it. The release comes after it."""
    memory_gb: float = 4.0
    """For decoded pictures."""
    checkpoint_minutes: float = 3.0
    progress_seconds: float = 20.0
    classifier_name: str = ""
    """``Manifest.name`` of what the run becomes."""

    def told(self) -> dict[str, Any]:
        """The settings as JSON holds them, under the names that a recipe's file has."""
        return self.model_dump(mode="json", by_alias=True)

    def write(self, folder: Path) -> None:
        """Write ``settings.json``, whole or not at all."""
        write_whole(folder / SETTINGS, f"{self.model_dump_json(indent=2, by_alias=True)}\n".encode())


def read_settings(folder: Path) -> Settings:
    """Read a run's settings.

    Raises:
        TrainingError: the folder is not that of a run, or its settings are of a facepipe before 1.0 or damaged.
    """
    path = folder / SETTINGS
    try:
        return Settings.model_validate_json(path.read_bytes())
    except OSError as error:
        raise TrainingError(f"{folder}: no run there ({SETTINGS} cannot be read: {error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise TrainingError(f"{path}: {where}: {first['msg']}") from error
