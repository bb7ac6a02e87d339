"""From a training run to a released version: export, measure, publish.

``export_run`` and ``evaluate_run`` leave in the run's folder what ``weights.publish`` needs: ``export/``, a working
release with the metrics of its files, and ``evaluation/<precision>/``. ``release_run`` does all three steps.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import TrainingError, WeightsError
from ...core.run_folder import trial_version
from ...core.version import __version__
from ...weights.manifest import InputSpec, Manifest, Metrics, Thresholds, write_manifest
from ...weights.metrics import EVALUATION
from ...weights.publish import EXPORT, Choices, Published, publish_run
from ...weights.records import is_version
from ...weights.release import MANIFEST, Release, file_entry, open_release, place, split_name
from ...weights.rivals import measure_rivals
from ...weights.store import check_target, writable_root
from ..data.dataset import DataDescription, Picture, read_description
from ..evaluation.evaluate import Evaluation, evaluate
from ..inference.detector import FaceDetector
from ..training.run_folder import lineage
from ..training.run_folder import run_environment as environment
from ..training.settings import ARCHITECTURES, read_settings
from .threshold import FALSE_ALARMS, choose_threshold

PRECISIONS = ("float32", "float16", "int8")
DEFAULT_PRECISIONS = ("float16",)
CALIBRATION_PICTURES = 128
CONFIDENCE = 0.25
NMS_IOU = 0.5
MAX_DETECTIONS = 500
LICENCE = "AGPL-3.0-or-later; the training data's own terms are under data"


def measure(
    release: Release,
    precision: str | None,
    description: DataDescription,
    split: str = "val",
    folder: Path | None = None,
) -> Metrics:
    """Evaluate one file of a release, print the metrics, and write the report.

    Args:
        release: an installed or exported release.
        precision: of the file; None means the default one.
        description: the data set.
        split: of the data set.
        folder: for the report; None writes none.

    Returns:
        The metrics, with the SHA-256 of the file and of the labels.
    """
    entry = release.entry(precision)
    evaluation = evaluate(FaceDetector(release=release, precision=entry.precision), description, split)
    command = (
        f"facepipe evaluate-detector --data {description.yaml.name} --detector {release.label} "
        f"--precision {entry.precision} --split {split}"
    )
    name = f"{release.label}@{entry.precision}"
    evaluation = replace(evaluation, name=name, command=command, file_sha256=entry.sha256)
    metrics = evaluation.metrics()
    print(f"{release.stage} {release.label} ({entry.precision}, {entry.bytes / 1e6:.1f} MB): {metrics.protocol}")
    for metric in metrics.values:
        value = "-" if metric.value is None else f"{metric.value:.4f}"
        print(f"  {value:>8}  {metric.name}  (n = {metric.count})")
    if folder is not None:
        _report(evaluation, folder)
    return metrics


def _report(evaluation: Evaluation, folder: Path) -> None:
    from ..evaluation.report import write_report

    write_report(evaluation, folder)


@dataclass(frozen=True)
class ReleaseOptions:
    """How to release a run.

    Attributes:
        version: name of the version; None publishes nothing and leaves the measured files in the run's ``export``.
        precisions: files to ship, the default one first.
        confidence: the default threshold, 0 to 1; None chooses it on training pictures (see ``threshold``).
        false_alarms: most false alarms per training picture without people, if the threshold is chosen.
        replace: replace an existing version of that name.
    """

    version: str | None = None
    precisions: tuple[str, ...] = DEFAULT_PRECISIONS
    confidence: float | None = CONFIDENCE
    false_alarms: float = FALSE_ALARMS
    replace: bool = False

    def check(self, root: Path | None = None) -> None:
        """Check the options before the actual work.

        Args:
            root: folder of releases; None means the user's.

        Raises:
            TrainingError: a precision is unknown or given twice.
            WeightsError: the version exists, has a bad name, or cannot be written.
        """
        if unknown := set(self.precisions) - set(PRECISIONS):
            raise TrainingError(f"unknown precision {', '.join(sorted(unknown))}; one of {', '.join(PRECISIONS)}")
        if not self.precisions or len(set(self.precisions)) < len(self.precisions):
            raise TrainingError(f"the files to ship must differ, got {', '.join(self.precisions) or 'none'}")
        if self.version is not None:
            name, number = split_name("detector", self.version)
            if number is None or not is_version(number):
                raise WeightsError(f"a version looks like 1.2.3, 1.2.3-name or small@1.2.3, got {self.version!r}")
            check_target(place(root or writable_root(), "detector", name, number), self.replace)


DEFAULTS = ReleaseOptions()


def release_run(
    run: Path,
    checkpoint: Path,
    options: ReleaseOptions = DEFAULTS,
    root: Path | None = None,
    data: Path | None = None,
    notes: str = "",
) -> Published | None:
    """Export a run's checkpoint, measure the exported files, and publish them as a version.

    Args:
        run: the run folder of ``training.train``.
        checkpoint: the checkpoint to release.
        options: how to release it.
        root: folder of releases; None means the user's.
        data: DATA.yaml, if it has moved since training.
        notes: Markdown for the model card.

    Raises:
        TrainingError: the run folder is not one of ours, a precision is unknown, the export disagrees with PyTorch, or
            no threshold can be chosen.
        DataError: the data set does not match its description.
        WorseError: a version is given, and it is worse than its start or than the version in use on the same rows.
        WeightsError: the version exists or has a bad name, or int8 loses too much.
    """
    options.check(root)
    description = read_description(data or Path(read_settings(run).data))
    export_run(run, checkpoint, description, options)
    exported = evaluate_run(run, description)
    if options.version is None:
        return None
    for remark in measure_rivals(run, exported, partial(measure_rival, description)):
        print(f"note: {remark}")
    return publish_run(run, Choices(options.version, notes, options.replace), root)


def measure_rival(description: DataDescription, release: Release, folder: Path) -> None:
    """Measure another release the same way as a run's files, and write its report.

    Args:
        description: of the run's data.
        release: the other release.
        folder: for the report.
    """
    measure(release, None, description, "val", folder)


def is_measured(run: Path) -> bool:
    """Whether a run has been exported and its files have been measured."""
    if not (run / EXPORT / MANIFEST).is_file():
        return False
    return bool(open_release(run / EXPORT).manifest.metrics)


def export_run(
    run: Path,
    checkpoint: Path,
    description: DataDescription,
    options: ReleaseOptions = DEFAULTS,
) -> Release:
    """Export a run's checkpoint into its folder ``export``: a working release, neither measured nor installed.

    An earlier export and its evaluation are replaced, but kept if this export fails. Without a version, the release is
    named ``trial_version(run)`` until it is published.

    Args:
        run: the run's folder.
        checkpoint: its weights.
        description: the data set, for the threshold and the int8 calibration.
        options: how to release it.

    Raises:
        TrainingError: the checkpoint is missing, the data differ from the training data, the export disagrees with
            PyTorch, or no threshold can be chosen.
    """
    if not checkpoint.is_file():
        raise TrainingError(f"{checkpoint}: no such checkpoint; train the run first, or give another")
    training = lineage(run)
    trained_on = environment(run).get("data", {}).get("labels_sha256", description.labels_sha256)
    if trained_on != description.labels_sha256:
        raise TrainingError(
            f"{description.yaml}: not the labels that {run.name} was trained on (their SHA-256 differs); to measure "
            f"other data, use: facepipe evaluate-detector --detector {run / EXPORT} --data {description.yaml}"
        )
    with tempfile.TemporaryDirectory(prefix=".export-", dir=run) as temporary:
        staged = Path(temporary) / EXPORT
        staged.mkdir()
        difference = _write_files(staged, checkpoint, description, options.precisions, training["imgsz"])
        name, number = split_name("detector", options.version or trial_version(run))
        told = {**training, "export_difference": difference}
        manifest = _manifest(staged, (name, number or ""), description, options, told)
        manifest = _with_threshold(Release(staged, manifest), description, options)
        write_manifest(manifest, staged / MANIFEST)
        for old in (run / EVALUATION, run / EXPORT):
            if old.exists():
                old.rename(Path(temporary) / f"old-{old.name}")
        staged.rename(run / EXPORT)
    return open_release(run / EXPORT)


def _manifest(
    folder: Path,
    named: tuple[str, str],
    description: DataDescription,
    options: ReleaseOptions,
    training: dict[str, Any],
) -> Manifest:
    """The manifest of exported files, with the usual threshold.

    Args:
        folder: of the files.
        named: name, empty for the usual detector, and version of the release.
        description: the data set.
        options: which files to list.
        training: how the model was trained.
    """
    return Manifest(
        stage="detector",
        name=named[0],
        version=named[1],
        architecture=ARCHITECTURES[training.get("architecture", "yolov8s")],
        files=tuple(
            file_entry(_file(folder, precision), precision, precision == "int8") for precision in options.precisions
        ),
        input=InputSpec(
            name="images",
            size=training["imgsz"],
            colour="RGB",
            layout="NCHW",
            scale=1 / 255,
            padding=(114, 114, 114),
            dynamic=True,
        ),
        output="(batch, 4 + classes, anchors): centre x, centre y, width, height in input pixels, then a score a class",
        decoder="yolov8",
        classes=description.classes,
        thresholds=Thresholds(confidence=CONFIDENCE, iou=NMS_IOU, max_detections=MAX_DETECTIONS),
        data=description.training_data(),
        training=training,
        licence=LICENCE,
        facepipe=__version__,
        date=dt.date.today().isoformat(),
    )


def evaluate_run(run: Path, description: DataDescription, split: str = "val") -> Release:
    """Measure every file of a run's export, write the reports, and store the metrics in the export's manifest.

    Args:
        run: the run's folder.
        description: the data set.
        split: the split to measure.

    Raises:
        WeightsError: the run has not been exported.
    """
    release = open_release(run / EXPORT)
    files = release.manifest.files
    metrics = tuple(
        measure(release, entry.precision, description, split, run / EVALUATION / entry.precision) for entry in files
    )
    manifest = release.manifest.model_copy(update={"metrics": metrics})
    write_manifest(manifest, release.folder / MANIFEST)
    return Release(release.folder, manifest)


def calibration_pictures(description: DataDescription, count: int = CALIBRATION_PICTURES) -> list[Picture]:
    """Training pictures for int8 calibration, taken from the sources in turn and drawn with seed 0.

    Pictures without boxes are left out, unless all are: their narrow activations would narrow the ranges, which are
    averaged over the pictures.
    """
    random = np.random.default_rng(0)
    by_source: dict[str, list[Picture]] = {}
    for picture in description.pictures["train"]:
        by_source.setdefault(picture.source, []).append(picture)
    drawn = [
        [pictures[index] for index in random.permutation(len(pictures))] for _, pictures in sorted(by_source.items())
    ]
    in_turn = [picture for turn in zip_longest(*drawn) for picture in turn if picture is not None]
    boxed = list(islice((picture for picture in in_turn if len(description.boxes(picture))), count))
    return boxed or in_turn[:count]


def _write_files(
    folder: Path, checkpoint: Path, description: DataDescription, precisions: Iterable[str], size: int
) -> float:
    """Write the requested files and return the largest difference between PyTorch and the float32 file."""
    from ...weights.compression import quantise_int8, store_float16
    from .onnx import calibration_inputs, export_float32, float_nodes

    exact = _file(folder, "float32")
    difference = export_float32(checkpoint, exact, size)
    print(f"ONNX against PyTorch: largest difference {difference:.2g}")
    if "float16" in precisions:
        store_float16(exact, _file(folder, "float16"))
    if "int8" in precisions:
        inputs = calibration_inputs((picture.path for picture in calibration_pictures(description)), size)
        quantise_int8(exact, _file(folder, "int8"), inputs, float_nodes)
    if "float32" not in precisions:
        exact.unlink()
    return difference


def _file(folder: Path, precision: str) -> Path:
    return folder / f"detector.{precision}.onnx"


def _with_threshold(release: Release, description: DataDescription, options: ReleaseOptions) -> Manifest:
    """The manifest with the given default threshold, or a chosen one."""
    manifest, record, confidence = release.manifest, {}, options.confidence
    if confidence is None:
        chosen = choose_threshold(FaceDetector(release=release), description, options.false_alarms)
        print(
            f"default confidence {chosen.confidence:g}: {chosen.false_alarms:g} false alarms per training picture "
            f"without people ({chosen.pictures} pictures, at most {chosen.at_most:g} allowed)"
        )
        confidence, record = chosen.confidence, {"threshold": chosen.to_dict()}
    update: dict[str, Any] = {
        "thresholds": Thresholds(confidence=confidence, iou=NMS_IOU, max_detections=MAX_DETECTIONS),
        "training": {**manifest.training, **record},
    }
    return manifest.model_copy(update=update)
