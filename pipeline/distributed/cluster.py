"""Ray, started on this machine or joined by its address, and how many workers fit in."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ...core.cpu import usable_cpus
from ...core.errors import DeviceError, FacepipeError, MissingExtraError
from ..batch.console import counted

STORE_BYTES = 256 * 2**20
"""Of the object store that is started here: lists of pictures pass through it, no pictures."""

ANSWER = 10.0
"""Seconds for a cluster to answer."""


@dataclass(frozen=True)
class Workers:
    """How many actors, and the processors and GPUs that each has."""

    count: int
    cpus: int
    gpus: int


def require_ray() -> ModuleType:
    """The module ``ray``, with ``ray.data``.

    Raises:
        MissingExtraError: it, or fsspec, is not installed.
    """
    # Before the import: Ray reads them then. It would else send statistics home, and log what is no error of a run.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import fsspec  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("fsspec", "ray") from error
    try:
        import ray
        import ray.data
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error
    return ray


@contextmanager
def cluster(address: str | None) -> Iterator[ModuleType]:
    """Ray for the block: one that is started for it on this machine, or the one at an address.

    Where this process has a session of Ray already, that is taken, and stays.

    Raises:
        FacepipeError: there is no cluster at the address, or Ray cannot be started.
        MissingExtraError: as :func:`require_ray`.
    """
    ray = require_ray()
    if ray.is_initialized():
        yield ray
        return
    if address is not None:
        _reach(address)
    ends = signal.getsignal(signal.SIGTERM)
    options: dict[str, Any] = {"address": address}
    if address is None:
        options = {
            "address": "local",
            "num_cpus": usable_cpus(),
            "include_dashboard": False,
            "object_store_memory": STORE_BYTES,
        }
    try:
        with _hushed():
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except Exception as error:  # Ray raises ConnectionError, ValueError, RuntimeError and its own
        what = "Ray cannot be started here" if address is None else f"{address}: no Ray cluster answers there"
        raise FacepipeError(f"{what} ({' '.join(str(error).split())[:300]})") from error
    try:
        # Ray puts its own in place, which would end us without a word; not where this is no main thread.
        with suppress(ValueError):
            signal.signal(signal.SIGTERM, ends)
        # Ray's core would tell on standard output, in many lines, of every worker that is lost or ended.
        ray._private.worker._worker_logs_enabled = False
        yield ray
    finally:
        ray.shutdown()
        ray._private.worker._worker_logs_enabled = True


def _reach(address: str) -> None:
    """See that somebody listens at ``HOST:PORT``: Ray itself tries for many minutes.

    Raises:
        FacepipeError: nobody does.
    """
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdigit():  # auto, say
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()
    except OSError as error:
        raise FacepipeError(f"{address}: no Ray cluster answers there ({error.strerror or error})") from error


@contextmanager
def _hushed() -> Iterator[None]:
    """Drop what is written to standard error in the block: Ray's core tells there of the level that its log is set to.
    What goes wrong it raises."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def fit(ray: ModuleType, device: str, actors: int | None, threads: int | None, started_here: bool) -> Workers:
    """How many workers there are and what each has.

    On processors each worker has ``threads`` of them, or an even share where only ``actors`` is given, or one. On GPUs
    each has one of these, and the processors are shared evenly.

    Raises:
        DeviceError: they cannot fit; in a cluster that is joined, which may grow, only if it has no GPU at all.
    """
    has = ray.cluster_resources()
    cpus, gpus = max(1, int(has.get("CPU", 1))), int(has.get("GPU", 0))
    if device != "cpu":
        if not gpus:
            raise DeviceError(f"device {device!r} was asked for, and Ray knows of no GPU there")
        count = actors or gpus
        workers = Workers(count, threads or max(1, cpus // max(count, gpus)), 1)
    else:
        count = actors or max(1, cpus // (threads or 1))
        workers = Workers(count, threads or max(1, cpus // count), 0)
    wanted = {"CPU": workers.count * workers.cpus, "GPU": workers.count * workers.gpus}
    if started_here and (wanted["CPU"] > cpus or wanted["GPU"] > gpus):
        raise DeviceError(
            f"{counted(workers.count, 'worker')} of {counted(workers.cpus, 'CPU')}{' and 1 GPU' * workers.gpus} do not "
            f"fit this machine ({counted(cpus, 'CPU')}, {counted(gpus, 'GPU')}); lower --actors or --threads"
        )
    return workers
