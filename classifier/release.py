"""From a run's weights to a released version: export, measurement, manifest, publication."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..weights.manifest import Manifest, Metrics, TrainingData
from ..weights.store import Release, file_entry, publish, user_root
from .batches import CropSource, exact_batches
from .checkpoint import write_arrays
from .data import FaceTable
from .evaluation import evaluate
from .export import Compression, export_run
from .runtime import AttributeClassifier, prepare
from .training import Settings, input_spec

CALIBRATION = 256
"""Training crops on which int8 is calibrated."""
UNKNOWN_TERMS = "unknown: ask the data's owner"
LICENCE = "AGPL-3.0-or-later; trained on data with the terms above"


def release_run(
    folder: Path,
    settings: Settings,
    table: FaceTable,
    version: str,
    exports: tuple[Compression, ...] = ("int8",),
    terms: dict[str, str] | None = None,
    licence: str = LICENCE,
    replace: bool = False,
    root: Path | None = None,
    report: Callable[[str], None] = print,
) -> Release:
    """Export the weights in a run's folder and publish them.

    Args:
        folder: holds ``settings.json`` and ``weights.npz``.
        table: all rows of the data; the train rows calibrate int8, the val rows are measured.
        exports: files of the release, the default one first. Each is measured.
        terms: of each source; the key "" holds for those not named.
        replace: whether a version that exists is replaced.
        root: the folder of releases; None means the user's.

    Raises:
        TrainingError: the export failed.
        WeightsError: the version exists.
    """
    train = table.split("train")
    spec = input_spec(settings.crop.size)
    chosen = np.random.default_rng(settings.seed).permutation(len(train))[:CALIBRATION]
    crops = exact_batches(CropSource(train, settings.crop.size, settings.crop.border), 32, chosen, settings.workers)
    images = np.concatenate([prepare(batch.images, spec) for batch in crops])
    write_arrays(folder / "calibration.npz", {"images": images})
    differences = export_run(folder, exports)
    (folder / "calibration.npz").unlink()
    for precision, difference in differences.items():
        report(f"largest difference from Keras, {precision}: {difference:.3g}")

    training = settings.model_dump(mode="json", exclude={"attributes", "crop"})
    for name in ("data", "start"):  # names, not the folders of this machine
        training[name] = Path(training[name]).name
    training["largest_difference_from_keras"] = differences

    def manifest(precisions: tuple[str, ...], metrics: tuple[Metrics, ...]) -> Manifest:
        content: dict[str, Any] = {
            "stage": "classifier",
            "version": version,
            "architecture": settings.recipe.backbone,
            "files": [file_entry(folder / f"classifier-{name}.onnx", name).model_dump() for name in precisions],
            "input": spec.model_dump(),
            "output": "an output for each attribute: logits of classes or bins; points as x, y fractions of the crop",
            "decoder": "attributes",
            "attributes": [attribute.model_dump() for attribute in settings.attributes],
            "crop": settings.crop.model_dump(),
            "data": [entry.model_dump() for entry in _training_data(train, terms or {})],
            "training": training,
            "metrics": [metric.model_dump() for metric in metrics],
            "licence": licence,
            "facepipe": __version__,
            "date": dt.datetime.now(dt.UTC).date().isoformat(),
        }
        return Manifest.model_validate(content)

    measured = []
    for precision in exports:
        trial = Release(folder, manifest((precision,), ()))
        found = evaluate(AttributeClassifier(release=trial), table, workers=settings.workers)
        measured += _headline_and_details(found, precision)
        shown = ", ".join(f"{metric.name} {metric.value:.4f}" for metric in found.values if "/" not in metric.name)
        report(f"{precision}, {(folder / f'classifier-{precision}.onnx').stat().st_size / 1e6:.1f} MB: {shown}")
    files = [folder / f"classifier-{precision}.onnx" for precision in exports]
    published = publish(manifest(exports, tuple(measured)), files, root or user_root(), replace)
    report(f"classifier {version} is in {published.folder}")
    return published


def _headline_and_details(metrics: Metrics, precision: str) -> list[Metrics]:
    """Figures over all rows in one record, those by source and group in another."""
    parts = (
        (precision, [metric for metric in metrics.values if "/" not in metric.name]),
        (f"{precision}, by source and group", [metric for metric in metrics.values if "/" in metric.name]),
    )
    return [
        metrics.model_copy(update={"protocol": f"{name}: {metrics.protocol}", "values": tuple(values)})
        for name, values in parts
        if values
    ]


def _training_data(train: FaceTable, terms: dict[str, str]) -> list[TrainingData]:
    sources = train.columns["source"]
    return [
        TrainingData(
            name=str(name) or train.path.stem,
            count=int((sources == name).sum()),
            labels_sha256=train.sha256,
            terms=terms.get(str(name), terms.get("", UNKNOWN_TERMS)),
        )
        for name in np.unique(sources)
    ]
