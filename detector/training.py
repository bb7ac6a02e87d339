"""Training: YOLOv8s through ultralytics' own trainer, subclassed for partly labelled data, .npz starts and CPUs."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from copy import copy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from . import ultralytics_setup  # noqa: F401  isort: skip
from ultralytics.data.build import InfiniteDataLoader, seed_worker
from ultralytics.models.yolo.detect import DetectionTrainer, DetectionValidator
from ultralytics.utils import LOGGER
from ultralytics.utils.ops import xywh2xyxy

from ..weights.errors import TrainingError
from .boxes import iou, share_inside
from .dataset import PartlyLabelledDataset, ShuffledRectangles, split_ignored
from .description import read_description
from .model import FaceDetectionModel, cpu_has_bf16, load_arrays

ARCHITECTURE = "yolov8s.yaml"
CHECKPOINT_SECONDS = 240
FINISHED = "finished.txt"
"""Names the checkpoint of a run that is over; resuming such a run only releases it."""


@dataclass(frozen=True)
class DetectorSettings:
    """The settings of one training run, as the command took them; they go into the run folder and the manifest.

    Attributes:
        data: DATA.yaml (``detector/description.py``).
        start: an ultralytics checkpoint (.pt), a .npz of arrays named as in its state_dict, or ``none``.
        epochs: passes over the training pictures.
        imgsz: side of the letterboxed square in pixels.
        batch: pictures a step; None: 16 on a CPU, what fits the memory on a GPU.
        device: ``cpu``, ``0``, ``0,1``, ... as ultralytics has it; empty: the first GPU, else the CPU.
        precision: ``auto``, ``float32`` or ``bfloat16`` (the latter two for the CPU; a GPU trains in ultralytics' AMP).
        minutes: time to train in; the learning rate falls by the time gone. None: by the epochs done.
        rect: pictures in batches of like aspect ratio with little padding (a third faster on photos, no mosaic).
        seed: of every random number.
        overrides: anything else that ultralytics' trainer takes.
    """

    data: str
    start: str = "none"
    epochs: int = 50
    imgsz: int = 640
    batch: int | None = None
    device: str = ""
    precision: str = "auto"
    minutes: float | None = None
    rect: bool = False
    seed: int = 0
    overrides: dict[str, Any] = field(default_factory=dict)


class FaceValidator(DetectionValidator):
    """Ultralytics' validator, which neither counts ignore regions nor classes that a picture is not labelled for."""

    def preprocess(self, batch: dict[str, Any]) -> dict[str, Any]:
        return split_ignored(super().preprocess(batch), len(self.data["names"]))

    def update_metrics(self, preds: list[dict[str, torch.Tensor]], batch: dict[str, Any]) -> None:
        kept = []
        for index, pred in enumerate(preds):
            truth = self._prepare_batch(index, batch)
            labelled = batch["labelled"][index].to(pred["cls"].device)
            keep = labelled[pred["cls"].long()]
            ignored = batch["ignored"][batch["ignored"][:, 0] == index][:, 1:]
            if len(ignored) and len(pred["cls"]):
                scale = torch.tensor(truth["imgsz"], device=ignored.device)[[1, 0, 1, 0]]
                boxes = pred["bboxes"].cpu().numpy()
                inside = share_inside(boxes, (xywh2xyxy(ignored) * scale).cpu().numpy()).max(1) > 0.5
                if len(truth["cls"]):
                    inside &= iou(boxes, truth["bboxes"].cpu().numpy()).max(1) < 0.5
                keep &= torch.from_numpy(~inside).to(keep.device)
            kept.append({key: value[keep] for key, value in pred.items()})
        super().update_metrics(kept, batch)


class FaceTrainer(DetectionTrainer):
    """Ultralytics' trainer for partly labelled faces and heads.

    Beside the data set, the loss and the validator it changes three things: the learning rate falls by batch instead of
    by epoch, so that a run of few epochs ends low too; a checkpoint is written every few minutes, within an epoch as
    well; and ``rect`` shuffles.
    """

    start_arrays: Path | None = None
    bf16 = False
    epoch: int
    fitness: float | None

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.device.type == "cpu":
            torch.set_num_threads(usable_cores())  # ultralytics leaves one core idle
            keep_freed_memory()
        self.saved_at = time.monotonic()
        self.add_callback("on_train_batch_start", FaceTrainer.set_learning_rate)
        self.add_callback("on_train_batch_end", FaceTrainer.save_in_between)

    def get_dataset(self) -> dict[str, Any]:
        description = read_description(Path(self.args.data))
        return {
            "description": description,
            "path": description.root,
            "train": sorted({str(p.path.parent) for p in description.pictures["train"]}),
            "val": sorted({str(p.path.parent) for p in description.pictures["val"]}),
            "names": dict(enumerate(description.classes)),
            "nc": len(description.classes),
            "channels": 3,
        }

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> FaceDetectionModel:
        model = FaceDetectionModel(cfg, nc=self.data["nc"], ch=3, verbose=False)
        if weights:
            model.load(weights)
        elif self.start_arrays:
            loaded, left = load_arrays(model, self.start_arrays)
            LOGGER.info(f"{self.start_arrays.name}: {loaded} arrays loaded, {len(left)} start at random: {left}")
        model.cpu_bf16 = self.bf16
        return model.to(memory_format=torch.channels_last) if self.bf16 else model

    def build_dataset(self, img_path: Any, mode: str = "train", batch: int | None = None) -> PartlyLabelledDataset:
        train = mode == "train"
        return PartlyLabelledDataset(
            img_path=img_path,
            imgsz=self.args.imgsz,
            batch_size=batch or self.batch_size,
            augment=train,
            hyp=self.args,
            rect=self.args.rect or not train,
            cache=self.args.cache or None,
            stride=self.stride,
            pad=0.0 if train else 0.5,
            prefix=f"{mode}: ",
            task="detect",
            data=self.data,
            fraction=self.args.fraction if train else 1.0,
        )

    def get_dataloader(self, dataset_path: Any, batch_size: int = 16, rank: int = 0, mode: str = "train") -> Any:
        if mode != "train" or not self.args.rect or rank != -1:
            return super().get_dataloader(dataset_path, batch_size, rank, mode)
        dataset = self.build_dataset(dataset_path, mode, batch_size)
        return InfiniteDataLoader(
            dataset=dataset,
            batch_size=min(batch_size, len(dataset)),
            sampler=ShuffledRectangles(dataset, self.args.seed),
            num_workers=self.args.workers,
            collate_fn=dataset.collate_fn,
            worker_init_fn=seed_worker,
        )

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        return split_ignored(super().preprocess_batch(batch), self.data["nc"])

    def get_validator(self) -> FaceValidator:
        return FaceValidator(self.test_loader, save_dir=self.save_dir, args=copy(self.args), _callbacks=self.callbacks)

    def set_learning_rate(self) -> None:
        """Set the rate of this batch, past the warm-up (which ultralytics does by batch itself)."""
        batches = len(self.train_loader)
        self.batch_number = getattr(self, "batch_number", self.start_epoch * batches - 1) + 1
        done = self.batch_number / batches / max(self.epochs, 1)
        if self.args.time:
            done = (time.time() - self.train_time_start) / (self.args.time * 3600)
        if self.batch_number > self._get_warmup_iterations(batches):
            for group in self.optimizer.param_groups:
                group["lr"] = group["initial_lr"] * self.lf(min(done, 1.0) * self.epochs)

    def save_in_between(self) -> None:
        """Write ``last.pt`` every few minutes; a run killed within an epoch starts that epoch again from these
        weights."""
        if time.monotonic() - self.saved_at > CHECKPOINT_SECONDS:
            epoch, fitness = self.epoch, self.fitness
            self.epoch, self.fitness = epoch - 1, float("nan")  # never the best: it was not validated
            try:
                self.save_model()
            finally:
                self.epoch, self.fitness = epoch, fitness
            self.saved_at = time.monotonic()

    def final_eval(self) -> None:
        """Nothing more: the last epoch was validated, ``evaluate-detector`` measures the ONNX file, and ``last.pt``
        keeps its optimizer so that the run can go on."""

    def resume_training(self, ckpt: dict[str, Any] | None) -> None:
        if ckpt is not None and self.resume and ckpt.get("epoch") == -1 and ckpt.get("optimizer"):
            self._load_checkpoint_state(
                ckpt
            )  # killed within the first epoch, which ultralytics takes for a finished run
        else:
            super().resume_training(ckpt)


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Have glibc keep what is freed instead of handing it back (mallopt(3)); elsewhere nothing happens.

    A training step on a CPU frees and takes gigabytes; giving them back each time cost 40 % of it in page faults.
    """
    if sys.platform != "linux":
        return
    trim_threshold, mmap_max = -1, -4
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)


def train(settings: DetectorSettings, run: Path, resume: bool = False) -> Path:
    """Train a detector in a run folder.

    Args:
        settings: what to train with; on resuming, what the run folder says holds instead.
        run: the run's own folder; it must be new unless resuming.
        resume: go on from the last checkpoint of that folder.

    Returns:
        The best checkpoint (``weights/best.pt``; by mAP50-95 on the validation pictures).

    Raises:
        TrainingError: the folder holds a run already or none to resume, or a setting cannot be met.
        DataError: the data set is not as its description says.
    """
    last = run / "weights" / "last.pt"
    if resume:
        if not last.is_file():
            raise TrainingError(f"{run}: nothing to resume there (no weights/last.pt)")
        if (run / FINISHED).is_file():
            return run / (run / FINISHED).read_text(encoding="utf-8").strip()
        settings = DetectorSettings(**json.loads((run / "settings.json").read_text(encoding="utf-8")))
    elif (run / "settings.json").exists():
        raise TrainingError(f"{run}: holds a run already; resume it, or choose another name")
    read_description(Path(settings.data))
    on_cpu = settings.device == "cpu" or (not settings.device and not torch.cuda.is_available())
    if settings.precision == "bfloat16" and on_cpu and not cpu_has_bf16():
        raise TrainingError("precision bfloat16 was asked for, but this CPU has neither AVX-512 BF16 nor AMX")
    FaceTrainer.bf16 = on_cpu and settings.precision != "float32" and cpu_has_bf16()
    arguments: dict[str, Any] = {
        "model": ARCHITECTURE,
        "pretrained": False,
        "data": settings.data,
        "epochs": settings.epochs,
        "imgsz": settings.imgsz,
        "batch": settings.batch or (16 if on_cpu else -1),
        "device": "cpu" if on_cpu else settings.device,
        "seed": settings.seed,
        "rect": settings.rect,
        "amp": not on_cpu and settings.precision != "float32",
        "save_dir": str(run),
        "exist_ok": True,
        "plots": False,
        "warmup_epochs": min(3.0, 0.06 * settings.epochs),
        **settings.overrides,
    }
    if settings.minutes is not None:
        arguments["time"] = settings.minutes / 60
    FaceTrainer.start_arrays = None
    if resume:
        arguments["resume"] = str(last)
    elif settings.start.endswith(".npz"):
        FaceTrainer.start_arrays = Path(settings.start)
    elif settings.start != "none":
        if not Path(settings.start).is_file():
            raise TrainingError(f"{settings.start}: no such starting weights (a .pt, a .npz, or none)")
        arguments["pretrained"] = settings.start
    run.mkdir(parents=True, exist_ok=True)
    (run / "settings.json").write_text(json.dumps(asdict(settings), indent=2) + "\n", encoding="utf-8")
    trainer = FaceTrainer(overrides=arguments)
    trainer.train()
    checkpoint = trainer.best if trainer.best.exists() else trainer.last
    (run / FINISHED).write_text(f"{checkpoint.relative_to(run).as_posix()}\n", encoding="utf-8")
    return checkpoint
