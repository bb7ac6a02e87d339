"""The training loop: stages, early stopping, checkpoints, resumption, and an optional time budget.

It uses Keras' ``train_on_batch`` and therefore runs on TensorFlow, PyTorch and JAX.
"""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import keras
import numpy as np

from ...core.errors import TrainingError
from ..config.recipe import Stage, rate_at
from ..data.loader import Batch, BrokenPictures, CropSource, training_batches
from ..data.sampling import draw_report, row_weights
from ..data.table import FaceTable
from ..inference.classifier import prepare
from ..models.backbones import find_backbone
from ..models.multitask import get_weights, set_weights
from ..models.pretrained import fit_start, frozen_at_random, starting_arrays
from . import checkpoint
from .checkpoint import Position
from .curves import draw_curves
from .losses import attribute_losses, class_weights
from .run_folder import BEST, CHECKPOINT, FINAL, SERVED, Meter, Row, Settings, add_to_history
from .train_step import Devices, Learner, active_attributes, bfloat16_pays, build_learner, loss_weights
from .validation import Validation, Validator


@dataclass
class _Clock:
    """Running time, which continues across resumptions."""

    before: float
    started: float

    def now(self) -> float:
        return self.before + time.monotonic() - self.started


def _figures(found: Validation) -> Row:
    """Return a validation's columns of the history."""
    return {"val_loss": found.loss, **{f"val_{name}_loss": part for name, part in found.parts.items()}, **found.metrics}


class Trainer:
    """One training run in its folder.

    Args:
        settings: of the run.
        train, val: rows that are crops.
        folder: the run folder, created by the caller.
        report: receives progress lines.

    Raises:
        TrainingError: the recipe does not fit the schema or the backbone.
        DeviceError: a device is not available.
        DataError: the recipe balances by a column that the data lack.
    """

    def __init__(
        self, settings: Settings, train: FaceTable, val: FaceTable, folder: Any, report: Callable[[str], None] = print
    ):
        self.settings, self.recipe, self.folder, self.report = settings, settings.recipe, folder, report
        self.train, self.val = train, val
        self.batch = min(self.recipe.batch, len(train))
        self.devices = Devices(settings.devices)
        self.devices.check_batch(self.batch)
        self.backbone = find_backbone(self.recipe.backbone)
        balanced = class_weights(settings.attributes, train.targets) if self.recipe.losses.class_balance else None
        self.losses = attribute_losses(settings.attributes, self.recipe.losses, balanced)
        self.weights = loss_weights(settings.attributes, self.recipe)
        for stage in self.recipe.stages:  # check all stages before the first one, not hours later
            self.backbone.check_size(stage.size)
            active_attributes(settings.attributes, stage)
        self.draw = row_weights(train, self.recipe.balance)
        self.broken, self.unread = BrokenPictures(len(train), report), BrokenPictures(len(val), report)
        self.position = Position()
        self.clock = _Clock(0.0, time.monotonic())
        self.saved = 0.0
        self.seconds_a_crop = 0.0
        """Time per crop in the last validation."""
        self._until = math.inf

    def run(self, resume: bool = False) -> dict[str, np.ndarray]:
        """Run all stages.

        Args:
            resume: continue from the folder's checkpoint.

        Returns:
            The weights of the best validation at the served size, from whichever stage; also written to
            ``weights.npz``.

        Raises:
            TrainingError: the start, the recipe or the checkpoint does not fit, or the loss is not finite.
            KeyboardInterrupt: on Ctrl-C or SIGTERM, after a checkpoint and a line that says how to resume.
        """
        cv2.setNumThreads(1)  # batches are prepared in parallel already
        before = keras.config.dtype_policy()
        low = self.settings.precision == "bfloat16" or (
            self.settings.precision == "auto" and bfloat16_pays(self.backbone.depthwise)
        )
        keras.config.set_dtype_policy("mixed_bfloat16" if low else "float32")
        for line in draw_report(self.train, self.draw, self.recipe.balance):
            self.report(line)
        try:
            with self.devices.training():
                return self._stages(resume)
        except KeyboardInterrupt:
            place = f"stage {self.position.stage + 1}, step {self.position.step}"
            name = shlex.quote(self.folder.name)
            self.report(f"interrupted at {place}; to go on: facepipe train-classifier --resume --name {name}")
            raise
        finally:
            keras.config.set_dtype_policy(before)

    def _stages(self, resume: bool) -> dict[str, np.ndarray]:
        saved: dict[str, np.ndarray] | None = None
        weights: dict[str, np.ndarray] | None = None
        if resume and (self.folder / CHECKPOINT).is_file():
            self.position, saved = checkpoint.read(self.folder / CHECKPOINT)
            self.clock = _Clock(self.position.seconds, time.monotonic())
            self.saved = self.position.seconds
            self.report(f"resuming at stage {self.position.stage + 1}, step {self.position.step}")
        elif resume:
            self.report("the run has no checkpoint yet: it starts from the beginning")
        while self.position.stage < len(self.recipe.stages):
            stage = self.recipe.stages[self.position.stage]
            learner = self._begin(stage, weights, saved)
            self._stage(learner, stage)
            weights, saved = self._end(learner), None
        if weights is None:
            weights = checkpoint.weights_in(saved or {})
        checkpoint.write_arrays(self.folder / FINAL, weights)
        return weights

    def _begin(
        self, stage: Stage, weights: dict[str, np.ndarray] | None, saved: dict[str, np.ndarray] | None
    ) -> Learner:
        """Build the learner of a stage: resumed, or with the weights of the previous stage or the run's start."""
        keras.utils.set_random_seed(self.settings.seed + self.position.stage)  # same as in a resumed run
        learner = build_learner(self.settings.attributes, self.recipe, stage, self.losses, self.devices)
        if saved is not None:
            checkpoint.restore(learner, saved)
            return learner
        if weights is None:
            fresh = fit_start(learner.network, starting_arrays(self.settings.start, self.recipe.backbone))
            self.report(f"start {self.settings.start}: {len(fresh)} layers at random ({', '.join(fresh[:12])} ...)")
            if warning := frozen_at_random(self.recipe, fresh):
                self.report(warning)
        else:
            set_weights(learner.network, weights)
            if learner.log_variances is not None:
                learner.log_variances.assign(weights[checkpoint.LOG_VARIANCES])
        self.position.stage_start = self.clock.now()
        self._save(learner)
        return learner

    def _validator(self, stage: Stage) -> Validator:
        memory = int(self.settings.memory_gb * 1024**3)
        source = CropSource(self.train, stage.size, self.settings.crop.border, memory, self.broken)
        spec = self.backbone.input_spec(stage.size)
        return Validator(self.settings, self.val, source, spec, self.losses, self.batch, self.unread)

    def _stage(self, learner: Learner, stage: Stage) -> None:
        position = self.position
        epoch = len(self.train) // self.batch
        total = max(round(stage.epochs * epoch), 1)
        self._until = self._deadline()
        learning = "" if stage.attributes is None else f", learns {', '.join(learner.active)}"
        self.report(
            f"stage {position.stage + 1}/{len(self.recipe.stages)} {stage.name}: {stage.size} px, "
            f"up to {total} steps of {self.batch}"
            + (f" in {(self._until - position.stage_start) / 60:.1f} min" if math.isfinite(self._until) else "")
            + f", rate {stage.learning_rate:g}, frozen: {', '.join(stage.freeze) or 'nothing'}{learning}, "
            f"{learner.network.count_params() / 1e6:.1f} M weights, {keras.config.dtype_policy().name}"
        )
        validator = self._validator(stage)
        batches = training_batches(
            validator.source,
            self.batch,
            self.recipe.augmentation,
            (self.settings.seed, position.stage),
            position.step,
            self.settings.workers,
            self.draw,
        )
        try:
            interval = min(epoch, max((self.recipe.validation_interval or len(self.train)) // self.batch, 1))
            self._loop(learner, stage, validator, batches, total, interval)
        except KeyboardInterrupt:
            self._save(learner)
            raise
        finally:
            batches.close()

    def _loop(
        self, learner: Learner, stage: Stage, validator: Validator, batches: Iterator[Batch], total: int, interval: int
    ) -> None:
        position = self.position
        meter = Meter()
        while (progress := self._progress(total)) < 1:
            learner.optimizer.learning_rate = rate_at(stage, self.recipe.warmup, progress)
            batch = next(batches)
            logs = self.devices.step(learner, prepare(batch.images, validator.spec), batch.targets)
            meter.add(len(batch.images), logs)
            position.step += 1
            if not np.isfinite(logs["loss"]):
                raise TrainingError(
                    f"the loss is {logs['loss']} at stage {position.stage + 1}, step {position.step}; lower the rate, "
                    f"or try --precision float32, and --resume from the last checkpoint"
                )
            if meter.seconds() >= self.settings.progress_seconds:
                self.report(self._line(meter, stage, total))
                meter.next()
            if self.clock.now() - self.saved >= 60 * self.settings.checkpoint_minutes:
                self._save(learner)
            if position.step % interval == 0 and self._progress(total) < 1:
                better = self._validate(learner, stage, validator, meter, progress)
                self._save(learner)
                if not better and position.waited >= self.recipe.patience:
                    self.report(f"no better validation in {position.waited} validations: the stage ends")
                    return
        if position.validated != position.step:  # unless the time ran out just after a validation
            self._validate(learner, stage, validator, meter, 1.0)

    def _progress(self, total: int) -> float:
        done = self.position.step / total
        if math.isfinite(self._until):
            span = max(self._until - self.position.stage_start, 1e-9)
            done = max(done, (self.clock.now() - self.position.stage_start) / span)
        return done

    def _deadline(self) -> float:
        """Compute the running time, in seconds, at which the current stage must end."""
        if self.settings.minutes is None:
            return math.inf
        shares = [stage.time_share for stage in self.recipe.stages]
        left = sum(shares[self.position.stage :])
        start = self.position.stage_start
        return start + max(60 * self.settings.minutes - start, 0.0) * shares[self.position.stage] / left

    def _validate(self, learner: Learner, stage: Stage, validator: Validator, meter: Meter, progress: float) -> bool:
        """Validate, keep the best weights and record the result; return True if it is the best so far."""
        position = self.position
        meter.next()
        trained = meter.take()
        found = validator.measure(learner, position.step)
        self.seconds_a_crop = found.seconds_a_crop
        position.validated = position.step
        better = found.loss < position.best
        position.best, position.waited = (found.loss, 0) if better else (position.best, position.waited + 1)
        if better:
            checkpoint.write_arrays(self.folder / BEST, get_weights(learner.network))
        row = self._place(stage, stage.size, progress)
        if trained:
            parts = {name: trained[f"{name}_loss"] for name in learner.active}
            row["train_loss"] = sum(self.weights[name] * value for name, value in parts.items())
            row["train_objective"] = trained["loss"]
            row |= {f"train_{name}_loss": value for name, value in parts.items()}
        row |= _figures(found)
        if learner.log_variances is not None:
            row |= {f"factor_{name}": factor for name, factor in learner.factors.items()}
        add_to_history(self.folder, row)
        draw_curves(self.folder, self.settings.attributes)
        best = " (best)" if better else ""
        self.report(f"validation after {position.step} steps: loss {found.loss:.4f}{best}; {found.shown}")
        return better

    def _place(self, stage: Stage, size: int, progress: float) -> dict[str, Any]:
        """Return the columns of the history that describe the run's position."""
        position = self.position
        return {
            "epoch": position.epochs + position.step / (len(self.train) // self.batch),
            "stage": stage.name,
            "size": size,
            "step": position.step,
            "minutes": self.clock.now() / 60,
            "rate": rate_at(stage, self.recipe.warmup, progress),
        }

    def _served(self, weights: dict[str, np.ndarray]) -> None:
        """Measure the best weights of a non-final stage at the served size; keep them if they are the best so far.

        A stage that learns only some attributes is no candidate, because it leaves the other heads unchanged.
        """
        position, stage, last = self.position, self.recipe.stages[self.position.stage], self.recipe.stages[-1]
        if stage.attributes is not None:
            return
        loss = position.best
        if stage.size != last.size:
            learner = build_learner(self.settings.attributes, self.recipe, last, self.losses, self.devices)
            set_weights(learner.network, weights)
            found = self._validator(last).measure(learner, position.step)
            weights, loss = get_weights(learner.network), found.loss
            add_to_history(self.folder, self._place(stage, last.size, 1.0) | _figures(found))
        better = loss < position.served
        if better:
            checkpoint.write_arrays(self.folder / SERVED, weights)
            position.served, position.served_stage = loss, position.stage
        best = " (best so far)" if better else ""
        self.report(f"stage {stage.name} at the served size of {last.size} px: loss {loss:.4f}{best}")

    def _end(self, learner: Learner) -> dict[str, np.ndarray]:
        """Finish a stage and return the weights for the next one, or after the last one those to release."""
        position = self.position
        weights = checkpoint.read_arrays(self.folder / BEST)
        over = position.stage + 1 == len(self.recipe.stages)
        if not over:
            self._served(weights)
        elif position.served < position.best:
            name = self.recipe.stages[position.served_stage].name
            self.report(f"stage {name} is released: its loss of {position.served:.4f} is below {position.best:.4f}")
            weights = checkpoint.read_arrays(self.folder / SERVED)
        position.epochs += position.step / (len(self.train) // self.batch)
        position.stage, position.step = position.stage + 1, 0
        position.best, position.waited, position.validated = math.inf, 0, -1
        if over:
            set_weights(learner.network, weights)
            self._save(learner)
        elif learner.log_variances is not None:
            weights[checkpoint.LOG_VARIANCES] = np.asarray(keras.ops.convert_to_numpy(learner.log_variances))
        return weights

    def _save(self, learner: Learner) -> None:
        self.position.seconds = self.saved = self.clock.now()
        checkpoint.save(self.folder / CHECKPOINT, learner, self.position)

    def _line(self, meter: Meter, stage: Stage, total: int) -> str:
        elapsed, progress = self.clock.now(), self._progress(total)
        left = max((elapsed - self.position.stage_start) * (1 - progress) / progress, 0.0)
        parts = ", ".join(f"{name.removesuffix('_loss')} {v:.3f}" for name, v in meter.logs.items() if name != "loss")
        done = f"{self.position.step}/{total} ({100 * progress:.0f} %)"
        if progress > self.position.step / total:  # the time limit ends the stage, not the step count
            minutes = (self._until - self.position.stage_start) / 60
            done = f"step {self.position.step}, {100 * progress:.0f} % of {minutes:.1f} min"
        return (
            f"[{elapsed / 60:5.1f} min] {stage.name} {done}, "
            f"{meter.images / meter.seconds():.0f} images/s, loss {meter.logs['loss']:.3f} ({parts}), "
            f"rate {rate_at(stage, self.recipe.warmup, progress):.2g}, stage ends in {left / 60:.1f} min"
        )
