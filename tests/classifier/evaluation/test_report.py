"""The report of an evaluation: its figures as JSON, its plots, the worst mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe.classifier.data.table import read_faces
from facepipe.classifier.evaluation.evaluate import Evaluation, Rows, evaluate
from facepipe.classifier.evaluation.report import PLOTS, worst_mistakes, write_report
from facepipe.classifier.inference.classifier import AttributeClassifier
from facepipe.weights.manifest import Metrics
from facepipe.weights.release import Release


def test_the_report(evaluation: Evaluation, tmp_path: Path) -> None:
    further = Metrics(protocol="more", command="c", values=(), file_sha256="ab" * 32)
    (tmp_path / "old.txt").write_text("stays")
    assert set(write_report(evaluation, tmp_path, (further,))) == {*PLOTS, "evaluation.json"}
    for name in PLOTS:
        picture = cv2.imread(str(tmp_path / name))
        assert picture is not None
        assert picture.std() > 5, name
    content = json.loads((tmp_path / "evaluation.json").read_text())
    assert [Metrics.model_validate_json(json.dumps(each)).protocol[:4] for each in content["metrics"]][-1] == "more"
    matrix = np.array(content["confusions"]["gender"]["labelled_by_said"])
    accuracy = next(metric.value for metric in evaluation.overall if metric.name == "gender.accuracy")
    assert np.trace(matrix) / matrix.sum() == pytest.approx(accuracy)
    assert content["coverage"]["gender"][-1]["answered"] == 1.0
    assert content["coverage"]["gender"][-1]["accuracy"] == pytest.approx(accuracy, abs=1e-4)
    assert {tuple(group["group"]) for group in content["groups"]} >= {("gender",), ("gender", "race")}
    assert not list(tmp_path.glob(".*"))


def test_a_report_of_fewer_attributes_drops_old_plots(
    faces: Path, tmp_path: Path, classifier_release: Release, small: None
) -> None:
    model = AttributeClassifier(release=classifier_release)
    table = read_faces(faces, model.attributes)
    points = table.rows(table.columns["source"] == "points")
    points.targets["glasses"][:] = np.nan
    (tmp_path / "confusion.png").write_bytes(b"old")
    written = write_report(evaluate(model, points, rows=Rows(0, 0)), tmp_path)
    assert set(written) == {"worst.png", "evaluation.json"}
    assert not (tmp_path / "confusion.png").exists()


def test_the_worst_mistakes_come_first(evaluation: Evaluation) -> None:
    gender, age = (next(each for each in evaluation.seen.attributes if each.name == name) for name in ("gender", "age"))
    for attribute in (gender, age):
        found = worst_mistakes(evaluation.seen, attribute)
        assert found
        assert [each.size for each in found] == sorted((each.size for each in found), reverse=True)
    for each in worst_mistakes(evaluation.seen, gender):
        assert each.predicted.split()[0] != each.labelled
