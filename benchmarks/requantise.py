"""Quantise a release again from its float file, and measure both files, ready for ``weights publish``.

    python benchmarks/requantise.py detector@1.1.0 --data DATA.yaml --run runs/detector/requantised
    python benchmarks/requantise.py classifier@1.2.0 --data FACES.csv --data MORE.csv --run runs/classifier/requantised
    facepipe weights publish runs/detector/requantised --version 1.1.1 --notes notes.md

For a release whose int8 file was made by an older facepipe, and whose run is gone. Everything in the manifest but the
int8 file and the figures stays the release's own: threshold, calibration, training, data. The pictures that calibrate
the ranges of activations are drawn from ``--data`` as for an export.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from facepipe.core.errors import FacepipeError, WeightsError
from facepipe.core.run_folder import trial_version
from facepipe.core.version import __version__
from facepipe.weights.compression import quantise_int8
from facepipe.weights.manifest import Manifest, write_manifest
from facepipe.weights.metrics import EVALUATION
from facepipe.weights.publish import EXPORT
from facepipe.weights.release import MANIFEST, Release, file_entry, open_release
from facepipe.weights.store import find

SIZE_ROWS = 3000
"""Validation rows that a classifier is measured on at every face size, as in an export."""


def quantise_detector(exact: Path, small: Path, manifest: Manifest, data: Sequence[str]) -> str:
    """Write the int8 file of a detector, and return the SHA-256 of the labels."""
    from facepipe.detector.data.dataset import read_description
    from facepipe.detector.export.onnx import calibration_inputs, float_nodes
    from facepipe.detector.export.release import calibration_pictures

    description = read_description(Path(data[0]))
    pictures = (picture.path for picture in calibration_pictures(description))
    quantise_int8(exact, small, calibration_inputs(pictures, manifest.input.size), float_nodes)
    return description.labels_sha256


def quantise_classifier(exact: Path, small: Path, manifest: Manifest, data: Sequence[str]) -> str:
    """Write the int8 file of a classifier, and return the SHA-256 of the labels."""
    from facepipe.classifier.data.loader import CropSource, exact_batches
    from facepipe.classifier.data.readers import read_data
    from facepipe.classifier.export.onnx import CALIBRATION_BATCH, head_nodes
    from facepipe.classifier.export.release import CALIBRATION
    from facepipe.classifier.inference.classifier import prepare
    from facepipe.classifier.models.backbones import find_backbone

    table = read_data(data, manifest.attributes)
    train = table.split("train")
    chosen = np.random.default_rng(0).permutation(len(train))[:CALIBRATION]
    assert manifest.crop is not None
    source = CropSource(train, manifest.crop.size, manifest.crop.border)
    batches = exact_batches(source, CALIBRATION_BATCH, chosen)
    inputs = ({"image": prepare(batch.images, manifest.input)} for batch in batches)
    kinds = list(find_backbone(manifest.architecture).quantised)
    quantise_int8(exact, small, inputs, head_nodes, kinds)
    return table.sha256


def measure_classifier(release: Release, data: Sequence[str], reports: Path) -> None:
    """Measure both files on the validation rows, the int8 file at every face size as well."""
    from facepipe.classifier.data.readers import read_data
    from facepipe.classifier.evaluation.evaluate import Rows, evaluate
    from facepipe.classifier.evaluation.report import write_report
    from facepipe.classifier.inference.classifier import AttributeClassifier

    table = read_data(data, release.manifest.attributes)
    for entry in release.manifest.files:
        model = AttributeClassifier(release=release, precision=entry.precision)
        rows = Rows(sizes=SIZE_ROWS) if entry.precision == "int8" else Rows(0, 0)
        write_report(evaluate(model, table, "val", 2, data, rows), reports / entry.precision)


def main(
    release: Annotated[str, typer.Argument(metavar="STAGE@VERSION", help="detector@1.1.0 or classifier@1.2.0.")],
    data: Annotated[list[str], typer.Option(metavar="DATA", help="DATA.yaml, or labelled crops; repeatable.")],
    run: Annotated[Path, typer.Option(metavar="DIR", help="The folder to make, in the form of a run's.")],
) -> None:
    """Make the folder."""
    stage, _, version = release.partition("@")
    if stage not in ("detector", "classifier") or not version:
        raise WeightsError(f"a release is named like detector@1.1.0 or classifier@1.2.0, got {release!r}")
    old = find(stage, version)  # type: ignore[arg-type]
    old.verify()
    exact = next((entry for entry in old.manifest.files if entry.precision != "int8"), None)
    if exact is None:
        raise WeightsError(f"{stage} {old.label} has no float file to quantise")
    name = next((entry.name for entry in old.manifest.files if entry.precision == "int8"), f"{stage}-int8.onnx")
    folder = run / EXPORT
    folder.mkdir(parents=True)
    shutil.copyfile(old.folder / exact.name, folder / exact.name)
    quantise = quantise_detector if stage == "detector" else quantise_classifier
    labels = quantise(folder / exact.name, folder / name, old.manifest, data)
    made = {"requantised": {"from": old.label, "file": exact.name, "labels_sha256": labels}}
    changed = {
        "version": trial_version(run),
        "files": (file_entry(folder / name, "int8", reduced_range=True), exact),
        "metrics": (),
        "beside": (),
        "documents": (),
        "notes": "",
        "training": {**old.manifest.training, **made},
        "facepipe": __version__,
        "date": dt.date.today().isoformat(),
    }
    write_manifest(old.manifest.model_copy(update=changed), folder / MANIFEST)
    if stage == "detector":
        from facepipe.detector.data.dataset import read_description
        from facepipe.detector.export.release import evaluate_run

        evaluate_run(run, read_description(Path(data[0])))
    else:
        measure_classifier(open_release(folder), data, run / EVALUATION)


if __name__ == "__main__":
    try:
        typer.run(main)
    except (FacepipeError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
