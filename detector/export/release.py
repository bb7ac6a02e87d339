"""The figures of one file of a release, measured as it serves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...weights.manifest import Metrics
from ...weights.release import Release
from ..data.dataset import DataDescription
from ..evaluation.evaluate import Evaluation, evaluate
from ..inference.detector import FaceDetector


def measure(
    release: Release,
    precision: str | None,
    description: DataDescription,
    split: str = "val",
    folder: Path | None = None,
) -> Metrics:
    """Evaluate one file of a release, print the figures, and write the report.

    Args:
        release: an installed or exported one.
        precision: of the file; None means the default one.
        description: the data set.
        split: of the data set.
        folder: for the report; None writes none.

    Returns:
        The figures, with the SHA-256 of the file and of the labels.
    """
    entry = release.entry(precision)
    evaluation = evaluate(FaceDetector(release=release, precision=entry.precision), description, split)
    command = (
        f"facepipe evaluate-detector --data {description.yaml.name} --detector {release.version} "
        f"--precision {entry.precision} --split {split}"
    )
    name = f"{release.version}@{entry.precision}"
    evaluation = replace(evaluation, name=name, command=command, file_sha256=entry.sha256)
    metrics = evaluation.metrics()
    print(f"{release.stage} {release.version} ({entry.precision}, {entry.bytes / 1e6:.1f} MB): {metrics.protocol}")
    for metric in metrics.values:
        value = "-" if metric.value is None else f"{metric.value:.4f}"
        print(f"  {value:>8}  {metric.name}  (n = {metric.count})")
    if folder is not None:
        _report(evaluation, folder)
    return metrics


def _report(evaluation: Evaluation, folder: Path) -> None:
    from ..evaluation.report import write_report

    write_report(evaluation, folder)
