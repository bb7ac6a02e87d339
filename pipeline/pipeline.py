"""``Pipeline`` joins the detector and the classifiers: frames in, results out."""

from __future__ import annotations

import os
import weakref
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, Self, overload

import numpy as np

from ..core.cpu import usable_cpus
from ..core.errors import FacepipeError, ImageError
from ..detector.inference.detector import FaceDetector
from .classifiers import Chosen, Classifiers
from .inputs.image_reader import DEFAULT_LIMITS, Frame, Limits, Source, source_name
from .results import Result, hold
from .stages import Parts, Stages, Stopwatch, check_workers, closed
from .stream import Engine, in_order
from .two_stage import analyse


class Pipeline(Stages):
    """Finds faces and heads and reads the attributes of each face.

    >>> with Pipeline() as pipeline:
    ...     result = pipeline.run("examples/astronaut.jpg")
    ...     print(result.width, result.height, result.faces[0].attributes["smile"].value)
    512 512 yes

    Args:
        detector: a version, the folder of a release, a loaded ``FaceDetector``, or None for the release in use (the
            pinned one, else the newest).
        classifier: the same, with ``AttributeClassifier``: ``"1.0.0"``; for a named one ``"shirt@0.1.0"`` or
            ``"shirt"``; or a list of these, of classifiers that read different attributes.
        device: where all models run, see ``weights.session.open_session``.
        threads: processors to use; None takes all that this process may use (its affinity, its container's quota). A
            single picture uses all of them.
        confidence: minimum confidence of a face or a head, 0 to 1; None takes the detector's own.
        conf: short name of ``confidence``.
        limits: limits on the size of pictures.
        imgsz: length in pixels to which the longer side of a picture is scaled for the detector, see ``FaceDetector``;
            None takes the release's own.
        tiles: True, or the side of a tile in pixels: also search larger pictures in tiles, see ``FaceDetector``.
        precision: ``auto``, ``int8``, ``float16`` or ``float32``: which file of each release runs, see
            ``weights.session.choose_file``.
        workers: number of pictures that a stream processes at a time, sharing the ``threads``; None takes as many as
            there are threads, four at most.
        allow_url: allow ``http://`` and ``https://`` sources to be fetched.
        reduced_decode: decode large JPEGs at a half, a quarter or an eighth of their size, if that is at least twice
            the detector's input, and in full where a face needs more. Faster; boxes move a little, see docs/speed.md.
        face_check: leave out boxes that the face check of a classifier, if it has one, takes for false alarms.

    ``device``, ``threads``, ``confidence``, ``imgsz``, ``tiles`` and ``precision`` apply to the models that are loaded
    here; models passed in keep their own. Several threads may share one pipeline.

    Several processes may not: a pipeline cannot be pickled, and after a fork the child has the models without the
    threads that run them, so its calls would hang forever. Make a pipeline in each process after it has started; with
    ``multiprocessing`` use ``get_context("spawn")``, or fork before the first pipeline is made.

    Attributes:
        models: versions and hashes of the models, and how they run; each hash is that of the file that runs.
        stopwatch: seconds spent so far in ``load``, ``read`` (including decoding), ``detect`` and ``classify``
            (including cutting the crops). Each thread adds its own time, so in a stream the sum exceeds the elapsed
            time.
        workers: as above.

    Raises:
        WeightsError: no such release, a damaged one, one that cannot run at ``imgsz`` or has no file in ``precision``,
            or two classifiers that read an attribute of the same name.
        DeviceError: the device is not available, or the number of threads or workers is out of range.
        FacepipeError: a confidence outside 0 to 1, or both ``confidence`` and ``conf``.
        MissingExtraError: tiles are requested and supervision is not installed.
    """

    def __init__(
        self,
        detector: str | os.PathLike[str] | FaceDetector | None = None,
        classifier: Chosen | Sequence[Chosen] | None = None,
        device: str = "cpu",
        threads: int | None = None,
        confidence: float | None = None,
        limits: Limits = DEFAULT_LIMITS,
        imgsz: int | None = None,
        tiles: bool | int = False,
        precision: str = "auto",
        workers: int | None = None,
        allow_url: bool = False,
        *,
        conf: float | None = None,
        reduced_decode: bool = False,
        face_check: bool = True,
    ):
        check_workers(workers, threads)
        confidence = _one_confidence(confidence, conf)
        cpus = threads if threads is not None else usable_cpus()
        stopwatch = Stopwatch()
        with stopwatch.measure("load"):
            if not isinstance(detector, FaceDetector):
                detector = FaceDetector(
                    _version(detector), device, cpus, confidence, precision=precision, imgsz=imgsz, tiles=tiles
                )
            parts = Parts(detector, Classifiers(classifier, device, cpus, precision, face_check))
        super().__init__(
            parts,
            workers=workers,
            threads=cpus,
            limits=limits,
            allow_url=allow_url,
            stopwatch=stopwatch,
            reduced_decode=reduced_decode,
        )
        self._engines: weakref.WeakSet[Engine] = weakref.WeakSet()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the models. Nothing can run afterwards; unfinished streams stop with an error.

        Calls that other threads are making are completed.
        """
        super().close()
        for engine in list(self._engines):
            engine.fail(closed())

    @property
    def feature_widths(self) -> dict[str, int]:
        """Length of each classifier's vector in ``Face.features``.

        Raises:
            WeightsError: a classifier (an old one) has no features; the message says what to do.
        """
        return self.parts().classifiers.feature_widths

    @overload
    def run(self, source: list[Any] | tuple[Any, ...], features: bool = False) -> list[Result]: ...

    @overload
    def run(self, source: Source, features: bool = False) -> Result: ...

    def run(self, source: Source | list[Any] | tuple[Any, ...], features: bool = False) -> Result | list[Result]:
        """Analyse one picture, or a list of them.

        Args:
            source: a path, encoded bytes, a uint8 array (BGR, grey, BGRA) or a PIL image; or a list or tuple of these.
            features: fill ``Face.features``, the pooled activations before the heads, for models of your own. They are
                not an identity embedding: neither trained nor fit to recognise persons.

        Returns:
            The picture's result; for a list, one result each in the same order. In a list, a picture that cannot be
            read gives a result whose ``error`` says why, and the others are still processed.

        Raises:
            FrameError, ImageError, ImageTooLargeError: a single picture that cannot be read; a folder or a video.
            WeightsError: features are requested and a classifier has none.
        """
        if isinstance(source, list | tuple):
            found = [result for result, _ in self.stream(source, features, frames=False)]
            return [_holding(result, each) for result, each in zip(found, source, strict=True)]
        try:
            return _holding(analyse(self, source, features), source)
        except ImageError as error:
            if isinstance(source, str | os.PathLike) and (kind := _of_many(os.fspath(source))):
                name = source_name(source)
                raise ImageError(f"{name}: is a {kind}; use pipeline.stream({name!r})") from error
            raise

    def stream(
        self, sources: Iterable[Source] | Source, features: bool = False, frames: bool = True
    ) -> Generator[tuple[Result, Frame | None]]:
        """Analyse any number of pictures, several at a time; yield each result with its frame as soon as it is ready.

        >>> with Pipeline() as pipeline:
        ...     for result, frame in pipeline.stream("examples"):
        ...         print(result.source, len(result.faces))
        examples/astronaut.jpg 1

        Results come in the order of the sources. A picture that cannot be read gives a result with ``error`` and no
        frame. Only a few pictures are in flight between the source and the results, fewer if they are large. The
        sources are iterated in the caller's thread, ahead of the results. Exhaust the iterator or close it
        (``contextlib.closing``) to end its threads.

        Args:
            sources: pictures as for :meth:`run`; or one string: a folder, a glob, a file, a URL, a video, ``camera:0``
                or ``rtsp://…``, see ``inputs.sources.gather``. Frames of videos have ``frame`` and ``time``.
            features: as for :meth:`run`; not for videos.
            frames: False gives None in place of each picture's frame, and need not decode every pixel of it.

        Raises:
            ImageError: the string matches nothing.
            WeightsError: features are requested and a classifier has none.
            FacepipeError: the pipeline was closed, or features of a video are requested.
        """
        self.ready(features)
        videos: tuple[str, ...] = ()
        if isinstance(sources, str | os.PathLike):
            from .inputs.sources import gather

            found = gather([os.fspath(sources)], self.allow_url)
            sources, videos = found.pictures, found.videos
            if videos and features:
                raise FacepipeError(f"{videos[0]}: is a video; features are read from pictures only")
        elif (
            not isinstance(sources, Iterable)
            or isinstance(sources, bytes | bytearray | memoryview)
            or (isinstance(sources, np.ndarray) and sources.ndim < 4)
        ):
            sources = [sources]
        return self._results(sources, videos, features, frames)

    def _results(
        self, pictures: Iterable[Source], videos: Sequence[str], features: bool, frames: bool
    ) -> Generator[tuple[Result, Frame | None]]:
        engine = Engine(self)
        self._engines.add(engine)
        yield from in_order(engine, pictures, features, frames)
        if videos:
            from .video.analysis import stream_video

            for video in videos:
                yield from stream_video(self, video)


def _one_confidence(confidence: float | None, conf: float | None) -> float | None:
    if confidence is not None and conf is not None:
        raise FacepipeError("conf and confidence are the same; give one of them")
    wanted = confidence if conf is None else conf
    if wanted is not None and not 0 <= wanted <= 1:
        raise FacepipeError(f"confidence {wanted}: expected a number from 0 to 1")
    return wanted


def _holding(result: Result, source: Source) -> Result:
    """Attach the picture to its result, unless it came from a path."""
    return result if isinstance(source, str | os.PathLike) else hold(result, source)


def _of_many(path: str) -> str | None:
    """``folder`` or ``video`` if the path is one, else None."""
    from .inputs.sources import VIDEO_SUFFIXES

    if os.path.isdir(path):
        return "folder"
    return "video" if os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES and os.path.exists(path) else None


def _version(chosen: str | os.PathLike[str] | None) -> str | Path | None:
    return Path(chosen) if isinstance(chosen, os.PathLike) else chosen
