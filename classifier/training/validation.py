"""Validation during training: losses and metrics on held-out rows, after recalibrating the batch norms.

Moving statistics lag behind fast-moving weights, and a short training ends before they catch up; the model then trains
well but validates badly. Recalibration removes the lag: it averages the batch statistics of many batches with fixed
weights (Wu & Johnson, "Rethinking 'Batch' in BatchNorm", 2021).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from ...weights.manifest import InputSpec
from ..data.loader import BrokenPictures, CropSource, exact_batches
from ..data.table import FaceTable
from ..evaluation.metrics import scores
from ..inference.classifier import prepare
from ..models.multitask import batch_norms
from .losses import MaskedLoss
from .run_folder import Settings
from .train_step import Learner

SHOWN = ("accuracy", "mae", "range_hit", "eye_error", "point_error_of_side")
"""Metrics shown in a progress line."""


@dataclass(frozen=True)
class Validation:
    """The result of one validation."""

    loss: float
    """Weighted sum over the active attributes. Learnt loss weights are not used, so that validations are comparable."""
    parts: dict[str, float]
    """Loss of every attribute."""
    metrics: dict[str, float | None]
    seconds_a_crop: float = 0.0
    """Time per crop for reading and the forward pass."""

    @property
    def shown(self) -> str:
        """The main metrics as text."""
        chosen = {name: value for name, value in self.metrics.items() if name.partition(".")[2] in SHOWN}
        return ", ".join(f"{name} {value:.3f}" for name, value in chosen.items() if value is not None)


class Validator:
    """Validates one stage.

    Args:
        settings: of the run.
        table: the val rows; ``recipe.validation`` of them are measured, the same ones each time.
        source: the training crops for recalibrating the batch norms.
        spec: of the network's input.
        losses: by attribute.
        batch: rows per step.
        broken: records unreadable pictures of the val rows.
    """

    def __init__(
        self,
        settings: Settings,
        table: FaceTable,
        source: CropSource,
        spec: InputSpec,
        losses: Mapping[str, MaskedLoss],
        batch: int,
        broken: BrokenPictures,
    ):
        self.settings, self.source, self.spec, self.losses, self.batch = settings, source, spec, losses, batch
        self.crops = CropSource(table, spec.size, settings.crop.border, broken=broken)
        self.reader: keras.Model | None = None
        chosen = np.random.default_rng(settings.seed).permutation(len(table))
        self.rows = np.sort(chosen[: settings.recipe.validation or None])

    def measure(self, learner: Learner, step: int) -> Validation:
        """Recalibrate the batch norms on training crops, then validate.

        Args:
            learner: provides the network; must be the same one each time.
            step: of the stage; seeds the choice of training crops.
        """
        settings = self.settings
        rows = np.random.default_rng((settings.seed, step)).permutation(len(self.source.table))
        rows = rows[: min(settings.recipe.recalibration, len(rows) // self.batch) * self.batch]
        crops = exact_batches(self.source, self.batch, rows, settings.workers)
        recalibrate(learner.network, (prepare(each.images, self.spec) for each in crops))
        if self.reader is None:  # built outside any strategy, so it uses one copy of the weights
            self.reader = keras.Model(learner.network.inputs, learner.network.output)
        started = time.monotonic()
        outputs, targets = predict(self.reader, self.crops, self.spec, self.batch, self.rows, settings.workers)
        seconds = (time.monotonic() - started) / len(self.rows)
        parts = {name: float(loss(targets[name], outputs[name])) for name, loss in self.losses.items()}
        metrics: dict[str, float | None] = {}
        for attribute in settings.attributes:
            found = scores(attribute, outputs[attribute.name], targets[attribute.name])
            metrics |= {metric.name: metric.value for metric in found}
        return Validation(sum(learner.fixed[name] * parts[name] for name in learner.active), parts, metrics, seconds)


def predict(
    reader: keras.Model, source: CropSource, spec: InputSpec, batch: int, rows: np.ndarray, workers: int = 2
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Compute outputs and targets of some rows, cropped as in serving.

    Args:
        reader: the model.
        source: of the crops.
        spec: of the input.
        batch: rows per batch.
        rows: int (n,).
        workers: reader threads.
    """
    outputs: list[dict[str, np.ndarray]] = []
    targets: list[dict[str, np.ndarray]] = []
    for each in exact_batches(source, batch, rows, workers):
        outputs.append(reader.predict_on_batch(prepare(each.images, spec)))
        targets.append(each.targets)
    return tuple(
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} for parts in (outputs, targets)
    )  # type: ignore[return-value]


def recalibrate(model: keras.Model, batches: Iterable[Any]) -> int:
    """Replace the moving statistics of the trainable batch norms by their mean over some batches.

    Args:
        model: its weights stay unchanged.
        batches: model inputs: training crops without augmentation, in batches of the training size.

    Returns:
        Number of batches used; 0 leaves the statistics unchanged.
    """
    norms = [norm for norm in batch_norms(model) if norm.trainable]
    if not norms:
        return 0
    # A forward pass up to the last batch norm and to where all branches have merged. It runs outside fit, so that each
    # batch gets its own momentum.
    trunk = keras.Model(model.inputs, [model.features, norms[-1].output])
    kept = [norm.momentum for norm in norms]
    count = 0
    try:
        for batch in batches:
            for norm in norms:
                norm.momentum = count / (count + 1)
            trunk([batch], training=True)
            count += 1
    finally:
        for norm, momentum in zip(norms, kept, strict=True):
            norm.momentum = momentum
    return count
