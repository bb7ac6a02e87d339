"""The devices of a training: which are there, and how several share a batch.

Several devices each hold the weights and see a part of every batch: ``keras.distribution.DataParallel`` on JAX,
``tf.distribute.MirroredStrategy`` on TensorFlow. Keras has no such thing on PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ...core.errors import DeviceError, TrainingError

if TYPE_CHECKING:
    from .train_step import Learner


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
