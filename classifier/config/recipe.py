"""Training recipes, read from YAML: the parts of a network and the stages in which it is trained.

A recipe names a backbone (``models/backbones.py``), a neck, heads, losses, an augmentation and a schedule, and
optionally the schema to learn. A new recipe is a new file and needs no code. With ``base: NAME`` a file lists only its
differences from another recipe: tables are merged, any other value replaces the base's.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from ...core.errors import TrainingError, did_you_mean
from ...core.yaml import read_yaml
from ...weights.records import Record
from ..data.augmentation import Augmentation

FOLDER = Path(__file__).parent / "recipes"
FIRST_RATE = 0.01
"""Share of a stage's learning rate at which warm-up starts."""


class Neck(Record):
    """The part between the backbone's last feature map and the heads."""

    pool: Literal["average", "max", "flatten"] = "average"
    batch_norm: bool = False
    """Whether a batch norm follows the pooling."""
    dropout: float = Field(default=0.2, ge=0, lt=1)


class Heads(Record):
    """The part between the neck and each output."""

    hidden: tuple[int, ...] = Field(default=(), strict=False)
    """Widths of the dense ReLU layers in each head before its output."""
    points: Literal["heatmaps", "pooled"] = "heatmaps"
    """Points come from heatmaps over the backbone's feature maps, or are a linear function of the pooled features."""
    points_width: int = Field(default=96, ge=1)
    """Channels of the feature map behind the heatmaps."""


class Losses(Record):
    """The loss of each kind of attribute. Losses are masked: a missing label contributes no gradient."""

    numeric: Literal["distribution", "classes", "mse", "mae", "huber"] = "distribution"
    """With bins: ``distribution`` (a soft label and the expectation) or ``classes`` (cross-entropy of the bin that
    holds the number). Without bins: the others, on numbers normalised to 0..1."""
    points: Literal["log", "wing", "l1", "mse"] = "log"
    """Computed on fractions of the crop's side."""
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Label smoothing of the classes."""
    sigma: float = Field(default=2.0, gt=0)
    """Width of a number's soft label in bins."""
    weights: dict[str, float] = Field(default={})
    """Loss weight by attribute, overriding the schema."""
    uncertainty: bool = False
    """Learn the loss weights from the homoscedastic uncertainty of each task (Kendall et al., CVPR 2018)."""
    class_balance: bool = False
    """Weight each class by the inverse of its share of the labelled training rows, with mean 1."""


class Balance(Record):
    """How an epoch samples rows."""

    by: tuple[str, ...] = Field(default=(), strict=False)
    """Columns or attributes. Every combination of their values that occurs is a group; blank counts as a value."""
    draw: Literal["equal", "square_root"] = "equal"
    """Sample all groups equally often, or in proportion to the square root of their sizes."""


class Split(Record):
    """Shares of the groups that become validation and test rows if the data have no split."""

    val: float = Field(default=0.15, gt=0, lt=1)
    test: float = Field(default=0.0, ge=0, lt=1)


class Stage(Record):
    """One training stage, with its own input size, learning rate and frozen blocks."""

    name: str
    size: int = Field(ge=32)
    """Side of the input in pixels; the backbone defines the valid sizes."""
    epochs: float = Field(gt=0)
    """Number of epochs, or share of --epochs if that is given."""
    learning_rate: float = Field(gt=0)
    """Peak rate, reached after warm-up and followed by a half cosine (Loshchilov & Hutter, 2017)."""
    end: float = Field(default=0.01, gt=0, le=1)
    """Final learning rate as a share of the peak."""
    freeze: tuple[str, ...] = Field(default=(), strict=False)
    """Backbone blocks to freeze; ``backbone`` means all of them."""
    attributes: tuple[str, ...] | None = Field(default=None, strict=False)
    """The attributes whose losses count; None means all."""
    time: float | None = Field(default=None, gt=0)
    """Share of --minutes; None derives it from epochs and size."""

    @property
    def time_share(self) -> float:
        return self.epochs * self.size**2 if self.time is None else self.time


class Recipe(Record):
    """A training recipe of a classifier."""

    description: str = ""
    """One sentence for ``facepipe recipes list``."""
    backbone: str
    """A key of ``BACKBONES`` in ``models/backbones.py``."""
    norms: tuple[str, ...] | None = Field(default=None, strict=False)
    """Blocks that keep their batch norms; the norms of the others are folded into the convolutions. None keeps all."""
    l2: float = Field(default=0.0, ge=0)
    """L2 penalty: factor of the squared kernels in the loss; applies to heads and the backbones of ``resnet.py``."""
    schema_file: str = Field(default="face", alias="schema")
    """A shipped schema, or the path of a YAML file relative to the recipe; ``--schema`` overrides it."""
    start: str = "none"
    """Source of the starting weights if ``--start`` is not given; see ``models/pretrained.py``."""
    neck: Neck = Neck()
    heads: Heads = Heads()
    losses: Losses = Losses()
    balance: Balance = Balance()
    split: Split = Split()
    stages: tuple[Stage, ...] = Field(min_length=1, strict=False)
    batch: int = Field(default=32, ge=2)
    patience: int = Field(default=5, ge=1)
    """Early stopping: validations (one per epoch) without a better loss before a stage ends."""
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    weight_decay: float = Field(default=0.02, ge=0)
    """Used by adamw only."""
    warmup: float = Field(default=0.03, ge=0, lt=1)
    """Share of a stage in which the learning rate rises."""
    recalibration: int = Field(default=60, ge=0)
    """Batches used to re-estimate the batch norm statistics before each validation."""
    validation: int = Field(default=0, ge=0)
    """Maximum number of validation rows during training, sampled once; 0 uses all."""
    validation_interval: int | None = Field(default=None, ge=1)
    """Training pictures between validations, for data of which an epoch takes long; None validates once per epoch."""
    sized_rows: int = Field(default=3000, ge=2)
    """Maximum number of val rows that are measured at every face size; half of them fit the calibration by size."""
    augmentation: Augmentation = Augmentation()

    @field_validator("stages")
    @classmethod
    def _grows(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        if stages[-1].size < max(stage.size for stage in stages):
            raise ValueError("the last stage sets the size that is served, so it must have the largest")
        return stages

    @model_validator(mode="after")
    def _learns_all(self) -> Recipe:
        if self.stages[-1].attributes is not None:
            raise ValueError("the last stage must learn every attribute: leave its 'attributes' out")
        return self

    @model_validator(mode="after")
    def _one_size(self) -> Recipe:
        if self.neck.pool == "flatten" and len({stage.size for stage in self.stages}) > 1:
            raise ValueError("with neck.pool flatten the weights depend on the size: every stage must have the same")
        return self

    @property
    def size(self) -> int:
        """Input side used in serving, in pixels."""
        return self.stages[-1].size

    def changed(
        self,
        epochs: float | None = None,
        batch: int | None = None,
        patience: int | None = None,
        size: int | None = None,
    ) -> Recipe:
        """Return the recipe with command-line settings overriding its own.

        Args:
            batch: crops per step.
            patience: validations (one per epoch) without a better loss before a stage ends.
            epochs: total over all stages, divided among them in the recipe's proportions.
            size: of the last stage; earlier stages are capped at it.
        """
        scale = 1.0 if epochs is None else epochs / sum(stage.epochs for stage in self.stages)
        stages = [stage.model_dump() | {"epochs": stage.epochs * scale} for stage in self.stages]
        if size is not None:
            stages = [stage | {"size": min(stage["size"], size)} for stage in stages]
            stages[-1]["size"] = size
        changes = {"stages": stages, "batch": batch, "patience": patience}
        content = self.model_dump(by_alias=True) | {k: value for k, value in changes.items() if value is not None}
        return _checked(content, "recipe")


def _checked(content: object, where: str) -> Recipe:
    try:
        return Recipe.model_validate_json(json.dumps(content))
    except (ValidationError, TypeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        raise TrainingError(f"{where}: {'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}") from error


def shipped_recipes() -> list[str]:
    """Return the names of the recipes shipped with facepipe, sorted."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def recipe_path(name: str) -> Path:
    """Return the file of a shipped recipe, or the path itself if ``name`` is a ``.yaml`` file."""
    return Path(name) if Path(name).suffix in (".yaml", ".yml") else FOLDER / f"{name}.yaml"


def reached(name: str) -> list[str]:
    """Describe in lines the results of a shipped recipe and those its authors reported; empty if not known."""
    if Path(name).suffix:
        return []
    content = json.loads((FOLDER / "reached.json").read_text(encoding="utf-8"))
    lines = []
    for run in content["runs"]:
        if run["recipe"] == name:
            figures = ", ".join(f"{metric} {value:.3g}" for metric, value in run["figures"].items())
            lines.append(
                f"Reached with {run['images']:,} pictures at {run['size']} px, start {run['start']}: {figures}."
            )
    if reported := content["reported"].get(name):
        lines.append(f"Its authors: {', '.join(f'{what} {value:g}' for what, value in reported.items())}.")
    return [*lines, "See docs/recipes.md for what is measured."] if lines else []


def read_recipe(name: str = "resnet50") -> Recipe:
    """Read a recipe by the name of a shipped one or the path of a YAML file.

    Raises:
        TrainingError: the recipe does not exist or is invalid.
        MissingExtraError: PyYAML is not installed.
    """
    path = recipe_path(name)
    return _checked(_content(path, ()), str(path))


def _content(path: Path, above: tuple[Path, ...]) -> object:
    """Load a file's content, merged into that of its ``base``; ``above`` are the files that led here."""
    if path in above:
        raise TrainingError(f"{path}: its 'base' refers back to itself")
    if not path.exists():
        known = shipped_recipes()
        hint = did_you_mean(path.stem, known)
        raise TrainingError(f"{path}: no such recipe{hint}; give a .yaml file, or one of: {', '.join(known)}")
    content = read_yaml(path, TrainingError)
    if not isinstance(content, dict) or "base" not in content:
        return content
    base = str(content.pop("base"))
    other = path.parent / base if Path(base).suffix in (".yaml", ".yml") else recipe_path(base)
    return _merged(_content(other, (*above, path)), content)


def _merged(base: object, changes: object) -> object:
    """Merge tables key by key; any other value is taken from ``changes``."""
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    return {**base, **{key: _merged(base.get(key), value) for key, value in changes.items()}}


def rate_at(stage: Stage, warmup: float, progress: float) -> float:
    """Compute the learning rate at a stage's progress: a linear rise, then a half cosine down to ``end``.

    Args:
        stage: of the recipe.
        warmup: share of the stage in which the rate rises.
        progress: of the stage, 0 to 1.
    """
    if progress < warmup:
        return stage.learning_rate * max(progress / warmup, FIRST_RATE)
    falling = min((progress - warmup) / (1 - warmup), 1.0)
    return stage.learning_rate * (stage.end + (1 - stage.end) * 0.5 * (1 + math.cos(math.pi * falling)))
