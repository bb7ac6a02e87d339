"""The device for training: choose it, check that it is available, and tune memory handling on a CPU."""

from __future__ import annotations

import ctypes
import sys

import torch

from . import ultralytics_setup  # noqa: F401  isort: skip
from ultralytics.utils.torch_utils import parse_device, select_device

from ...core.errors import DeviceError, TrainingError


def canonical(device: str) -> str:
    """A device in ultralytics' notation: ``cpu``, ``mps``, ``0``, ``0,1``, ...

    Args:
        device: as requested; empty means the first GPU, or else the CPU.

    Raises:
        DeviceError: the device is not available.
    """
    if not device:
        return "0" if torch.cuda.is_available() else "cpu"
    try:
        select_device(device, verbose=False)
        return str(parse_device(device))
    except (ValueError, RuntimeError, AssertionError) as error:
        raise DeviceError(f"device {device!r} is not available: this machine has {_at_hand()}") from error


def _at_hand() -> str:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"{count} CUDA GPU{'s' * (count > 1)} and a CPU" if count else "no CUDA GPU; cpu trains on the CPU"


def check_several(device: str, rect: bool, batch: int | None) -> None:
    """Check the settings of training on several GPUs before anything starts.

    Args:
        device: in ultralytics' notation, such as ``0,1``.
        rect: whether batches have similar aspect ratios.
        batch: pictures per batch; None chooses it by the available memory.

    Raises:
        TrainingError: the settings are incompatible with several GPUs.
    """
    count = device.count(",") + 1
    if count == 1:
        return
    if rect:
        raise TrainingError(
            "rect orders the pictures by shape, which cannot be split across several GPUs: leave it out"
        )
    if batch is not None and batch % count:
        raise TrainingError(f"batch {batch} cannot be split evenly across {count} GPUs")


def keep_freed_memory() -> None:
    """Make glibc keep freed memory instead of returning it to the system (mallopt(3)); no effect elsewhere.

    A training step on a CPU frees and allocates gigabytes. Returning them each time cost 40 % of its time in page
    faults.
    """
    if sys.platform != "linux":
        return
    trim_threshold, mmap_max = -1, -4
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)
