"""Training recipes: the backbone and the stages through which it is trained, read from YAML."""

from __future__ import annotations

import json
import math
from pathlib import Path

from pydantic import Field, ValidationError, field_validator

from ..weights.errors import TrainingError
from ..weights.manifest import Record
from .augment import Augmentation

FOLDER = Path(__file__).parent / "recipes"
FIRST_RATE = 0.01
"""Share of a stage's learning rate at which its warm-up begins."""


class Stage(Record):
    """One part of the training, with its own size, learning rate and frozen blocks."""

    name: str
    size: int = Field(ge=32, multiple_of=32)
    """Side of the input in pixels."""
    epochs: float = Field(gt=0)
    """Share of the epochs, or their number where --epochs is not given."""
    learning_rate: float = Field(gt=0)
    """Highest rate: reached after the warm-up, then a half cosine (Loshchilov & Hutter, 2017)."""
    end: float = Field(default=0.01, gt=0, le=1)
    """Share of the rate that is left at the stage's end."""
    freeze: tuple[str, ...] = Field(default=(), strict=False)
    time: float | None = Field(default=None, gt=0)
    """Share of --minutes."""

    @property
    def time_share(self) -> float:
        return self.epochs * self.size**2 if self.time is None else self.time


class Recipe(Record):
    """How a classifier is trained."""

    backbone: str
    norms: tuple[str, ...] = Field(default=("conv1", "conv2", "conv3", "conv4", "conv5"), strict=False)
    """Blocks with batch norms; those of the others are folded into the convolutions."""
    stages: tuple[Stage, ...] = Field(min_length=1, strict=False)
    batch: int = Field(default=32, ge=2)
    patience: int = Field(default=5, ge=1)
    """Epochs without a better validation loss after which a stage ends."""
    weight_decay: float = Field(default=0.02, ge=0)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Label smoothing of the classes."""
    sigma: float = Field(default=2.0, gt=0)
    """Width of a number's soft label in bins."""
    warmup: float = Field(default=0.03, ge=0, lt=1)
    """Share of a stage over which the rate rises."""
    recalibration: int = Field(default=60, ge=0)
    """Batches over which batch norms are measured anew before each validation."""
    validation: int = Field(default=0, ge=0)
    """Most rows of the validation during training, drawn once; 0 takes all."""
    augmentation: Augmentation = Augmentation()

    @field_validator("stages")
    @classmethod
    def _grows(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        if stages[-1].size < max(stage.size for stage in stages):
            raise ValueError("the last stage sets the size that is served, so it must have the largest")
        return stages

    def changed(
        self,
        epochs: float | None = None,
        batch: int | None = None,
        patience: int | None = None,
        size: int | None = None,
    ) -> Recipe:
        """The recipe with settings of the command line in place of its own.

        Args:
            epochs: all stages together, split as the recipe splits its own.
            size: of the last stage; larger ones before it are cut down to it.
        """
        scale = 1.0 if epochs is None else epochs / sum(stage.epochs for stage in self.stages)
        stages = [stage.model_dump() | {"epochs": stage.epochs * scale} for stage in self.stages]
        if size is not None:
            stages = [stage | {"size": min(stage["size"], size)} for stage in stages]
            stages[-1]["size"] = size
        changes = {"stages": stages, "batch": batch, "patience": patience}
        content = self.model_dump() | {name: value for name, value in changes.items() if value is not None}
        return _checked(content, "recipe")


def _checked(content: object, where: str) -> Recipe:
    try:
        return Recipe.model_validate_json(json.dumps(content))
    except (ValidationError, TypeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        raise TrainingError(f"{where}: {'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}") from error


def read_recipe(name: str = "resnet50") -> Recipe:
    """Read a recipe by the name of a shipped one or by the path of a YAML file.

    Raises:
        TrainingError: there is none, or it breaks the record.
    """
    import yaml

    path = Path(name) if Path(name).suffix in (".yaml", ".yml") else FOLDER / f"{name}.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        shipped = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
        raise TrainingError(f"{path}: no such recipe; give a .yaml file, or one of: {shipped}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path}: not YAML: {error}") from error
    return _checked(content, str(path))


def rate_at(stage: Stage, warmup: float, progress: float) -> float:
    """Learning rate at a stage's progress, 0 to 1: a linear rise, then half a cosine down to ``end``."""
    if progress < warmup:
        return stage.learning_rate * max(progress / warmup, FIRST_RATE)
    falling = min((progress - warmup) / (1 - warmup), 1.0)
    return stage.learning_rate * (stage.end + (1 - stage.end) * 0.5 * (1 + math.cos(math.pi * falling)))
