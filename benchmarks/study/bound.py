"""The bound: the bare ONNX sessions on tensors made beforehand. No pipeline over the same models can be quicker.

Which way of calling them is the quickest depends on the machine, so several are tried: one call after the other with
all threads, or one thread a call and as many calls at a time as there are cores; with several sizes of the classifier's
batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from facepipe.classifier.inference.classifier import AttributeClassifier, prepare
from facepipe.classifier.inference.crop import cut_region
from facepipe.core.cpu import usable_cpus
from facepipe.detector.inference.detector import BATCH as FRAMES
from facepipe.detector.inference.detector import FaceDetector
from facepipe.detector.inference.preprocessing import GREY, STRIDE, letterbox
from facepipe.pipeline.classifiers import Classifiers
from facepipe.pipeline.inputs.image_reader import Frame, read_frame
from facepipe.pipeline.two_stage import match_heads
from facepipe.weights.manifest import FileEntry
from facepipe.weights.release import Release
from facepipe.weights.session import open_session
from onnxruntime import InferenceSession

from .rounds import Action

BATCHES = (1, 4, 16)
"""Sizes of the classifier's batches that are tried."""
MANY_CORES, SOME = 8, 4
"""From so many cores on, calls with so many threads each are tried too."""

Call = tuple[str, list[str] | None, dict[str, np.ndarray]]
"""Which model, its outputs that are asked for (None: all), and its input."""


@dataclass(frozen=True)
class Tensors:
    """What the models are given for some pictures, in the pipeline's shapes.

    Attributes:
        inputs: the detector's, float32 (1, 3, height, width), one a picture.
        crops: each classifier's, by name, float32, all pictures' crops in one array.
        faces: found in each picture.
    """

    inputs: tuple[np.ndarray, ...]
    crops: dict[str, np.ndarray]
    faces: tuple[int, ...]


def files_of(
    detector: FaceDetector, classifiers: Classifiers, hashes: dict[str, str]
) -> dict[str, tuple[Release, FileEntry]]:
    """The release and the file of each model that runs, the detector's under ``detector``.

    Args:
        detector, classifiers: at hand.
        hashes: SHA-256 of the file that runs, by the same names.
    """
    releases = {"detector": detector.release} | {name: each.release for name, each in classifiers.by_name.items()}
    return {
        name: (release, next(entry for entry in release.manifest.files if entry.sha256 == hashes[name]))
        for name, release in releases.items()
    }


def crops_of(
    frame: Frame, detector: FaceDetector, classifier: AttributeClassifier
) -> tuple[list[np.ndarray], np.ndarray]:
    """The crops that the pipeline would cut for a classifier, uint8 (size, size, 3), and the faces' boxes, (n, 4)."""
    found = detector.detect([frame])[0]
    faces, heads = found.of("face"), found.of("head")
    crops = [
        cut_region(frame, face, None if head is None else heads.boxes[head], classifier.served_crop).image
        for face, head in zip(faces.boxes, match_heads(faces.boxes, heads.boxes), strict=True)
    ]
    return [crop for crop in crops if crop is not None], faces.boxes


def tensors_of(paths: Sequence[str | Path], detector: FaceDetector, classifiers: Classifiers) -> Tensors:
    """Read pictures and prepare what the models will be given, as the pipeline does it.

    Raises:
        ImageError: a picture cannot be read.
    """
    inputs, counts = [], []
    crops: dict[str, list[np.ndarray]] = {name: [] for name in classifiers.by_name}
    for path in paths:
        frame = read_frame(path)
        inputs.append(_input(frame, detector))
        for name, classifier in classifiers.by_name.items():
            cut, faces = crops_of(frame, detector, classifier)
            crops[name] += cut
        counts.append(len(faces))
    return Tensors(
        tuple(inputs),
        {
            name: prepare(np.stack(cut), classifiers.by_name[name].input)
            for name, cut in crops.items()
            if cut  # no face, no call
        },
        tuple(counts),
    )


def _input(frame: Frame, detector: FaceDetector) -> np.ndarray:
    spec = detector.input
    stride = STRIDE if spec.dynamic else None
    padded, _ = letterbox(frame, detector.imgsz, tuple(spec.padding or GREY), stride)  # type: ignore[arg-type]
    ordered = padded[..., ::-1] if spec.colour == "RGB" else padded
    values = (ordered.astype(np.float32) * np.float32(spec.scale) - np.array(spec.mean, np.float32)) / np.array(
        spec.std, np.float32
    )
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


class BareSessions:
    """The models' sessions, opened once for each number of threads.

    Args:
        files: as :func:`files_of` gives them.
        classifiers: of which the inputs' and outputs' names are taken.
        detector: the same.
        device: where they run.
        cores: calls at a time, times the threads of each.
    """

    def __init__(
        self,
        files: dict[str, tuple[Release, FileEntry]],
        detector: FaceDetector,
        classifiers: Classifiers,
        device: str = "cpu",
        cores: int | None = None,
    ):
        self.cores = cores or usable_cpus()
        self._files, self._device = files, device
        self._inputs = {"detector": detector.input.name}
        self._outputs: dict[str, list[str] | None] = {"detector": None}
        for name, classifier in classifiers.by_name.items():
            self._inputs[name] = classifier.input.name
            self._outputs[name] = [attribute.name for attribute in classifier.attributes]
        self._opened: dict[tuple[str, int], InferenceSession] = {}
        self._pools: dict[int, ThreadPoolExecutor] = {}

    def actions(self, tensors: Tensors, batches: Sequence[int] = BATCHES, times: int = 1) -> dict[str, Action]:
        """Every way of running all of the tensors so many times, by what it is in words."""
        ways: dict[str, Action] = {}
        for threads in self._thread_counts():
            for batch in batches if tensors.crops else batches[:1]:
                at_once = max(1, self.cores // threads)
                words = "one call at a time" if at_once == 1 else f"{at_once} calls at a time"
                words += f", {threads} thread{'' if threads == 1 else 's'} each"
                words += f", {batch} crop{'' if batch == 1 else 's'} a call" if tensors.crops else ""
                ways[words] = partial(self._run, times * self._calls(tensors, batch), threads, at_once)
        return ways

    def classify(self, name: str, crops: np.ndarray, batch: int) -> Action:
        """Running crops through one classifier, so many a call, with all threads."""
        calls = self._batched(name, crops, batch)
        return partial(self._run, calls, self.cores, 1)

    def close(self) -> None:
        """End the threads and let go of the sessions."""
        for pool in self._pools.values():
            pool.shutdown()
        self._pools.clear()
        self._opened.clear()

    def _thread_counts(self) -> list[int]:
        if self._device != "cpu":  # the accelerator's own business
            return [self.cores]
        counts = [self.cores, SOME, 1] if self.cores >= MANY_CORES else [self.cores, 1]
        return list(dict.fromkeys(counts))

    def _calls(self, tensors: Tensors, batch: int) -> list[Call]:
        inputs = tensors.inputs if self._device == "cpu" else _together(tensors.inputs)
        calls: list[Call] = [("detector", None, {self._inputs["detector"]: tensor}) for tensor in inputs]
        for name, crops in tensors.crops.items():
            calls += self._batched(name, crops, batch)
        return calls

    def _batched(self, name: str, crops: np.ndarray, batch: int) -> list[Call]:
        starts = range(0, len(crops), batch)
        return [(name, self._outputs[name], {self._inputs[name]: crops[start : start + batch]}) for start in starts]

    def _run(self, calls: Sequence[Call], threads: int, at_once: int) -> None:
        if at_once == 1:
            for call in calls:
                self._call(call, threads)
            return
        for name in {name for name, _, _ in calls}:
            self._session(name, threads)  # before threads could open the same one twice
        if at_once not in self._pools:
            self._pools[at_once] = ThreadPoolExecutor(at_once)
        for _ in self._pools[at_once].map(partial(self._call, threads=threads), calls):
            pass

    def _call(self, call: Call, threads: int) -> None:
        name, outputs, feed = call
        self._session(name, threads).run(outputs, feed)

    def _session(self, name: str, threads: int) -> InferenceSession:
        if (name, threads) not in self._opened:
            release, entry = self._files[name]
            self._opened[name, threads] = open_session(release.read(entry.precision), self._device, threads)
        return self._opened[name, threads]


def _together(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Inputs of one shape in batches, as an accelerator is given them."""
    alike: dict[tuple[int, ...], list[np.ndarray]] = {}
    for tensor in inputs:
        alike.setdefault(tensor.shape, []).append(tensor)
    return [
        np.concatenate(group[start : start + FRAMES])
        for group in alike.values()
        for start in range(0, len(group), FRAMES)
    ]
