"""Training recipes, read from YAML: which parts a network is made of, and the stages through which it is trained.

A recipe names a backbone (``backbones.py``), a neck, heads, losses, an augmentation and a schedule. It may name the
schema that it learns, too; a new recipe is a new file and no code. With ``base: NAME`` a file says only in what it
differs from another recipe: tables are merged, everything else takes the other's place.
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
"""Share of a stage's learning rate at which its warm-up begins."""


class Neck(Record):
    """What lies between the backbone's last map and the heads."""

    pool: Literal["average", "max", "flatten"] = "average"
    batch_norm: bool = False
    """A batch norm after the pooling."""
    dropout: float = Field(default=0.2, ge=0, lt=1)


class Heads(Record):
    """What is between the neck and each output."""

    hidden: tuple[int, ...] = Field(default=(), strict=False)
    """Widths of dense ReLU layers that each head has of its own before its output."""
    points: Literal["heatmaps", "pooled"] = "heatmaps"
    """Points are read from heatmaps over the backbone's maps, or are a linear function of the pooled features."""
    points_width: int = Field(default=96, ge=1)
    """Channels of the map from which heatmaps are read."""


class Losses(Record):
    """The loss of each kind of attribute; each is masked, so that a missing label moves nothing."""

    numeric: Literal["distribution", "classes", "mse", "mae", "huber"] = "distribution"
    """With bins: ``distribution``, a soft label and the expectation; ``classes``, cross-entropy of the bin that holds
    the number. Without bins: the others, on numbers normalised to 0..1."""
    points: Literal["log", "wing", "l1", "mse"] = "log"
    """On fractions of the crop's side."""
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Label smoothing of the classes."""
    sigma: float = Field(default=2.0, gt=0)
    """Width of a number's soft label in bins."""
    weights: dict[str, float] = Field(default={})
    """Factors of attributes' losses, in place of the schema's."""
    uncertainty: bool = False
    """Learn the factors: homoscedastic uncertainty of each task (Kendall et al., CVPR 2018)."""
    class_balance: bool = False
    """Weigh each class by the inverse of its share among the training rows that are labelled, mean 1."""


class Balance(Record):
    """Which rows an epoch draws."""

    by: tuple[str, ...] = Field(default=(), strict=False)
    """Columns or attributes; every combination of their values that occurs is a group. Rows in which one of them is
    blank form groups too."""
    draw: Literal["equal", "square_root"] = "equal"
    """Each group as often as every other, or in proportion to the square root of its size."""


class Split(Record):
    """Shares of the groups that become validation and test rows where the data have no split."""

    val: float = Field(default=0.15, gt=0, lt=1)
    test: float = Field(default=0.0, ge=0, lt=1)


class Stage(Record):
    """One part of the training, with its own size, learning rate and frozen blocks."""

    name: str
    size: int = Field(ge=32)
    """Side of the input in pixels; the backbone says which sizes it takes."""
    epochs: float = Field(gt=0)
    """Share of the epochs, or their number where --epochs is not given."""
    learning_rate: float = Field(gt=0)
    """Highest rate: reached after the warm-up, then a half cosine (Loshchilov & Hutter, 2017)."""
    end: float = Field(default=0.01, gt=0, le=1)
    """Share of the rate that is left at the stage's end."""
    freeze: tuple[str, ...] = Field(default=(), strict=False)
    """Blocks of the backbone; ``backbone`` means all of them."""
    attributes: tuple[str, ...] | None = Field(default=None, strict=False)
    """The attributes whose losses count; None means all."""
    time: float | None = Field(default=None, gt=0)
    """Share of --minutes."""

    @property
    def time_share(self) -> float:
        return self.epochs * self.size**2 if self.time is None else self.time


class Recipe(Record):
    """How a classifier is trained."""

    description: str = ""
    """One sentence for ``facepipe recipes list``."""
    backbone: str
    """A key of ``backbones.BACKBONES``."""
    norms: tuple[str, ...] | None = Field(default=None, strict=False)
    """Blocks that keep their batch norms, those of the others being folded into the convolutions. None: all keep them.
    Only backbones that are built here can fold."""
    l2: float = Field(default=0.0, ge=0)
    """Factor of the squared kernels in the loss (of backbones that are built here, and of the heads)."""
    schema_file: str = Field(default="face", alias="schema")
    """A shipped schema, or a YAML file's path beside the recipe; ``--schema`` takes its place."""
    start: str = "none"
    """Where the weights come from where ``--start`` is not given: see ``start.py``."""
    neck: Neck = Neck()
    heads: Heads = Heads()
    losses: Losses = Losses()
    balance: Balance = Balance()
    split: Split = Split()
    stages: tuple[Stage, ...] = Field(min_length=1, strict=False)
    batch: int = Field(default=32, ge=2)
    patience: int = Field(default=5, ge=1)
    """Epochs without a better validation loss after which a stage ends."""
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    weight_decay: float = Field(default=0.02, ge=0)
    """Of adamw."""
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
        """Side of the input that is served, in pixels."""
        return self.stages[-1].size

    def changed(
        self,
        epochs: float | None = None,
        batch: int | None = None,
        patience: int | None = None,
        size: int | None = None,
    ) -> Recipe:
        """The recipe with settings of the command line in place of its own.

        Args:
            batch: crops a step.
            patience: epochs without a better validation that end a stage.
            epochs: all stages together, split as the recipe splits its own.
            size: of the last stage; larger ones before it are cut down to it.
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
    """Names of the recipes that come with facepipe, in order."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def recipe_path(name: str) -> Path:
    """The file of a shipped recipe's name, or the path itself where a ``.yaml`` is named."""
    return Path(name) if Path(name).suffix in (".yaml", ".yml") else FOLDER / f"{name}.yaml"


def reached(name: str) -> list[str]:
    """What a shipped recipe reached, and what its authors reported, in lines; none where that is not known."""
    if Path(name).suffix:
        return []
    content = json.loads((FOLDER / "reached.json").read_text(encoding="utf-8"))
    run = next((each for each in content["runs"] if each["recipe"] == name), None)
    if run is None:
        return []
    figures = ", ".join(f"{metric} {value:.3g}" for metric, value in run["figures"].items())
    lines = [f"Reached with {run['images']:,} pictures at {run['size']} px, start {run['start']}: {figures}."]
    if run["reported"]:
        lines.append(f"Its authors: {', '.join(f'{what} {value:g}' for what, value in run['reported'].items())}.")
    return [*lines, "See docs/recipes.md for what is measured."]


def read_recipe(name: str = "resnet50") -> Recipe:
    """Read a recipe by the name of a shipped one or by the path of a YAML file.

    Raises:
        TrainingError: there is none, or it breaks the record.
        MissingExtraError: PyYAML is not installed.
    """
    path = recipe_path(name)
    return _checked(_content(path, ()), str(path))


def _content(path: Path, above: tuple[Path, ...]) -> object:
    """A file's content, merged into that of its ``base``; ``above`` are the files that led here."""
    if path in above:
        raise TrainingError(f"{path}: its 'base' leads back to itself")
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
    """Tables merged key by key; anything else is what ``changes`` says."""
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    return {**base, **{key: _merged(base.get(key), value) for key, value in changes.items()}}


def rate_at(stage: Stage, warmup: float, progress: float) -> float:
    """Learning rate at a stage's progress, 0 to 1: a linear rise, then half a cosine down to ``end``.

    Args:
        stage: of the recipe.
        warmup: share of the stage in which the rate rises.
        progress: of the stage, 0 to 1.
    """
    if progress < warmup:
        return stage.learning_rate * max(progress / warmup, FIRST_RATE)
    falling = min((progress - warmup) / (1 - warmup), 1.0)
    return stage.learning_rate * (stage.end + (1 - stage.end) * 0.5 * (1 + math.cos(math.pi * falling)))
