"""From a run's folder to a release: calibrated, measured, described. The export itself is stood in for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from facepipe.classifier.config.recipe import read_recipe
from facepipe.classifier.data.table import FaceTable, read_faces
from facepipe.classifier.evaluation import report
from facepipe.classifier.evaluation.evaluate import Evaluation, Rows, evaluate
from facepipe.classifier.export import calibration, release
from facepipe.classifier.export.release import release_run
from facepipe.classifier.inference.classifier import AttributeClassifier
from facepipe.classifier.training.run_folder import ReleaseOptions, Settings, lineage, training_command
from facepipe.core.errors import WeightsError
from facepipe.core.run_folder import trial_version
from facepipe.weights import store
from facepipe.weights.manifest import CropRecipe, FaceCheck
from facepipe.weights.publish import Choices, publish_run
from facepipe.weights.release import Release, open_release
from facepipe.weights.rivals import WorseError
from pydantic import ValidationError

SIZE = 32


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, draw_faces: Callable[..., Path]) -> Path:
    return draw_faces(tmp_path_factory.mktemp("many") / "data", 240)


@pytest.fixture
def make_run(
    tmp_path: Path, many: Path, classifier_release: Release, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Settings, FaceTable]:
    """A run of a random network, whose export writes the tiny classifier's file under each precision's name."""
    table = read_faces(many, classifier_release.manifest.attributes)
    settings = Settings(
        name="a b",
        data=(f"{many}=2",),
        start=str(tmp_path / "elsewhere" / "start.npz"),
        recipe=read_recipe(),
        attributes=classifier_release.manifest.attributes,
        crop=CropRecipe(margin=0.25, size=SIZE),
        labels_sha256=table.sha256,
        seed=3,
    )
    folder = tmp_path / "runs" / "classifier" / "a b"
    folder.mkdir(parents=True)
    settings.write(folder)
    (folder / "history.csv").write_text("epoch,loss\n1,2.5\n2,1.5\n")
    (folder / "environment.json").write_text(json.dumps({"facepipe": "1", "data": {"labels_sha256": table.sha256}}))

    def export_run(run: Path, precisions: tuple[str, ...]) -> dict[str, float]:
        with np.load(run / "calibration.npz") as archive:
            assert archive["images"].shape == (160, SIZE, SIZE, 3)
        proto = onnx.load_from_string(classifier_release.read())
        for node in proto.graph.node:
            node.input[:] = ["image" if name == "crops" else name for name in node.input]
        proto.graph.input[0].name = "image"
        proto.graph.output.append(onnx.helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, ("n", 48)))
        for number, precision in enumerate(("float32", *precisions)):
            proto.producer_version = str(number)  # so that their hashes differ
            onnx.save(proto, run / f"classifier-{precision}.onnx")
        return dict.fromkeys(precisions, 0.01)

    monkeypatch.setattr(release, "export_run", export_run)
    monkeypatch.setattr(calibration, "LEAST_ROWS", 8)
    monkeypatch.setattr(report, "PLOTS", {name: report.PLOTS[name] for name in ("confusion.png", "reliability.png")})
    return folder, settings, table


Run = tuple[Path, Settings, FaceTable]


def ending(settings: Settings, *exports: str, **options: object) -> Settings:
    """The settings of a run that becomes such a release."""
    return settings.model_copy(update={"release": ReleaseOptions(exports=exports, **options)})


def test_without_a_version_the_export_is_a_working_release(make_run: Run, tmp_path: Path) -> None:
    folder, settings, table = make_run
    lines: list[str] = []
    root = tmp_path / "weights"
    assert release_run(folder, ending(settings, "int8", "float16"), table, root, lines.append) is None
    assert not root.exists(), "nothing is installed"
    made = open_release(folder / "export")
    made.verify()
    manifest = made.manifest
    assert manifest.version == "0.0.0-a.b" == trial_version(folder)
    assert [entry.name for entry in manifest.files] == ["classifier-int8.onnx", "classifier-float16.onnx"]
    assert manifest.features == 48
    assert manifest.input == release.find_backbone("resnet50").input_spec(SIZE)
    assert not list(folder.glob("*.onnx")), "float32 was not asked for"
    assert not (folder / "calibration.npz").exists()

    outputs = AttributeClassifier(folder / "export").outputs(np.zeros((2, SIZE, SIZE, 3), np.uint8), features=True)
    assert outputs["features"].shape == (2, 48)
    gender = next(each for each in manifest.attributes if each.name == "gender")
    mask = next(each for each in manifest.attributes if each.name == "mask")
    age = next(each for each in manifest.attributes if each.name == "age")
    assert gender.temperature != 1.0
    assert mask.temperature == 1.0, "nobody labels masks here"
    assert age.kind == "numeric"
    assert age.widen != 0
    assert any(line.startswith("gender: temperature ") for line in lines)
    assert any("on training rows" in line for line in lines)

    told_there = json.loads((folder / "evaluation" / "int8" / "evaluation.json").read_text())
    assert told_there["metrics"] == [
        record.model_dump(mode="json") for record in manifest.metrics if record.file_sha256 == manifest.files[0].sha256
    ]
    assert (folder / "evaluation" / "float16" / "reliability.png").is_file()
    held = next(record for record in manifest.metrics if record.protocol.startswith("calibration: fitted on"))
    told = {metric.name: metric.value for metric in held.values}
    assert told["gender.ece/after calibration"] < told["gender.ece/before calibration"], "a random network is too sure"
    assert str(tmp_path) not in json.dumps(manifest.model_dump(mode="json")), "no path of this machine"


def test_a_face_check_is_calibrated_and_measured_and_not_reported(make_run: Run) -> None:
    folder, settings, table = make_run
    attributes = tuple(
        each.model_copy(update={"face_check": FaceCheck(weight=0.3, neutral=3)}) if each.name == "glasses" else each
        for each in settings.attributes
    )
    settings = ending(settings.model_copy(update={"attributes": attributes}), "float16")
    release_run(folder, settings, table, report=lambda line: None)
    manifest = open_release(folder / "export").manifest
    trained = next(each for each in attributes if each.name == "glasses")
    assert manifest.face_check is not None
    assert manifest.face_check.face_check == FaceCheck(weight=0.3, neutral=3)
    assert manifest.face_check.temperature != trained.temperature
    assert {each.name for each in manifest.reported} == {each.name for each in attributes} - {"glasses"}
    assert "glasses.accuracy" in {value.name for record in manifest.metrics for value in record.values}


def test_the_figures_are_of_the_calibrated_release(make_run: Run) -> None:
    folder, settings, table = make_run
    release_run(folder, ending(settings, "float16"), table, report=lambda line: None)
    made = open_release(folder / "export")
    again: Evaluation = evaluate(AttributeClassifier(release=made), table, data=settings.data, rows=Rows(0, 0))
    told = {metric.name: metric.value for metric in made.manifest.metrics[0].values}
    assert told == pytest.approx({metric.name: metric.value for metric in again.overall})
    assert made.manifest.metrics[0].command == again.command


def test_the_version_in_use_is_measured_on_the_same_rows_first(
    make_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, publish_classifier: Callable[..., Release]
) -> None:
    """Of two random ones the other is the better in age and glasses."""
    folder, settings, table = make_run
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "weights"))
    used = publish_classifier(tmp_path / "weights", seed=7)
    message = (
        rf"worse than classifier {used.version} \(in use\): age\.mae .*; glasses\.accuracy .*--version 1\.0\.0 --force"
    )
    with pytest.raises(WorseError, match=message) as caught:
        release_run(folder, ending(settings, "float16", version="1.0.0"), table, report=lambda line: None)
    (baseline,) = caught.value.baselines
    assert {figure.name for figure in baseline.figures} == {
        "age.mae",
        "eyes.eye_error",
        "gender.accuracy",
        "glasses.accuracy",
    }
    assert all(figure.interval is not None for figure in baseline.figures)
    assert all(figure.first.interval is not None for figure in baseline.figures if "accuracy" not in figure.name)
    assert [path.name for path in (tmp_path / "weights" / "classifier").iterdir()] == [used.version]


def test_a_version_is_published_with_its_card(make_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PACKAGE_ROOT", tmp_path / "package")
    folder, settings, table = make_run
    root, lines = tmp_path / "weights", list[str]()
    settings = settings.model_copy(update={"classifier_name": "face"})
    settings = ending(settings, "int8", "float16", version="1.0.0", terms={"": "made here"})
    published = release_run(folder, settings, table, root, lines.append)
    assert published is not None
    assert published.release.folder == root / "classifier" / "1.0.0"
    card = (published.release.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    for words in (
        "## Calibration",
        "after calibration",
        "ace is never predicted, and neither is emotion",
        "not an identity embedding",
        "Gender is what annotators saw",
        "card/reliability.png",
        "card/confusion.png",
        "facepipe train-classifier --data faces.csv=2",
        "facepipe evaluate-classifier --data faces.csv --classifier 1.0.0 --precision int8 --split val",
        "| ages | 64 | made here |",
    ):
        assert words in card, words
    assert str(tmp_path) not in card
    good = card.partition("## How good it is")[2]
    assert good.index("by size of the face:") < good.index("through the released ONNX file")
    by_size = good[: good.index("\n\n", good.index("| gender.accuracy |"))]
    assert "| 12 px | 16 px | whole |" in by_size
    for name in ("gender.balanced_accuracy", "gender.ece", "age.mae", "age.interval_coverage", "eyes.eye_error"):
        assert f"| {name} |" in by_size
    gender = next(each for each in published.release.manifest.attributes if each.name == "gender")
    assert [band.side for band in gender.bands] == pytest.approx([12, 16, SIZE / 1.5])
    assert gender.min_side is not None
    assert f"gender from {gender.min_side:g} px" in card
    assert "temperature and interval follow the size of the box" in card
    with pytest.raises(WeightsError, match="exists"):
        release_run(folder, settings, table, root)
    assert publish_run(folder, Choices("1.1.0"), root).release.version == "1.1.0"


def test_a_failed_release_leaves_the_one_before(make_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, settings, table = make_run
    release_run(folder, ending(settings, "float16"), table, report=lambda line: None)
    before = (folder / "export" / "manifest.json").read_bytes()
    monkeypatch.setattr(release, "write_report", lambda *_: (_ for _ in ()).throw(WeightsError("no room")))
    with pytest.raises(WeightsError, match="no room"):
        release_run(folder, ending(settings, "float16"), table, report=lambda line: None)
    assert (folder / "export" / "manifest.json").read_bytes() == before
    assert not list(folder.glob(".export-*"))
    with pytest.raises(ValidationError, match="must differ"):
        ReleaseOptions(exports=("int8", "int8"))


def test_the_record_of_a_run_names_no_folder(make_run: Run, tmp_path: Path) -> None:
    folder, settings, _ = make_run
    later = folder.parent / "later"
    later.mkdir()
    told = lineage(later, settings.model_copy(update={"start": str(folder), "minutes": 5.0}))
    assert told["data"] == ["faces.csv=2"]
    assert told["start"] == "a b"
    assert told["command"] == (
        "facepipe train-classifier --data faces.csv=2 --recipe resnet50 --name 'a b' --start 'a b' --minutes 5 --seed 3"
    )
    assert told["after"]["start"] == "start.npz"
    assert told["after"]["history"] == ["epoch,loss", "1,2.5", "2,1.5"]
    assert told["after"]["environment"]["facepipe"] == "1"
    assert str(tmp_path) not in json.dumps(told)
    changed = settings.model_copy(update={"recipe": settings.recipe.changed(epochs=1)})
    assert "--recipe recipe.yaml" in training_command(changed)
