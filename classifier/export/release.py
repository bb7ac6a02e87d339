"""From a run's weights to a released version: export, calibration, measurement, manifest, publication."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import TrainingError
from ...core.run_folder import trial_version
from ...core.version import __version__
from ...weights.manifest import Attribute, Manifest, Metrics, TrainingData, write_manifest
from ...weights.metrics import EVALUATION
from ...weights.publish import EXPORT, Published, publish_run
from ...weights.release import MANIFEST, Release, file_entry, place
from ...weights.session import open_session
from ...weights.store import refuse_existing, user_root
from ..data.loader import BrokenPictures, CropSource, exact_batches
from ..data.table import FaceTable
from ..evaluation.evaluate import assemble
from ..evaluation.generalisation import ROWS, training_sample
from ..evaluation.predictions import Predictions, predict
from ..evaluation.report import sentences, write_report
from ..inference.classifier import FEATURES, AttributeClassifier, prepare
from ..models.backbones import find_backbone
from ..training.checkpoint import write_arrays
from ..training.run_folder import Settings, lineage
from .calibration import LEAST_ROWS, Abstention, calibrate, calibration_metrics, halves
from .onnx import Compression, export_run

CALIBRATION = 256
"""Training crops on which int8 is calibrated."""
UNKNOWN_TERMS = "unknown: ask the data's owner"
LICENCE = "AGPL-3.0-or-later; trained on data with the terms above"
OUTPUT = (
    "an output for each attribute: logits of classes or bins, a number without bins as a fraction of its range, points "
    "as x, y fractions of the crop; and 'features', the pooled numbers before the heads"
)


def release_run(
    folder: Path,
    settings: Settings,
    table: FaceTable,
    version: str | None = None,
    exports: tuple[Compression, ...] = ("int8",),
    terms: dict[str, str] | None = None,
    licence: str = LICENCE,
    replace: bool = False,
    root: Path | None = None,
    report: Callable[[str], None] = print,
    abstention: Abstention | None = None,
    notes: str = "",
    most_loss: float | None = None,
) -> Published | None:
    """Export the weights in a run's folder into ``export/``, calibrate and measure the files, and publish them.

    Args:
        folder: holds ``settings.json`` and ``weights.npz``.
        table: all rows of the data; train rows calibrate int8, val rows fit the calibration and are measured.
        version: the version's name; None publishes nothing: ``export/`` is a working release by its folder.
        exports: files of the release, the default one first. Each is measured.
        terms: of each source; the key "" holds for those not named.
        replace: whether a version that exists is replaced.
        root: the folder of releases; None means the user's.
        abstention: when a class is left unsaid; None means the usual rule.
        notes: Markdown for the card.
        most_loss: most accuracy that int8 may lose against float; None means the project's limit.

    Raises:
        TrainingError: the export failed, or the files to ship are the same twice.
        WeightsError: the version exists, or int8 loses too much (``weights.figures``).
        MissingExtraError: scipy, fairlearn or matplotlib is not installed.
    """
    if not exports or len(set(exports)) < len(exports):
        raise TrainingError(f"the files to ship must differ, got {', '.join(exports) or 'none'}")
    if version is not None:  # told before the work, not after it
        refuse_existing(place(root or user_root(), "classifier", settings.classifier_name, version), replace)
    train, val = table.split("train"), table.split("val")
    differences = _export(folder, settings, train, exports, report)
    for precision, difference in differences.items():
        report(f"largest difference from Keras, {precision}: {difference:.3g}")
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as temporary:
        staged, reports = Path(temporary) / EXPORT, Path(temporary) / EVALUATION
        staged.mkdir()
        for precision in exports:
            (folder / f"classifier-{precision}.onnx").rename(staged / f"classifier-{precision}.onnx")
        (folder / "classifier-float32.onnx").unlink(missing_ok=True)
        release = Release(staged, _manifest(folder, staged, settings, train, version, exports, terms or {}, licence))
        update = {**release.manifest.training, "largest_difference_from_keras": differences}
        release = _with(release, training=update)
        release = _measured(release, table, train, val, settings, reports, report, abstention or Abstention())
        write_manifest(release.manifest, staged / MANIFEST)
        for new in (staged, reports):
            if (folder / new.name).exists():
                (folder / new.name).rename(Path(temporary) / f"old-{new.name}")
            new.rename(folder / new.name)
    if version is None:
        return None
    return publish_run(folder, version, notes, replace, most_loss, root)


def _export(
    folder: Path,
    settings: Settings,
    train: FaceTable,
    exports: tuple[Compression, ...],
    report: Callable[[str], None],
) -> dict[str, float]:
    """Write the files into the run's folder; differences from Keras by precision."""
    size = settings.crop.size
    spec = find_backbone(settings.recipe.backbone).input_spec(size)
    chosen = np.random.default_rng(settings.seed).permutation(len(train))[:CALIBRATION]
    source = CropSource(train, size, settings.crop.border, broken=BrokenPictures(len(train), report))
    crops = exact_batches(source, 32, chosen, settings.workers)
    path = folder / "calibration.npz"
    write_arrays(path, {"images": np.concatenate([prepare(batch.images, spec) for batch in crops])})
    try:
        return export_run(folder, exports)
    finally:
        path.unlink(missing_ok=True)


def _manifest(
    folder: Path,
    staged: Path,
    settings: Settings,
    train: FaceTable,
    version: str | None,
    exports: tuple[Compression, ...],
    terms: dict[str, str],
    licence: str,
) -> Manifest:
    """The manifest before calibration and measurement."""
    files = [file_entry(staged / f"classifier-{precision}.onnx", precision) for precision in exports]
    content: dict[str, Any] = {
        "stage": "classifier",
        "name": settings.classifier_name,
        "version": version or trial_version(folder),
        "architecture": settings.recipe.backbone,
        "files": [file.model_dump() for file in files],
        "input": find_backbone(settings.recipe.backbone).input_spec(settings.crop.size).model_dump(),
        "output": OUTPUT,
        "decoder": "attributes",
        "attributes": [attribute.model_dump() for attribute in settings.attributes],
        "crop": settings.crop.model_dump(),
        "features": _feature_width((staged / files[0].name).read_bytes()),
        "data": [entry.model_dump() for entry in _training_data(train, terms)],
        "training": lineage(folder, settings),
        "licence": licence,
        "facepipe": __version__,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
    }
    return Manifest.model_validate(content)


def _feature_width(model: bytes) -> int | None:
    """Width of the file's output ``features``; None where it has none."""
    widths = {output.name: output.shape[-1] for output in open_session(model).get_outputs()}
    return widths.get(FEATURES)


def _measured(
    release: Release,
    table: FaceTable,
    train: FaceTable,
    val: FaceTable,
    settings: Settings,
    reports: Path,
    report: Callable[[str], None],
    rule: Abstention,
) -> Release:
    """The release with calibrated attributes and the figures of every file, whose reports are written.

    Calibration is fitted with the default file, whose training rows are measured too.
    """
    data, first = settings.data, release.manifest.files[0].precision
    fitted = halves(val)
    before: tuple[Attribute, ...] = release.manifest.attributes
    after: tuple[Attribute, ...] | None = None
    measured: list[Metrics] = []
    for entry in release.manifest.files:
        classifier = AttributeClassifier(release=release, precision=entry.precision)
        raw = predict(classifier, val, settings.workers, report=report)
        if after is None:
            half = raw.rows(fitted)
            after = calibrate(before, half.outputs, half.targets, rule)
            for line in calibration_lines(before, after):
                report(line)
        trained: Predictions | None = None
        if entry.precision == first:
            sample = training_sample(train, val, ROWS, settings.seed)
            trained = predict(classifier, sample, settings.workers, report=report)
            trained = trained.read_as(after)
        evaluation = assemble(classifier, raw.read_as(after), "val", trained, data=data)
        held = raw.rows(~fitted)
        values = tuple(calibration_metrics(before, after, held.outputs, held.targets)) if len(held.table) else ()
        records = evaluation.records()
        further: tuple[Metrics, ...] = ()
        if values:
            protocol = (
                f"calibration: fitted on {int(fitted.sum()):,} of the rows with the {first} file, measured on the "
                f"other {len(held.table):,}: {evaluation.protocol}. ECE over 15 bins of equal width; a class is unsaid "
                f"below {rule}; attributes with fewer than {LEAST_ROWS} labelled rows are left as they are"
            )
            further = (records[0].model_copy(update={"protocol": protocol, "values": values}),)
        write_report(evaluation, reports / entry.precision, further)
        measured += [*records, *further]
        shown = ", ".join(
            f"{metric.name} {metric.value:.4f}" for metric in evaluation.overall if _headline(metric.name)
        )
        report(f"{entry.precision}, {entry.bytes / 1e6:.1f} MB: {shown}")
        if entry.precision == first:
            for line in sentences(evaluation):
                report(line)
    told = {"rule": str(rule), "rows": int(fitted.sum()), "file": first}
    return _with(
        release,
        attributes=after or before,
        metrics=tuple(measured),
        training={**release.manifest.training, "calibration": told},
    )


def calibration_lines(before: tuple[Attribute, ...], after: tuple[Attribute, ...]) -> list[str]:
    """What calibration changed, in words."""
    lines = []
    for old, new in zip(before, after, strict=True):
        if old == new:
            continue
        told = [f"temperature {new.temperature:g}"]
        if (below := getattr(new, "abstain_below", 0.0)) > 0:
            told.append(f"unsaid below {below:g}")
        if new.kind == "numeric":
            told.append(f"interval widened by {new.widen:g} {new.unit} on both sides")
        lines.append(f"{new.name}: {', '.join(told)}")
    return lines


def _headline(name: str) -> bool:
    return name.rpartition(".")[2] in ("accuracy", "mae", "range_hit", "eye_error", "point_error_of_side")


def _with(release: Release, **update: Any) -> Release:
    return Release(release.folder, release.manifest.model_copy(update=update))


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
