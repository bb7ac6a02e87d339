"""Release of a run's weights: export, calibration, evaluation, manifest and publication."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...core.run_folder import trial_version
from ...core.version import __version__
from ...weights.manifest import Attribute, Manifest, Metrics, SizeBand, TrainingData, write_manifest
from ...weights.metrics import EVALUATION
from ...weights.publish import EXPORT, Choices, Published, publish_run
from ...weights.release import MANIFEST, Release, file_entry, place
from ...weights.rivals import measure_rivals
from ...weights.session import open_session
from ...weights.store import check_target, writable_root
from ..data.loader import BrokenPictures, CropSource, exact_batches
from ..data.readers import read_data
from ..data.table import FaceTable
from ..evaluation.evaluate import Rows, assemble, evaluate
from ..evaluation.generalisation import ROWS, training_sample
from ..evaluation.predictions import Predictions, predict, predict_sizes
from ..evaluation.report import write_report
from ..evaluation.sizes import size_sample
from ..evaluation.tables import sentences, size_lines
from ..inference.classifier import FEATURES, AttributeClassifier, prepare
from ..models.backbones import find_backbone
from ..training.checkpoint import write_arrays
from ..training.run_folder import Settings, lineage
from . import calibration
from .calibration import Abstention, calibrate, calibration_metrics, halves
from .onnx import export_run
from .size_bands import calibrate_sizes, choose_least_sides

CALIBRATION = 256
"""Number of training crops for calibrating int8."""
UNKNOWN_TERMS = "unknown: ask the data's owner"
OUTPUT = (
    "an output for each attribute: logits of classes or bins, a number without bins as a fraction of its range, points "
    "as x, y fractions of the crop; and 'features', the pooled numbers before the heads"
)


def release_run(
    folder: Path,
    settings: Settings,
    table: FaceTable,
    root: Path | None = None,
    report: Callable[[str], None] = print,
) -> Published | None:
    """Export a run's weights to ``export/`` in its folder, calibrate and evaluate the files, and publish them.

    Args:
        folder: holds ``settings.json`` and ``weights.npz``.
        settings: of the run; ``settings.release`` defines which files are made and whether they are published.
        table: all rows of the data; train rows calibrate int8, val rows fit the calibration and are evaluated.
        root: the folder of releases; None means the user's.
        report: receives progress lines.

    Returns:
        What was published; None if no version is given.

    Raises:
        TrainingError: the export failed.
        WorseError: a version is given but is worse than its start or the version in use on the same rows.
        WeightsError: the version exists, or int8 loses too much accuracy (``weights.publish``).
        MissingExtraError: scipy, fairlearn or matplotlib is not installed.
    """
    options = settings.release
    if options.version is not None:  # check before the work, not after it
        check_target(
            place(root or writable_root(), "classifier", settings.classifier_name, options.version), options.replace
        )
    train = table.split("train")
    differences = _export(folder, settings, train, report)
    for precision, difference in differences.items():
        report(f"largest difference from Keras, {precision}: {difference:.3g}")
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as temporary:
        staged, reports = Path(temporary) / EXPORT, Path(temporary) / EVALUATION
        staged.mkdir()
        for precision in options.exports:
            (folder / f"classifier-{precision}.onnx").rename(staged / f"classifier-{precision}.onnx")
        (folder / "classifier-float32.onnx").unlink(missing_ok=True)
        release = Release(staged, _manifest(folder, staged, settings, train))
        update = {**release.manifest.training, "largest_difference_from_keras": differences}
        release = _with(release, training=update)
        release = _measured(release, table, settings, reports, report)
        write_manifest(release.manifest, staged / MANIFEST)
        for new in (staged, reports):
            if (folder / new.name).exists():
                (folder / new.name).rename(Path(temporary) / f"old-{new.name}")
            new.rename(folder / new.name)
    if options.version is None:
        return None
    for remark in measure_rivals(folder, release, partial(measure_rival, settings)):
        report(f"note: {remark}")
    return publish_run(folder, Choices(options.version, replace=options.replace), root)


def measure_rival(settings: Settings, release: Release, folder: Path) -> None:
    """Evaluate another release on the validation rows of a run and write its report.

    Args:
        settings: of the run.
        release: the other release.
        folder: for the report.

    Raises:
        DataError: the run's data do not fit the release, or were cut with another recipe.
    """
    model = AttributeClassifier(release=release, precision=release.entry().precision)
    table = read_data(settings.data, release.manifest.attributes, settings.recipe.split, settings.seed)
    write_report(evaluate(model, table, "val", settings.workers, settings.data, Rows(0, 0)), folder)


def _export(folder: Path, settings: Settings, train: FaceTable, report: Callable[[str], None]) -> dict[str, float]:
    """Write the files to the run folder and return their differences from Keras by precision."""
    size = settings.crop.size
    spec = find_backbone(settings.recipe.backbone).input_spec(size)
    chosen = np.random.default_rng(settings.seed).permutation(len(train))[:CALIBRATION]
    source = CropSource(train, size, settings.crop.border, broken=BrokenPictures(len(train), report))
    crops = exact_batches(source, 32, chosen, settings.workers)
    path = folder / "calibration.npz"
    write_arrays(path, {"images": np.concatenate([prepare(batch.images, spec) for batch in crops])})
    try:
        return export_run(folder, settings.release.exports)
    finally:
        path.unlink(missing_ok=True)


def _manifest(folder: Path, staged: Path, settings: Settings, train: FaceTable) -> Manifest:
    """Build the manifest before calibration and evaluation."""
    options = settings.release
    files = [
        file_entry(staged / f"classifier-{precision}.onnx", precision, precision == "int8")
        for precision in options.exports
    ]
    content: dict[str, Any] = {
        "stage": "classifier",
        "name": settings.classifier_name,
        "version": options.version or trial_version(folder),
        "architecture": settings.recipe.backbone,
        "files": [file.model_dump() for file in files],
        "input": find_backbone(settings.recipe.backbone).input_spec(settings.crop.size).model_dump(),
        "output": OUTPUT,
        "decoder": "attributes",
        "attributes": [attribute.model_dump() for attribute in settings.attributes],
        "crop": settings.crop.model_dump(),
        "features": _feature_width((staged / files[0].name).read_bytes()),
        "data": [entry.model_dump() for entry in _training_data(train, options.terms)],
        "training": lineage(folder, settings),
        "licence": options.licence,
        "facepipe": __version__,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
    }
    return Manifest.model_validate(content)


def _feature_width(model: bytes) -> int | None:
    """Return the width of the file's output ``features``; None if it has none."""
    widths = {output.name: output.shape[-1] for output in open_session(model).get_outputs()}
    return widths.get(FEATURES)


@dataclass(frozen=True)
class _Calibrated:
    """The attributes before and after calibration, with held-out rows to measure it.

    Attributes:
        before, after: the attributes.
        fitted: rows used for fitting, bool (n,).
        precision: of the file used for fitting.
        sized: held-out rows by face size.
    """

    before: tuple[Attribute, ...]
    after: tuple[Attribute, ...]
    fitted: np.ndarray
    precision: str
    sized: dict[float, Predictions]

    def metrics(self, raw: Predictions, protocol: str) -> Metrics | None:
        """Measure before and after calibration on the held-out rows; None if there are none."""
        held = raw.rows(~self.fitted)
        values = tuple(calibration_metrics(self.before, self.after, held.outputs, held.targets))
        if not values or not len(held.table):
            return None
        text = (
            f"calibration: fitted on {int(self.fitted.sum()):,} of the rows with the {self.precision} file, measured "
            f"on the other {len(held.table):,}: {protocol}. ECE over 15 bins of equal width; a class is unsaid "
            f"below {Abstention()}; attributes with fewer than {calibration.LEAST_ROWS} labelled rows are left as they "
            f"are"
        )
        return Metrics(protocol=text, command="", values=values)


def _measured(
    release: Release,
    table: FaceTable,
    settings: Settings,
    reports: Path,
    report: Callable[[str], None],
) -> Release:
    """Calibrate the attributes, evaluate every file and write the reports; return the updated release.

    Calibration is fitted with the default file, which is also evaluated on training rows.
    """
    train, val = table.split("train"), table.split("val")
    first = release.manifest.files[0].precision
    calibrated: _Calibrated | None = None
    measured: list[Metrics] = []
    for entry in release.manifest.files:
        classifier = AttributeClassifier(release=release, precision=entry.precision)
        raw = predict(classifier, val, settings.workers, report=report)
        trained: Predictions | None = None
        sized: dict[float, Predictions] = {}
        if calibrated is None:
            calibrated = _calibrate(classifier, raw, settings, report)
            sample = training_sample(train, val, ROWS, settings.seed)
            trained = predict(classifier, sample, settings.workers, report=report).read_as(calibrated.after)
            sized = calibrated.sized
        evaluation = assemble(classifier, raw.read_as(calibrated.after), "val", trained, settings.data, sized)
        records = evaluation.records()
        further: tuple[Metrics, ...] = ()
        if (figures := calibrated.metrics(raw, evaluation.protocol)) is not None:
            further = (records[0].model_copy(update={"protocol": figures.protocol, "values": figures.values}),)
        write_report(evaluation, reports / entry.precision, further)
        measured += [*records, *further]
        shown = ", ".join(
            f"{metric.name} {metric.value:.4f}" for metric in evaluation.overall if _headline(metric.name)
        )
        report(f"{entry.precision}, {entry.bytes / 1e6:.1f} MB: {shown}")
        if entry.precision == first:
            for line in (*size_lines(evaluation), *sentences(evaluation)):
                report(line)
    assert calibrated is not None
    how = {"rule": str(Abstention()), "rows": int(calibrated.fitted.sum()), "file": first}
    return _with(
        release,
        attributes=calibrated.after,
        metrics=tuple(measured),
        training={**release.manifest.training, "calibration": how},
    )


def _calibrate(
    classifier: AttributeClassifier, raw: Predictions, settings: Settings, report: Callable[[str], None]
) -> _Calibrated:
    """Fit on half of the val rows, for whole crops and by face size, and choose the minimum sizes on the other half."""
    before: tuple[Attribute, ...] = raw.attributes
    fitted = halves(raw.table)
    half = raw.rows(fitted)
    after = calibrate(before, half.outputs, half.targets)
    sample = size_sample(raw.table, settings.recipe.sized_rows, settings.seed)
    sized = predict_sizes(classifier, raw.table.rows(sample), settings.workers, report=report)
    on = fitted[sample]
    after = calibrate_sizes(after, {side: seen.rows(on) for side, seen in sized.items()}, classifier.crop)
    held = {side: seen.rows(~on).read_as(after) for side, seen in sized.items()}
    after, lines = choose_least_sides(after, held)
    for line in (*calibration_lines(before, after), *lines):
        report(line)
    held = {side: seen.read_as(after) for side, seen in held.items()}
    return _Calibrated(before, after, fitted, classifier.entry.precision, held if len(sample[~on]) else {})


def calibration_lines(before: tuple[Attribute, ...], after: tuple[Attribute, ...]) -> list[str]:
    """Describe in lines what calibration changed."""
    lines = []
    for old, new in zip(before, after, strict=True):
        if old.model_copy(update={"min_side": new.min_side}) == new:
            continue
        words = [f"temperature {new.temperature:g}"]
        if (below := getattr(new, "abstain_below", 0.0)) > 0:
            words.append(f"no answer below {below:g}")
        if new.kind == "numeric":
            words.append(f"interval widened by {new.widen:g} {new.unit} on both sides")
        if new.bands:
            words.append(
                "by size: " + ", ".join(f"{band.side:g} px {band.temperature:g}{_wider(band)}" for band in new.bands)
            )
        lines.append(f"{new.name}: {', '.join(words)}")
    return lines


def _wider(band: SizeBand) -> str:
    return f" and {band.widen:+g}" if band.widen else ""


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
