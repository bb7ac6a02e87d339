"""From a run's weights to a released version: export, measurement, manifest, publication."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..weights.evaluations import EVALUATION, EVALUATION_FILE
from ..weights.manifest import Manifest, Metrics, TrainingData, write_manifest
from ..weights.publishing import EXPORT, publish_run
from ..weights.release import MANIFEST, Release, file_entry
from ..weights.store import refuse_existing, user_root
from ..weights.whole_file import write_whole
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
    """Export the weights in a run's folder into ``export/``, measure the files, and publish them.

    Args:
        folder: holds ``settings.json`` and ``weights.npz``.
        table: all rows of the data; the train rows calibrate int8, the val rows are measured.
        exports: files of the release, the default one first. Each is measured.
        terms: of each source; the key "" holds for those not named.
        replace: whether a version that exists is replaced.
        root: the folder of releases; None means the user's.

    Raises:
        TrainingError: the export failed.
        WeightsError: the version exists, or int8 loses too much (``weights.figures``).
    """
    refuse_existing((root or user_root()) / "classifier" / version, replace)
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
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as temporary:
        staged, reports = Path(temporary) / EXPORT, Path(temporary) / EVALUATION
        staged.mkdir()
        for precision in exports:
            (folder / f"classifier-{precision}.onnx").rename(staged / f"classifier-{precision}.onnx")
        content: dict[str, Any] = {
            "stage": "classifier",
            "version": version,
            "architecture": settings.recipe.backbone,
            "files": [file_entry(staged / f"classifier-{name}.onnx", name).model_dump() for name in exports],
            "input": spec.model_dump(),
            "output": "an output for each attribute: logits of classes or bins; points as x, y fractions of the crop",
            "decoder": "attributes",
            "attributes": [attribute.model_dump() for attribute in settings.attributes],
            "crop": settings.crop.model_dump(),
            "data": [entry.model_dump() for entry in _training_data(train, terms or {})],
            "training": training,
            "licence": licence,
            "facepipe": __version__,
            "date": dt.datetime.now(dt.UTC).date().isoformat(),
        }
        release = Release(staged, Manifest.model_validate(content))
        measured = [
            metrics for name in exports for metrics in _measure(release, name, table, settings, reports, report)
        ]
        write_manifest(release.manifest.model_copy(update={"metrics": tuple(measured)}), staged / MANIFEST)
        for new in (staged, reports):
            if (folder / new.name).exists():
                (folder / new.name).rename(Path(temporary) / f"old-{new.name}")
            new.rename(folder / new.name)
    published = publish_run(folder, version, replace=replace, root=root)
    for line in (*map(str, published.losses), *published.remarks):
        report(line)
    report(f"classifier {version} is in {published.release.folder}")
    return published.release


def _measure(
    release: Release,
    precision: str,
    table: FaceTable,
    settings: Settings,
    reports: Path,
    report: Callable[[str], None],
) -> list[Metrics]:
    """Measure one file on the val rows and write the report; figures over all rows in one record, others in another."""
    entry = release.entry(precision)
    command = (
        f"facepipe evaluate-classifier --data {table.path.name} --classifier {release.version} "
        f"--precision {precision} --split val"
    )
    classifier = AttributeClassifier(release=release, precision=precision)
    found = evaluate(classifier, table, workers=settings.workers, command=command)
    shown = ", ".join(f"{metric.name} {metric.value:.4f}" for metric in found.values if "/" not in metric.name)
    report(f"{precision}, {entry.bytes / 1e6:.1f} MB: {shown}")
    overall = tuple(metric for metric in found.values if "/" not in metric.name)
    details = tuple(metric for metric in found.values if "/" in metric.name)
    known: dict[str, Any] = {"file_sha256": entry.sha256, "labels_sha256": table.sha256}
    records = [found.model_copy(update={**known, "values": overall})]
    if details:
        protocol = f"by source and group: {found.protocol}"
        records.append(found.model_copy(update={**known, "values": details, "protocol": protocol}))
    content = {"metrics": [record.model_dump(mode="json") for record in records]}
    write_whole(reports / precision / EVALUATION_FILE, f"{json.dumps(content, indent=2)}\n".encode())
    return records


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
