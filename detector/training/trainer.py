"""Ultralytics' trainer and validator for partly labelled pictures of faces and heads."""

from __future__ import annotations

import logging
import os
import sys
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import ultralytics_setup  # noqa: F401  isort: skip

from ultralytics.data.build import InfiniteDataLoader, seed_worker
from ultralytics.data.utils import get_split_fraction
from ultralytics.models.yolo.detect import DetectionTrainer, DetectionValidator
from ultralytics.utils import LOGGER, RANK
from ultralytics.utils.ops import xywh2xyxy
from ultralytics.utils.plotting import plot_labels

from ...core.cpu import usable_cpus
from ..data.dataset import read_description
from ..inference.boxes import iou, share_inside
from .devices import keep_freed_memory
from .loggers import loggers
from .model import FaceDetectionModel, cpu_has_bf16, freeze_statistics, load_arrays, start_from_release
from .run_folder import HISTORY, VALIDATED, add_to_history, draw_curves
from .schedule import Schedule
from .settings import read_settings
from .torch_dataset import PartlyLabelledDataset, ShuffledRectangles, split_ignored


class FaceTrainer(DetectionTrainer):
    """Ultralytics' trainer with facepipe's data set, loss, validator and records.

    It reads the run's settings from the run's folder. The processes of a training on several GPUs do the same, because
    ultralytics passes them only its own arguments.

    Args:
        cfg: default settings; None takes ultralytics' own.
        overrides: settings that take precedence over these.
        _callbacks: by event, as in ultralytics.
    """

    epoch: int
    fitness: float | None
    last: Path
    best: Path

    def __init__(self, cfg: Any = None, overrides: dict[str, Any] | None = None, _callbacks: Any = None):
        from ultralytics.utils import DEFAULT_CFG

        self.run = Path((overrides or {})["save_dir"])
        self.settings = read_settings(self.run)
        self.schedule: Schedule | None = None
        with loggers(self.settings.log):
            super().__init__(cfg or DEFAULT_CFG, overrides, _callbacks)
        self.csv = self.run / HISTORY
        self.schedule = Schedule(self.run)
        self.validated = self.saved = -2  # epochs; -1 is a checkpoint within the first one
        on_cpu = self.device.type == "cpu"
        self.bf16 = on_cpu and self.settings.precision != "float32" and cpu_has_bf16()
        if on_cpu:
            torch.set_num_threads(usable_cpus())  # ultralytics leaves one core idle
            keep_freed_memory()

    # ---- replacements for ultralytics' own ---------------------------------------------------------------------------

    def get_dataset(self) -> dict[str, Any]:
        description = read_description(Path(self.args.data))
        return {
            "description": description,
            "augmentation": self.settings.recipe(),
            "path": description.root,
            **{split: [str(picture.path) for picture in found] for split, found in description.pictures.items()},
            "names": dict(enumerate(description.classes)),
            "nc": len(description.classes),
            "channels": 3,
        }

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> FaceDetectionModel:
        model = FaceDetectionModel(cfg, nc=self.data["nc"], ch=3, verbose=False)
        start = Path(self.settings.start)
        if weights:
            model.load(weights)
        elif start.suffix == ".npz":
            loaded, left = load_arrays(model, start)
            LOGGER.info(f"{start.name}: {loaded} arrays loaded, {len(left)} start at random: {left}")
        elif release := self.settings.release():
            pictures = [Path(path) for path in self.data["train"]]
            loaded = start_from_release(model, release, [*self.data["names"].values()], pictures, self.args.imgsz)
            LOGGER.info(f"detector {release.label}: {loaded} arrays loaded, batch norms measured again")
        model.cpu_bf16 = self.bf16
        if self.settings.frozen_statistics:
            LOGGER.info(f"{freeze_statistics(model)} batch norms folded, their statistics frozen")
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
            fraction=get_split_fraction(self.args.fraction, "train" if train else self.args.split),
        )

    def get_dataloader(self, dataset_path: Any, batch_size: int = 16, rank: int = 0, mode: str = "train") -> Any:
        if mode != "train" or not self.args.rect or rank != -1:
            return super().get_dataloader(dataset_path, batch_size, rank, mode)
        dataset = self.build_dataset(dataset_path, mode, batch_size)
        return rectangle_loader(dataset, self.args.seed, self.args.workers, self.device.type == "cuda")

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        return split_ignored(super().preprocess_batch(batch), self.data["nc"])

    def get_validator(self) -> FaceValidator:
        return FaceValidator(self.test_loader, save_dir=self.save_dir, args=copy(self.args), _callbacks=self.callbacks)

    def get_class_counts(self) -> np.ndarray:
        """Number of boxes by class, without the ignore regions."""
        return super().get_class_counts()[: self.data["nc"]]

    def plot_training_labels(self) -> None:
        """Draw ultralytics' plot of the boxes, without the ignore regions."""
        labels = self.train_loader.dataset.labels
        classes = np.concatenate([label["cls"].reshape(-1) for label in labels])
        boxes = np.concatenate([label["bboxes"] for label in labels])
        objects = classes < self.data["nc"]
        plot_labels(boxes[objects], classes[objects], self.data["names"], self.save_dir, self.on_plot)

    # ---- time, checkpoints and records -------------------------------------------------------------------------------

    def run_callbacks(self, event: str) -> None:
        """Run ultralytics' callbacks, then this trainer's own, which are not passed between processes."""
        super().run_callbacks(event)
        if self.schedule is None or self.ddp:
            return
        if event == "on_train_start":
            self.schedule.start(self)
        elif event == "on_train_epoch_start":
            self.schedule.start_epoch(self)
        elif event == "on_train_batch_start":
            self.schedule.set_learning_rate(self)
        elif event == "on_train_batch_end":
            self.save_in_between()
        elif event == "on_fit_epoch_end":
            self.end_epoch()

    def save_in_between(self) -> None:
        """Write ``last.pt`` every few minutes. A run interrupted within an epoch restarts it from these weights."""
        assert self.schedule is not None
        if self.schedule.end_batch(self):
            self.save_unfinished()
            if not sys.stdout.isatty():  # a terminal shows a progress bar
                done = f"batch {self.schedule.batch + 1}/{len(self.train_loader)}"
                LOGGER.info(
                    f"epoch {self.epoch + 1}/{self.epochs}: {done}, {self.schedule.seconds(self) / 60:.1f} minutes"
                )

    def keep(self) -> None:
        """Write ``last.pt`` when training is being stopped within an epoch that is not saved yet."""
        if self.schedule is None or self.ddp or RANK > 0 or self.schedule.batch < 0 or self.saved == self.epoch:
            return
        self.schedule.note(self)
        self.save_unfinished()

    def save_unfinished(self) -> None:
        """Write ``last.pt`` as if at the end of the previous epoch, so that the current one is restarted."""
        epoch, fitness = self.epoch, self.fitness
        self.epoch, self.fitness = epoch - 1, float("nan")  # never the best checkpoint: it was not validated
        try:
            self.save_model()
        finally:
            self.epoch, self.fitness = epoch, fitness

    def end_epoch(self) -> None:
        """Record the time used and draw the curves."""
        assert self.schedule is not None
        self.schedule.end_epoch(self)
        if RANK <= 0:
            draw_curves(self.run)

    def save_model(self) -> bool:
        """Write ultralytics' checkpoints, each atomically."""
        places: tuple[Path, Path] = (self.last, self.best)
        parts = [path.with_name(f".{path.name}") for path in places]
        self.last, self.best = parts
        try:
            saved = super().save_model()
        finally:
            self.last, self.best = places
        for part, path in zip(parts, places, strict=True):
            if part.is_file():
                os.replace(part, path)
        self.saved = self.epoch
        return bool(saved)

    def validate(self) -> Any:
        self.validated = self.epoch
        return super().validate()

    def save_metrics(self, metrics: dict[str, Any]) -> None:
        """Add the epoch to the history, without metrics if it was not validated; ultralytics writes zeros then."""
        assert self.schedule is not None
        seen = self.validated == self.epoch
        figures = {
            key: float(value) if seen or not key.startswith(VALIDATED) else None for key, value in metrics.items()
        }
        add_to_history(self.run, self.epoch + 1, self.schedule.seconds(self), figures)

    def plot_metrics(self) -> None:
        """Do nothing: the curves are drawn after every epoch."""

    def final_eval(self) -> None:
        """Do nothing: the last epoch has been validated, and ``evaluate-detector`` measures the ONNX file.

        ``last.pt`` also keeps its optimizer this way, so that the run can be continued.
        """

    def resume_training(self, ckpt: dict[str, Any] | None) -> None:
        if ckpt is None or not self.resume:
            return
        assert self.schedule is not None
        first = int(ckpt.get("epoch", -1)) + 1
        self.schedule.resume(self, first)
        if first:
            super().resume_training(ckpt)
        else:
            self._load_checkpoint_state(ckpt)  # interrupted within the first epoch: ultralytics sees a finished run
        sampler = self.train_loader.sampler
        if isinstance(sampler, ShuffledRectangles):
            sampler.epoch = self.start_epoch

    def train(self) -> None:
        level = LOGGER.level
        if RANK <= 0:
            LOGGER.setLevel(logging.INFO)
        if self.ddp:
            self.resume = True  # otherwise ultralytics empties the run's folder before it starts the processes
        try:
            super().train()
        finally:
            LOGGER.setLevel(level)


def rectangle_loader(dataset: PartlyLabelledDataset, seed: int, workers: int, pin_memory: bool) -> InfiniteDataLoader:
    """The shuffled loader of a ``rect`` data set. The same seed and number of workers give the same batches.

    Args:
        dataset: with batches of similar aspect ratios.
        seed: of the order.
        workers: loader processes.
        pin_memory: for copies to a GPU.
    """
    size = min(dataset.batch_size, len(dataset))
    generator = torch.Generator()
    generator.manual_seed(seed)
    return InfiniteDataLoader(
        dataset=dataset,
        batch_size=size,
        sampler=ShuffledRectangles(dataset, seed),
        num_workers=min(workers, usable_cpus(), -(-len(dataset) // size)),
        pin_memory=pin_memory,
        collate_fn=dataset.collate_fn,
        worker_init_fn=seed_worker,
        generator=generator,
    )


class FaceValidator(DetectionValidator):
    """Ultralytics' validator without ignore regions and without classes that a picture is not labelled for."""

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
