"""An empty root of releases, and run folders that are ready to be published, made without training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
import pytest
from facepipe.weights import records, store
from facepipe.weights.manifest import Manifest, Metric, Metrics, write_manifest
from facepipe.weights.release import Release, file_entry

LABELS = "ab" * 32
AP, ACCURACY = "AP50, face boxes >= 16 px at 640", "gender.accuracy"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user's root; the package's root is emptied too, so that real releases do not get in the way."""
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "user"))
    monkeypatch.setattr(store, "PACKAGE_ROOT", tmp_path / "package")
    monkeypatch.setattr(records, "_warned", set())
    return tmp_path / "user"


def _metrics(stage: str, sha256: str, headline: float) -> Metrics:
    further = (
        {
            "AP50, face boxes of every size": (0.6133, 5699),
            "false alarms a picture at 0.5, pictures without a person": (0.0312, 60),
        }
        if stage == "detector"
        else {"age.mae": (5.4321, 1788), "gender.accuracy/utkface": (0.9206, 1788), "gender.accuracy/race=x": (0.8, 40)}
    )
    values = {AP if stage == "detector" else ACCURACY: (headline, 2327), **further}
    return Metrics(
        protocol=f"val split of a test, {stage}",
        command=f"facepipe evaluate-{stage} --data x.yaml --{stage} 0.0.0-a --split val",
        values=tuple(Metric(name=name, value=value, count=count) for name, (value, count) in values.items()),
        file_sha256=sha256,
        labels_sha256=LABELS,
    )


@pytest.fixture
def make_run(
    tmp_path: Path, publish_detector: Callable[..., Release], publish_classifier: Callable[..., Release]
) -> Callable[..., Path]:
    """``make_run(stage, int8=0.9, float16=0.905)``: a run, the headline figures of its files, the default first."""

    def make(stage: str = "detector", name: str = "a", **headlines: float) -> Path:
        run = tmp_path / "runs" / stage / name
        export = run / "export"
        export.mkdir(parents=True)
        maker = publish_detector if stage == "detector" else publish_classifier
        entries, metrics = [], []
        for seed, (precision, headline) in enumerate((headlines or {"float16": 0.9}).items()):
            made = maker(tmp_path / f"made-{name}", version=f"1.0.{seed}", seed=seed + crc32(name.encode()) % 1000)
            file = export / f"{stage}.{precision}.onnx"
            shutil.copyfile(made.folder / "model.onnx", file)
            entries.append(file_entry(file, precision))
            metrics.append(_metrics(stage, entries[-1].sha256, headline))
            report = run / "evaluation" / precision
            report.mkdir(parents=True)
            (report / "evaluation.json").write_text(
                json.dumps({"metrics": metrics[-1].model_dump(mode="json")}), encoding="utf-8"
            )
            for plot in ("pr", "calibration", "worst"):
                cv2.imwrite(str(report / f"{plot}.png"), np.full((300, 2000, 3), 255, np.uint8))
        cv2.imwrite(str(run / "curves.png"), np.full((60, 80, 3), 255, np.uint8))
        content = made.manifest.model_dump() | {
            "version": "0.0.0-a",
            "files": entries,
            "metrics": metrics,
            "data": [
                {"name": "wider", "count": 2034, "labels_sha256": LABELS, "terms": "research | only"},
                {"name": "negatives", "count": 300, "labels_sha256": LABELS, "terms": "see there"},
            ],
            "training": {
                "data": "data.yaml",
                "epochs": 3,
                "overrides": {"lr0": 0.001, "val": False},
                "command": "facepipe train-detector --data data.yaml --start best.pt",
                "history": ["epoch,loss,lr/pg0", "1,2.5,0.1", "2,1.25,0.1"],
                "after": {"start": "none", "seed": 7, "history": [], "command": "facepipe train-detector --seed 7"},
            },
        }
        write_manifest(Manifest.model_validate(content), export / "manifest.json")
        return run

    return make
