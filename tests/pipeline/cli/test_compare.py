"""``facepipe compare``: what it reads of runs, finished or not, and what it says where a figure is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe.pipeline.cli import main
from facepipe.weights.manifest import Metric, Metrics, write_manifest
from facepipe.weights.release import Release

HISTORY = """epoch,stage,size,step,minutes,rate,train_loss,val_loss,age.mae,gender.accuracy,eyes.eye_error
1,first,32,4,0.1,0.001,9,7,20,0.5,0.3
2,first,32,8,0.2,0.0001,8,5,15,0.6,0.2
2,first,64,8,0.2,0.0001,,7.5,16,0.6,0.2
3,second,64,4,0.3,0.0005,7,6.5,12,0.75,
4.5,second,64,10,0.4,1e-05,6,6.25,11,0.8125,0.1
5,second,64,12,0.5,1e-05,6,6.75,10,0.9,0.1
"""


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classifier_release: Release) -> Path:
    """``runs/classifier`` with a finished run, one in training and one that has just begun."""
    monkeypatch.chdir(tmp_path)
    folder = Path("runs") / "classifier"
    attributes = [attribute.model_dump(mode="json") for attribute in classifier_release.manifest.attributes]
    for name in ("done", "training", "begun"):
        (folder / name).mkdir(parents=True)
        recipe = {"backbone": "resnet14", "stages": [{"size": 32}, {"size": 64}]}
        (folder / name / "settings.json").write_text(json.dumps({"recipe": recipe, "attributes": attributes}))
        if name != "begun":
            (folder / name / "history.csv").write_text(HISTORY)
    np.savez(folder / "done" / "weights.npz", a=np.zeros((3, 4)), b=np.zeros(2))
    np.savez(folder / "training" / "best.npz", a=np.zeros(5))
    shutil.copytree(classifier_release.folder, folder / "done" / "export")
    values = {"age.mae": 6.5, "age.mae_normalised": 0.07, "gender.accuracy": 0.91, "eyes.eye_error": 0.05}
    metrics = Metrics(
        protocol="p", command="c", values=tuple(Metric(name=name, value=value) for name, value in values.items())
    )
    worse = metrics.model_copy(update={"values": (Metric(name="age.mae", value=99.0),)})
    manifest = classifier_release.manifest.model_copy(update={"metrics": (metrics, worse)})
    write_manifest(manifest, folder / "done" / "export" / "manifest.json")
    return folder


def compare(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["compare", *arguments])
    return int(left.value.code or 0)


def test_figures_of_runs_finished_and_not(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare("done", str(runs / "training"), "begun", "--json", "-") == 0
    done, training, begun = json.loads(capsys.readouterr().out)["runs"]
    assert (done["name"], done["backbone"], done["size"], done["measured"]) == ("done", "resnet14", 64, "export")
    assert done["figures"] == {
        "age.mae": 6.5,
        "age.mae_normalised": 0.07,
        "gender.accuracy": 0.91,
        "eyes.eye_error": 0.05,
    }
    assert (done["loss"], done["epochs"], done["parameters"]) == (6.25, 5, 14)
    assert 0 < done["milliseconds"] < 1000
    assert done["megabytes"] == pytest.approx(
        next((runs / "done" / "export").glob("*.onnx")).stat().st_size / 1e6, rel=0.01
    )
    assert training["measured"] == "training"
    assert training["figures"] == pytest.approx(
        {"age.mae": 11, "age.mae_normalised": 0.11, "gender.accuracy": 0.8125, "eyes.eye_error": 0.1}
    )
    assert (training["loss"], training["parameters"], training["milliseconds"]) == (6.25, 5, None)
    assert begun["figures"] == {}
    assert [begun[name] for name in ("loss", "epochs", "parameters", "megabytes")] == [None] * 4


def test_the_table_and_the_picture(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare("done", "training", "begun", "--out", "curves.png") == 0
    shown = capsys.readouterr().out
    lines = {line.split("│")[1].strip(): line.split("│")[2:-1] for line in shown.splitlines() if line.startswith("│")}
    assert [cell.strip() for cell in lines["age MAE, years"]] == ["6.50", "11.00", "-"]
    assert [cell.strip() for cell in lines["eyes error, of eye distance"]] == ["0.0500", "0.1000", "-"]
    assert [cell.strip() for cell in lines["ms a crop"]][1:] == ["-", "-"]
    assert "training*" in shown
    assert "done*" not in shown
    picture = cv2.imread("curves.png")
    assert picture is not None
    assert np.any(picture != 255)
    assert picture.shape[1] > 1000


def test_many_runs_get_a_row_each(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        shutil.copytree(runs / "training", runs / f"more{number}")
    names = ["done", "training", "begun", "more0", "more1", "more2"]
    assert compare(*names, "--no-timing") == 0
    rows = [line.split("│")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert [row.rstrip("*") for row in rows] == names


def test_what_cannot_be_compared(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare("gone") == 2
    assert (
        "neither a run's folder nor a name in runs/classifier or runs/detector; there are: begun, done"
        in capsys.readouterr().err
    )
    assert compare("begun", "--out", "curves.png") == 2
    assert "none of runs/classifier/begun has a history yet" in capsys.readouterr().err
    (runs / "begun" / "settings.json").write_text("{}")
    assert compare("begun") == 2
    assert "not the settings of a run" in capsys.readouterr().err
    (runs / "training" / "history.csv").write_text("epoch,stage,val_loss\n1,first,soon\n")
    assert compare("training") == 2
    assert "history.csv, line 2" in capsys.readouterr().err


def test_an_earlier_stage_may_be_what_a_run_becomes(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At the size that is served; the loss of 5 at 32 px counts for nothing."""
    history = HISTORY.replace("2,first,64,8,0.2,0.0001,,7.5,16", "2,first,64,8,0.2,0.0001,,6.0,9")
    (runs / "training" / "history.csv").write_text(history)
    assert compare("training", "--json", "-") == 0
    (found,) = json.loads(capsys.readouterr().out)["runs"]
    assert (found["loss"], found["figures"]["age.mae"]) == (6.0, 9)


def test_runs_of_the_detector(runs: Path, detector_release: Release, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("runs") / "detector"
    for name in ("finished", "going"):
        (folder / name).mkdir(parents=True)
        (folder / name / "settings.json").write_text(json.dumps({"imgsz": 64, "start": "yolov8s.pt", "epochs": 5}))
        rows = ("1,0.3,0.2", "2,0.5,0.4", "3,0.6,0.3")
        (folder / name / "history.csv").write_text(
            "\n".join(("epoch,metrics/mAP50(B),metrics/mAP50-95(B)", *rows)) + "\n"
        )
    shutil.copytree(detector_release.folder, folder / "finished" / "export")
    metrics = Metrics(protocol="p", command="c", values=(Metric(name="AP50, face boxes of every size", value=0.7),))
    manifest = detector_release.manifest.model_copy(update={"metrics": (metrics,)})
    write_manifest(manifest, folder / "finished" / "export" / "manifest.json")
    assert compare("finished", "going", "--json", "-") == 0
    finished, going = json.loads(capsys.readouterr().out)["runs"]
    assert finished["figures"] == {"AP50, face boxes of every size": 0.7}
    assert (finished["measured"], finished["size"]) == ("export", 64)
    assert 0 < finished["milliseconds"] < 1000
    assert going["figures"] == {"metrics/mAP50(B)": 0.5, "metrics/mAP50-95(B)": 0.4}
    assert (going["measured"], going["epochs"], going["milliseconds"]) == ("training", 3, None)
    assert compare("finished", "going") == 0
    shown = capsys.readouterr().out
    assert "mAP50-95(B)" in shown
    assert "ms a picture" in shown
    assert compare("finished", "done") == 2
    assert "not both at once" in capsys.readouterr().err
    (folder / "done").mkdir()
    (folder / "done" / "settings.json").write_text(json.dumps({"imgsz": 64}))
    assert compare("done") == 2
    assert "name a folder: runs/classifier/done or runs/detector/done" in " ".join(capsys.readouterr().err.split())
