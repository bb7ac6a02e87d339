"""``Pipeline``: the detector and the classifier joined. Frames in, results out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, overload

import numpy as np

from ..classifier.crop import FaceCrop, cut_face
from ..classifier.runtime import AttributeClassifier
from ..classifier.values import AttributeValue, PointsValue
from ..detector.boxes import Detections, area, share_inside
from ..detector.runtime import FaceDetector
from ..weights.errors import FacepipeError, WeightsError
from ..weights.store import Release
from .reader import DEFAULT_LIMITS, Frame, Limits, Source, read_frame, source_name
from .results import Box, Face, Head, Models, ModelUsed, Result, shortest
from .stopwatch import Stopwatch

FRAMES, PIXELS = 8, 64_000_000
"""Frames are taken together up to this number, or until they have this many pixels (192 MB); their crops are classified
in one call."""
SHARE_IN_HEAD = 0.7
"""A face belongs to a head when at least this share of its area lies in the head's box."""


class Pipeline:
    """Finds faces and heads and reads the attributes of each face.

    >>> with Pipeline() as pipeline:
    ...     result = pipeline.run("photo.jpg")
    ...     print(result.faces[0].attributes["gender"].value)

    Args:
        detector: a version, a release's folder, a ``FaceDetector`` at hand, or None for the newest release.
        classifier: the same, with ``AttributeClassifier``.
        device: where both run, see ``weights.session.open_session``.
        threads: threads within one operator; None leaves the choice to ONNX Runtime.
        confidence: least confidence of a face or a head, 0 to 1; None takes the detector's own.
        limits: caps on the size of pictures.
        imgsz: pixels that a picture's longer side is scaled to for the detector, see ``FaceDetector``; None takes the
            release's own.
        tiles: True, or the side of a tile in pixels, has larger pictures looked at in tiles too, see ``FaceDetector``.

    ``device``, ``threads``, ``confidence``, ``imgsz`` and ``tiles`` go to the models that are loaded here; models at
    hand have their own.

    Attributes:
        models: versions and hashes of both models.
        stopwatch: wall time spent so far in ``load``, ``read``, ``detect`` and ``classify``.

    Raises:
        WeightsError: no such release, a damaged one, or one that cannot run at ``imgsz``.
        DeviceError: the device is not there.
        MissingExtraError: tiles are asked for and supervision is not installed.
    """

    def __init__(
        self,
        detector: str | os.PathLike[str] | FaceDetector | None = None,
        classifier: str | os.PathLike[str] | AttributeClassifier | None = None,
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
            if not isinstance(classifier, AttributeClassifier):
                classifier = AttributeClassifier(_version(classifier), device, threads)
        if missing := {"face", "head"} - set(detector.classes):
            raise WeightsError(f"{detector.release.folder}: this detector does not find: {', '.join(sorted(missing))}")
        self.models = Models(detector=_used(detector.release), classifier=_used(classifier.release))
        self._stages: tuple[FaceDetector, AttributeClassifier] | None = (detector, classifier)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of both models. Nothing can be run afterwards."""
        self._stages = None

    @overload
    def run(self, source: list[Any] | tuple[Any, ...]) -> list[Result]: ...

    @overload
    def run(self, source: Source) -> Result: ...

    def run(self, source: Source | list[Any] | tuple[Any, ...]) -> Result | list[Result]:
        """Analyse one picture, or a list of them.

        Args:
            source: a path, encoded bytes, a uint8 array (BGR, grey, BGRA) or a PIL image; or a list or tuple of these.

        Returns:
            The picture's result; of a list, one result each in the same order. In a list a picture that cannot be read
            gives a result whose ``error`` says why, and the others are done.

        Raises:
            FrameError, ImageError, ImageTooLargeError: a single picture that cannot be read.
        """
        if isinstance(source, list | tuple):
            return [result for result, _ in self.stream(source)]
        with self.stopwatch.measure("read"):
            frame = read_frame(source, self.limits)
        return self._analyse([(source_name(source), frame)])[0]

    def stream(self, sources: Iterable[Source]) -> Iterator[tuple[Result, Frame | None]]:
        """Analyse any number of pictures, a few at a time, and give each result with its frame as soon as it is there.

        Results come in the order of the sources. A picture that cannot be read gives a result with ``error``, no frame.
        """
        waiting = iter(sources)
        while chunk := self._read_some(waiting):
            done = iter(self._analyse([(name, frame) for name, frame in chunk if isinstance(frame, np.ndarray)]))
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

    def _analyse(self, named: Sequence[tuple[str | None, Frame]]) -> list[Result]:
        """Detect in all frames, classify the crops of all of them in one call, and regroup by frame."""
        if self._stages is None:
            raise FacepipeError("this pipeline is closed; make a new one")
        detector, classifier = self._stages
        frames = [frame for _, frame in named]
        with self.stopwatch.measure("detect"):
            detections = detector.detect(frames)
        with self.stopwatch.measure("classify"):
            crops = [
                [cut_face(frame, box, classifier.crop) for box in found.of("face").boxes]
                for frame, found in zip(frames, detections, strict=True)
            ]
            images = [crop.image for row in crops for crop in row if crop.image is not None]
            values = iter(classifier.classify(np.stack(images)) if images else [])
        return [
            self._result(source, frame, found, row, values)
            for (source, frame), found, row in zip(named, detections, crops, strict=True)
        ]

    def _result(
        self,
        source: str | None,
        frame: Frame,
        found: Detections,
        crops: Sequence[FaceCrop],
        values: Iterator[dict[str, AttributeValue]],
    ) -> Result:
        """Build one frame's result; takes the next item of ``values`` for every crop that has an image."""
        faces, heads = found.of("face"), found.of("head")
        return Result(
            source=source,
            width=frame.shape[1],
            height=frame.shape[0],
            faces=tuple(
                Face(
                    box=Box.of(box),
                    confidence=shortest(confidence),
                    head=head,
                    attributes=None if crop.image is None else _in_frame(next(values), crop),
                    reason=crop.reason,
                )
                for box, confidence, head, crop in zip(
                    faces.boxes, faces.confidence, match_heads(faces.boxes, heads.boxes), crops, strict=True
                )
            ),
            heads=tuple(
                Head(box=Box.of(box), confidence=shortest(confidence))
                for box, confidence in zip(heads.boxes, heads.confidence, strict=True)
            ),
            models=self.models,
            error=None,
        )


def match_heads(faces: np.ndarray, heads: np.ndarray) -> list[int | None]:
    """Give each face the head that it lies in, and each head at most one face.

    Pairs are taken by the share of the face inside the head (in steps of a tenth), the tighter head first among equals.

    Args:
        faces: boxes, (n, 4), in frame pixels.
        heads: boxes, (m, 4).

    Returns:
        For each face the index of its head, or None.
    """
    shares, sizes = share_inside(faces, heads), area(heads)
    pairs = sorted(
        zip(*np.nonzero(shares >= SHARE_IN_HEAD), strict=True),
        key=lambda pair: (-round(float(shares[pair]), 1), float(sizes[pair[1]])),
    )
    matched: dict[int, int] = {}
    for face, head in pairs:
        if face not in matched and head not in matched.values():
            matched[int(face)] = int(head)
    return [matched.get(face) for face in range(len(faces))]


def _in_frame(attributes: dict[str, AttributeValue], crop: FaceCrop) -> dict[str, AttributeValue]:
    """Take the points among a face's attributes from pixels of its crop to pixels of the frame (two decimals)."""
    moved: dict[str, AttributeValue] = {}
    for name, value in attributes.items():
        if isinstance(value, PointsValue):
            places = crop.to_frame(np.array(list(value.points.values()))).round(2).tolist()
            value = PointsValue(points={point: (x, y) for point, (x, y) in zip(value.points, places, strict=True)})
        moved[name] = value
    return moved


def _version(chosen: str | os.PathLike[str] | None) -> str | Path | None:
    return Path(chosen) if isinstance(chosen, os.PathLike) else chosen


def _used(release: Release) -> ModelUsed:
    return ModelUsed(version=release.version, sha256=release.entry().sha256)
