"""The bound: bare ONNX sessions on precomputed tensors. No pipeline over the same models can be faster.

The fastest way to call them depends on the machine, so several are tried: one call after the other with all threads, or
one thread per call and as many concurrent calls as there are cores; with several batch sizes for the classifier.
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
"""Classifier batch sizes to try."""
MANY_CORES, SOME = 8, 4
"""With at least the first number of cores, calls with the second number of threads each are tried too."""

Call = tuple[str, list[str] | None, dict[str, np.ndarray]]
"""The model, the requested outputs (None: all), and its input."""


@dataclass(frozen=True)
class Tensors:
    """The models' inputs for some pictures, in the pipeline's shapes.

    Attributes:
        inputs: the detector's, float32 (1, 3, height, width), one per picture.
        crops: each classifier's, by name, float32, all pictures' crops in one array.
        faces: number found in each picture.
    """

    inputs: tuple[np.ndarray, ...]
    crops: dict[str, np.ndarray]
    faces: tuple[int, ...]


def files_of(
    detector: FaceDetector, classifiers: Classifiers, hashes: dict[str, str]
) -> dict[str, tuple[Release, FileEntry]]:
    """The release and the file of each model that runs; the detector's under ``detector``.

    Args:
        detector, classifiers: the opened models.
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
    """Read pictures and prepare the models' inputs, as the pipeline does.

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
    """The models' sessions, opened once per number of threads.

    Args:
        files: as :func:`files_of` returns them.
        classifiers: provide the names of inputs and outputs.
        detector: the same.
        device: where they run.
        cores: concurrent calls times threads per call.
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
        """Every way to run all of the tensors this many times, keyed by its description."""
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
        """Run crops through one classifier, this many per call, with all threads."""
        calls = self._batched(name, crops, batch)
        return partial(self._run, calls, self.cores, 1)

    def close(self) -> None:
        """Stop the threads and release the sessions."""
        for pool in self._pools.values():
            pool.shutdown()
        self._pools.clear()
        self._opened.clear()

    def _thread_counts(self) -> list[int]:
        if self._device != "cpu":  # an accelerator decides for itself
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
    """Group inputs of one shape into batches, as for an accelerator."""
    alike: dict[tuple[int, ...], list[np.ndarray]] = {}
    for tensor in inputs:
        alike.setdefault(tensor.shape, []).append(tensor)
    return [
        np.concatenate(group[start : start + FRAMES])
        for group in alike.values()
        for start in range(0, len(group), FRAMES)
    ]
