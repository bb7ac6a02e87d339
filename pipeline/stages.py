"""The models of a pipeline and what all of its calls share: limits, threads, stopwatch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, NoReturn

from ..core.cpu import usable_cpus
from ..core.errors import DeviceError, FacepipeError, WeightsError
from ..core.version import __version__
from ..detector.inference.detector import FaceDetector
from .classifiers import Classifiers
from .inputs.image_reader import DEFAULT_LIMITS, Limits, Picture, Source, read_picture
from .results import ClassifierUsed, DetectorUsed, Models

DETAIL = 2
"""A large JPEG is decoded at a half, a quarter or an eighth of its size, if its longer side keeps so many times the
detector's input. The detector then sees the same picture, shrunk in two steps; faces that need more pixels are cut out
of the whole picture."""
MOST_WORKERS = 4
"""Pictures at work on at a time, unless ``workers`` says otherwise: each takes some 100 MB. Where there are more
processors each picture has several."""
MOST_THREADS = 1024
"""Threads, or workers, at most: each takes memory, 100,000 took 16 GB."""


class Stopwatch:
    """Sums the time of each part; ``seconds`` maps each part's name to its sum, in the order of first use.

    Every thread adds its own time. Where parts overlap, as in ``Pipeline.stream``, the sums are those of all threads
    together, so they come to more than has passed on the clock.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add the time that the ``with`` block takes to ``part``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(part, time.perf_counter() - start)

    def add(self, part: str, seconds: float) -> None:
        """Add seconds to ``part``."""
        with self._lock:
            self.seconds[part] = self.seconds.get(part, 0.0) + seconds


class Parts(NamedTuple):
    """Both stages over one set of sessions."""

    detector: FaceDetector
    classifiers: Classifiers


class Stages:
    """Both stages, loaded, with the settings that every call shares. ``Pipeline`` is one that runs.

    Args:
        parts: the detector and the classifiers, with all threads for one call at a time.
        workers: calls at a time that :meth:`shared_parts` is for; None takes as many as there are threads, four at
            most, and two on an accelerator.
        threads: that the workers share; None takes all that this process may use.
        limits: caps on the size of pictures.
        allow_url: let ``http://`` and ``https://`` sources be fetched.
        stopwatch: that goes on; None takes a new one.
        shared: the parts for several calls at a time, where they are at hand; None opens them when they are wanted.
        reduced_decode: decode large JPEGs at a fraction of their size, see ``DETAIL``.

    Attributes:
        least: pixels that a decoded picture's longer side has at least, where it is not decoded whole; None decodes all
            of it, as tiles need it.
        models: versions and hashes of the models, and how they run; the hash is that of the file that runs.

    Raises:
        DeviceError: fewer than one worker.
        WeightsError: the detector finds no faces, or no heads.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        workers: int | None = None,
        threads: int | None = None,
        limits: Limits = DEFAULT_LIMITS,
        allow_url: bool = False,
        stopwatch: Stopwatch | None = None,
        shared: Parts | None = None,
        reduced_decode: bool = False,
    ):
        check_workers(workers)
        detector = parts.detector
        if missing := {"face", "head"} - set(detector.classes):
            raise WeightsError(f"{detector.release.folder}: this detector does not find: {', '.join(sorted(missing))}")
        cpus = threads if threads is not None else usable_cpus()
        self.limits = limits
        self.allow_url = allow_url
        self.stopwatch = stopwatch or Stopwatch()
        self.least = DETAIL * detector.imgsz if reduced_decode and not detector.tiles else None
        self.models = _models(*parts, self.least)
        self.workers = workers or (min(cpus, MOST_WORKERS) if detector.device == "cpu" else 2)
        self._threads = max(1, cpus // self.workers)
        self._parts: Parts | None = parts
        self._shared = shared
        self._opening = threading.Lock()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled: it holds models that are loaded; make one in each process"
        )

    def parts(self) -> Parts:
        """The detector and the classifiers, with every thread for one call at a time.

        Raises:
            FacepipeError: the pipeline is closed.
        """
        parts = self._parts
        if parts is None:
            raise closed()
        return parts

    def shared_parts(self, open_them: bool = True) -> Parts | None:
        """The detector and the classifiers for ``workers`` calls at a time, each with its share of the threads.

        They have sessions of their own, which are opened when they are first wanted: 0.3 s and 90 MB.

        Args:
            open_them: False gives None where they are not open.

        Raises:
            FacepipeError: the pipeline is closed.
        """
        parts = self.parts()
        if self.workers == 1 or parts.detector.device != "cpu":
            return parts
        if self._shared is None and open_them:
            with self._opening, self.stopwatch.measure("load"):
                if self._shared is None:
                    threads = self._threads
                    shared = Parts(parts.detector.with_threads(threads), parts.classifiers.with_threads(threads))
                    self._shared = shared if self._parts is not None else None
        shared_now = self._shared
        if shared_now is None and open_them:
            raise closed()
        return shared_now

    def ready(self, features: bool) -> Parts:
        """The parts, once it is clear that they can do what is asked.

        Raises:
            WeightsError: features are asked for, and a classifier gives none.
            FacepipeError: the pipeline is closed.
        """
        parts = self.parts()
        if features:
            _ = parts.classifiers.feature_widths  # raises before anything is done
        return parts

    def read(self, source: Source, admit: Callable[[int], None] | None = None) -> Picture:
        """Read one picture under the limits, see ``inputs.image_reader.read_picture``."""
        return read_picture(source, self.limits, self.allow_url, admit, self.least)

    def close(self) -> None:
        """Let go of the models. What another thread runs at the moment is finished."""
        self._parts = self._shared = None


def check_workers(workers: int | None, threads: int | None = None) -> None:
    """Check the numbers before any model is loaded.

    Raises:
        DeviceError: one is less than one, or more than ``MOST_THREADS``.
    """
    for name, number in (("workers", workers), ("threads", threads)):
        if number is not None and not 1 <= number <= MOST_THREADS:
            wanted = "at least 1" if number < 1 else f"at most {MOST_THREADS}"
            raise DeviceError(f"{name} must be {wanted}, got {number}")


def closed() -> FacepipeError:
    """What a closed pipeline answers."""
    return FacepipeError("this pipeline is closed; make a new one")


def _models(detector: FaceDetector, classifiers: Classifiers, least: int | None) -> Models:
    return Models(
        detector=DetectorUsed(
            version=detector.release.version,
            sha256=detector.entry.sha256,
            device=detector.device,
            confidence=detector.confidence,
            iou=detector.iou,
            imgsz=detector.imgsz,
            tiles=detector.tiles,
            reduced_to=least,
        ),
        classifiers={
            name: ClassifierUsed(
                version=each.release.version,
                sha256=each.entry.sha256,
                device=each.device,
                crop_sha256=each.crop.sha256,
            )
            for name, each in classifiers.by_name.items()
        },
        facepipe=__version__,
    )
