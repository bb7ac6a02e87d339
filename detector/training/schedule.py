"""The schedule of a training: time used, learning rate, and when a checkpoint is due."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import torch.distributed as dist

from . import ultralytics_setup  # noqa: F401  isort: skip
from ultralytics.utils import RANK

from .run_folder import record_seconds, seconds_used

CHECKPOINT_SECONDS = 240
"""Interval between checkpoints within an epoch."""
CLOCK_SECONDS = 10
"""Interval between records of the time used; an interruption loses at most this much of it."""


class Schedule:
    """The schedule of one training across all its resumed parts.

    The learning rate decreases per batch instead of per epoch, so that even a run of few epochs ends at a low rate. In
    a timed run it follows the elapsed time, which makes losses depend on the machine's speed. When a run is resumed,
    ultralytics restarts the time and derives the number of epochs from the sum of the parts. Here, both continue from
    where the run stopped.

    Args:
        run: the run's folder, which stores its clock.
    """

    def __init__(self, run: Path):
        self.run = run
        self.batch = -1
        self.saved_at = self.noted_at = time.monotonic()

    def resume(self, trainer: Any, first_epoch: int) -> None:
        """Recompute how many epochs fit into the remaining time of a timed run.

        Args:
            trainer: ultralytics' trainer, before its loop.
            first_epoch: the epoch to resume at, counted from 0.
        """
        if trainer.args.time and first_epoch:
            used = seconds_used(self.run)
            left = max(trainer.args.time * 3600 - used, 0.0)
            more = _epochs_within(left, used / first_epoch) if used else trainer.epochs
            self._set_epochs(trainer, first_epoch + more, first_epoch - 1)

    def start(self, trainer: Any) -> None:
        """Set the trainer's start time back by the time that the run has used."""
        if trainer.resume:
            trainer.train_time_start -= seconds_used(self.run)

    def start_epoch(self, trainer: Any) -> None:
        """Begin an epoch, possibly one that was interrupted before."""
        self.batch = -1
        if trainer.args.time:
            trainer.start_epoch = 0  # time counts from the run's first epoch, so the epochs must, too

    def seconds(self, trainer: Any) -> float:
        """Seconds trained so far."""
        return time.time() - trainer.train_time_start

    def set_learning_rate(self, trainer: Any) -> None:
        """Set the learning rate for this batch, after the warm-up, which ultralytics handles per batch itself."""
        batches = len(trainer.train_loader)
        self.batch += 1
        number = trainer.epoch * batches + self.batch
        done = number / batches / max(trainer.epochs, 1)
        if trainer.args.time:
            done = _same_on_all(self.seconds(trainer) / (trainer.args.time * 3600))
        if number > trainer._get_warmup_iterations(batches):
            for group in trainer.optimizer.param_groups:
                group["lr"] = group["initial_lr"] * trainer.lf(min(done, 1.0) * trainer.epochs)

    def end_batch(self, trainer: Any) -> bool:
        """Record the time at intervals, and return whether a checkpoint is due."""
        if RANK > 0:
            return False
        now = time.monotonic()
        if now - self.noted_at > CLOCK_SECONDS:
            self.note(trainer)
        if now - self.saved_at <= CHECKPOINT_SECONDS:
            return False
        self.saved_at = now
        return True

    def note(self, trainer: Any) -> None:
        """Record the time used."""
        self.noted_at = time.monotonic()
        record_seconds(self.run, self.seconds(trainer))

    def end_epoch(self, trainer: Any) -> None:
        """Estimate the remaining epochs of a timed run from the last epoch; ultralytics uses all of them."""
        if RANK <= 0:
            self.note(trainer)
        left = trainer.args.time * 3600 - self.seconds(trainer) if trainer.args.time else 0.0
        if trainer.args.time:
            more = _same_on_all(_epochs_within(left, trainer.epoch_time) if left > 0 else 0)
            if more:
                self._set_epochs(trainer, trainer.epoch + 1 + more, trainer.epoch)

    @staticmethod
    def _set_epochs(trainer: Any, epochs: int, last_epoch: int) -> None:
        trainer.epochs = trainer.args.epochs = epochs
        trainer._setup_scheduler()
        trainer.scheduler.last_epoch = last_epoch


def _epochs_within(left: float, seconds: float) -> int:
    """Epochs that fit into the remaining time, the last perhaps in part; at least two, so that the clock ends a run."""
    return max(2, math.ceil(left / max(seconds, 1e-3)))


def _same_on_all(value: Any) -> Any:
    """The first process's value, on every process of a training on several GPUs."""
    if RANK == -1:
        return value
    values = [value]
    dist.broadcast_object_list(values, 0)
    return values[0]
