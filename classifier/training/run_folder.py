"""A run's folder: the settings that decide it, its history by validation, and the runs that it started from."""

from __future__ import annotations

import csv
import io
import json
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from ...core.errors import DataError, TrainingError
from ...core.files import write_whole
from ...core.run_folder import ENVIRONMENT
from ...weights.manifest import Attribute, CropRecipe
from ...weights.records import Record
from ..config.recipe import Recipe, read_recipe, shipped_recipes
from ..evaluation.evaluate import portable

Precision = Literal["auto", "float32", "bfloat16"]
Compression = Literal["float32", "float16", "int8"]
LICENCE = "AGPL-3.0-or-later; trained on data with the terms above"
SETTINGS = "settings.json"
CHECKPOINT, BEST, SERVED, FINAL = "checkpoint.npz", "best.npz", "served.npz", "weights.npz"
"""Files of a run's folder: where it stands, the weights of the stage's best validation, those of the stage before it
that does best at the size that is served, and the finished run's."""


HISTORY = "history.csv"
TEXTS = ("stage",)
"""Columns that hold no number."""
EARLIER = 20
"""Most runs that are followed back."""
Row = dict[str, str | float | None]


class ReleaseOptions(Record):
    """What a run becomes when it is over; stored with it, so that a resumed run ends as it was asked to."""

    version: str | None = None
    """To publish as; None publishes nothing: the folder's ``export`` is a working release."""
    exports: tuple[Compression, ...] = Field(default=("int8",), min_length=1, strict=False)
    """Files of the release, the default one first."""
    terms: dict[str, str] = Field(default={})
    """Of each source of the data; the key "" holds for those not named."""
    licence: str = LICENCE
    replace: bool = False
    """Whether a version that exists is replaced."""

    @field_validator("exports")
    @classmethod
    def _distinct(cls, exports: tuple[Compression, ...]) -> tuple[Compression, ...]:
        if len(set(exports)) < len(exports):
            raise ValueError(f"the files to ship must differ, got {', '.join(exports)}")
        return exports


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
    release: ReleaseOptions = ReleaseOptions()

    def to_dict(self) -> dict[str, Any]:
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


def read_history(folder: Path) -> list[Row]:
    """A run's rows, oldest first; none where there is no history yet. A figure that was not measured is None.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / HISTORY
    if not path.is_file():
        return []
    rows: list[Row] = []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        for line in reader:
            try:
                rows.append({k: v if k in TEXTS else float(v) if v else None for k, v in line.items()})
            except (TypeError, ValueError) as error:
                raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    return rows


def add_to_history(folder: Path, row: Mapping[str, str | float | None]) -> None:
    """Add a row, in the place of any of later epochs, and of one of the same epoch and as large an input.

    A stage's end is measured at its own size, and at the size that is served where that is larger.
    """
    place = _number(row, "epoch"), _number(row, "size")
    earlier = (each for each in read_history(folder) if (_number(each, "epoch"), _number(each, "size")) < place)
    rows = [*earlier, dict(row)]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    names = list(dict.fromkeys(name for each in rows for name in each))
    writer.writerow(names)
    for each in rows:
        writer.writerow([_cell(each.get(name)) for name in names])
    write_whole(folder / HISTORY, text.getvalue().encode())


def _number(row: Mapping[str, str | float | None], name: str) -> float:
    value = row.get(name)
    return value if isinstance(value, float | int) else -1.0


def _cell(value: str | float | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.6g}"


class Meter:
    """Mean losses since the last progress line, and since the last validation."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.total: dict[str, float] = {}
        self.seen = 0
        self.images = 0
        self.since = time.monotonic()

    def add(self, images: int, logs: Mapping[str, float]) -> None:
        """Count a batch."""
        self.images += images
        for name, value in logs.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value) * images

    @property
    def logs(self) -> dict[str, float]:
        """Means since the last progress line."""
        return {name: value / self.images for name, value in self.sums.items()}

    def seconds(self) -> float:
        """Since the last progress line."""
        return time.monotonic() - self.since

    def next(self) -> None:
        """Close the interval."""
        for name, value in self.sums.items():
            self.total[name] = self.total.get(name, 0.0) + value
        self.seen += self.images
        self.sums = {}
        self.images, self.since = 0, time.monotonic()

    def take(self) -> dict[str, float]:
        """Means over the closed intervals, which start anew."""
        means = {name: value / self.seen for name, value in self.total.items()} if self.seen else {}
        self.total, self.seen = {}, 0
        return means


def lineage(run: Path, settings: Settings | None = None, depth: int = EARLIER) -> dict[str, Any]:
    """A run's settings, environment and history, and under ``after`` those of the run it started from.

    Attributes and crop are left out: the manifest has them. Files are named without their folders: where they lay is of
    no use to others.

    Args:
        depth: most runs that are followed back.
        settings: of the run; None reads its ``settings.json``.

    Raises:
        TrainingError: the folder is not that of a run, or what it records cannot be read.
    """
    settings = settings or read_settings(run)
    record = {
        name: value for name, value in settings.to_dict().items() if name not in ("attributes", "crop", "release")
    }
    start = Path(settings.start)
    record |= {"data": _weighed(settings.data), "start": start.name}
    record["recipe"]["start"] = Path(settings.recipe.start).name
    record["recipe"]["schema"] = Path(settings.recipe.schema_file).name
    record["command"] = training_command(settings)
    path = run / ENVIRONMENT
    if path.is_file():
        try:
            record["environment"] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise TrainingError(f"{path}: not JSON: {error}") from error
    history = run / HISTORY
    record["history"] = history.read_text(encoding="utf-8").splitlines() if history.is_file() else []
    earlier = start if start.is_dir() else start.parent
    if depth > 0 and (earlier / SETTINGS).is_file() and earlier.resolve() != run.resolve():
        try:
            record["after"] = lineage(earlier, depth=depth - 1)
        except TrainingError:  # of a facepipe before 1.0, whose settings read otherwise
            record["after"] = {"name": earlier.name}
    return record


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
