"""From a finished training run to a released version: export, measure, describe, publish."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..weights.errors import TrainingError
from ..weights.manifest import InputSpec, Manifest, Metrics, Thresholds, write_manifest
from ..weights.store import MANIFEST, Release, file_entry, publish
from .description import DataDescription, read_description
from .evaluation import evaluate
from .runtime import FaceDetector

PRECISIONS = ("float32", "float16", "int8")
CALIBRATION_PICTURES = 128
LICENCE = "AGPL-3.0-or-later; the training data's own terms are under data"


def release_run(
    run: Path,
    checkpoint: Path,
    version: str,
    precisions: tuple[str, ...] = ("float16",),
    confidence: float = 0.25,
    root: Path | None = None,
    replace: bool = False,
) -> Release:
    """Export a run's checkpoint, measure the files that will serve, and publish them as a version.

    Args:
        run: the run folder of ``training.train``.
        checkpoint: the checkpoint to release.
        version: the version's name.
        precisions: files to ship, the default one first.
        confidence: the release's default threshold.
        root: folder of releases; None means the user's.
        replace: replace a version of that name.

    Raises:
        TrainingError: the run folder is not one of ours, a precision is unknown, or the export disagrees with PyTorch.
        WeightsError: the version exists.
    """
    exported = export_run(run, checkpoint, version, precisions, confidence)
    description = read_description(Path(_settings(run)["data"]))
    metrics = tuple(measure(exported, precision, description) for precision in precisions)
    manifest = exported.manifest.model_copy(update={"metrics": metrics})
    return publish(manifest, [exported.folder / entry.name for entry in manifest.files], root, replace)


def export_run(
    run: Path, checkpoint: Path, version: str, precisions: tuple[str, ...] = ("float16",), confidence: float = 0.25
) -> Release:
    """Export a run's checkpoint into its folder ``export``: a working release, neither measured nor installed.

    Arguments and errors are those of :func:`release_run`.
    """
    from ..weights.compression import quantise_int8, store_float16
    from .export import calibration_inputs, decoding_nodes, export_float32

    if unknown := set(precisions) - set(PRECISIONS):
        raise TrainingError(f"unknown precision {', '.join(sorted(unknown))}; one of {', '.join(PRECISIONS)}")
    settings = _settings(run)
    description = read_description(Path(settings["data"]))
    size = settings["imgsz"]
    folder = run / "export"
    folder.mkdir(exist_ok=True)
    files = {precision: folder / f"detector.{precision}.onnx" for precision in PRECISIONS}
    difference = export_float32(checkpoint, files["float32"], size)
    print(f"ONNX against PyTorch: largest difference {difference:.2g}")
    if "float16" in precisions:
        store_float16(files["float32"], files["float16"])
    if "int8" in precisions:
        pictures = [picture.path for picture in description.pictures["train"]]
        chosen = np.random.default_rng(0).permutation(len(pictures))[:CALIBRATION_PICTURES]
        inputs = calibration_inputs((pictures[index] for index in chosen), size)
        quantise_int8(files["float32"], files["int8"], inputs, decoding_nodes)
    manifest = Manifest(
        stage="detector",
        version=version,
        architecture="YOLOv8s",
        files=tuple(file_entry(files[precision], precision) for precision in precisions),
        input=InputSpec(name="images", size=size, colour="RGB", layout="NCHW", scale=1 / 255, padding=(114, 114, 114)),
        output="(batch, 4 + classes, anchors): centre x, centre y, width, height in input pixels, then a score a class",
        decoder="yolov8",
        classes=description.classes,
        thresholds=Thresholds(confidence=confidence, iou=0.5, max_detections=500),
        data=description.training_data(),
        training={**_lineage(run), "export_difference": difference},
        licence=LICENCE,
        facepipe=__version__,
        date=dt.date.today().isoformat(),
    )
    write_manifest(manifest, folder / MANIFEST)
    return Release(folder, manifest)


def _settings(run: Path) -> dict[str, Any]:
    try:
        return json.loads((run / "settings.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TrainingError(f"{run}: not a run folder (no settings.json)") from error


def measure(release: Release, precision: str | None, description: DataDescription, split: str = "val") -> Metrics:
    """Evaluate one file of a release and print the figures."""
    detector = FaceDetector(release=release, precision=precision)
    evaluation = evaluate(detector, description, split)
    entry = release.entry(precision)
    command = (
        f"facepipe evaluate-detector --data {description.yaml.name} --detector {release.version} "
        f"--precision {entry.precision} --split {split}"
    )
    metrics = evaluation.metrics(command)
    print(f"{release.stage} {release.version} ({entry.precision}, {entry.bytes / 1e6:.1f} MB): {metrics.protocol}")
    for metric in metrics.values:
        value = "-" if metric.value is None else f"{metric.value:.4f}"
        print(f"  {value:>8}  {metric.name}  (n = {metric.count})")
    return metrics


def _lineage(run: Path) -> dict[str, Any]:
    """A run's settings and curves, and under ``after`` those of the run whose checkpoint it started from."""
    settings = _settings(run)
    results = run / "results.csv"
    start = Path(settings["start"])
    told = {
        **settings,
        "data": Path(settings["data"]).name,
        "start": start.name,
        "history": results.read_text(encoding="utf-8").splitlines() if results.is_file() else [],
    }
    earlier = start.parent.parent
    if start.suffix == ".pt" and (earlier / "settings.json").is_file():
        told["after"] = _lineage(earlier)
    return told
