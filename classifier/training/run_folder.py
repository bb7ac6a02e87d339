"""A run folder: its settings, the history of its validations, and the runs that it started from."""

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
"""Weight files of a run folder: the current checkpoint, the stage's best validation, the earlier stage that is best at
the served size, and the finished run."""


HISTORY = "history.csv"
TEXTS = ("stage",)
"""Columns that hold text."""
EARLIER = 20
"""Maximum number of earlier runs in the lineage."""
Row = dict[str, str | float | None]


class ReleaseOptions(Record):
    """How a finished run is released; stored with the run, so that a resumed run keeps it."""

    version: str | None = None
    """Version to publish; None publishes nothing, and the folder's ``export`` is a working release."""
    exports: tuple[Compression, ...] = Field(default=("int8",), min_length=1, strict=False)
    """Files of the release, the default one first."""
    terms: dict[str, str] = Field(default={})
    """Terms by data source; the key "" applies to sources not listed."""
    licence: str = LICENCE
    replace: bool = False
    """Whether to replace an existing version."""

    @field_validator("exports")
    @classmethod
    def _distinct(cls, exports: tuple[Compression, ...]) -> tuple[Compression, ...]:
        if len(set(exports)) < len(exports):
            raise ValueError(f"the files to ship must differ, got {', '.join(exports)}")
        return exports


class Settings(Record):
    """All settings of a run; written to ``settings.json`` in its folder and to the manifest."""

    name: str
    data: tuple[str, ...] = Field(min_length=1, strict=False)
    """``--data`` values: ``PATH``, ``PATH=WEIGHT`` or ``ATTRIBUTE:PATH``."""
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
    """Time limit for all stages together; the learning rate schedules fit into it. The release comes on top."""
    memory_gb: float = 4.0
    """Memory for decoded pictures."""
    checkpoint_minutes: float = 3.0
    progress_seconds: float = 20.0
    classifier_name: str = ""
    """``Manifest.name`` of the release."""
    release: ReleaseOptions = ReleaseOptions()

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON data, with the field names of recipe files."""
        return self.model_dump(mode="json", by_alias=True)

    def write(self, folder: Path) -> None:
        """Write ``settings.json`` atomically."""
        write_whole(folder / SETTINGS, f"{self.model_dump_json(indent=2, by_alias=True)}\n".encode())


def read_settings(folder: Path) -> Settings:
    """Read a run's settings.

    Raises:
        TrainingError: the folder holds no run, or its settings are damaged or from facepipe before 1.0.
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
    """Read a run's history, oldest row first; empty if there is none yet. Values not measured are None.

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
    """Add a row, replacing rows of later epochs, and rows of the same epoch with an input at least as large.

    The end of a stage is measured at its own size, and also at the served size if that is larger.
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
        """Mean losses since the last progress line."""
        return {name: value / self.images for name, value in self.sums.items()}

    def seconds(self) -> float:
        """Return the seconds since the last progress line."""
        return time.monotonic() - self.since

    def next(self) -> None:
        """Close the current interval and start the next."""
        for name, value in self.sums.items():
            self.total[name] = self.total.get(name, 0.0) + value
        self.seen += self.images
        self.sums = {}
        self.images, self.since = 0, time.monotonic()

    def take(self) -> dict[str, float]:
        """Return the means over the closed intervals and reset them."""
        means = {name: value / self.seen for name, value in self.total.items()} if self.seen else {}
        self.total, self.seen = {}, 0
        return means


def lineage(run: Path, settings: Settings | None = None, depth: int = EARLIER) -> dict[str, Any]:
    """Collect a run's settings, environment and history, and under ``after`` those of the run it started from.

    Attributes and crop are left out, since the manifest has them. Files are named without their folders, which mean
    nothing on other machines.

    Args:
        run: the run folder.
        settings: of the run; None reads its ``settings.json``.
        depth: maximum number of earlier runs to follow.

    Raises:
        TrainingError: the folder holds no run, or its records cannot be read.
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
            raise TrainingError(f"{path}: not valid JSON: {error}") from error
    history = run / HISTORY
    record["history"] = history.read_text(encoding="utf-8").splitlines() if history.is_file() else []
    earlier = start if start.is_dir() else start.parent
    if depth > 0 and (earlier / SETTINGS).is_file() and earlier.resolve() != run.resolve():
        try:
            record["after"] = lineage(earlier, depth=depth - 1)
        except TrainingError:  # from facepipe before 1.0, with another settings format
            record["after"] = {"name": earlier.name}
    return record


def training_command(settings: Settings) -> str:
    """Build the command line for a run's settings; a modified recipe appears as ``recipe.yaml``."""
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
    """Return ``--data`` values without folders but with their weights."""
    weights = [text.rpartition("=")[2] if _has_weight(text) else "" for text in data]
    return [f"{name}={weight}" if weight else name for name, weight in zip(portable(data), weights, strict=True)]


def _has_weight(text: str) -> bool:
    from ..data.readers import parse_source

    return parse_source(text).weight != 1.0
