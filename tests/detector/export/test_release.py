"""From a checkpoint to a version: export, measurement, threshold, lineage, publication. Nothing is trained here."""

from __future__ import annotations

import json
import shlex
import shutil
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from facepipe import FaceDetector, Pipeline
from facepipe.core.errors import TrainingError, WeightsError
from facepipe.core.run_folder import trial_version
from facepipe.detector.data.dataset import read_description
from facepipe.detector.export import threshold
from facepipe.detector.export.release import ReleaseOptions, calibration_pictures, measure, release_run
from facepipe.detector.export.threshold import choose_threshold, empty_pictures, least_threshold
from facepipe.detector.training.augmentation import read_recipe
from facepipe.detector.training.model import FaceDetectionModel
from facepipe.detector.training.run_folder import lineage, training_command
from facepipe.detector.training.settings import DetectorSettings
from facepipe.pipeline.cli import main
from facepipe.weights import store
from facepipe.weights.release import Release, open_release
from facepipe.weights.rivals import WorseError
from facepipe.weights.store import find


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory, detection_data: Path) -> Path:
    """A run's folder whose checkpoint is a random model."""
    run = tmp_path_factory.mktemp("runs") / "detector" / "my run_1"
    (run / "weights").mkdir(parents=True)
    torch.manual_seed(3)
    model = FaceDetectionModel("yolov8n.yaml", nc=2, ch=3, verbose=False)
    torch.save({"epoch": 0, "model": model, "train_args": {}}, run / "weights" / "best.pt")
    DetectorSettings(data=str(detection_data), imgsz=64, seed=4, overrides={"lr0": 0.001, "val": False}).write(run)
    (run / "history.csv").write_text("epoch,loss\n1,2.5\n")
    return run


@pytest.fixture
def run(untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The untrained run to be exported at will, and an empty user's root."""
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "weights"))
    return Path(shutil.copytree(untrained, tmp_path / "runs" / "detector" / untrained.name))


def test_a_worse_one_is_measured_beside_the_one_in_use_and_not_published(run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        WorseError, match=r"(?s)worse than detector 1\.1\.1 \(in use\): AP50.*--version 7\.0\.0 --force"
    ) as caught:
        release_run(run, run / "weights" / "best.pt", ReleaseOptions("7.0.0", ("float32",)))
    (baseline,) = caught.value.baselines
    assert all(figure.interval is not None for figure in baseline.figures)
    assert (run / "evaluation" / "1.1.1" / "evaluation.json").is_file()
    assert open_release(run / "export").manifest.metrics
    assert not (tmp_path / "weights").exists()


def test_one_call_exports_measures_and_publishes(
    run: Path, detection_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PACKAGE_ROOT", tmp_path / "package")
    published = release_run(
        run, run / "weights" / "best.pt", ReleaseOptions("7.0.0", ("int8", "float16")), notes="From a test."
    )
    assert published is not None
    release = find("detector", "7.0.0")
    release.verify()
    manifest = release.manifest
    assert release.folder == published.release.folder == tmp_path / "weights" / "detector" / "7.0.0"
    assert [entry.precision for entry in manifest.files] == ["int8", "float16"]
    assert manifest.input.dynamic
    assert [metrics.file_sha256 for metrics in manifest.metrics] == [entry.sha256 for entry in manifest.files]
    labels = read_description(detection_data).labels_sha256
    assert {metrics.labels_sha256 for metrics in manifest.metrics} == {labels}
    assert [metrics.command for metrics in manifest.metrics] == [
        f"facepipe evaluate-detector --data data.yaml --detector 7.0.0 --precision {precision} --split val"
        for precision in ("int8", "float16")
    ]
    assert {loss.name for loss in published.losses} == {
        f"AP50, {name} boxes >= 16 px at 640" for name in ("face", "head")
    }
    card = (release.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    for metrics in manifest.metrics:
        for metric in metrics.values:
            assert (f"{metric.value:.4f}" if metric.value is not None else "Not measured") in card
    assert "facepipe train-detector --data data.yaml --imgsz 64 --seed 4 --set lr0=0.001 --set val=false" in card
    assert str(tmp_path) not in card + json.dumps(manifest.model_dump(mode="json"))
    plots = {document.name for document in manifest.documents}
    assert {"card/pr.png", "card/calibration.png", "card/thresholds.png"} <= plots
    assert not any("worst" in name for name in plots), "pictures of the data stay where they are"
    exported = open_release(run / "export")
    assert exported.version == "7.0.0"
    assert [m.values for m in exported.manifest.metrics] == [m.values for m in manifest.metrics]
    assert sorted(path.name for path in (run / "export").iterdir()) == [
        "detector.float16.onnx",
        "detector.int8.onnx",
        "manifest.json",
    ]
    for precision in ("int8", "float16"):
        assert (run / "evaluation" / precision / "worst.png").is_file()
        assert len(FaceDetector("7.0.0", precision=precision).detect([np.zeros((50, 90, 3), np.uint8)])) == 1


def test_a_detector_with_a_name_stands_beside_the_usual_one(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    used = find("detector").label
    options = ReleaseOptions("small@0.1.0", ("float32",))
    published = release_run(run, run / "weights" / "best.pt", options)
    assert published is not None, "no worse than itself: there is no other of its name"
    assert published.release.folder == tmp_path / "weights" / "detector" / "small" / "0.1.0"
    assert published.release.label == find("detector", "small").label == "small@0.1.0"
    assert find("detector").label == used
    with pytest.raises(WeightsError, match="this version already exists"):
        options.check()
    with Pipeline("small@0.1.0") as pipeline:
        assert pipeline.models.detector.version == "small@0.1.0"
    photo, rows = tmp_path / "a.png", tmp_path / "a.jsonl"
    cv2.imwrite(str(photo), np.random.default_rng(1).integers(0, 255, (90, 120, 3), np.uint8))
    for command in (
        ["detect", str(photo), "--detector", "small@0.1.0", "--json", str(rows)],
        ["verify", str(rows)],
        ["weights", "use", "detector", "small@0.1.0"],
        ["weights", "list"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert not ended.value.code, command
    assert "small@0.1.0" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["weights", "publish", str(run), "--version", "small@0.0.9", "--force"])
    assert not ended.value.code
    assert "small@0.1.0 is still used when small is named without a version" in capsys.readouterr().out
    assert json.loads(rows.read_text())["models"]["detector"]["version"] == "small@0.1.0"


def test_the_commands_go_step_by_step(run: Path, detection_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments])
        return int(ended.value.code or 0), *capsys.readouterr()

    code, _, err = call("weights", "publish", str(run), "--version", "7.0.0")
    assert code == 2
    command = err.rpartition("make it with: ")[2].strip()
    assert shlex.split(command) == ["facepipe", "export-detector", str(run)]
    code, out, _ = call(*shlex.split(command)[1:], "--export", "float32", "--data", str(detection_data))
    assert code == 0
    assert f"publish it with: facepipe weights publish {shlex.quote(str(run))} --version VERSION" in out
    assert open_release(run / "export").version == "0.0.0-my.run.1"
    assert "0.0.0" not in call("weights", "list")[1]
    code, out, _ = call("evaluate-detector", "--data", str(detection_data), "--detector", str(run / "export"))
    assert code == 0
    code, out, err = call("weights", "publish", str(run), "--version", "7.0.0", "--use")
    assert code == 2
    assert "worse than detector 1.1.1 (in use): AP50" in err
    assert "1.1.1 (in use)" in out
    assert call("weights", "publish", str(run), "--version", "7.0.0", "--use", "--force")[0] == 0
    assert find("detector").version == "7.0.0"
    assert call("export-detector", str(run), "--conf", "2")[0] == 2
    assert call("export-detector", str(run), "--checkpoint", "last")[0] == 2
    assert call("export-detector", str(run), "--export", "int4")[0] == 2
    assert call("weights", "publish", str(run), "--version", "7.0.1")[0] == 0, "a failed export leaves the one before"


def test_what_cannot_be_exported(run: Path, detection_data: Path, tmp_path: Path) -> None:
    best = run / "weights" / "best.pt"
    for precisions, message in (
        (("int4",), "unknown precision int4"),
        (("int8", "int8"), "must differ"),
        ((), "must differ, got none"),
    ):
        with pytest.raises(TrainingError, match=message):
            release_run(run, best, ReleaseOptions(precisions=precisions))
    with pytest.raises(TrainingError, match="no such checkpoint"):
        release_run(run, run / "weights" / "gone.pt")
    with pytest.raises(TrainingError, match="not a run folder"):
        release_run(tmp_path, best)
    with pytest.raises(WeightsError, match=r"looks like 1\.2\.3"):
        release_run(run, best, ReleaseOptions("seven"))
    (run / "environment.json").write_text(json.dumps({"data": {"labels_sha256": "0" * 64}}))
    with pytest.raises(TrainingError, match="not the labels that my run_1 was trained on"):
        release_run(run, best)
    assert not (run / "export").exists()
    (tmp_path / "weights" / "detector" / "7.0.0").mkdir(parents=True)
    with pytest.raises(WeightsError, match="this version already exists"):
        release_run(run, best, ReleaseOptions("7.0.0"))


def test_measuring_tells_the_file(run: Path, detection_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert release_run(run, run / "weights" / "best.pt", ReleaseOptions(precisions=("float32",))) is None
    release = open_release(run / "export")
    capsys.readouterr()
    again = measure(release, None, read_description(detection_data))
    assert again == release.manifest.metrics[0]
    out = capsys.readouterr().out
    assert all(metric.name in out for metric in again.values)


def test_calibration_pictures_have_boxes_and_come_from_every_source(detection_data: Path) -> None:
    description = read_description(detection_data)
    train = description.pictures["train"]
    boxed = [picture for picture in train if len(description.boxes(picture))]
    empty = [picture for picture in train if picture not in boxed]
    assert empty, "the set must have pictures without boxes"
    assert Counter(picture.source for picture in calibration_pictures(description, 6)) == {"faces": 3, "heads": 3}
    assert sorted(p.file for p in calibration_pictures(description)) == sorted(p.file for p in boxed)
    few = [picture for picture in boxed if picture.source == "heads"][:4]
    few += [picture for picture in boxed if picture.source == "faces"][:1]
    uneven = replace(description, pictures={"train": tuple(few), "val": ()})
    chosen = calibration_pictures(uneven, 4)
    assert sum(picture.source == "faces" for picture in chosen) == 1
    assert len({picture.file for picture in chosen}) == 4
    assert chosen == calibration_pictures(uneven, 4)
    without = replace(description, pictures={"train": tuple(empty), "val": ()})
    assert len(calibration_pictures(without, 2)) == 2, "better than none"


def test_the_least_threshold() -> None:
    confidence = np.array([0.9, 0.5, 0.31, 0.2, 0.06])
    assert least_threshold(confidence, 10, 0.5).confidence == 0.05
    assert least_threshold(confidence, 10, 0.4).confidence == 0.07
    assert least_threshold(confidence, 10, 0.2).confidence == 0.32
    chosen = least_threshold(confidence, 10, 0.1)
    assert chosen.to_dict() == {"confidence": 0.51, "false_alarms": 0.1, "at_most": 0.1, "pictures": 10}
    assert least_threshold(confidence, 10, 0.0).confidence == 0.91
    with pytest.raises(TrainingError, match=r"even at a confidence of 0\.95 there are 0\.1 false alarms"):
        least_threshold(np.array([0.99]), 10, 0.0)


def test_the_threshold_is_chosen_on_training_pictures_without_anybody(
    detection_data: Path, detector_release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    description = read_description(detection_data)
    assert {picture.source for picture in empty_pictures(description)} == {"empty"}
    assert len(empty_pictures(description)) == 4
    read: list[str] = []
    plain = threshold.read_picture

    def watched(path: Path) -> np.ndarray:
        read.append(path.parent.name)
        return plain(path)

    monkeypatch.setattr(threshold, "read_picture", watched)
    detector = FaceDetector(release=detector_release)
    served = detector.confidence
    chosen = choose_threshold(detector, description, at_most=2.0)
    assert read == ["train"] * 4
    assert detector.confidence == served
    frames = [plain(picture.path) for picture in empty_pictures(description)]
    for confidence, enough in ((chosen.confidence, True), (round(chosen.confidence - 0.01, 2), False)):
        detector.confidence = confidence
        assert (sum(len(found) for found in detector.detect(frames)) / 4 <= 2.0) is enough
    nobody = {"train": tuple(p for p in description.pictures["train"] if p.source != "empty"), "val": ()}
    with pytest.raises(TrainingError, match="no training picture without people"):
        choose_threshold(detector, replace(description, pictures=nobody))


def test_auto_is_told_in_the_manifest(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(detector: FaceDetector, *_: object) -> threshold.ChosenThreshold:
        assert detector.release.entry().precision == "float32"
        return threshold.ChosenThreshold(0.37, 0.01, 0.02, 300)

    monkeypatch.setattr("facepipe.detector.export.release.choose_threshold", choose)
    release_run(run, run / "weights" / "best.pt", ReleaseOptions(None, ("float32",), None))
    manifest = open_release(run / "export").manifest
    assert manifest.thresholds is not None
    assert manifest.thresholds.confidence == 0.37
    assert manifest.training["threshold"]["pictures"] == 300
    assert any(" at 0.37, " in metric.name for metric in manifest.metrics[0].values)


def test_a_run_tells_those_before_it(untrained: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for name, start in (
        ("first", "none"),
        ("second", str(runs / "first" / "weights" / "best.pt")),
        ("third", str(runs / "second" / "weights" / "last.pt")),
    ):
        settings = DetectorSettings(data="/elsewhere/data.yaml", start=start, minutes=11.5, rect=True, log=("mlflow",))
        (runs / name).mkdir(parents=True)
        settings.write(runs / name)
    (runs / "first" / "results.csv").write_text("epoch\n1\n")
    (runs / "second" / "environment.json").write_text('{"commit": "abc"}')
    told = lineage(runs / "third")
    assert told["start"] == "last.pt"
    assert told["after"]["environment"] == {"commit": "abc"}
    assert told["after"]["after"]["history"] == ["epoch", "1"]
    assert "after" not in told["after"]["after"]
    assert str(tmp_path) not in json.dumps(told)
    assert told["command"] == (
        "facepipe train-detector --data data.yaml --start last.pt --minutes 11.5 --rect --log mlflow"
    )
    (runs / "second" / "environment.json").write_text("{")
    with pytest.raises(TrainingError, match=r"environment\.json: not valid JSON"):
        lineage(runs / "third")


def test_the_training_command_asks_for_the_same_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the command says, read by the command line itself, gives the settings back."""
    seen: list[DetectorSettings] = []

    def train(settings: DetectorSettings, run: Path, *_: object) -> Path:
        seen.append(settings)
        raise TrainingError("enough")

    monkeypatch.setattr("facepipe.detector.training.train.train", train)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.yaml").write_text("")
    wanted = DetectorSettings(
        data=str(tmp_path / "data.yaml"),
        start=str(tmp_path / "a b.npz"),
        epochs=7,
        imgsz=320,
        batch=4,
        device="cpu",
        precision="float32",
        minutes=2.5,
        rect=True,
        augmentation=read_recipe("views").to_dict(),
        frozen_statistics=True,
        log=("tensorboard",),
        seed=9,
        overrides={"lr0": 0.0006, "val": False, "optimizer": "AdamW", "freeze": [0, 1]},
    )
    command = shlex.split(training_command(asdict(wanted)))
    with pytest.raises(SystemExit):
        main(command[1:])
    assert seen == [wanted]


def test_trial_versions() -> None:
    assert trial_version(Path("runs/detector/first")) == "0.0.0-first"
    assert trial_version(Path("runs/detector/my run_1-b.")) == "0.0.0-my.run.1.b"
    assert trial_version(Path("runs/detector/___")) == "0.0.0"
