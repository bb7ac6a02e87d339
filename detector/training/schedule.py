"""A training's time: what of it is used, how high the learning rate stands, and when a checkpoint is due."""

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
"""Between checkpoints within an epoch."""
CLOCK_SECONDS = 10
"""Between records of the time used: what a kill can lose of it."""


class Schedule:
    """The time of one training, over all its resumed parts.

    The learning rate falls by batch instead of by epoch, so that a run of few epochs ends low too; in a timed run by
    the time gone, which makes its losses depend on the machine's speed. Ultralytics counts the time anew when a run is
    resumed, and reckons the number of epochs from the parts' sum; here both go on from where the run stood.

    Args:
        run: the run's folder, which keeps its clock.
    """

    def __init__(self, run: Path):
        self.run = run
        self.batch = -1
        self.saved_at = self.noted_at = time.monotonic()

    def resume(self, trainer: Any, first_epoch: int) -> None:
        """Reckon anew how many epochs a timed run has time for.

        Args:
            trainer: ultralytics' trainer, before its loop.
            first_epoch: the epoch to go on with, counted from 0.
        """
        if trainer.args.time and first_epoch:
            used = seconds_used(self.run)
            left = max(trainer.args.time * 3600 - used, 0.0)
            more = _epochs_within(left, used / first_epoch) if used else trainer.epochs
            self._set_epochs(trainer, first_epoch + more, first_epoch - 1)

    def start(self, trainer: Any) -> None:
        """Set the clock to what the run has used."""
        if trainer.resume:
            trainer.train_time_start -= seconds_used(self.run)

    def start_epoch(self, trainer: Any) -> None:
        """Begin an epoch, which may be one begun before."""
        self.batch = -1
        if trainer.args.time:
            trainer.start_epoch = 0  # the time counts from the run's first epoch, so the epochs must, too

    def seconds(self, trainer: Any) -> float:
        """Trained so far."""
        return time.time() - trainer.train_time_start

    def set_learning_rate(self, trainer: Any) -> None:
        """Set the rate of this batch, past the warm-up (which ultralytics does by batch itself)."""
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
        """Record the time, and tell whether a checkpoint is due."""
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
        """Reckon from the last epoch how many more there is time for, as ultralytics does from all of them."""
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
    """Epochs that time is left for, the last perhaps in part; two at least, so that the clock ends a run, no guess."""
    return max(2, math.ceil(left / max(seconds, 1e-3)))


def _same_on_all(value: Any) -> Any:
    """The first process' value on every process of a training on several GPUs."""
    if RANK == -1:
        return value
    values = [value]
    dist.broadcast_object_list(values, 0)
    return values[0]
