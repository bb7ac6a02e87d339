"""The train command: it learns, it survives a kill, and what it releases runs where it serves."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from facepipe.classifier.config.recipe import read_recipe
from facepipe.classifier.config.schema import read_schema
from facepipe.classifier.data.loader import CropSource, exact_batches
from facepipe.classifier.data.table import read_faces
from facepipe.classifier.inference.classifier import AttributeClassifier
from facepipe.classifier.models.backbones import BACKBONES
from facepipe.classifier.models.pretrained import fit_start, starting_arrays
from facepipe.classifier.training import train_step
from facepipe.classifier.training.checkpoint import Position
from facepipe.classifier.training.run_folder import LICENCE, Settings, read_settings
from facepipe.classifier.training.trainer import checkpoint
from facepipe.core.errors import TrainingError
from facepipe.pipeline.cli import main
from facepipe.weights import store
from facepipe.weights.manifest import CropRecipe
from facepipe.weights.publish import Choices, publish_run
from facepipe.weights.release import open_release
from facepipe.weights.store import find, write_pin

TAUGHT = ["age", "gender", "glasses", "eyes"]
"""The attributes of the schema that the drawn faces label."""


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["train-classifier", *arguments])
    return int(left.value.code or 0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, faces, tiny_recipe):
    """A folder in which the train command ran once, with its root of releases: (folder, root)."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("FACEPIPE_WEIGHTS", str(folder / "weights"))
        patch.setattr(store, "PACKAGE_ROOT", folder / "package")  # nothing that it could be worse than
        code = run(
            *("--data", str(faces), "--recipe", str(tiny_recipe), "--start", "none", "--epochs", "10", "--name", "a"),
            *("--version", "1.0.0", "--export", "int8", "--export", "float16", "--export", "float32"),
            *("--terms", "points=made here", "--terms", "drawn by a test", "--precision", "float32"),
        )
    assert code == 0
    return folder, folder / "weights"


def test_the_run_leaves_its_settings_and_history(trained):
    folder = trained[0] / "runs" / "classifier" / "a"
    settings = json.loads((folder / "settings.json").read_text())
    assert settings["seed"] == 0
    assert settings["recipe"]["backbone"] == "resnet14"
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["stage"] for row in rows] == ["first"] * 6 + ["second"] * 5
    served = rows.pop(5)  # the first stage's best, measured at the size that is served
    assert (served["stage"], served["size"], served["epoch"]) == ("first", "64", "5")
    assert float(served["val_loss"]) > 0
    assert [float(row["epoch"]) for row in rows] == list(range(1, 11))
    assert float(rows[0]["rate"]) > float(rows[4]["rate"]) < float(rows[5]["rate"])
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["data"]["rows"] == {"train": 32, "val": 16}
    assert environment["backend"] == "tensorflow"
    assert "cpu:0" in environment["present"]
    curves = cv2.imread(str(folder / "curves.png"))
    assert curves.shape[0] > 500
    assert (curves != 255).any()
    losses = [float(row["train_loss"]) for row in rows]
    assert np.mean(losses[-2:]) < 0.8 * losses[0]
    assert all(float(row[f"train_{name}_loss"]) >= 0 for row in rows for name in ("age", "gender", "eyes"))
    assert [each["name"] for each in settings["attributes"]] == TAUGHT, "nobody labels smiles and masks here"
    assert settings["release"] == {
        "version": "1.0.0",
        "exports": ["int8", "float16", "float32"],
        "terms": {"points": "made here", "": "drawn by a test"},
        "licence": LICENCE,
        "replace": False,
    }


def test_resumed_after_its_end_a_run_changes_nothing(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained[0])
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(trained[1]))
    folder = Path("runs/classifier/a")
    before = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    assert run("--resume", "--name", "a") == 0
    shown = capsys.readouterr().out
    assert "the run is finished and was released as asked, so nothing is left to do" in shown
    assert {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()} == before
    assert run("--resume", "--name", "a", "--export", "float16") == 2, "another release under a version that exists"
    assert "this version already exists" in capsys.readouterr().err


def test_a_run_that_is_over_only_releases(trained, tmp_path, monkeypatch, capsys):
    """Resumed without --data: it is published as it was asked to be when it began."""
    folder = Path("runs/classifier/a")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "none"))
    shutil.copytree(trained[0] / folder, folder, ignore=shutil.ignore_patterns("export", "evaluation", "checkpoint*"))
    before = (folder / "weights.npz").read_bytes()
    assert run("--resume", "--name", "a", "--classifier-name", "drawn", "--export", "float32") == 0
    shown = capsys.readouterr().out
    assert "stage 1/2" not in shown
    assert find("classifier", "drawn@1.0.0").manifest.files[0].precision == "float32"
    assert (folder / "weights.npz").read_bytes() == before
    release = find("classifier", folder / "export")
    assert release.manifest.name == "drawn"
    assert len(AttributeClassifier(release=release).classify(np.zeros((2, 64, 64, 3), np.uint8))) == 2
    assert len(json.loads((folder / "environment.json").read_text())["resumed"]) == 1


def test_the_release_tells_what_it_is(trained, monkeypatch):
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(trained[1]))
    release = find("classifier", "1.0.0")
    release.verify()
    manifest = release.manifest
    assert [file.precision for file in manifest.files] == ["int8", "float16", "float32"]
    assert {entry.name: (entry.count, entry.terms) for entry in manifest.data} == {
        "ages": (14, "drawn by a test"),
        "ranges": (6, "drawn by a test"),
        "points": (12, "made here"),
    }
    assert manifest.crop.size == manifest.input.size == 64
    assert manifest.training["largest_difference_from_keras"]["float32"] < 1e-3
    assert not any(os.sep in str(manifest.training[name]) for name in ("data", "start"))
    measured = {metric.name: metric.count for metric in manifest.metrics[0].values}
    assert measured["gender.accuracy"] == 6
    assert [attribute.name for attribute in manifest.attributes] == TAUGHT
    documents = {document.name for document in manifest.documents}
    assert documents >= {"MODEL_CARD.md"}
    card = (release.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert all(f"{metric.value:.4f}" in card for metric in manifest.metrics[0].values if metric.value is not None)
    sizes = {file.precision: file.bytes for file in manifest.files}
    assert sizes["int8"] < 0.35 * sizes["float32"]
    assert sizes["float16"] < 0.55 * sizes["float32"]


def test_a_run_can_be_published_again(trained, monkeypatch, tmp_path):
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "weights"))
    folder = trained[0] / "runs" / "classifier" / "a"
    published = publish_run(folder, Choices("1.5.0")).release
    published.verify()
    first = open_release(trained[1] / "classifier" / "1.0.0").manifest
    assert published.manifest.files == first.files
    assert [metrics.values for metrics in published.manifest.metrics] == [metrics.values for metrics in first.metrics]
    assert "--classifier 1.5.0 " in published.manifest.metrics[0].command


def test_the_precisions_agree_where_they_serve(trained, faces, monkeypatch):
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(trained[1]))
    table = read_faces(faces, read_schema()).split("val")
    crops = next(exact_batches(CropSource(table, 64, (114, 114, 114)), len(table))).images
    exact = AttributeClassifier("1.0.0", precision="float32").outputs(crops)
    for precision, share in (("float16", 0.02), ("int8", 0.3)):
        outputs = AttributeClassifier("1.0.0", precision=precision).outputs(crops)
        for name, wanted in exact.items():
            spread = max(float(wanted.std()), 1e-3)
            assert np.abs(outputs[name] - wanted).mean() < share * spread, (precision, name)
    values = AttributeClassifier("1.0.0").classify(crops)
    assert list(values[0]) == TAUGHT


def test_evaluation_is_the_manifest_s(trained, faces, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(trained[1]))
    common = ("--data", str(faces), "--classifier", "1.0.0", "--size-rows", "0")
    with pytest.raises(SystemExit) as left:
        main(["evaluate-classifier", *common, "--json", str(tmp_path / "m.json")])
    assert left.value.code == 0
    found = json.loads((tmp_path / "m.json").read_text())
    released = find("classifier", "1.0.0").manifest.metrics
    wanted = {metric.name: metric.value for record in released[:2] for metric in record.values}
    assert {metric["name"]: metric["value"] for metric in found["values"]} == pytest.approx(wanted)
    assert {"gender.accuracy", "age.mae", "age.range_hit", "eyes.eye_error"} <= wanted.keys()
    assert "gender.accuracy" in capsys.readouterr().out


def test_a_release_can_be_trained_further(trained, monkeypatch):
    from facepipe.classifier.models.multitask import build_model, get_weights

    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(trained[1]))
    folder = trained[0] / "runs" / "classifier" / "a"
    recipe = read_settings(folder).recipe
    x = np.random.default_rng(0).normal(0, 50, (2, 64, 64, 3)).astype(np.float32)
    outputs = {}
    for start in ("1.0.0", str(folder)):
        model = build_model(read_settings(folder).attributes, recipe, 64)
        assert fit_start(model, starting_arrays(start, recipe.backbone)) == []
        outputs[start] = model.predict_on_batch(x)
        assert all(np.isfinite(value).all() for value in get_weights(model).values())
    int8, exact = outputs.values()
    assert np.abs(int8["age"] - exact["age"]).mean() < 0.2 * exact["age"].std()


def test_versions_and_runs_are_not_overwritten(trained, faces, tiny_recipe, monkeypatch, capsys):
    monkeypatch.chdir(trained[0])
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(trained[1]))
    common = ("--data", str(faces), "--recipe", str(tiny_recipe), "--start", "none", "--name")
    assert run(*common, "b", "--version", "1.0.0") == 2
    assert "this version already exists" in capsys.readouterr().err
    assert run(*common, "b", "--version", "one") == 2
    assert "looks like 1.2.3" in capsys.readouterr().err
    assert run(*common, "a", "--version", "1.0.1") == 2
    assert "--resume" in capsys.readouterr().err
    assert run("--resume", "--name", "b") == 2
    assert "no run to resume" in capsys.readouterr().err
    assert not Path("runs/classifier/b").exists()


def test_a_run_that_could_not_begin_leaves_its_name_free(faces, tiny_recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    wanted = ("--data", str(faces), "--recipe", str(tiny_recipe), "--name", "mine")
    np.savez(tmp_path / "other.npz", something=np.zeros(3, np.float32))
    assert run(*wanted, "--start", "other.npz") == 2
    assert "fit no layer" in capsys.readouterr().err
    assert not (tmp_path / "runs" / "classifier" / "mine").exists()


def test_options_that_do_not_go_together(trained, faces, monkeypatch, capsys):
    monkeypatch.chdir(trained[0])
    for arguments, words in (
        ((), "--data is needed"),
        (("--resume",), "there are: a"),
        (("--resume", "--name", "a", "--epochs", "5", "--seed", "1"), "--epochs, --seed: a resumed run keeps"),
    ):
        assert run(*arguments) == 2
        assert words in " ".join(capsys.readouterr().err.split())
    settings = read_settings(Path("runs/classifier/a"))
    Path("other.csv").write_text(faces.read_text().replace("male", "female").replace("fefe", "fe"))
    for file in ("images",):
        Path(file).symlink_to(faces.parent / file)
    again = ("--export", "float32", "--replace")
    assert run("--resume", "--name", "a", "--data", "other.csv", *again) == 2
    assert "not the labels that this run began with" in capsys.readouterr().err
    assert read_settings(Path("runs/classifier/a")) == settings


def test_photos_are_not_trained_on(tmp_path, make_csv, tiny_recipe, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "weights"))
    path = make_csv("file,gender,split", "a.png,male,train", "a.png,female,val")
    assert run("--data", str(path), "--recipe", str(tiny_recipe), "--start", "none") == 2
    assert "facepipe data crop" in capsys.readouterr().err


SMALL = """
backbone: convnet
batch: 8
recalibration: 0
augmentation: {scale: 0.05, shift: 0.02, rotation: 3}
balance: {by: [gender]}
losses: {uncertainty: true, class_balance: true}
stages:
  - {name: first, size: 32, epochs: 2, learning_rate: 1.0e-3, freeze: [conv1], attributes: [age, gender]}
  - {name: second, size: 32, epochs: 2, learning_rate: 5.0e-4}
"""


def other_crops_in_use(root: Path) -> None:
    """Have a version in use that reads other crops, so that a run of a few steps is not refused for being worse."""
    root.mkdir()
    write_pin(root, "classifier", "1.0.0")


KILLED = """
import sys
from pathlib import Path
from facepipe.classifier.train import Ending, NewRun, RunOptions, train_classifier
from facepipe.classifier.config.recipe import read_recipe
from facepipe.classifier.config.schema import read_schema
faces, recipe, folder = map(Path, sys.argv[1:4])
new = NewRun(read_schema(), read_recipe(str(recipe)).changed(epochs=float(sys.argv[4])), "none", precision="float32",
             checkpoint_minutes=0.02, progress_seconds=0.0)
resume = "resume" in sys.argv
train_classifier(folder, RunOptions(None if resume else (str(faces),)), None if resume else new,
                 Ending() if resume else Ending("2.0.0", ("float32",)), lambda line: print(line, flush=True))
"""


def test_a_killed_run_goes_on_where_it_stood(tmp_path, faces):
    """kill -9 in the midst of the second stage; the resumed run begins there and releases."""
    folder = tmp_path / "runs" / "killed"
    other_crops_in_use(tmp_path / "weights")
    (tmp_path / "small.yaml").write_text(SMALL)
    command = [sys.executable, "-c", KILLED, str(faces), str(tmp_path / "small.yaml"), str(folder), "20"]
    environment = os.environ | {"FACEPIPE_WEIGHTS": str(tmp_path / "weights")}
    first = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        deadline = time.monotonic() + 600
        while True:
            if (folder / "checkpoint.npz").is_file():
                before, arrays = checkpoint.read(folder / "checkpoint.npz")
                if before.stage == 1 and before.step >= 1:
                    break
            assert first.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    stood, _ = checkpoint.read(folder / "checkpoint.npz")
    assert (stood.stage, stood.step) >= (before.stage, before.step)
    assert any(
        name.startswith("optimizer/") and value.size > 1 and np.abs(value).max() > 0 for name, value in arrays.items()
    )
    assert not (folder / "weights.npz").exists()
    second = subprocess.run([*command, "resume"], env=environment, capture_output=True, text=True, check=True)
    assert f"resuming at stage {stood.stage + 1}, step {stood.step}" in second.stdout
    assert "stage 1/2" not in second.stdout
    assert (tmp_path / "weights" / "classifier" / "2.0.0" / "manifest.json").is_file()


def test_sigterm_writes_a_checkpoint_and_says_how_to_go_on(tmp_path, faces):
    (tmp_path / "small.yaml").write_text(SMALL)
    command = [sys.executable, "-c", "import sys; from facepipe.pipeline.cli import main; main(sys.argv[1:])"]
    command += ["train-classifier", "--data", str(faces), "--recipe", "small.yaml", "--start", "none", "--name", "a b"]
    started = subprocess.Popen(
        [*command, "--epochs", "100000"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    folder = tmp_path / "runs" / "classifier" / "a b"
    deadline = time.monotonic() + 600
    while not (folder / "history.csv").is_file():
        assert started.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    started.send_signal(signal.SIGTERM)
    out, err = started.communicate(timeout=600)
    assert started.returncode == 143
    position, _ = checkpoint.read(folder / "checkpoint.npz")
    assert out.splitlines()[-1] == (
        f"interrupted at stage {position.stage + 1}, step {position.step}; "
        "to go on: facepipe train-classifier --resume --name 'a b'"
    )
    assert position.step > 0
    assert err == "", "no chatter of libraries, no traceback"


def test_another_backend_trains_and_exports(tmp_path, faces, tiny_recipe):
    """PyTorch; the same code, and the export in TensorFlow's process."""
    folder = tmp_path / "runs" / "torch"
    other_crops_in_use(tmp_path / "weights")
    command = [sys.executable, "-c", KILLED, str(faces), str(tiny_recipe), str(folder), "1"]
    environment = os.environ | {"FACEPIPE_WEIGHTS": str(tmp_path / "weights"), "KERAS_BACKEND": "torch"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    difference = json.loads((folder / "export.json").read_text())["float32"]
    assert difference < 1e-3
    assert AttributeClassifier(tmp_path / "weights" / "classifier" / "2.0.0").classify(
        np.zeros((1, 64, 64, 3), np.uint8)
    )


def small_run(faces: Path, folder: Path, report, resume: bool = False, **changes) -> dict[str, np.ndarray]:
    """A few steps of a small network, without a release."""
    from facepipe.classifier.training.trainer import Trainer

    folder.mkdir(exist_ok=True)
    (folder / "recipe.yaml").write_text(SMALL)
    table = read_faces(faces, read_schema())
    interval = changes.pop("validation_interval", None)
    content = {
        "name": folder.name,
        "data": (str(faces),),
        "start": "none",
        "recipe": read_recipe(str(folder / "recipe.yaml"))
        .changed(epochs=changes.pop("epochs", 4), batch=changes.pop("batch", None))
        .model_copy(update={"validation_interval": interval}),
        "attributes": table.attributes,
        "crop": CropRecipe(margin=0.1, size=32),
        "labels_sha256": table.sha256,
        "precision": "float32",
        "progress_seconds": 0.0,
    }
    settings = Settings(**content | changes)
    return Trainer(settings, table.split("train"), table.split("val"), folder, report).run(resume)


def test_a_run_that_was_interrupted_ends_as_one_that_was_not(tmp_path, faces):
    """Ctrl-C within an epoch of each stage; dropout, drawn rows and learnt weights go on as they would have."""
    straight = small_run(faces, tmp_path / "straight", lambda line: None)
    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        if stop in line:
            raise KeyboardInterrupt

    folder = tmp_path / "interrupted"
    for resume, place in ((False, " first 3/8"), (True, " second 6/8")):
        stop = place
        with pytest.raises(KeyboardInterrupt):
            small_run(faces, folder, report, resume)
    assert lines[-1] == (
        "interrupted at stage 2, step 6; to go on: facepipe train-classifier --resume --name interrupted"
    )
    stop = "never"
    resumed = small_run(faces, folder, report, True)
    assert resumed.keys() == straight.keys()
    for name, value in straight.items():
        np.testing.assert_allclose(resumed[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
    both = []
    for each in (tmp_path / "straight", folder):
        with (each / "history.csv").open() as file:
            both.append(list(csv.DictReader(file)))
    for one, other in zip(*both, strict=True):
        assert (one["epoch"], one["stage"]) == (other["epoch"], other["stage"])
        for name in ("val_loss", "factor_age", "factor_gender", "factor_eyes"):
            assert (one[name] == other[name] == "") or float(one[name]) == pytest.approx(float(other[name]), rel=1e-3)
    assert [row["factor_eyes"] == "" for row in both[0]] == [True, True, False, False]
    assert not keras.config.dtype_policy().name.startswith("mixed")


def test_a_stage_s_loss_counts_only_what_it_learns(tmp_path, faces):
    small_run(faces, tmp_path / "run", lambda line: None)
    with (tmp_path / "run" / "history.csv").open() as file:
        first, *_, last = (
            {key: float(value) for key, value in row.items() if value and key != "stage"}
            for row in csv.DictReader(file)
        )
    # the weights that they start with, not those that are learnt
    assert first["val_loss"] == pytest.approx(first["val_age_loss"] + 2 * first["val_gender_loss"], rel=1e-4)
    everything = sum({"gender": 2, "eyes": 2}.get(name, 1) * last[f"val_{name}_loss"] for name in SCHEMA_NAMES)
    assert last["val_loss"] == pytest.approx(everything, rel=1e-4)
    assert "train_eyes_loss" not in first
    assert last["train_eyes_loss"] > 0


SCHEMA_NAMES = ("age", "gender", "glasses", "smile", "mask", "eyes")


def test_validations_within_an_epoch(tmp_path, faces):
    """Every 8 of 32 rows; the last validation is that of the end."""
    folder = tmp_path / "run"
    small_run(faces, folder, lambda line: None, validation_interval=9)
    with (folder / "history.csv").open() as file:
        rows = [(row["stage"], float(row["epoch"]), int(row["step"])) for row in csv.DictReader(file)]
    first = [row for row in rows if row[0] == "first"]
    steps = [step for _, _, step in first]
    assert steps == list(range(1, steps[-1] + 1)), "the interval of 9 rows holds one whole batch of 8"
    assert first[-1][1] == 2, "and the stage is as long as it would be"


def test_bfloat16_only_where_it_is_quicker(monkeypatch):
    monkeypatch.setattr(train_step, "on_gpu", lambda: True)
    assert train_step.bfloat16_pays(depthwise=True)
    monkeypatch.setattr(train_step, "on_gpu", lambda: False)
    assert not train_step.bfloat16_pays(depthwise=True)
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    assert train_step.bfloat16_pays(depthwise=False) == ("avx512_bf16" in flags or "amx_bf16" in flags)
    assert [name for name, each in BACKBONES.items() if each.depthwise] == ["mobilenetv2", "efficientnetb0"]


def test_a_time_budget_ends_the_run(tmp_path, faces):
    lines: list[str] = []
    weights = small_run(faces, tmp_path / "run", lines.append, epochs=100000, minutes=0.1)
    assert all(np.isfinite(value).all() for value in weights.values())
    assert any("stage 2/2 second" in line for line in lines)
    position, _ = checkpoint.read(tmp_path / "run" / "checkpoint.npz")
    assert position.stage == 2


DEVICES = """
import sys
from pathlib import Path
import numpy as np
import keras
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path.insert(0, sys.argv[1])
from test_trainer import small_run
from facepipe.core.errors import TrainingError
folder, faces = Path(sys.argv[2]), Path(sys.argv[3])
one = small_run(faces, folder / "one", lambda line: None, epochs=1, devices=("cpu:0",))
two = small_run(faces, folder / "two", lambda line: None, epochs=1, devices=("cpu:0", "cpu:1"))
for name in one:
    np.testing.assert_allclose(one[name], two[name], rtol=0.05, atol=3e-3, err_msg=name)
try:
    small_run(faces, folder / "odd", print, devices=("cpu:0", "cpu:1"), batch=7)
except TrainingError as error:
    print(error)
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_two_devices_share_the_batches(tmp_path, faces, backend):
    """Two halves of this CPU; the weights are nearly those that one device learns."""
    if backend == "jax":
        pytest.importorskip("jax", reason="JAX is not installed")
    environment = os.environ | {"KERAS_BACKEND": backend, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    command = [sys.executable, "-c", DEVICES, str(Path(__file__).parent), str(tmp_path), str(faces)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "a batch of 7 cannot be split evenly across 2 devices" in done.stdout


def test_checkpoints_are_whole_or_absent(tmp_path: Path):
    path = tmp_path / "checkpoint.npz"
    with pytest.raises(TrainingError, match="no checkpoint"):
        checkpoint.read(path)
    path.write_bytes(b"PK half of a checkpoint")
    with pytest.raises(TrainingError, match="no checkpoint"):
        checkpoint.read(path)
    assert math.isinf(Position().best)


TWO_SIZES = """
backbone: convnet
batch: 8
recalibration: 0
stages:
  - {name: first, size: 32, epochs: 1, learning_rate: 1.0e-3}
  - {name: second, size: 64, epochs: 1, learning_rate: 5.0e-4}
"""


@pytest.mark.parametrize(("served", "kept"), [(1.0, "first"), (3.0, "second")])
def test_the_best_of_all_stages_at_the_served_size_is_kept(tmp_path, faces, monkeypatch, served, kept):
    """The first stage's loss of 0.5 at 32 px counts for nothing; what it reaches at 64 px against 2.0 does."""
    from facepipe.classifier.training import trainer
    from facepipe.classifier.training.run_folder import SERVED
    from facepipe.classifier.training.validation import Validation

    losses = iter((("32", 0.5), ("64", served), ("64", 2.0)))

    def measure(validator, learner, step):
        size, loss = next(losses)
        assert str(validator.spec.size) == size
        return Validation(loss, dict.fromkeys(learner.masked, loss), {})

    monkeypatch.setattr(trainer.Validator, "measure", measure)
    monkeypatch.setattr(sys.modules[__name__], "SMALL", TWO_SIZES)
    lines = []
    weights = small_run(faces, tmp_path / "run", lines.append, epochs=2, crop=CropRecipe(margin=0.1, size=64))
    assert next(losses, None) is None
    stored = checkpoint.read_arrays(tmp_path / "run" / (SERVED if kept == "first" else "best.npz"))
    other = checkpoint.read_arrays(tmp_path / "run" / ("best.npz" if kept == "first" else SERVED))
    final = checkpoint.read_arrays(tmp_path / "run" / "weights.npz")
    for name, value in final.items():
        np.testing.assert_array_equal(value, stored[name])
        np.testing.assert_array_equal(value, weights[name])
    assert any(np.abs(other[name] - value).max() > 0 for name, value in final.items())
    assert f"stage first at the served size of 64 px: loss {served:.4f} (best so far)" in lines
    released = "stage first is released: its loss of 1.0000 is below 2.0000"
    assert (released in lines) == (kept == "first")
    with (tmp_path / "run" / "history.csv").open() as file:
        rows = [(row["stage"], row["size"], float(row["val_loss"])) for row in csv.DictReader(file)]
    assert rows == [("first", "32", 0.5), ("first", "64", served), ("second", "64", 2.0)]
