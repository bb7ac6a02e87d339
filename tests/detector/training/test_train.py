"""The train command, really run on a tiny data set: data, masks, kill, resume, export, release."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from facepipe import FaceDetector
from facepipe.core.errors import DeviceError, MissingExtraError, TrainingError
from facepipe.detector.data.dataset import read_description
from facepipe.detector.training.augmentation import as_recipe, read_recipe
from facepipe.detector.training.model import FaceDetectionModel, load_arrays
from facepipe.detector.training.run_folder import read_history, record_environment, seconds_used
from facepipe.detector.training.torch_dataset import PartlyLabelledDataset, ShuffledRectangles, split_ignored
from facepipe.detector.training.train import DetectorSettings, train
from facepipe.detector.training.trainer import FaceTrainer, rectangle_loader
from facepipe.pipeline.cli import app
from facepipe.weights import store
from facepipe.weights.store import releases
from typer.testing import CliRunner
from ultralytics.cfg import get_cfg
from ultralytics.data.augment import Albumentations
from ultralytics.data.build import build_dataloader
from ultralytics.utils import SETTINGS
from ultralytics.utils.dist import generate_ddp_file

FAST = ["--epochs", "2", "--imgsz", "64", "--batch", "4", "--device", "cpu", "--set", "close_mosaic=0"]


def dataset(
    description_file: Path, rect: bool = False, recipe: dict[str, Any] | None = None, **settings: Any
) -> PartlyLabelledDataset:
    description = read_description(description_file)
    augmentation = as_recipe(recipe or {}).resolved(settings, rect)
    return PartlyLabelledDataset(
        img_path=[str(picture.path) for picture in description.pictures["train"]],
        imgsz=64,
        batch_size=4,
        augment=True,
        rect=rect,
        hyp=get_cfg(overrides=augmentation.arguments()),
        data={
            "description": description,
            "augmentation": augmentation,
            "names": {0: "face", 1: "head"},
            "nc": 2,
            "channels": 3,
        },
    )


def test_mosaic_joins_pictures_of_one_group_and_carries_ignore_regions(detection_data: Path) -> None:
    made = dataset(detection_data, mosaic=1.0, mixup=1.0)
    index = next(i for i, file in enumerate(made.im_files) if "faces0" in file)
    ignored = 0
    for _ in range(8):
        sample = made[index]
        assert sample["labelled"].tolist() == [True, False]
        assert set(sample["cls"].view(-1).int().tolist()) <= {0, 2}
        ignored += int((sample["cls"] == 2).sum())
    assert ignored > 0


def test_nothing_is_done_that_the_recipe_does_not_name(detection_data: Path) -> None:
    made = dataset(detection_data)
    assert not any(isinstance(step, Albumentations) for step in made.transforms.transforms)
    index = next(i for i, file in enumerate(made.im_files) if "heads1" in file)
    original: Any = cv2.imread(made.im_files[index])
    height, width = original.shape[:2]
    frame = made[index]["img"].numpy().transpose(1, 2, 0)[:, :, ::-1]
    whole = cv2.resize(original, (64, 64 * height // width))
    top = (64 - whole.shape[0]) // 2
    np.testing.assert_allclose(frame[top : top + whole.shape[0]], whole, atol=1)
    assert (frame[:top] == 114).all()


def test_ignore_regions_are_mirrored_with_the_picture(detection_data: Path) -> None:
    boxes = {}
    for flip in (0.0, 1.0):
        made = dataset(detection_data, fliplr=flip)
        index = next(i for i, file in enumerate(made.im_files) if "faces0" in file)
        batch = split_ignored(PartlyLabelledDataset.collate_fn([made[index]]), 2)
        assert len(batch["cls"]) == 1
        boxes[flip] = batch["ignored"][0].numpy()
    assert boxes[1.0] == pytest.approx(boxes[0.0] * [0, -1, 1, 1, 1] + [0, 1, 0, 0, 0], abs=1e-5)


def test_rectangles_are_shuffled_within_their_shapes(detection_data: Path) -> None:
    made = dataset(detection_data, rect=True)
    sampler = ShuffledRectangles(made, seed=3)
    orders = [list(sampler) for _ in range(3)]
    assert all(sorted(order) == list(range(12)) for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    for order in orders:
        for start in range(0, 12, 4):
            shapes = Counter(tuple(made.batch_shapes[made.batch[index]]) for index in order[start : start + 4])
            assert len(shapes) == 1


def test_the_order_of_rectangles_follows_seed_and_epoch(detection_data: Path) -> None:
    made = dataset(detection_data, rect=True)
    first, again, resumed = (ShuffledRectangles(made, seed=3) for _ in range(3))
    resumed.epoch = 1
    orders = [list(first), list(first)]
    assert orders == [list(again), list(again)]
    assert list(resumed) == orders[1] != orders[0]


@pytest.mark.parametrize("rect", [True, False])
def test_loading_processes_give_the_same_batches_again(detection_data: Path, rect: bool) -> None:
    content = read_recipe("views" if rect else "roboflow").to_dict()
    seen = []
    for _ in range(2):
        torch.manual_seed(9)
        made = dataset(detection_data, rect, content)
        loader: Any = rectangle_loader(made, 9, 2, False) if rect else build_dataloader(made, 4, 2, device="cpu")
        assert loader.num_workers > 0
        seen.append([batch["img"].numpy() for _ in range(2) for batch in loader])
        loader.close()
    assert all((one == other).all() for one, other in zip(*seen, strict=True))
    assert not (seen[0][0].shape == seen[0][3].shape and (seen[0][0] == seen[0][3]).all())  # epochs differ


def test_arrays_start_a_model_where_they_fit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = FaceDetectionModel("yolov8n.yaml", nc=2, ch=3, verbose=False)
    name = "model.0.conv.weight"
    array = np.full(tuple(model.state_dict()[name].shape), 0.5, np.float16)
    arrays: dict[str, Any] = {name: array, "model.1.conv.weight": np.zeros((1, 2))}
    np.savez(tmp_path / "a.npz", **arrays)
    loaded, left = load_arrays(model, tmp_path / "a.npz")
    assert loaded == 1
    assert name not in left
    assert (model.state_dict()[name] == 0.5).all()
    np.savez(tmp_path / "b.npz", other=array)
    with pytest.raises(TrainingError, match="none of its 1 arrays fits"):
        load_arrays(model, tmp_path / "b.npz")
    (tmp_path / "c.npz").write_text("no arrays")
    with pytest.raises(TrainingError, match=r"c\.npz: not a \.npz"):
        load_arrays(model, tmp_path / "c.npz")


KILLED = """
import os, sys
from facepipe.detector.training import schedule, trainer
schedule.CHECKPOINT_SECONDS = schedule.CLOCK_SECONDS = 0
def die(self):
    if self.epoch == 1:
        os._exit(9)  # no clean-up, as a kill has none
trainer.FaceTrainer.save_in_between, plain = (lambda t: (plain(t), die(t))), trainer.FaceTrainer.save_in_between
if sys.argv.pop(1) == "term":
    die = lambda self: self.epoch == 1 and os.kill(os.getpid(), 15)
from facepipe.pipeline.cli import main
sys.argv = ["facepipe", *sys.argv[1:]]
main()
"""


def settings(data: Path, **more: Any) -> DetectorSettings:
    content: dict[str, Any] = {
        "architecture": "yolov8n",
        "epochs": 1,
        "imgsz": 64,
        "batch": 4,
        "device": "cpu",
        "seed": 5,
    }
    content |= more
    return DetectorSettings(data=str(data), **content)


def test_the_command_trains_dies_resumes_and_releases(
    detection_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(store, "PACKAGE_ROOT", tmp_path / "package")  # nothing that it could be worse than
    run = tmp_path / "runs" / "detector" / "tiny"
    arguments = ["train-detector", "--name", "tiny"]
    asked = ["--version", "7.0.0", "--export", "float16", "--export", "int8"]
    new = [
        *arguments,
        "--data",
        str(detection_data),
        "--architecture",
        "yolov8n",
        *FAST,
        "--rect",
        "--augmentation",
        "roboflow",
        *asked,
    ]
    command = [sys.executable, "-c", KILLED]
    killed = subprocess.run([*command, "kill", *new], capture_output=True, text=True, check=False)
    assert killed.returncode == 9, killed.stderr
    assert "\r" not in killed.stdout  # one line a bar where there is no terminal
    assert (run / "weights" / "last.pt").is_file()
    assert not [file for file in (run / "weights").iterdir() if file.name.startswith(".")]
    assert "0.0.0-tiny" not in {release.version for release in releases("detector")}
    first, used = read_history(run), seconds_used(run)
    assert [row["epoch"] for row in first] == [1]
    assert used > (first[0]["time"] or 0) > 0

    again = CliRunner().invoke(app, new)
    assert isinstance(again.exception, TrainingError)
    assert "already holds a run" in str(again.exception)
    changed = CliRunner().invoke(app, [*arguments, "--resume", "--epochs", "9"])
    assert changed.exit_code == 2
    assert "--epochs" in changed.output

    ended = subprocess.run([*command, "term", *arguments, "--resume"], capture_output=True, text=True, check=False)
    assert ended.returncode == 143, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout.splitlines()[-1].endswith("go on with: facepipe train-detector --resume --name tiny")
    assert [row["epoch"] for row in read_history(run)] == [1]

    resumed = CliRunner().invoke(app, [*arguments, "--resume"])
    assert resumed.exit_code == 0, resumed.output
    history = read_history(run)
    assert history[0] == first[0]
    assert [row["epoch"] for row in history] == [1, 2]
    assert (history[1]["time"] or 0) > used
    assert len(json.loads((run / "environment.json").read_text())["resumed"]) == 2
    assert cv2.imread(str(run / "curves.png")) is not None
    assert cv2.imread(str(run / "augmentation.png")) is not None
    assert read_recipe(str(run / "augmentation.yaml")).to_dict() == read_recipe("roboflow").to_dict()

    release = next(release for release in releases("detector") if release.version == "7.0.0")
    release.verify()
    assert [entry.precision for entry in release.manifest.files] == ["float16", "int8"]
    training = release.manifest.training
    assert release.manifest.architecture == "YOLOv8n"
    assert training["epochs"] == 2
    assert training["augmentation"]["zoom"]["most"] == 0.3
    assert len(training["history"]) == 3
    assert [len(metrics.values) > 0 for metrics in release.manifest.metrics] == [True, True]
    assert {data.name: data.count for data in release.manifest.data} == {"empty": 4, "faces": 4, "heads": 4}
    for precision in ("float16", "int8"):
        found = FaceDetector("7.0.0", confidence=0.0001, precision=precision).detect([np.zeros((50, 90, 3), np.uint8)])
        assert len(found) == 1

    before = {path: path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*"))}
    for more in ([], ["--export", "float32", "--version", "7.0.1", "--conf", "0.4"]):
        over = CliRunner().invoke(app, [*arguments, "--resume", *more])
        assert over.exit_code == 0
        assert "is finished and was released as export; nothing was changed" in over.output
    assert {path: path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*"))} == before

    report = tmp_path / "figures.json"
    measured = CliRunner().invoke(
        app, ["evaluate-detector", "--data", str(detection_data), "--detector", "7.0.0", "--json", str(report)]
    )
    assert measured.exit_code == 0, measured.output
    assert json.loads(report.read_text())["values"] == [
        metric.model_dump(mode="json") for metric in release.manifest.metrics[0].values
    ]


@pytest.mark.parametrize("more", [{"rect": True, "augmentation": "views"}, {"augmentation": "ultralytics"}])
def test_one_seed_gives_the_same_losses_again(detection_data: Path, tmp_path: Path, more: dict[str, Any]) -> None:
    more = {**more, "augmentation": read_recipe(more["augmentation"]).to_dict(), "overrides": {"close_mosaic": 0}}
    rows = []
    for name, seed in (("one", 5), ("two", 5), ("other", 6))[: 3 if "rect" in more else 2]:
        train(settings(detection_data, **{**more, "seed": seed}), tmp_path / name)
        [row] = read_history(tmp_path / name)
        rows.append({key: value for key, value in row.items() if key.startswith(("train/", "val/", "metrics/"))})
    assert rows[0] == rows[1]
    assert [row["train/cls_loss"] != rows[0]["train/cls_loss"] for row in rows[2:]] == [True] * len(rows[2:])


def test_a_timed_run_that_is_over_goes_on_when_it_is_given_more_minutes(detection_data: Path, tmp_path: Path) -> None:
    run = tmp_path / "timed"
    overrides = {"nbs": 4, "val": False, "plots": True, "cls_pw": 0.5, "freeze": 2, "cos_lr": True}
    checkpoint = train(settings(detection_data, epochs=60, minutes=0.01, overrides=overrides), run)
    before, used = read_history(run), seconds_used(run)
    assert checkpoint == run / "weights" / "best.pt"
    assert len(before) < 60
    assert before[-1]["metrics/mAP50(B)"] is not None
    assert train(settings(detection_data), run, resume=True) == checkpoint  # it is over
    assert seconds_used(run) == used
    assert train(settings(detection_data), run, resume=True, changes={"minutes": used / 60}) == checkpoint
    assert read_history(run) == before
    train(settings(detection_data), run, resume=True, changes={"minutes": used / 60 + 0.03})
    after = read_history(run)
    assert after[: len(before)] == before
    assert len(after) > len(before)
    assert [row["epoch"] for row in after] == list(range(1, len(after) + 1))
    assert seconds_used(run) > used + 1.5
    assert json.loads((run / "settings.json").read_text())["minutes"] == pytest.approx(used / 60 + 0.03)


def test_the_process_of_a_training_on_several_gpus_knows_the_settings(detection_data: Path, tmp_path: Path) -> None:
    """Ultralytics' own script, as it starts one for each GPU, run once and on the CPU."""
    torch.manual_seed(0)
    start = tmp_path / "start.npz"
    arrays: dict[str, Any] = {"model.0.conv.weight": np.full((16, 3, 3, 3), 0.5, np.float32)}
    np.savez(start, **arrays)
    run = tmp_path / "several"
    run.mkdir()
    recipe = read_recipe("views").to_dict()
    more: dict[str, Any] = {"augmentation": recipe, "frozen_statistics": True, "overrides": {"lr0": 0.002}}
    chosen = settings(detection_data, start=str(start), **more).checked()
    chosen.write(run)
    record_environment(run, read_description(detection_data), "cpu")
    trainer = FaceTrainer(overrides=chosen.arguments(run, "cpu"))
    script = Path(generate_ddp_file(trainer))
    try:
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    finally:
        script.unlink()
        script.with_suffix(".pt").unlink()
    assert done.returncode == 0, done.stderr
    assert "start.npz: 1 arrays loaded" in done.stdout
    assert "batch norms folded" in done.stdout
    assert (run / "settings.json").is_file()
    [there] = read_history(run)
    train(chosen, tmp_path / "one")
    [here] = read_history(tmp_path / "one")
    assert {key: there[key] for key in there if key != "time"} == {key: here[key] for key in here if key != "time"}


def test_starting_several_processes_leaves_the_run_folder_as_it_is(
    detection_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "several"
    run.mkdir()
    chosen = settings(detection_data).checked()
    chosen.write(run)
    trainer = FaceTrainer(overrides=chosen.arguments(run, "cpu"))
    trainer.ddp, trainer.world_size = True, 2
    started = []

    def start(command: list[str], check: bool) -> None:
        started.append((command[:3], Path(command[-1]).is_file(), (run / "settings.json").is_file()))

    monkeypatch.setattr("ultralytics.engine.trainer.subprocess.run", start)
    trainer.train()
    assert started == [([sys.executable, "-m", "torch.distributed.run"], True, True)]


LOGGED = """
import sys
from pathlib import Path
sys.modules["tensorflow"] = None  # which TensorBoard would take seconds to load, and does without
from facepipe.detector.training.train import DetectorSettings, train
from ultralytics.utils import SETTINGS
file = Path(SETTINGS.file).read_bytes()
logs = ("tensorboard", "mlflow")
chosen = DetectorSettings(data=sys.argv[1], architecture="yolov8n", epochs=1, imgsz=64, batch=4, device="cpu", log=logs)
train(chosen, Path(sys.argv[2]))
import mlflow
kinds = [name for name, _ in mlflow.told]
assert kinds[0] == "set_experiment" and mlflow.told[0][1] == ("facepipe detector",), mlflow.told
assert {"start_run", "log_params", "log_metrics", "log_artifact", "end_run"} <= set(kinds), kinds
assert SETTINGS["tensorboard"] is False
assert Path(SETTINGS.file).read_bytes() == file
[events] = Path(sys.argv[2]).glob("events.out.tfevents.*")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
told = set(EventAccumulator(str(events)).Reload().Tags()["scalars"])
assert {"train/box_loss", "metrics/mAP50(B)", "lr/pg0"} <= told, told
"""


STAND_IN = """
__version__ = "0"
told = []
class Run:
    class info:
        run_id = "1"
def __getattr__(name):
    if name.startswith("_"):
        raise AttributeError(name)
    def call(*given, **named):
        told.append((name, given))
        return None if name == "active_run" else Run
    return call
"""


def test_loggers_are_told_when_asked(detection_data: Path, tmp_path: Path) -> None:
    """TensorBoard itself; of MLflow a stand-in that writes down how it is called."""
    pytest.importorskip("tensorboard")
    (tmp_path / "mlflow.py").write_text(STAND_IN)
    home = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "MLFLOW"))}
    home["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *filter(None, [home.get("PYTHONPATH")])])
    command = [sys.executable, "-c", LOGGED, str(detection_data), str(tmp_path / "told")]
    done = subprocess.run(command, capture_output=True, text=True, env=home, check=False)
    assert done.returncode == 0, done.stderr


def test_loggers_that_are_not_asked_for_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from facepipe.detector.training.loggers import SWITCHES, loggers

    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "kept")
    before = dict(SETTINGS)
    with loggers(["mlflow"]):
        assert [key for key in SWITCHES if SETTINGS[key]] == ["mlflow"]
        assert os.environ["MLFLOW_EXPERIMENT_NAME"] == "kept"
    assert dict(SETTINGS) == before


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        ({"start": "gone.pt"}, TrainingError, "no such starting weights"),
        ({"overrides": {"patiense": 3}}, TrainingError, "--set patiense: not an ultralytics setting; did you mean pat"),
        ({"overrides": {"epochs": 3}}, TrainingError, "--set epochs: it has an option of its own, --epochs"),
        ({"overrides": {"single_cls": True}}, TrainingError, "--set single_cls: choose the classes in the data set"),
        ({"overrides": {"lr0": "high"}}, TrainingError, "--set lr0: 'lr0=high' is of invalid type str"),
        ({"overrides": {"optimizer": "Best"}}, TrainingError, "--set optimizer: no optimizer 'Best'; one of auto"),
        ({"overrides": {"split": "test"}}, TrainingError, "--set split=test: .* has train, val"),
        ({"overrides": {"mosaic": 1.0}, "rect": True}, TrainingError, "mosaic joins pictures, which --rect does not"),
        ({"augmentation": {"zoom": {"most": 2}}}, TrainingError, "augmentation: zoom.most: Input should be less"),
        ({"augmentation": {}, "view": {}}, TrainingError, "view is part of the augmentation"),
        ({"log": ("diary",)}, TrainingError, "no logger 'diary'; one of tensorboard, mlflow"),
        ({"minutes": 0}, TrainingError, "minutes must be above 0"),
        ({"precision": "int4"}, TrainingError, "precision must be auto, float32 or bfloat16"),
        ({"architecture": "yolov9"}, TrainingError, "architecture must be yolov8s or yolov8n"),
        ({"imgsz": 32, "batch": 11}, TrainingError, "leaves a batch norm a single value to learn from"),
        ({"imgsz": 32, "batch": 1}, TrainingError, "choose --imgsz 64 or more, or a --batch"),
        ({"device": "7"}, DeviceError, "device '7' is not available: this machine has"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_starts(
    detection_data: Path, tmp_path: Path, more: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        train(settings(detection_data, **more), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_logger_that_is_not_installed_is_named_with_its_extra(
    detection_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'facepipe\[mlflow\]'"):
        train(settings(detection_data, log=("mlflow",)), tmp_path / "run")


def test_several_gpus_share_out_what_can_be_shared() -> None:
    from facepipe.detector.training.devices import check_several

    check_several("0,1", rect=False, batch=16)
    check_several("cpu", rect=True, batch=3)
    with pytest.raises(TrainingError, match="rect orders the pictures"):
        check_several("0,1", rect=True, batch=None)
    with pytest.raises(TrainingError, match="batch 9 cannot be split evenly across 2 GPUs"):
        check_several("0,1", rect=False, batch=9)
    chosen = DetectorSettings(data="data.yaml")
    assert [chosen.arguments(Path("run"), device)["batch"] for device in ("cpu", "0", "0,1,2")] == [16, -1, 48]


def test_nothing_to_resume(detection_data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="not a run folder"):
        train(DetectorSettings(data=str(detection_data)), tmp_path / "none", resume=True)


@pytest.mark.parametrize(
    ("text", "value"), [("lr0=1e-3", 0.001), ("cos_lr=True", True), ("freeze=[0, 1]", [0, 1]), ("cache=ram", "ram")]
)
def test_settings_are_read_as_they_are_meant(text: str, value: Any) -> None:
    from facepipe.pipeline.cli.train_detector import _setting

    assert _setting(text) == (text.partition("=")[0], value)
