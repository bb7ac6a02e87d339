"""``Pipeline``: the detector and the classifiers joined. Frames in, results out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, overload

import numpy as np

from ..detector.boxes import Detections
from ..detector.runtime import FaceDetector
from ..weights.errors import FacepipeError, WeightsError
from ..weights.store import Release
from .classifiers import Chosen, Classifiers, Placed, Reading
from .matching import match_heads
from .reader import DEFAULT_LIMITS, Frame, Limits, Source, read_frame, source_name
from .results import Box, Face, Head, Models, ModelUsed, Result, shortest
from .stopwatch import Stopwatch

FRAMES, PIXELS = 8, 64_000_000
"""Frames are taken together up to this number, or until they have this many pixels (192 MB); their crops are classified
in one call."""


class Pipeline:
    """Finds faces and heads and reads the attributes of each face.

    >>> with Pipeline() as pipeline:
    ...     result = pipeline.run("photo.jpg")
    ...     print(result.faces[0].attributes["gender"].value)

    Args:
        detector: a version, a release's folder, a ``FaceDetector`` at hand, or None for the newest release.
        classifier: the same, with ``AttributeClassifier``: ``"1.0.0"``; of one that has a name ``"shirt@0.1.0"``, or
            ``"shirt"``; or a list of these, of classifiers that read different attributes.
        device: where all of them run, see ``weights.session.open_session``.
        threads: threads within one operator; None leaves the choice to ONNX Runtime.
        confidence: least confidence of a face or a head, 0 to 1; None takes the detector's own.
        limits: caps on the size of pictures.
        imgsz: pixels that a picture's longer side is scaled to for the detector, see ``FaceDetector``; None takes the
            release's own.
        tiles: True, or the side of a tile in pixels, has larger pictures looked at in tiles too, see ``FaceDetector``.

    ``device``, ``threads``, ``confidence``, ``imgsz`` and ``tiles`` go to the models that are loaded here; models at
    hand have their own.

    Attributes:
        models: versions and hashes of the models.
        stopwatch: wall time spent so far in ``load``, ``read``, ``detect`` and ``classify``.

    Raises:
        WeightsError: no such release, a damaged one, one that cannot run at ``imgsz``, or two classifiers that read an
            attribute of the same name.
        DeviceError: the device is not there.
        MissingExtraError: tiles are asked for and supervision is not installed.
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
    ):
        self.limits = limits
        self.stopwatch = Stopwatch()
        with self.stopwatch.measure("load"):
            if not isinstance(detector, FaceDetector):
                detector = FaceDetector(_version(detector), device, threads, confidence, imgsz=imgsz, tiles=tiles)
            classifiers = Classifiers(classifier, device, threads)
        if missing := {"face", "head"} - set(detector.classes):
            raise WeightsError(f"{detector.release.folder}: this detector does not find: {', '.join(sorted(missing))}")
        self.models = Models(
            detector=_used(detector.release),
            classifiers={name: _used(each.release) for name, each in classifiers.by_name.items()},
        )
        self._stages: tuple[FaceDetector, Classifiers] | None = (detector, classifiers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the models. Nothing can be run afterwards."""
        self._stages = None

    def _open(self) -> tuple[FaceDetector, Classifiers]:
        if self._stages is None:
            raise FacepipeError("this pipeline is closed; make a new one")
        return self._stages

    @property
    def feature_widths(self) -> dict[str, int]:
        """Numbers a face in ``Face.features``, by classifier.

        Raises:
            WeightsError: a classifier gives none (0.1.0, say); the message says what to do.
        """
        return self._open()[1].feature_widths

    @overload
    def run(self, source: list[Any] | tuple[Any, ...], features: bool = False) -> list[Result]: ...

    @overload
    def run(self, source: Source, features: bool = False) -> Result: ...

    def run(self, source: Source | list[Any] | tuple[Any, ...], features: bool = False) -> Result | list[Result]:
        """Analyse one picture, or a list of them.

        Args:
            source: a path, encoded bytes, a uint8 array (BGR, grey, BGRA) or a PIL image; or a list or tuple of these.
            features: fill ``Face.features``, the pooled numbers before the heads, for models of your own. They are no
                identity embedding: not trained, and not fit, to recognise persons.

        Returns:
            The picture's result; of a list, one result each in the same order. In a list a picture that cannot be read
            gives a result whose ``error`` says why, and the others are done.

        Raises:
            FrameError, ImageError, ImageTooLargeError: a single picture that cannot be read.
            WeightsError: features are asked for, and a classifier gives none.
        """
        if isinstance(source, list | tuple):
            return [result for result, _ in self.stream(source, features)]
        with self.stopwatch.measure("read"):
            frame = read_frame(source, self.limits)
        return self._analyse([(source_name(source), frame)], features)[0]

    def stream(self, sources: Iterable[Source], features: bool = False) -> Iterator[tuple[Result, Frame | None]]:
        """Analyse any number of pictures, a few at a time, and give each result with its frame as soon as it is there.

        Results come in the order of the sources. A picture that cannot be read gives a result with ``error``, no frame.
        ``features`` as for :meth:`run`.
        """
        waiting = iter(sources)
        while chunk := self._read_some(waiting):
            readable = [(name, frame) for name, frame in chunk if isinstance(frame, np.ndarray)]
            done = iter(self._analyse(readable, features))
            for name, frame in chunk:
                if isinstance(frame, np.ndarray):
                    yield next(done), frame
                else:
                    yield self._failed(name, frame), None

    def _read_some(self, sources: Iterator[Source]) -> list[tuple[str | None, Frame | FacepipeError]]:
        """Name and frame, or what is wrong with it, of the next ``FRAMES`` sources, or fewer where they are large."""
        chunk: list[tuple[str | None, Frame | FacepipeError]] = []
        pixels = 0
        for source in sources:
            frame = self._read(source)
            chunk.append((source_name(source), frame))
            pixels += frame.shape[0] * frame.shape[1] if isinstance(frame, np.ndarray) else 0
            if len(chunk) >= FRAMES or pixels >= PIXELS:
                break
        return chunk

    def _read(self, source: Source) -> Frame | FacepipeError:
        with self.stopwatch.measure("read"):
            try:
                return read_frame(source, self.limits)
            except FacepipeError as error:
                return error

    def _failed(self, source: str | None, error: FacepipeError) -> Result:
        return Result(
            source=source,
            width=None,
            height=None,
            faces=(),
            heads=(),
            models=self.models,
            error=str(error),
        )

    def _analyse(self, named: Sequence[tuple[str | None, Frame]], features: bool = False) -> list[Result]:
        """Detect in all frames, classify the crops of all of them together, and regroup by frame."""
        detector, classifiers = self._open()
        if features:
            _ = classifiers.feature_widths  # raises before anything is done
        frames = [frame for _, frame in named]
        with self.stopwatch.measure("detect"):
            detections = detector.detect(frames)
        with self.stopwatch.measure("classify"):
            places = [_matched(found) for found in detections]
            readings = classifiers.read(
                [
                    Placed(frame, faces.boxes, [None if head is None else heads.boxes[head] for head in matched])
                    for frame, (faces, heads, matched) in zip(frames, places, strict=True)
                ],
                features,
            )
        return [
            self._result(source, frame, *place, read, features)
            for (source, frame), place, read in zip(named, places, readings, strict=True)
        ]

    def _result(
        self,
        source: str | None,
        frame: Frame,
        faces: Detections,
        heads: Detections,
        matched: Sequence[int | None],
        readings: Sequence[Reading],
        features: bool,
    ) -> Result:
        return Result(
            source=source,
            width=frame.shape[1],
            height=frame.shape[0],
            faces=tuple(
                Face(
                    box=Box.of(box),
                    confidence=shortest(confidence),
                    head=head,
                    attributes=read.attributes or None,
                    reason=None if read.attributes else _in_one(read.reasons),
                    reasons=read.reasons,
                    features=read.features if features else None,
                )
                for box, confidence, head, read in zip(faces.boxes, faces.confidence, matched, readings, strict=True)
            ),
            heads=tuple(
                Head(box=Box.of(box), confidence=shortest(confidence))
                for box, confidence in zip(heads.boxes, heads.confidence, strict=True)
            ),
            models=self.models,
            error=None,
        )


def _matched(found: Detections) -> tuple[Detections, Detections, list[int | None]]:
    """The faces of a frame, its heads, and for each face its head."""
    faces, heads = found.of("face"), found.of("head")
    return faces, heads, match_heads(faces.boxes, heads.boxes)


def _in_one(reasons: dict[str, str]) -> str:
    """Several classifiers' reasons as one text; a reason that all of them have stands alone."""
    if len(set(reasons.values())) == 1:
        return next(iter(reasons.values()))
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())


def _version(chosen: str | os.PathLike[str] | None) -> str | Path | None:
    return Path(chosen) if isinstance(chosen, os.PathLike) else chosen


def _used(release: Release) -> ModelUsed:
    return ModelUsed(version=release.version, sha256=release.entry().sha256)
