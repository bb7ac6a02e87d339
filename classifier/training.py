"""Training of the classifier: stages, early stopping, checkpoints, resumption, and an optional time budget.

The loop is Keras' own ``train_on_batch``, so it runs on TensorFlow, PyTorch and JAX alike.
"""

from __future__ import annotations

import csv
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import keras
import numpy as np

from ..weights.errors import TrainingError
from ..weights.manifest import Attribute, CropRecipe, InputSpec, Record
from . import checkpoint
from .batches import CropSource, exact_batches, training_batches
from .batchnorm import recalibrate
from .checkpoint import Position
from .data import FaceTable
from .losses import attribute_loss
from .model import INPUT_MEAN, build_model, freeze, get_weights, set_weights
from .recipe import Recipe, Stage, rate_at
from .runtime import prepare
from .scores import scores
from .start import fit_start, starting_arrays

Precision = Literal["auto", "float32", "bfloat16"]
CHECKPOINT, BEST, FINAL = "checkpoint.npz", "best.npz", "weights.npz"


class Settings(Record):
    """Everything that decides a run; written to ``settings.json`` in its folder, and into the manifest."""

    name: str
    data: str
    start: str
    recipe: Recipe
    attributes: tuple[Attribute, ...]
    crop: CropRecipe
    labels_sha256: str
    seed: int = 0
    precision: Precision = "auto"
    workers: int = 2
    minutes: float | None = None
    """Running time of all stages together; the rates fall to their end within it. The release comes after it."""
    memory_gb: float = 4.0
    """For decoded pictures."""
    checkpoint_minutes: float = 3.0
    progress_seconds: float = 20.0


def input_spec(size: int) -> InputSpec:
    """What the model takes: BGR, 0 to 255 minus ImageNet's mean."""
    return InputSpec(name="image", size=size, colour="BGR", layout="NHWC", scale=1.0, mean=INPUT_MEAN)


def has_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 in hardware: a GPU, or a CPU with AVX512-BF16 or AMX-BF16."""
    if _on_gpu():
        return True
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _on_gpu() -> bool:
    return any("gpu" in device.lower() or "cuda" in device.lower() for device in keras.distribution.list_devices())


@dataclass
class _Clock:
    """Running time, which goes on from where a killed run stood."""

    before: float
    started: float

    def now(self) -> float:
        return self.before + time.monotonic() - self.started


class Trainer:
    """One training run in its folder.

    Args:
        settings: what to do.
        train, val: rows that are crops.
        folder: of the run; made by the caller.
        report: takes progress lines.
    """

    def __init__(
        self, settings: Settings, train: FaceTable, val: FaceTable, folder: Path, report: Callable[[str], None] = print
    ):
        self.settings, self.recipe, self.folder, self.report = settings, settings.recipe, folder, report
        self.train, self.val = train, val
        chosen = np.random.default_rng(settings.seed).permutation(len(val))
        self.val_rows = np.sort(chosen[: self.recipe.validation or None])
        self.losses = {
            attribute.name: attribute_loss(attribute, self.recipe.smoothing, self.recipe.sigma)
            for attribute in settings.attributes
        }
        self.position = Position()
        self.clock = _Clock(0.0, time.monotonic())
        self.saved = 0.0

    def run(self, resume: bool = False) -> dict[str, np.ndarray]:
        """Go through the stages.

        Args:
            resume: go on from the folder's checkpoint.

        Returns:
            The weights of the last stage's best validation, also written to ``weights.npz``.

        Raises:
            TrainingError: the start, the recipe or the checkpoint does not fit, or the loss stops being a number.
        """
        cv2.setNumThreads(1)  # the threads that prepare batches are the parallelism
        before = keras.config.dtype_policy()
        low = self.settings.precision == "bfloat16" or (self.settings.precision == "auto" and has_bfloat16())
        keras.config.set_dtype_policy("mixed_bfloat16" if low else "float32")
        keras.utils.set_random_seed(self.settings.seed)
        try:
            saved: dict[str, np.ndarray] | None = None
            weights: dict[str, np.ndarray] | None = None
            if resume:
                self.position, saved = checkpoint.read(self.folder / CHECKPOINT)
                self.clock = _Clock(self.position.seconds, time.monotonic())
                self.saved = self.position.seconds
                self.report(f"resuming at stage {self.position.stage + 1}, step {self.position.step}")
            while self.position.stage < len(self.recipe.stages):
                weights = self._stage(self.recipe.stages[self.position.stage], weights, saved)
                saved = None
            if weights is None:
                weights = checkpoint.weights_in(saved or {})
            checkpoint.write_arrays(self.folder / FINAL, weights)
            return weights
        finally:
            keras.config.set_dtype_policy(before)

    # -----------------------------------------------------------------------------------------------------------------

    def _build(self, stage: Stage) -> keras.Model:
        recipe = self.recipe
        model = build_model(self.settings.attributes, stage.size, recipe.backbone, recipe.norms, recipe.dropout)
        freeze(model, stage.freeze)
        optimizer = keras.optimizers.AdamW(stage.learning_rate, weight_decay=recipe.weight_decay)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        # XLA's convolutions are slower than oneDNN's on a CPU: ResNet50 at 128 px took 75 ms an image, not 17.
        compiled = keras.backend.backend() == "jax" or (keras.backend.backend() == "tensorflow" and _on_gpu())
        model.compile(
            optimizer,
            loss=self.losses,
            loss_weights={attribute.name: attribute.weight for attribute in self.settings.attributes},
            jit_compile=compiled,
        )
        return model

    def _stage(
        self, stage: Stage, weights: dict[str, np.ndarray] | None, saved: dict[str, np.ndarray] | None
    ) -> dict[str, np.ndarray]:
        position = self.position
        model = self._build(stage)
        if saved is not None:
            checkpoint.restore(model, saved)
        else:
            if weights is None:
                fresh = fit_start(model, starting_arrays(self.settings.start), self.recipe.norms)
                self.report(f"start {self.settings.start}: {len(fresh)} layers at random ({', '.join(fresh[:12])} ...)")
            else:
                set_weights(model, weights)
            position.stage_start = self.clock.now()
        batch = min(self.recipe.batch, len(self.train))
        epoch = len(self.train) // batch
        total = max(round(stage.epochs * epoch), 1)
        self._until = self._deadline()
        self.report(
            f"stage {position.stage + 1}/{len(self.recipe.stages)} {stage.name}: {stage.size} px, "
            f"up to {total} steps of {batch}"
            + (f" in {(self._until - position.stage_start) / 60:.1f} min" if math.isfinite(self._until) else "")
            + f", rate {stage.learning_rate:g}, frozen: {', '.join(stage.freeze) or 'nothing'}, "
            f"{model.count_params() / 1e6:.1f} M weights, {keras.config.dtype_policy().name}"
        )
        self.source = CropSource(
            self.train, stage.size, self.settings.crop.border, int(self.settings.memory_gb * 1024**3)
        )
        batches = training_batches(
            self.source,
            batch,
            self.recipe.augmentation,
            (self.settings.seed, position.stage),
            position.step,
            self.settings.workers,
        )
        try:
            self._loop(model, stage, batches, total, epoch)
        except KeyboardInterrupt:
            self._save(model)
            self.report(f"interrupted; --resume goes on from stage {position.stage + 1}, step {position.step}")
            raise
        finally:
            batches.close()
        return self._finish_stage(model)

    def _loop(self, model: keras.Model, stage: Stage, batches: Iterator[Any], total: int, epoch: int) -> None:
        position = self.position
        meter = _Meter()
        while (progress := self._progress(total)) < 1:
            model.optimizer.learning_rate = rate_at(stage, self.recipe.warmup, progress)
            batch = next(batches)
            logs = model.train_on_batch(prepare(batch.images, input_spec(stage.size)), batch.targets, return_dict=True)
            meter.add(len(batch.images), logs)
            position.step += 1
            if not np.isfinite(logs["loss"]):
                raise TrainingError(
                    f"the loss is {logs['loss']} at stage {position.stage + 1}, step {position.step}; lower the rate, "
                    f"or try --precision float32, and --resume from the last checkpoint"
                )
            if meter.seconds() >= self.settings.progress_seconds:
                self.report(self._line(meter, stage, progress, total))
                meter.next()
            if self.clock.now() - self.saved >= 60 * self.settings.checkpoint_minutes:
                self._save(model)
            if position.step % epoch == 0 and self._progress(total) < 1:
                meter.next()
                better = self._validate(model, stage, meter.take())
                self._save(model)
                if not better and position.waited >= self.recipe.patience:
                    self.report(f"no better validation in {position.waited} epochs: the stage ends")
                    return
        meter.next()
        self._validate(model, stage, meter.take())

    def _progress(self, total: int) -> float:
        done = self.position.step / total
        if math.isfinite(self._until):
            span = max(self._until - self.position.stage_start, 1e-9)
            done = max(done, (self.clock.now() - self.position.stage_start) / span)
        return done

    def _deadline(self) -> float:
        """Running time, in seconds, at which the present stage must end."""
        if self.settings.minutes is None:
            return math.inf
        shares = [stage.time_share for stage in self.recipe.stages]
        left = sum(shares[self.position.stage :])
        start = self.position.stage_start
        return start + max(60 * self.settings.minutes - start, 0.0) * shares[self.position.stage] / left

    def _validate(self, model: keras.Model, stage: Stage, trained: dict[str, float]) -> bool:
        """Recalibrate, measure, remember the best; True if this is it."""
        position = self.position
        batch = min(self.recipe.batch, len(self.train))
        spec = input_spec(stage.size)
        rows = np.random.default_rng((self.settings.seed, position.step)).permutation(len(self.train))
        rows = rows[: min(self.recipe.recalibration, len(rows) // batch) * batch]
        crops = exact_batches(self.source, batch, rows, self.settings.workers)
        recalibrate(model, (prepare(each.images, spec) for each in crops))
        source = CropSource(self.val, stage.size, self.settings.crop.border)
        outputs, targets = predict(model, source, spec, batch, self.val_rows, self.settings.workers)
        loss = 0.0
        parts: dict[str, float] = {}
        metrics: dict[str, float | None] = {}
        for attribute in self.settings.attributes:
            name = attribute.name
            parts[name] = float(self.losses[name](targets[name], outputs[name]))
            loss += attribute.weight * parts[name]
            metrics |= {metric.name: metric.value for metric in scores(attribute, outputs[name], targets[name])}
        better = loss < position.best
        position.best, position.waited = (loss, 0) if better else (position.best, position.waited + 1)
        if better:
            checkpoint.write_arrays(self.folder / BEST, get_weights(model))
        row = {"stage": stage.name, "size": stage.size, "step": position.step, "minutes": self.clock.now() / 60}
        row |= {f"train_{name}": value for name, value in trained.items()} | {"val_loss": loss}
        self._history(row | {f"val_{name}_loss": value for name, value in parts.items()} | metrics)
        wanted = ("accuracy", "mae", "range_hit", "eye_error")
        shown = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items() if name.partition(".")[2] in wanted)
        self.report(f"validation after {position.step} steps: loss {loss:.4f}{' (best)' if better else ''}; {shown}")
        return better

    def _finish_stage(self, model: keras.Model) -> dict[str, np.ndarray]:
        """Go back to the stage's best weights and put the checkpoint at the start of the next stage."""
        position = self.position
        with np.load(self.folder / BEST, allow_pickle=False) as archive:
            weights = {name: archive[name] for name in archive.files}
        set_weights(model, weights)
        position.stage, position.step = position.stage + 1, 0
        position.best, position.waited = math.inf, 0
        position.stage_start = self.clock.now()
        if position.stage < len(self.recipe.stages):
            following = self._build(self.recipe.stages[position.stage])
            set_weights(following, weights)
            following.optimizer.build(following.trainable_variables)
            self._save(following)
        else:
            self._save(model)
        return weights

    def _save(self, model: keras.Model) -> None:
        self.position.seconds = self.saved = self.clock.now()
        checkpoint.save(self.folder / CHECKPOINT, model, self.position)

    def _history(self, row: dict[str, Any]) -> None:
        path = self.folder / "history.csv"
        past: list[dict[str, Any]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                past = list(csv.DictReader(file))
        past.append({name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()})
        names = list(dict.fromkeys(itertools.chain.from_iterable(past)))
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(past)

    def _line(self, meter: _Meter, stage: Stage, progress: float, total: int) -> str:
        elapsed = self.clock.now()
        in_stage = elapsed - self.position.stage_start
        left = in_stage * (1 - progress) / progress if progress else math.nan
        parts = ", ".join(f"{name.removesuffix('_loss')} {v:.3f}" for name, v in meter.logs.items() if name != "loss")
        return (
            f"[{elapsed / 60:5.1f} min] {stage.name} {self.position.step}/{total} ({100 * progress:.0f} %), "
            f"{meter.images / meter.seconds():.0f} images/s, loss {meter.logs['loss']:.3f} ({parts}), "
            f"rate {rate_at(stage, self.recipe.warmup, progress):.2g}, stage ends in {left / 60:.1f} min"
        )


class _Meter:
    """Mean losses since the last progress line, and over the epoch."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.total: dict[str, float] = {}
        self.seen = 0
        self.images = 0
        self.since = time.monotonic()

    def add(self, images: int, logs: dict[str, Any]) -> None:
        self.images += images
        for name, value in logs.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value) * images

    @property
    def logs(self) -> dict[str, float]:
        """Means since the last progress line."""
        return {name: value / self.images for name, value in self.sums.items()}

    def seconds(self) -> float:
        return time.monotonic() - self.since

    def next(self) -> None:
        """Close the interval."""
        for name, value in self.sums.items():
            self.total[name] = self.total.get(name, 0.0) + value
        self.seen += self.images
        self.sums = {}
        self.images, self.since = 0, time.monotonic()

    def take(self) -> dict[str, float]:
        """Means over the closed intervals, which start anew."""
        means = {name: value / self.seen for name, value in self.total.items()} if self.seen else {}
        self.total, self.seen = {}, 0
        return means


def predict(
    model: keras.Model, source: CropSource, spec: InputSpec, batch: int, rows: np.ndarray, workers: int = 2
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Outputs and targets of some rows, cut as serving cuts them."""
    outputs: list[dict[str, np.ndarray]] = []
    targets: list[dict[str, np.ndarray]] = []
    for each in exact_batches(source, batch, rows, workers):
        outputs.append(model.predict_on_batch(prepare(each.images, spec)))
        targets.append(each.targets)
    return tuple(
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} for parts in (outputs, targets)
    )  # type: ignore[return-value]
