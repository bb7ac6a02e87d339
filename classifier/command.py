"""What ``facepipe train-classifier`` does, apart from reading its options: settings, folder, training, release."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from ..weights.errors import MissingExtraError, TrainingError
from ..weights.manifest import Attribute, CropRecipe
from ..weights.store import Release, user_root
from .data import FaceTable, read_faces
from .export import Compression
from .recipe import Recipe

MARGIN = 0.05
"""Of the crop recipe where no ``crop.json`` says otherwise. With it, the square around a detector's box (forehead to
chin) frames a face as the usual data sets of tight crops do, so that little of a training crop is border."""


def import_keras() -> None:
    """Import Keras on its backend: ``KERAS_BACKEND``, else TensorFlow.

    Raises:
        MissingExtraError: Keras or the backend is not installed.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import keras  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(error.name or "keras", "train") from error


def train_classifier(
    folder: Path,
    data: Path,
    attributes: tuple[Attribute, ...],
    recipe: Recipe,
    version: str,
    *,
    start: str = "none",
    resume: bool = False,
    seed: int = 0,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    workers: int = 2,
    minutes: float | None = None,
    memory_gb: float = 4.0,
    checkpoint_minutes: float = 3.0,
    progress_seconds: float = 20.0,
    margin: float | None = None,
    exports: tuple[Compression, ...] = ("int8",),
    terms: dict[str, str] | None = None,
    licence: str | None = None,
    replace: bool = False,
    report: Callable[[str], None] = print,
) -> Release:
    """Train a classifier in a run's folder and release it under the user's root.

    Args:
        folder: of the run; new, or with ``resume`` the one that was interrupted. Its own settings then hold; only
            ``minutes``, ``workers``, ``memory_gb`` and what concerns the release may change.
        margin: of the crop recipe, where the data do not say it.

    Raises:
        DataError: the CSV breaks its format, or holds pictures that are no crops.
        TrainingError: the folder is there and ``resume`` is not asked for, or the other way round; or training failed.
        WeightsError: the version exists already.
    """
    if not replace and (user_root() / "classifier" / version).exists():
        raise TrainingError(f"classifier {version} exists already; give another --version, or --replace")
    import_keras()
    from .release import LICENCE, release_run
    from .training import FINAL, Settings, Trainer

    path = folder / "settings.json"
    if resume:
        if not path.is_file():
            raise TrainingError(f"{folder}: no run to resume")
        settings = Settings.model_validate_json(path.read_bytes())
        table = read_faces(data, settings.attributes, settings.seed)
        if table.sha256 != settings.labels_sha256:
            raise TrainingError(f"{data}: not the labels that this run began with (their SHA-256 differs)")
        changes = {"minutes": minutes or settings.minutes, "workers": workers, "memory_gb": memory_gb}
        settings = settings.model_copy(update=changes)
    else:
        if path.exists():
            raise TrainingError(f"{folder}: holds a run already; --resume it, or choose another --name")
        table = read_faces(data, attributes, seed)
        crop = _crop_recipe(table, recipe.stages[-1].size, margin)
        settings = Settings(
            name=folder.name,
            data=str(data),
            start=start,
            recipe=recipe,
            attributes=attributes,
            crop=crop,
            labels_sha256=table.sha256,
            seed=seed,
            precision=precision,
            workers=workers,
            minutes=minutes,
            memory_gb=memory_gb,
            checkpoint_minutes=checkpoint_minutes,
            progress_seconds=progress_seconds,
        )
    table.require_crops(settings.crop)
    train, val = table.split("train"), table.split("val")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(settings.model_dump_json(indent=2) + "\n", encoding="utf-8")
    report(f"{folder}: {len(train)} crops to train on, {len(val)} to validate")
    if not (resume and (folder / FINAL).is_file()):
        Trainer(settings, train, val, folder, report).run(resume)
    return release_run(
        folder, settings, table, version, exports, terms, licence or LICENCE, replace=replace, report=report
    )


def _crop_recipe(table: FaceTable, size: int, margin: float | None) -> CropRecipe:
    if table.crops is None:
        return CropRecipe(margin=MARGIN if margin is None else margin, size=size)
    recipe = table.crops.recipe.model_copy(update={"size": size})
    if margin is not None and margin != recipe.margin:
        raise TrainingError(f"--margin {margin}, but {table.path.parent} holds crops with margin {recipe.margin}")
    return recipe
