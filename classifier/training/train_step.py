"""The training step: the network with the sum of its losses, the optimizer, and the devices that share a batch.

It uses the training step of ``keras.Model`` and therefore runs on TensorFlow, PyTorch and JAX. With several devices,
each holds the weights and processes a part of every batch: ``keras.distribution.DataParallel`` on JAX,
``tf.distribute.MirroredStrategy`` on TensorFlow. Keras has no equivalent for PyTorch.
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
"""Momentum of ``sgd``."""
UNDECAYED = ("bias", "gamma", "beta", "log_variances")
"""Names of weights excluded from weight decay."""


class Learner(keras.Model):
    """A network and the sum of its masked losses.

    The sum is ``weight * loss`` over the active attributes, plus the kernel penalties. With ``learnt``, the weights are
    trained too: each term is ``factor * exp(-s) * loss + s / 2``, where s is the log variance of the task's noise and
    the factor is 1 for classes and distributions and 1/2 for regressions (Kendall et al., "Multi-Task Learning Using
    Uncertainty to Weigh Losses", CVPR 2018). They start at the given weights.

    Args:
        network: from ``build_model``.
        losses: by attribute; their order is that of ``log_variances``.
        weights: of each loss.
        active: the attributes whose losses count.
        regressions: the attributes with regression losses.
        learnt: whether to learn the weights.
        replicas: number of devices that each process a part of the batch; their losses are summed.
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
        """Current weight of each active loss."""
        if self.log_variances is None:
            return {name: self.fixed[name] for name in self.active}
        spread = np.asarray(ops.convert_to_numpy(self.log_variances), np.float64)
        places = {name: index for index, name in enumerate(self.masked)}
        return {name: float(self.halves[name] * np.exp(-spread[places[name]])) for name in self.active}


def loss_weights(attributes: tuple[Attribute, ...], recipe: Recipe) -> dict[str, float]:
    """Return the loss weight of each attribute from the recipe, else from the schema.

    Raises:
        TrainingError: the recipe has a weight for an unknown attribute, or one that is not above 0.
    """
    given = recipe.losses.weights
    _require_known(given, attributes, "losses.weights")
    if low := [name for name, weight in given.items() if weight <= 0]:
        raise TrainingError(f"the recipe's losses.weights must be above 0, got {given[low[0]]} for {low[0]}")
    return {attribute.name: given.get(attribute.name, attribute.weight) for attribute in attributes}


def active_attributes(attributes: tuple[Attribute, ...], stage: Stage) -> tuple[str, ...]:
    """Return the attributes whose losses count in a stage.

    Raises:
        TrainingError: the stage names an unknown attribute, or none.
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
    """Build and compile the learner of a stage, with random weights.

    Args:
        attributes: the schema.
        recipe: the training recipe.
        stage: of the recipe.
        losses: by attribute.
        devices: to train on.

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
        # On a CPU, XLA's convolutions are slower than oneDNN's: ResNet50 at 128 px took 75 ms per image instead of 17.
        # MobileNetV2 took four times as long, and its first step 47 s instead of 20.
        backend = keras.backend.backend()
        compiled = backend == "jax" or (backend == "tensorflow" and on_gpu() and devices.replicas == 1)
        learner.compile(_optimizer(recipe, stage), jit_compile=compiled)
        learner.optimizer.build(learner.trainable_variables)
    return learner


def freeze_idle(network: keras.Model, active: Collection[str]) -> None:
    """Freeze the layers that no active output depends on: the heads of inactive attributes.

    They get no gradient from the losses, but weight decay and penalties would still change them.
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
    """List the devices available to the backend, as ``cpu:0``, ``gpu:0``, ``gpu:1``, ..."""
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
        except RuntimeError:  # JAX was built without that platform
            continue
    return names


def on_gpu() -> bool:
    """Check whether the backend has a GPU."""
    return any(name.startswith("gpu") for name in present())


def bfloat16_pays(depthwise: bool) -> bool:
    """Check whether bfloat16 is quicker than float32: on a GPU, or on a CPU with AVX512-BF16 or AMX-BF16.

    Args:
        depthwise: whether the network is made of depthwise convolutions; those are slower in bfloat16 on a CPU.
    """
    if on_gpu():
        return True
    if depthwise:
        return False
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


class Devices:
    """The devices that a run trains on.

    Args:
        names: such as ``cpu:0``, ``gpu:0``; a bare number is a GPU, a bare kind its first device. If empty, the backend
            chooses: the first GPU if there is one.

    Raises:
        DeviceError: a device is not available or is named twice.
        TrainingError: the backend cannot share a batch between devices.
    """

    def __init__(self, names: tuple[str, ...] = ()):
        self.names = tuple(_full(name) for name in names)
        there = present() if names else []
        if missing := [name for name in self.names if name not in there]:
            raise DeviceError(
                f"device {missing[0]} is not available: {keras.backend.backend()} sees {', '.join(there)}"
            )
        if len(set(self.names)) < len(self.names):
            raise DeviceError(f"the devices must differ, got {', '.join(self.names)}")
        backend = keras.backend.backend()
        if len(self.names) > 1 and backend == "torch":
            raise TrainingError(
                "several devices need KERAS_BACKEND=tensorflow or jax; Keras does not support them on torch"
            )
        self.replicas = len(self.names) if len(self.names) > 1 and backend == "tensorflow" else 1
        """Number of devices that each compute their own loss; JAX computes one loss over all devices."""
        self._strategy: Any = None
        if self.names and backend == "tensorflow":
            import tensorflow as tf

            if self.replicas > 1:
                self._strategy = tf.distribute.MirroredStrategy([f"/{name}" for name in self.names])
            else:
                self._strategy = tf.distribute.OneDeviceStrategy(f"/{self.names[0]}")

    def check_batch(self, batch: int) -> None:
        """Check that a batch divides evenly among the devices.

        Raises:
            TrainingError: its size is not a multiple of the number of devices.
        """
        if self.names and batch % len(self.names):
            raise TrainingError(f"a batch of {batch} cannot be split evenly across {len(self.names)} devices")

    @contextmanager
    def training(self) -> Iterator[None]:
        """Use these devices for training within the context."""
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
        """Return the context in which to create models and optimizers."""
        return nullcontext() if self._strategy is None else self._strategy.scope()

    def step(self, learner: Learner, images: np.ndarray, targets: dict[str, np.ndarray]) -> dict[str, float]:
        """Run one training step on a batch and return the mean loss, in total and by attribute.

        On several TensorFlow devices these are means over the devices' parts, each averaged over its labelled rows.

        Args:
            learner: to train.
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
    """Normalise a device name: ``1`` is ``gpu:1``, ``cpu`` is ``cpu:0``, ``cuda:1`` is ``gpu:1``."""
    name = name.strip().lower().replace("cuda", "gpu")
    if name.isdigit():
        return f"gpu:{name}"
    return name if ":" in name else f"{name}:0"
