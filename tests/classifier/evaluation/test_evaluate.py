"""evaluate-classifier with a random classifier: figures, report, side by side, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from facepipe.classifier.config.recipe import Split
from facepipe.classifier.data.loader import CropSource, exact_batches
from facepipe.classifier.data.readers import read_data
from facepipe.classifier.data.table import read_faces
from facepipe.classifier.evaluation import report
from facepipe.classifier.evaluation.evaluate import Evaluation, read_as_trained
from facepipe.classifier.evaluation.metrics import scores
from facepipe.classifier.evaluation.report import PLOTS
from facepipe.classifier.inference.classifier import AttributeClassifier
from facepipe.core.errors import MissingExtraError
from facepipe.core.extras import require
from facepipe.pipeline.cli import main
from facepipe.weights.release import Release


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["evaluate-classifier", *arguments])
    return int(left.value.code or 0)


def test_the_figures_are_those_of_the_outputs(evaluation: Evaluation, faces: Path, classifier_release: Release) -> None:
    model = AttributeClassifier(release=classifier_release)
    table = read_faces(faces, model.attributes).split("val")
    batch = next(exact_batches(CropSource(table, 32, (114, 114, 114)), len(table)))
    outputs = model.outputs(batch.images)
    told = {metric.name: metric for metric in evaluation.overall}
    for attribute in model.attributes:
        for metric in scores(attribute, outputs[attribute.name], batch.targets[attribute.name], True):
            assert told[metric.name].value == pytest.approx(metric.value, abs=1e-4)
            assert told[metric.name].count == metric.count
    assert "gender.ece" in told
    assert not any(name.startswith("mask.") for name in told), "nobody labels masks here"
    details = {metric.name: metric for metric in evaluation.details}
    assert details["gender.accuracy/ages"].value == told["gender.accuracy"].value
    assert details["gender.accuracy/gender=female"].interval is not None
    assert any(name.startswith("gender.accuracy_gap/by gender: ") for name in details)
    assert "gender.accuracy/gender=female, race=a" in details
    assert not any("source=" in name for name in details)


def test_the_records_are_a_manifest_s(evaluation: Evaluation, faces: Path) -> None:
    records = evaluation.records()
    assert [record.file_sha256 for record in records] == [evaluation.file_sha256] * 4
    assert records[0].command == (
        "facepipe evaluate-classifier --data faces.csv --classifier 99.0.0 --precision float32 --split val"
    )
    assert records[2].protocol.startswith("training rows")
    assert {metric.name for metric in records[2].values} >= {"gender.accuracy/training rows", "age.mae/training rows"}
    assert records[3].protocol.startswith("by size of the face: 16 of the rows")
    assert {metric.name.partition("/")[2] for metric in records[3].values} == {"12 px", "16 px", "whole"}
    assert str(faces.parent) not in json.dumps([record.model_dump(mode="json") for record in records])


def test_the_command(
    faces: Path,
    tiny_weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    small: None,
) -> None:
    monkeypatch.setattr(report, "PLOTS", {"confusion.png": PLOTS["confusion.png"]})
    out, figures = tmp_path / "report", tmp_path / "deep" / "figures.json"
    assert run("--data", str(faces), "--out", str(out), "--json", str(figures), "--training-rows", "0") == 0
    told = capsys.readouterr().out
    assert "gender.accuracy" in told
    assert f"report: {out}" in told
    content = json.loads(figures.read_text())
    assert content["classifier"] == "99.0.0 (float32)"
    names = {metric["name"] for metric in content["values"]}
    assert {"age.mae", "age.cs5", "age.range_hit", "eyes.eye_error", "gender.f1", "gender.auc"} <= names
    assert {"gender.accuracy/12 px", "gender.ece/whole", "age.interval_coverage/16 px", "eyes.eye_error/12 px"} <= names
    assert "by size of the face" in told
    assert json.loads((out / "evaluation.json").read_text())["metrics"][0]["protocol"] == content["protocol"]
    assert not any("training rows" in line for line in content["sentences"])


def test_data_without_a_split_get_the_splits_of_the_training(
    faces: Path, tmp_path: Path, classifier_release: Release
) -> None:
    lines = faces.read_text().splitlines()
    bare = faces.parent / "bare.csv"
    bare.write_text("\n".join(line.replace(",train,", ",,").replace(",val,", ",,") for line in lines))
    made = {}
    for seed, val in ((3, 0.25), (3, 0.5), (4, 0.25)):
        training = {"seed": seed, "recipe": {"split": {"val": val, "test": 0.0}}}
        manifest = classifier_release.manifest.model_copy(update={"training": training})
        model = AttributeClassifier(release=Release(classifier_release.folder, manifest))
        found = read_as_trained(model, [str(bare)])
        wanted = read_data([str(bare)], model.attributes, Split(val=val), seed)
        assert (found.columns["split"] == wanted.columns["split"]).all()
        made[seed, val] = tuple(found.columns["split"])
    assert len(set(made.values())) == 3
    read_as_trained(AttributeClassifier(release=classifier_release), [str(bare)])  # it says nothing of a split


def test_several_side_by_side(
    faces: Path, tiny_weights: Path, classifier_release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    both = ("--classifier", "99.0.0", "--classifier", str(classifier_release.folder))
    assert run("--data", str(faces), *both, "--json", str(figures), "--training-rows", "0", "--size-rows", "0") == 0
    assert "side by side" in capsys.readouterr().out
    assert len(json.loads(figures.read_text())["classifiers"]) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--split", "test"), "no rows in split 'test'"),
        (("--precision", "int4"), "--precision must be one of"),
        (("--classifier", "99.0.0", "--classifier", "99.0.0"), "the same one is given twice"),
        (("--classifier", "12.0.0"), "no classifier 12.0.0"),
        (("--precision", "int8"), "has no int8 file"),
    ],
)
def test_what_is_refused(
    arguments: tuple[str, ...], told: str, faces: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--data", str(faces), *arguments) == 2
    assert told in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_without_fairlearn_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, faces: Path, tiny_weights: Path
) -> None:
    monkeypatch.setitem(sys.modules, "fairlearn.metrics", None)
    with pytest.raises(MissingExtraError, match=r"fairlearn.*train"):
        require("fairlearn.metrics")
