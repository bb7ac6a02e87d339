"""The Ray cluster of a run, how many workers fit in it, and the models that every worker opens."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from ...classifier.inference.classifier import AttributeClassifier
from ...core.cpu import usable_cpus
from ...core.errors import DeviceError, FacepipeError, WeightsError, os_errors_as
from ...core.extras import require
from ...detector.inference.detector import FaceDetector
from ...weights.manifest import Attribute
from ...weights.release import FACE, Release
from ...weights.session import choose_file
from ...weights.store import find
from ..console import counted

STORE_BYTES = 256 * 2**20
"""Size of the object store started here. Only lists of pictures pass through it, never pictures."""

ANSWER = 10.0
"""Seconds to wait for a cluster to answer."""


@dataclass(frozen=True)
class Workers:
    """Number of actors, and the CPUs and GPUs of each."""

    count: int
    cpus: int
    gpus: int


def ray_module() -> Any:
    """Import ``ray`` together with ``ray.data``.

    Raises:
        MissingExtraError: it, or fsspec, is not installed.
    """
    # Set before the import, because Ray reads them then. Otherwise it would send usage statistics, and log things that
    # are not errors of a run.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    require("fsspec", "ray")
    require("ray.data")
    require("ray.util.scheduling_strategies")
    return require("ray")


@contextmanager
def cluster(address: str | None) -> Iterator[ModuleType]:
    """Connect to Ray for the duration of the block: a local instance, or the cluster at an address.

    If this process already has a Ray session, that one is used and left running.

    Raises:
        FacepipeError: there is no cluster at the address, or Ray cannot be started.
        MissingExtraError: as :func:`ray_module`.
    """
    ray = ray_module()
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
        with _silenced():
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except Exception as error:  # Ray raises ConnectionError, ValueError, RuntimeError and its own
        what = "Ray cannot be started here" if address is None else f"{address}: no Ray cluster answers there"
        raise FacepipeError(f"{what} ({' '.join(str(error).split())[:300]})") from error
    try:
        # Ray installs its own handler, which would end us silently. Restoring fails only outside the main thread.
        with suppress(ValueError):
            signal.signal(signal.SIGTERM, ends)
        # Ray's core would print many lines to stdout for every worker that is lost or ended.
        ray._private.worker._worker_logs_enabled = False
        yield ray
    finally:
        ray.shutdown()
        ray._private.worker._worker_logs_enabled = True


def _reach(address: str) -> None:
    """Check that something listens at ``HOST:PORT``. Ray itself would retry for many minutes.

    Raises:
        FacepipeError: nothing does.
    """
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdigit():  # e.g. auto
        return
    with os_errors_as(FacepipeError, f"{address}: no Ray cluster answers there"):
        socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()


@contextmanager
def _silenced() -> Iterator[None]:
    """Discard stderr for the duration of the block.

    Ray's core prints there which level its log is set to. Real errors are raised.
    """
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
    """Decide how many workers there are and what each gets.

    On CPUs each worker gets ``threads`` of them, or an even share if only ``actors`` is given, or one. On GPUs each
    gets one GPU, and the CPUs are shared evenly.

    Args:
        ray: the module, connected to a cluster.
        device: ``cpu``, ``cuda`` or ``tensorrt``.
        actors: number of workers; None takes what fits.
        threads: CPUs per worker; None takes an even share.
        started_here: whether the cluster is this machine alone, which does not grow.

    Raises:
        DeviceError: they cannot fit. In a joined cluster, which may grow, only if it has no GPU at all.
    """
    has = ray.cluster_resources()
    cpus, gpus = max(1, int(has.get("CPU", 1))), int(has.get("GPU", 0))
    if device != "cpu":
        if not gpus:
            raise DeviceError(f"device {device!r} was requested, but Ray has no GPU there")
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


@dataclass(frozen=True)
class ChosenModel:
    """One model.

    Attributes:
        version: what ``weights.store.find`` accepts on any machine: a version, or the full path of a folder.
        precision: of its file.
        sha256: of that file.
        crop_sha256: of a classifier's crop recipe.
    """

    stage: Literal["detector", "classifier"]
    name: str
    version: str
    precision: str
    sha256: str
    crop_sha256: str | None

    def check(self, sha256: str, crop_sha256: str | None) -> None:
        """Check that the opened model is the chosen one.

        Raises:
            WeightsError: it is another file, or has another crop recipe.
        """
        if (sha256, crop_sha256) != (self.sha256, self.crop_sha256):
            raise WeightsError(
                f"{self.stage} {self.version}: is a different model there (sha256 {sha256[:12]}, not "
                f"{self.sha256[:12]}); install the same release on every machine: facepipe weights pull, or a "
                "folder that all of them see"
            )


@dataclass(frozen=True)
class ChosenModels:
    """The detector and the classifiers of a run. ``attributes`` holds each classifier's attributes by its name."""

    detector: ChosenModel
    classifiers: tuple[ChosenModel, ...]
    attributes: dict[str, tuple[Attribute, ...]]

    @property
    def settings(self) -> dict[str, str]:
        """The settings that identify the models exactly."""
        named = {"detector": self.detector, **{f"classifier {each.name}": each for each in self.classifiers}}
        return {
            **{what: each.version for what, each in named.items()},
            **{f"{what}'s sha256": each.sha256 for what, each in named.items()},
            **{f"{what}'s crop": each.crop_sha256 for what, each in named.items() if each.crop_sha256 is not None},
        }

    def open(
        self, device: str, threads: int, confidence: float | None, imgsz: int | None, tiles: bool | int
    ) -> tuple[FaceDetector, list[AttributeClassifier]]:
        """Open the models on this machine.

        Args:
            device: where they run.
            threads: within one operator.
            confidence: minimum confidence of a box; None takes the release's.
            imgsz: the detector's input in pixels; None takes the release's.
            tiles: see ``Pipeline``.

        Raises:
            WeightsError: a release is missing, damaged or a different one.
            DeviceError: the device is not available.
        """
        chosen = self.detector
        detector = FaceDetector(
            chosen.version, device, threads, confidence, precision=chosen.precision, imgsz=imgsz, tiles=tiles
        )
        chosen.check(detector.entry.sha256, None)
        classifiers = []
        for chosen in self.classifiers:
            opened = AttributeClassifier(chosen.version, device, threads, precision=chosen.precision)
            chosen.check(opened.entry.sha256, opened.crop.sha256)
            classifiers.append(opened)
        return detector, classifiers


def choose_models(detector: str | None, classifier: Sequence[str] | None, precision: str, device: str) -> ChosenModels:
    """Resolve the models named by the options without opening them, since this machine may lack the device.

    Args:
        detector: a version or a release's folder; None takes the default.
        classifier: the same for one or more classifiers.
        precision: of the files, or ``auto``.
        device: decides what ``auto`` takes.

    Raises:
        WeightsError: no such release, or no file in that precision.
    """
    first, _ = _choose("detector", detector, precision, device)
    classifiers, attributes = [], {}
    wanted: Sequence[str | None] = classifier or [None]
    for version in wanted:
        chosen, release = _choose("classifier", version, precision, device)
        classifiers.append(chosen)
        attributes[chosen.name] = release.manifest.reported
    return ChosenModels(first, tuple(classifiers), attributes)


def _choose(
    stage: Literal["detector", "classifier"], version: str | None, precision: str, device: str
) -> tuple[ChosenModel, Release]:
    release = find(stage, version)
    entry: Any = choose_file(release, precision, device)
    by_folder = version is not None and os.sep in version
    crop = release.manifest.crop
    chosen = ChosenModel(
        stage,
        release.name or FACE,
        str(Path(version).absolute()) if by_folder and version is not None else release.label,
        entry.precision,
        entry.sha256,
        None if crop is None else crop.sha256,
    )
    return chosen, release
