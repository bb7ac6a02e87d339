"""What ``facepipe train-classifier`` does, apart from reading its options: settings, folder, training, release."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from ..core.errors import TrainingError, WeightsError
from ..core.extras import require
from ..core.run_folder import ENVIRONMENT, environment, record_environment
from ..weights.manifest import Attribute, CropRecipe
from ..weights.publish import Published
from ..weights.records import is_version
from ..weights.release import place, split_name
from ..weights.store import refuse_existing, user_root
from .config.recipe import Recipe
from .data.readers import read_data
from .data.table import FaceTable
from .inference.crop import Region
from .training.run_folder import (
    BEST,
    CHECKPOINT,
    FINAL,
    HISTORY,
    LICENCE,
    SETTINGS,
    Compression,
    Precision,
    ReleaseOptions,
    Settings,
    read_settings,
)

MARGIN = 0.05
"""Of the crop recipe where no ``crop.json`` says otherwise. With it, the square around a detector's box (forehead to
chin) frames a face as the usual data sets of tight crops do, so that little of a training crop is border."""
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
"""Packages whose version the run's environment tells, where they are installed."""


def import_keras() -> None:
    """Import Keras on its backend: ``KERAS_BACKEND``, else TensorFlow.

    Raises:
        MissingExtraError: Keras or the backend is not installed.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    require("keras")


def train_classifier(
    folder: Path,
    data: Sequence[str] = (),
    attributes: tuple[Attribute, ...] = (),
    recipe: Recipe | None = None,
    version: str | None = None,
    *,
    start: str | None = None,
    resume: bool = False,
    seed: int = 0,
    precision: Precision = "auto",
    devices: Sequence[str] | None = None,
    workers: int | None = None,
    minutes: float | None = None,
    memory_gb: float | None = None,
    checkpoint_minutes: float = 3.0,
    progress_seconds: float = 20.0,
    margin: float | None = None,
    region: Region | None = None,
    exports: tuple[Compression, ...] = ("int8",),
    terms: dict[str, str] | None = None,
    licence: str | None = None,
    classifier_name: str | None = None,
    replace: bool = False,
    report: Callable[[str], None] = print,
) -> Published | None:
    """Train a classifier in a run's folder, export it there, measure it, and publish it where a version is given.

    Args:
        folder: of the run; new, or with ``resume`` the one that was interrupted. Its own settings then hold; only
            ``data`` (if they have moved), ``devices``, ``minutes``, ``workers``, ``memory_gb`` and what concerns the
            release may change. A run that is over is only exported and released again.
        data: label files and folders as ``sources.parse_source`` reads them.
        attributes: the schema of a new run.
        recipe: of a new run.
        version: to publish as; None publishes nothing: the folder's ``export`` is a working release.
        start: where the weights come from; None means the recipe's.
        devices: to train on (``devices.Devices``); None means the backend's own choice.
        margin: of the crop recipe, where the data do not say it.
        region: what the crops show, where the data do not say it; None means the face.
        classifier_name: ``Manifest.name``: ``shirt`` of ``shirt@0.1.0``; "" for the classifier of faces.

    Returns:
        What was published; None where no version is given.

    Raises:
        DataError: the data break their format, or hold pictures that are no crops.
        TrainingError: the folder is there and ``resume`` is not asked for, or the other way round; or training failed.
        DeviceError: a device is not there.
        WeightsError: the version exists, or int8 loses too much.
    """
    if classifier_name:
        classifier_name, _ = split_name("classifier", f"{classifier_name}@0.0.0")
    changes = {
        "data": tuple(data) or None,
        "devices": None if devices is None else tuple(devices),
        "workers": workers,
        "minutes": minutes,
        "memory_gb": memory_gb,
        "classifier_name": classifier_name,
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    if resume:
        if not (folder / SETTINGS).is_file():
            raise TrainingError(f"{folder}: no run to resume")
        settings = read_settings(folder).model_copy(update=changes)
    elif (folder / SETTINGS).exists():
        raise TrainingError(f"{folder}: holds a run already; --resume it, or choose another --name")
    if version is not None:  # told before the work, not after it
        if not is_version(version):
            raise WeightsError(f"a version reads like 1.2.3 or 1.2.3-name, got {version!r}")
        name = settings.classifier_name if resume else classifier_name or ""
        refuse_existing(place(user_root(), "classifier", name, version), replace)
    import_keras()
    from .export.release import release_run
    from .training.trainer import Trainer

    if resume:
        table = read_data(settings.data, settings.attributes, settings.recipe.split, settings.seed, report=report)
        if table.sha256 != settings.labels_sha256:
            raise TrainingError(
                f"{', '.join(settings.data)}: not the labels that this run began with (their SHA-256 differs)"
            )
    else:
        if recipe is None or not attributes:
            raise TrainingError("a new run needs a recipe and a schema")
        table = read_data(data, attributes, recipe.split, seed, report=report)
        settings = Settings.model_validate(
            {
                "name": folder.name,
                "start": recipe.start if start is None else start,
                "recipe": recipe,
                "attributes": attributes,
                "crop": _crop_recipe(table, recipe.size, margin, region),
                "labels_sha256": table.sha256,
                "seed": seed,
                "precision": precision,
                "checkpoint_minutes": checkpoint_minutes,
                "progress_seconds": progress_seconds,
                **changes,
            }
        )
    options = {"version": version, "exports": exports, "terms": terms or {}, "licence": licence or LICENCE}
    release = ReleaseOptions.model_validate({**options, "replace": replace})
    settings = settings.model_copy(update={"release": release})
    table.require_crops(settings.crop)
    train, val = table.split("train"), table.split("val")
    over = resume and (folder / FINAL).is_file()
    folder.mkdir(parents=True, exist_ok=True)
    trainer = None if over else Trainer(settings, train, val, folder, report)
    record_environment(folder, _environment(settings, table), ", ".join(settings.data), "start a new run")
    settings.write(folder)
    rest = len(table) - len(train) - len(val)
    kept = f", {rest} kept for tests" if rest else ""
    report(f"{folder}: {len(train)} crops to train on, {len(val)} to validate{kept}")
    if trainer is not None:
        try:
            trainer.run(resume)
        except TrainingError:
            _forget_unbegun(folder)
            raise
    return release_run(folder, settings, table, report=report)


def _forget_unbegun(folder: Path) -> None:
    """Remove what a run left that failed before its first checkpoint, so that its name is free again."""
    if any((folder / name).exists() for name in (CHECKPOINT, BEST, FINAL, HISTORY)):
        return
    for name in (SETTINGS, ENVIRONMENT):
        (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
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
