"""From a finished training run to a released version: export, measure, describe, publish."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np

from .. import __version__
from ..weights.errors import TrainingError
from ..weights.manifest import InputSpec, Manifest, Metrics, Thresholds
from ..weights.store import Release, file_entry, publish
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
    from .export import export_float32, quantise_int8, store_float16

    if unknown := set(precisions) - set(PRECISIONS):
        raise TrainingError(f"unknown precision {', '.join(sorted(unknown))}; one of {', '.join(PRECISIONS)}")
    try:
        settings = json.loads((run / "settings.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TrainingError(f"{run}: not a run folder (no settings.json)") from error
    description = read_description(Path(settings["data"]))
    size = settings["imgsz"]
    exported = run / "export"
    exported.mkdir(exist_ok=True)
    float32 = exported / "detector.float32.onnx"
    difference = export_float32(checkpoint, float32, size)
    print(f"ONNX against PyTorch: largest difference {difference:.2g}")
    files = {"float32": float32}
    if "float16" in precisions:
        files["float16"] = exported / "detector.float16.onnx"
        store_float16(float32, files["float16"])
    if "int8" in precisions:
        files["int8"] = exported / "detector.int8.onnx"
        pictures = [picture.path for picture in description.pictures["train"]]
        chosen = np.random.default_rng(0).permutation(len(pictures))[:CALIBRATION_PICTURES]
        quantise_int8(float32, files["int8"], [pictures[index] for index in chosen], size)
    manifest = Manifest(
        stage="detector",
        version=version,
        architecture="YOLOv8s",
        files=tuple(file_entry(files[precision], precision) for precision in precisions),
        input=InputSpec(name="images", size=size, colour="RGB", layout="NCHW", scale=1 / 255, padding=(114, 114, 114)),
        output="(batch, 4 + classes, anchors): centre x, centre y, width, height in input pixels, then a score a class",
        decoder="yolov8",
        classes=description.classes,
        thresholds=Thresholds(confidence=confidence, iou=0.6, max_detections=500),
        data=description.training_data(),
        training={
            **settings,
            "data": Path(settings["data"]).name,
            "start": Path(settings["start"]).name,
            "export_difference": difference,
            "history": _history(run),
        },
        licence=LICENCE,
        facepipe=__version__,
        date=dt.date.today().isoformat(),
    )
    release = Release(exported, manifest)
    metrics = tuple(measure(release, precision, description) for precision in precisions)
    manifest = manifest.model_copy(update={"metrics": metrics})
    return publish(manifest, [files[precision] for precision in precisions], root, replace)


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


def _history(run: Path) -> list[str]:
    """The lines of ultralytics' results.csv, so that the release keeps its curves."""
    results = run / "results.csv"
    return results.read_text(encoding="utf-8").splitlines() if results.is_file() else []
