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
from ..weights.manifest import BinaryAttribute
from .classifiers import Classifiers
from .inputs.image_reader import DEFAULT_LIMITS, Limits, Picture, Source, read_picture
from .results import ClassifierUsed, DetectorUsed, Models

DETAIL = 2
"""A large JPEG is decoded at a half, a quarter or an eighth of its size if its longer side keeps at least this many
times the detector's input. The detector then sees the same picture, shrunk in two steps; faces that need more pixels
are cut from the whole picture."""
MOST_WORKERS = 4
"""Default limit on pictures processed at a time; each takes about 100 MB. With more processors, each picture uses
several."""
MOST_THREADS = 1024
"""Maximum number of threads or workers; each takes memory, and 100,000 took 16 GB."""


class Stopwatch:
    """Sums the time of each part; ``seconds`` maps the parts' names to their sums, in the order of first use.

    Every thread adds its own time. Where parts overlap, as in ``Pipeline.stream``, the sums cover all threads and
    exceed the elapsed time.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add the duration of the ``with`` block to ``part``."""
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
    """Both stages on one set of sessions."""

    detector: FaceDetector
    classifiers: Classifiers


class Stages:
    """Both loaded stages, with the settings that every call shares. ``Pipeline`` is the subclass that runs them.

    Args:
        parts: the detector and the classifiers, with all threads for one call at a time.
        workers: number of concurrent calls that :meth:`shared_parts` is for; None takes as many as there are threads,
            four at most, and two on an accelerator.
        threads: number that the workers share; None takes all that this process may use.
        limits: limits on the size of pictures.
        allow_url: allow ``http://`` and ``https://`` sources to be fetched.
        stopwatch: one to continue; None takes a new one.
        shared: the parts for several concurrent calls, if already open; None opens them when they are needed.
        reduced_decode: decode large JPEGs at a fraction of their size, see ``DETAIL``.

    Attributes:
        least: minimum length in pixels of the longer side of a picture that is decoded at a reduced size; None decodes
            every pixel, as tiles need it.
        models: versions and hashes of the models, and how they run; each hash is that of the file that runs.

    Raises:
        DeviceError: the number of workers is out of range.
        WeightsError: the detector does not find faces, or heads.
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
        raise TypeError(f"a {type(self).__name__} cannot be pickled: it holds loaded models; make one in each process")

    def parts(self) -> Parts:
        """The detector and the classifiers, with all threads for one call at a time.

        Raises:
            FacepipeError: the pipeline is closed.
        """
        parts = self._parts
        if parts is None:
            raise closed()
        return parts

    def shared_parts(self, open_them: bool = True) -> Parts | None:
        """The detector and the classifiers for ``workers`` concurrent calls, each with its share of the threads.

        They have sessions of their own, opened on first use, which takes 0.3 s and 90 MB.

        Args:
            open_them: False returns None if they are not open.

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
        """Return the parts after checking that they can do what is requested.

        Raises:
            WeightsError: features are requested and a classifier has none.
            FacepipeError: the pipeline is closed.
        """
        parts = self.parts()
        if features:
            _ = parts.classifiers.feature_widths  # raises before any work is done
        return parts

    def read(self, source: Source, admit: Callable[[int], None] | None = None) -> Picture:
        """Read one picture under the limits; see ``inputs.image_reader.read_picture``."""
        return read_picture(source, self.limits, self.allow_url, admit, self.least)

    def close(self) -> None:
        """Release the models. Calls that other threads are making are completed."""
        self._parts = self._shared = None


def check_workers(workers: int | None, threads: int | None = None) -> None:
    """Check the numbers before any model is loaded.

    Raises:
        DeviceError: a number is less than one, or more than ``MOST_THREADS``.
    """
    for name, number in (("workers", workers), ("threads", threads)):
        if number is not None and not 1 <= number <= MOST_THREADS:
            wanted = "at least 1" if number < 1 else f"at most {MOST_THREADS}"
            raise DeviceError(f"{name} must be {wanted}, got {number}")


def closed() -> FacepipeError:
    """The error of a closed pipeline."""
    return FacepipeError("this pipeline is closed; make a new one")


def _check_text(attribute: BinaryAttribute | None) -> str | None:
    check = None if attribute is None else attribute.face_check
    return None if check is None else f"{check.weight:g},{check.neutral:g},{check.most:g}"


def _models(detector: FaceDetector, classifiers: Classifiers, least: int | None) -> Models:
    return Models(
        detector=DetectorUsed(
            version=detector.release.label,
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
                face_check=_check_text(each.face_check) if classifiers.check_faces else None,
            )
            for name, each in classifiers.by_name.items()
        },
        facepipe=__version__,
    )
