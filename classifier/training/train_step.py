"""A training step: the network with the sum of its losses, its optimizer, and the devices that share a batch.

``keras.Model``'s own training step does the work, so it trains on TensorFlow, PyTorch and JAX alike. Several devices
each hold the weights and see a part of every batch: ``keras.distribution.DataParallel`` on JAX,
``tf.distribute.MirroredStrategy`` on TensorFlow. Keras has no such thing on PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from ...core.errors import DeviceError, TrainingError, did_you_mean
from ...weights.manifest import Attribute
from ..config.recipe import Recipe, Stage
from ..models.multitask import build_model, freeze
from .losses import MaskedLoss

MOMENTUM = 0.9
"""Of ``sgd``."""
UNDECAYED = ("bias", "gamma", "beta", "log_variances")
"""Weights that weight decay leaves alone, by name."""


class Learner(keras.Model):
    """A network and the sum of its masked losses.

    The sum is ``weight * loss`` over the attributes that learn, and the kernels' penalties. With ``learnt``, the
    weights follow from variables that are trained along: ``factor * exp(-s) * loss + s / 2``, with s the logarithm of
    the variance of a task's noise, and a factor of 1 for classes and distributions and 1/2 for regressions (Kendall et
    al., "Multi-Task Learning Using Uncertainty to Weigh Losses", CVPR 2018). They start as the given weights.

    Args:
        network: from ``build_model``.
        losses: by attribute; their order is that of ``log_variances``.
        weights: of each loss.
        active: the attributes whose losses count.
        regressions: the attributes whose losses are of distances.
        learnt: whether the weights are learnt.
        replicas: devices of which each sees a part of the batch and adds its loss to the others'.
    """

    def __init__(
        self,
        network: keras.Model,
        losses: Mapping[str, MaskedLoss],
        weights: Mapping[str, float],
        active: Collection[str],
        regressions: Collection[str] = (),
        learnt: bool = False,
        replicas: int = 1,
    ):
        super().__init__(name="learner")
        self.network = network
        self.replicas = replicas
        self.masked = dict(losses)
        self.fixed = {name: float(weights[name]) for name in losses}
        self.active = tuple(name for name in losses if name in active)
        self.halves = {name: 0.5 if name in regressions else 1.0 for name in losses}
        self.means = {name: keras.metrics.Mean(name=f"{name}_loss") for name in self.active}
        self.log_variances: Any = None
        if learnt:
            start = [math.log(self.halves[name] / self.fixed[name]) for name in losses]
            self.log_variances = self.add_weight(
                shape=(len(start),), initializer="zeros", name="log_variances", dtype="float32", autocast=False
            )
            self.log_variances.assign(np.array(start, np.float32))
        self.built = True

    def call(self, images: Any, training: bool | None = None) -> Any:
        return self.network(images, training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        total = ops.zeros((), "float32")
        for index, name in enumerate(self.masked):
            if name not in self.active:
                continue
            loss = self.masked[name](y[name], y_pred[name])
            self.means[name].update_state(loss)
            if self.log_variances is None:
                total = total + self.fixed[name] * loss
            else:
                spread = self.log_variances[index]
                total = total + self.halves[name] * ops.exp(-spread) * loss + spread / 2
        for penalty in self.losses:
            total = total + ops.sum(ops.cast(penalty, "float32"))
        return total / self.replicas

    @property
    def factors(self) -> dict[str, float]:
        """What each active loss is multiplied by at present."""
        if self.log_variances is None:
            return {name: self.fixed[name] for name in self.active}
        spread = np.asarray(ops.convert_to_numpy(self.log_variances), np.float64)
        places = {name: index for index, name in enumerate(self.masked)}
        return {name: float(self.halves[name] * np.exp(-spread[places[name]])) for name in self.active}


def loss_weights(attributes: tuple[Attribute, ...], recipe: Recipe) -> dict[str, float]:
    """Factor of each attribute's loss: the recipe's, else the schema's.

    Raises:
        TrainingError: the recipe gives one to an attribute that the schema lacks, or one that is not above 0.
    """
    given = recipe.losses.weights
    _require_known(given, attributes, "losses.weights")
    if low := [name for name, weight in given.items() if weight <= 0]:
        raise TrainingError(f"the recipe's losses.weights must be above 0, got {given[low[0]]} for {low[0]}")
    return {attribute.name: given.get(attribute.name, attribute.weight) for attribute in attributes}


def active_attributes(attributes: tuple[Attribute, ...], stage: Stage) -> tuple[str, ...]:
    """The attributes whose losses count in a stage.

    Raises:
        TrainingError: the stage names one that the schema lacks, or none.
    """
    if stage.attributes is None:
        return tuple(attribute.name for attribute in attributes)
    _require_known(stage.attributes, attributes, f"stage {stage.name}: attributes")
    if not stage.attributes:
        raise TrainingError(f"stage {stage.name} learns no attribute; name some, or leave 'attributes' out")
    return tuple(attribute.name for attribute in attributes if attribute.name in stage.attributes)


def _require_known(names: Collection[str], attributes: tuple[Attribute, ...], where: str) -> None:
    known = [attribute.name for attribute in attributes]
    if unknown := [name for name in names if name not in known]:
        raise TrainingError(
            f"recipe, {where}: {', '.join(unknown)} is not in the schema"
            f"{did_you_mean(unknown[0], known)}; it has {', '.join(known)}"
        )


def build_learner(
    attributes: tuple[Attribute, ...],
    recipe: Recipe,
    stage: Stage,
    losses: Mapping[str, MaskedLoss],
    devices: Devices,
) -> Learner:
    """Build and compile what a stage trains, with random weights.

    Args:
        attributes: the schema.
        recipe: with backbone and neck.
        stage: of the recipe.
        losses: by attribute.
        devices: that train.

    Raises:
        TrainingError: the recipe does not fit the schema or the backbone.
    """
    active = active_attributes(attributes, stage)
    with devices.scope():
        network = build_model(attributes, recipe, stage.size)
        freeze(network, recipe, stage.freeze)
        freeze_idle(network, active)
        learner = Learner(
            network,
            losses,
            loss_weights(attributes, recipe),
            active,
            [each.name for each in attributes if _is_regression(each)],
            recipe.losses.uncertainty,
            devices.replicas,
        )
        # XLA's convolutions are slower than oneDNN's on a CPU: ResNet50 at 128 px took 75 ms an image, not 17;
        # MobileNetV2 four times as long, and its first step 47 s, not 20.
        backend = keras.backend.backend()
        compiled = backend == "jax" or (backend == "tensorflow" and on_gpu() and devices.replicas == 1)
        learner.compile(_optimizer(recipe, stage), jit_compile=compiled)
        learner.optimizer.build(learner.trainable_variables)
    return learner


def freeze_idle(network: keras.Model, active: Collection[str]) -> None:
    """Make the layers untrainable that no active output depends on: the heads of the attributes that do not learn now.

    A loss that does not count gives them no gradient, but weight decay and penalties would move them all the same.
    """
    needed = keras.Model(network.inputs, {name: network.output[name] for name in active}).layers
    for layer in network.layers:
        if not any(layer is each for each in needed):
            layer.trainable = False


def _is_regression(attribute: Attribute) -> bool:
    return attribute.kind == "points" or (attribute.kind == "numeric" and attribute.bins is None)


def _optimizer(recipe: Recipe, stage: Stage) -> keras.optimizers.Optimizer:
    match recipe.optimizer:
        case "sgd":
            return keras.optimizers.SGD(stage.learning_rate, momentum=MOMENTUM)
        case "adam":
            return keras.optimizers.Adam(stage.learning_rate)
        case _:
            optimizer = keras.optimizers.AdamW(stage.learning_rate, weight_decay=recipe.weight_decay)
            optimizer.exclude_from_weight_decay(var_names=list(UNDECAYED))
            return optimizer


def present() -> list[str]:
    """The devices that the backend can use, as ``cpu:0``, ``gpu:0``, ``gpu:1``, ..."""
    if keras.backend.backend() == "torch":
        import torch

        return ["cpu:0", *(f"gpu:{index}" for index in range(torch.cuda.device_count()))]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        found = [each.name for each in tf.config.list_logical_devices()]
        names = [name.removeprefix("/device:").lower() for name in found]
        return [name for name in names if name.startswith(("cpu:", "gpu:", "tpu:"))]
    import jax

    names = []
    for platform in ("cpu", "gpu", "tpu"):
        try:
            names += [f"{platform}:{index}" for index in range(len(jax.devices(platform)))]
        except RuntimeError:  # JAX was not built for that platform
            continue
    return names


def on_gpu() -> bool:
    """Whether the backend has a GPU."""
    return any(name.startswith("gpu") for name in present())


def has_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 in hardware: a GPU, or a CPU with AVX512-BF16 or AMX-BF16."""
    if on_gpu():
        return True
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


class Devices:
    """The devices that a run trains on.

    Args:
        names: such as ``cpu:0``, ``gpu:0``; a bare number is a GPU's, a bare kind means its first. None: the backend
            takes its own, the first GPU where there is one.

    Raises:
        DeviceError: one of them is not there.
        TrainingError: the backend cannot share a batch out.
    """

    def __init__(self, names: tuple[str, ...] = ()):
        self.names = tuple(_full(name) for name in names)
        there = present() if names else []
        if missing := [name for name in self.names if name not in there]:
            raise DeviceError(f"device {missing[0]} cannot be had: {keras.backend.backend()} sees {', '.join(there)}")
        if len(set(self.names)) < len(self.names):
            raise DeviceError(f"the devices must differ, got {', '.join(self.names)}")
        backend = keras.backend.backend()
        if len(self.names) > 1 and backend == "torch":
            raise TrainingError("several devices need KERAS_BACKEND=tensorflow or jax; Keras has none of it on torch")
        self.replicas = len(self.names) if len(self.names) > 1 and backend == "tensorflow" else 1
        """Devices that each compute a loss of their own; JAX computes one loss over all."""
        self._strategy: Any = None
        if self.names and backend == "tensorflow":
            import tensorflow as tf

            if self.replicas > 1:
                self._strategy = tf.distribute.MirroredStrategy([f"/{name}" for name in self.names])
            else:
                self._strategy = tf.distribute.OneDeviceStrategy(f"/{self.names[0]}")

    def check_batch(self, batch: int) -> None:
        """Check that a batch can be shared out.

        Raises:
            TrainingError: its size is no multiple of the number of devices.
        """
        if self.names and batch % len(self.names):
            raise TrainingError(f"a batch of {batch} cannot be shared out evenly over {len(self.names)} devices")

    @contextmanager
    def training(self) -> Iterator[None]:
        """Train on these devices while it lasts."""
        backend = keras.backend.backend()
        if not self.names or backend == "tensorflow":
            yield
        elif backend == "torch":
            with keras.device(self.names[0].replace("gpu", "cuda")):
                yield
        else:
            before = keras.distribution.distribution()
            keras.distribution.set_distribution(keras.distribution.DataParallel(devices=list(self.names)))
            try:
                yield
            finally:
                keras.distribution.set_distribution(before)

    def scope(self) -> AbstractContextManager[Any]:
        """In which models and optimizers are made."""
        return nullcontext() if self._strategy is None else self._strategy.scope()

    def step(self, learner: Learner, images: np.ndarray, targets: dict[str, np.ndarray]) -> dict[str, float]:
        """One training step on a batch; the mean loss, and each attribute's.

        On several devices of TensorFlow the means are those over the devices' parts, each over its labelled rows.

        Args:
            learner: that is trained.
            images: uint8 or float32, (n, size, size, 3).
            targets: by attribute, as in FaceTable, n rows each.
        """
        if self._strategy is None:
            return learner.train_on_batch(images, targets, return_dict=True)
        import tensorflow as tf

        size = len(images) // self.replicas

        def part(context: Any) -> Any:
            rows = slice(context.replica_id_in_sync_group * size, (context.replica_id_in_sync_group + 1) * size)
            return tf.constant(images[rows]), {name: tf.constant(each[rows]) for name, each in targets.items()}, None

        learner.make_train_function()
        learner.reset_metrics()
        logs = learner.train_function(iter([self._strategy.experimental_distribute_values_from_function(part)]))
        return {name: float(value) for name, value in logs.items()}


def _full(name: str) -> str:
    """``1`` is ``gpu:1``, ``cpu`` is ``cpu:0``, ``cuda:1`` is ``gpu:1``."""
    name = name.strip().lower().replace("cuda", "gpu")
    if name.isdigit():
        return f"gpu:{name}"
    return name if ":" in name else f"{name}:0"
