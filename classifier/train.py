"""Classifier training from start to finish: settings, run folder, training, release."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..core.errors import DataError, FacepipeError, TrainingError, WeightsError
from ..core.run_folder import ENVIRONMENT, environment, record_environment
from ..weights.manifest import Attribute, CropRecipe
from ..weights.publish import EXPORT, Published
from ..weights.records import is_version
from ..weights.release import MANIFEST, place, split_name
from ..weights.store import check_target, user_root, writable_root
from .config.recipe import Recipe
from .data.readers import read_data
from .data.statistics import untrainable
from .data.table import FaceTable
from .inference.crop import Region
from .training.keras_backend import import_keras
from .training.run_folder import (
    BEST,
    CHECKPOINT,
    FINAL,
    HISTORY,
    SETTINGS,
    Compression,
    Precision,
    ReleaseOptions,
    Settings,
    read_settings,
)

MARGIN = 0.05
"""Margin of the crop recipe if no ``crop.json`` sets one. The square around a detector box (forehead to chin) then
frames a face like common data sets of tight crops, so that training crops have little border."""
EXPORT_SECONDS = 60.0
"""Approximate time to export and calibrate the ONNX files of ResNet50 on two cores."""
PACKAGES = (
    "keras",
    "tensorflow",
    "torch",
    "jax",
    "numpy",
    "opencv-python",
    "onnx",
    "onnxruntime",
    "pydantic",
    "tf2onnx",
)
"""Packages whose version is recorded in the run's environment, if installed."""


@dataclass(frozen=True)
class NewRun:
    """Settings of a new run that never change afterwards.

    Attributes:
        attributes: the schema.
        recipe: the training recipe.
        start: source of the starting weights; None means the recipe's.
        seed: of all random numbers.
        precision: of the arithmetic.
        margin: of the crop recipe, if the data do not define it.
        region: what the crops show, if the data do not define it; None means the face.
        checkpoint_minutes: time between checkpoints.
        progress_seconds: time between progress lines.
    """

    attributes: tuple[Attribute, ...]
    recipe: Recipe
    start: str | None = None
    seed: int = 0
    precision: Precision = "auto"
    margin: float | None = None
    region: Region | None = None
    checkpoint_minutes: float = 3.0
    progress_seconds: float = 20.0


@dataclass(frozen=True)
class RunOptions:
    """Settings that a resumed run may change. None keeps a resumed run's value, or the ``Settings`` default if new.

    Attributes:
        data: label files and folders as for ``readers.parse_source``; required for a new run, for a resumed one only
            if they have moved.
        devices: to train on (``train_step.Devices``); an empty tuple leaves the choice to the backend.
        workers: threads that prepare crops.
        minutes: running time of all stages together.
        memory_gb: memory for decoded pictures.
        classifier_name: ``Manifest.name``, such as ``shirt`` for ``shirt@0.1.0``; "" for the face classifier.
    """

    data: tuple[str, ...] | None = None
    devices: tuple[str, ...] | None = None
    workers: int | None = None
    minutes: float | None = None
    memory_gb: float | None = None
    classifier_name: str | None = None


@dataclass(frozen=True)
class Ending:
    """Release options of the run, as in ``ReleaseOptions``. None keeps a resumed run's value, or the default if new."""

    version: str | None = None
    exports: tuple[Compression, ...] | None = None
    terms: dict[str, str] | None = None
    licence: str | None = None
    replace: bool | None = None


def train_classifier(
    folder: Path,
    options: RunOptions,
    new: NewRun | None = None,
    ending: Ending = Ending(),
    report: Callable[[str], None] = print,
) -> Published | None:
    """Train a classifier in a run folder, export and evaluate it there, and publish it if a version is given.

    Args:
        folder: the run folder: a new one, or the one to resume if ``new`` is None. A finished run that was released as
            requested is left unchanged.
        options: settings that may change when a run is resumed.
        new: settings of a new run; None resumes.
        ending: release options.
        report: receives progress lines.

    Returns:
        What was published; None if no version is given.

    Raises:
        DataError: the data are invalid, contain pictures that are not crops, or label no attribute.
        TrainingError: the folder already holds a run and ``new`` is given, or there is no run to resume; or training
            failed.
        DeviceError: a device is not available.
        WeightsError: the version exists, or int8 loses too much accuracy.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, after a line that says how to resume.
    """
    if new is None:
        settings = _resumed(folder, options, ending)
        if _is_released(folder, settings):
            report(
                f"{folder}: the run is finished and was released as asked, so nothing is left to do; --start "
                f"{shlex.quote(str(folder))} begins another run from its weights"
            )
            return None
    elif (folder / SETTINGS).exists():
        raise TrainingError(f"{folder}: already holds a run; --resume it, or choose another --name")
    name = options.classifier_name or "" if new is not None else settings.classifier_name
    wanted = _ending(ReleaseOptions() if new is not None else settings.release, ending)
    _check_release(name, wanted)
    import_keras()
    if new is None:
        table = _same_data(settings, report)
    else:
        settings, table = _new_run(folder, new, options, wanted, report)
    seconds = 0.0
    if new is not None or not (folder / FINAL).is_file():
        seconds = _train(folder, settings, table, new is None, report)
    else:
        _record(folder, settings, table)
    report(_next_steps(settings, table, seconds))
    from .export.release import release_run

    try:
        return release_run(folder, settings, table, report=report)
    except KeyboardInterrupt:
        name = shlex.quote(folder.name)
        report(f"interrupted at the release; to go on: facepipe train-classifier --resume --name {name}")
        raise


def _resumed(folder: Path, options: RunOptions, ending: Ending) -> Settings:
    """Read a run's settings and apply the current changes.

    Raises:
        TrainingError: there is no such run, or its settings are damaged.
    """
    if not (folder / SETTINGS).is_file():
        raise TrainingError(f"{folder}: no run to resume")
    settings = read_settings(folder)
    return settings.model_copy(update=_given(options) | {"release": _ending(settings.release, ending)})


def _given(options: RunOptions | Ending) -> dict[str, Any]:
    """Return the fields that are not None."""
    return {field.name: value for field in fields(options) if (value := getattr(options, field.name)) is not None}


def _ending(before: ReleaseOptions, ending: Ending) -> ReleaseOptions:
    try:
        return ReleaseOptions.model_validate(before.model_dump() | _given(ending))
    except ValidationError as error:
        first = error.errors()[0]
        option = {"exports": "export"}.get(str(first["loc"][0]), str(first["loc"][0]))
        raise TrainingError(f"--{option}: {str(first['msg']).removeprefix('Value error, ')}") from error


def _is_released(folder: Path, settings: Settings) -> bool:
    """Check whether the run is finished, and exported and published as its settings request."""
    manifest = folder / EXPORT / MANIFEST
    if not (folder / FINAL).is_file() or not manifest.is_file():
        return False
    before = read_settings(folder)
    if (before.release, before.classifier_name) != (settings.release, settings.classifier_name):
        return False
    version = settings.release.version
    return version is None or place(user_root(), "classifier", settings.classifier_name, version).is_dir()


def _check_release(name: str, wanted: ReleaseOptions) -> None:
    """Check the release options before training rather than after it.

    Raises:
        WeightsError: the classifier's name or the version is invalid, or the version exists or cannot be written.
    """
    if name:
        split_name("classifier", f"{name}@0.0.0")
    if wanted.version is not None:
        if not is_version(wanted.version):
            raise WeightsError(f"a version looks like 1.2.3 or 1.2.3-name, got {wanted.version!r}")
        check_target(place(writable_root(), "classifier", name, wanted.version), wanted.replace)


def _same_data(settings: Settings, report: Callable[[str], None]) -> FaceTable:
    """Read the data of a resumed run.

    Raises:
        TrainingError: the labels differ from those that the run started with.
    """
    table = read_data(settings.data, settings.attributes, settings.recipe.split, settings.seed, report=report)
    if table.sha256 != settings.labels_sha256:
        raise TrainingError(
            f"{', '.join(settings.data)}: not the labels that this run began with (their SHA-256 differs)"
        )
    table.require_crops(settings.crop)
    return table


def _new_run(
    folder: Path, new: NewRun, options: RunOptions, wanted: ReleaseOptions, report: Callable[[str], None]
) -> tuple[Settings, FaceTable]:
    """Build the settings and data of a new run, without the attributes that its data cannot teach.

    Raises:
        DataError: no attribute is left.
        TrainingError: the crops have another margin or region than requested.
    """
    table = read_data(options.data or (), new.attributes, new.recipe.split, new.seed, report=report)
    crop = _crop_recipe(table, new.recipe.size, new.margin, new.region)
    table.require_crops(crop)
    if faults := untrainable(table):
        for name, fault in faults.items():
            report(f"left out: {name}: {fault}; label rows for it, or remove it from the schema")
        attributes = tuple(each for each in new.attributes if each.name not in faults)
        if not attributes:
            raise DataError(f"{table.path}: no attribute of the schema can be learnt from the training rows")
        table = replace(
            table, attributes=attributes, targets={each.name: table.targets[each.name] for each in attributes}
        )
    settings = {
        "name": folder.name,
        "start": new.recipe.start if new.start is None else new.start,
        "recipe": new.recipe,
        "attributes": table.attributes,
        "crop": crop,
        "labels_sha256": table.sha256,
        "seed": new.seed,
        "precision": new.precision,
        "checkpoint_minutes": new.checkpoint_minutes,
        "progress_seconds": new.progress_seconds,
        "release": wanted,
    }
    return Settings.model_validate(settings | _given(options)), table


def _train(folder: Path, settings: Settings, table: FaceTable, resume: bool, report: Callable[[str], None]) -> float:
    """Train in the run folder and return the validation time per crop in seconds."""
    from .training.trainer import Trainer

    train, val = table.split("train"), table.split("val")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        trainer = Trainer(settings, train, val, folder, report)
        _record(folder, settings, table)
        rest = len(table) - len(train) - len(val)
        kept = f", {rest} kept for tests" if rest else ""
        report(f"{folder}: {len(train)} crops to train on, {len(val)} to validate{kept}")
        if settings.minutes is not None:
            report(
                f"training ends after {settings.minutes:g} min at most; the export and its measurement come after it"
            )
        trainer.run(resume)
    except FacepipeError:
        _forget_unbegun(folder)
        raise
    return trainer.seconds_a_crop


def _record(folder: Path, settings: Settings, table: FaceTable) -> None:
    """Record the run's environment and settings."""
    record_environment(folder, _environment(settings, table), ", ".join(settings.data), "start a new run")
    settings.write(folder)


def _next_steps(settings: Settings, table: FaceTable, seconds: float) -> str:
    """Describe the remaining work and its approximate duration, based on the validation time per crop."""
    from .evaluation.generalisation import ROWS
    from .evaluation.predictions import sides_of

    files, val = settings.release.exports, len(table.split("val"))
    crops = val * len(files) + ROWS + min(settings.recipe.sized_rows, val) * (1 + len(sides_of(settings.crop)))
    text = f"next: export to ONNX ({', '.join(files)}), calibration and measurement of {crops:,} crops"
    if not seconds:
        return text
    minutes = (EXPORT_SECONDS + crops * seconds) / 60
    return f"{text}, about {max(round(minutes), 1)} min"


def _forget_unbegun(folder: Path) -> None:
    """Remove the files of a run that failed before its first checkpoint, so that its name can be reused."""
    if any((folder / name).exists() for name in (CHECKPOINT, BEST, FINAL, HISTORY)):
        return
    for name in (SETTINGS, ENVIRONMENT):
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _environment(settings: Settings, table: FaceTable) -> dict[str, object]:
    import keras

    from .training.train_step import present

    rows = {str(split): count for split, count in Counter(table.columns["split"].tolist()).items()}
    return environment(
        PACKAGES,
        {"labels_sha256": table.sha256, "rows": rows, "attributes": [each.name for each in settings.attributes]},
        backend=keras.backend.backend(),
        devices=list(settings.devices),
        present=present(),
    )


def _crop_recipe(table: FaceTable, size: int, margin: float | None, region: Region | None) -> CropRecipe:
    if table.crops is None:
        return CropRecipe(region=region or "face", margin=MARGIN if margin is None else margin, size=size)
    recipe = table.crops.recipe.model_copy(update={"size": size})
    for option, wanted, got in (("--margin", margin, recipe.margin), ("--region", region, recipe.region)):
        if wanted is not None and wanted != got:
            raise TrainingError(f"{option} {wanted}, but {table.path.parent} holds crops with {option[2:]} {got}")
    return recipe
