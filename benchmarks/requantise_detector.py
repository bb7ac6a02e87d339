"""Quantise a released detector again from its float file, and measure both files, ready for ``weights publish``.

    python benchmarks/requantise_detector.py 1.1.0 --data DATA.yaml --run runs/detector/requantised
    facepipe weights publish runs/detector/requantised --version 1.1.1 --notes notes.md

For a release whose int8 file was made by an older facepipe, and whose run is gone. Threshold, training and data in the
manifest stay the release's own; the calibration pictures are drawn from DATA.yaml as in ``export-detector``.
"""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from typing import Annotated

import typer
from facepipe.core.errors import FacepipeError, WeightsError
from facepipe.core.run_folder import trial_version
from facepipe.core.version import __version__
from facepipe.detector.data.dataset import read_description
from facepipe.detector.export.onnx import calibration_inputs, float_nodes
from facepipe.detector.export.release import calibration_pictures, evaluate_run
from facepipe.weights.compression import quantise_int8
from facepipe.weights.manifest import write_manifest
from facepipe.weights.publish import EXPORT
from facepipe.weights.release import MANIFEST, file_entry
from facepipe.weights.store import find


def main(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The detector.")],
    data: Annotated[Path, typer.Option(metavar="DATA.yaml", help="Pictures to calibrate and to measure on.")],
    run: Annotated[Path, typer.Option(metavar="DIR", help="The folder to make, in the form of a run's.")],
) -> None:
    """Make the folder."""
    release = find("detector", version)
    release.verify()
    manifest = release.manifest
    exact = next((entry for entry in manifest.files if entry.precision != "int8"), None)
    if exact is None:
        raise WeightsError(f"detector {release.label} has no float file to quantise")
    description = read_description(data)
    folder = run / EXPORT
    folder.mkdir(parents=True)
    shutil.copyfile(release.folder / exact.name, folder / exact.name)
    small = folder / "detector.int8.onnx"
    pictures = (picture.path for picture in calibration_pictures(description))
    quantise_int8(folder / exact.name, small, calibration_inputs(pictures, manifest.input.size), float_nodes)
    made = {"requantised": {"from": release.label, "file": exact.name, "labels_sha256": description.labels_sha256}}
    changed = {
        "version": trial_version(run),
        "files": (file_entry(small, "int8", reduced_range=True), exact),
        "metrics": (),
        "beside": (),
        "documents": (),
        "notes": "",
        "training": {**manifest.training, **made},
        "facepipe": __version__,
        "date": dt.date.today().isoformat(),
    }
    write_manifest(manifest.model_copy(update=changed), folder / MANIFEST)
    evaluate_run(run, description)


if __name__ == "__main__":
    try:
        typer.run(main)
    except (FacepipeError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
