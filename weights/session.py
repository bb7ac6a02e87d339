"""ONNX Runtime sessions: which file of a release runs, and on which device.

The file is the requested one, or the fastest on the device whose loss is within the limits. The device is the requested
one and no other. A model that would read other files is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

import onnxruntime as ort

from ..core.cpu import has_avx2, has_vnni
from ..core.errors import DeviceError, WeightsError
from .manifest import FileEntry
from .release import Release, losses

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
PACKAGES = {
    "cuda": "pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'",
    "tensorrt": "pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]' tensorrt",
    "coreml": "pip install onnxruntime on a Mac",
    "directml": "pip uninstall -y onnxruntime && pip install onnxruntime-directml on Windows",
}
"""How to install a provider. ONNX Runtime's packages overwrite each other, so the plain one is removed first."""
CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
"""Inputs come in many shapes. The default exhaustive search for the fastest convolutions would restart for each shape,
and an arena that doubles whenever it is full keeps far more memory than needed."""


MOST_THREADS = 1024
AUTO = "auto"
PRECISIONS = ("int8", "float16", "float32")
SHORT = {"fp16": "float16", "fp32": "float32"}
"""Aliases of precisions."""
_arena_lock = threading.Lock()
ort.disable_telemetry_events()  # in case it was imported before facepipe, which sets ORT_DISABLE_TELEMETRY


SMALL = 1 << 16
"""A part of at most this many bytes is walked only if it contains ``KEY`` or ``COMPILED``."""
KEY = b"location"
"""Every external tensor has an entry with this name."""
MODEL, GRAPH, NODE, ATTRIBUTE, TENSOR, SPARSE, FUNCTION, TRAINING = range(8)
PARTS: dict[int, dict[int, int]] = {
    MODEL: {7: GRAPH, 20: TRAINING, 25: FUNCTION},
    GRAPH: {1: NODE, 5: TENSOR, 15: SPARSE},
    NODE: {5: ATTRIBUTE},
    ATTRIBUTE: {5: TENSOR, 6: GRAPH, 10: TENSOR, 11: GRAPH, 22: SPARSE, 23: SPARSE},
    SPARSE: {1: TENSOR, 2: TENSOR},
    FUNCTION: {7: NODE, 11: ATTRIBUTE},
    TRAINING: {1: GRAPH, 2: GRAPH},
}
"""For each kind of message, the numbers of the fields that can contain tensors, and their kinds."""
EXTERNAL_DATA = 13
"""Field of a tensor that says where its data is; ``data_location``, field 14, is then 1."""
DATA_LOCATION = 14
OP_TYPE = 4
COMPILED = b"EPContext"


class OneCallAtATime(ort.InferenceSession):
    """A session for DirectML, whose calls must not overlap."""

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        self._turn = threading.Lock()

    def run(self, *arguments: Any, **named: Any) -> Any:
        with self._turn:
            return super().run(*arguments, **named)


def open_session(model: bytes, device: str = "cpu", threads: int | None = None) -> ort.InferenceSession:
    """Open an inference session. Several threads may call it at once.

    Args:
        model: an ONNX file's content, as from ``Release.read``.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``tensorrt``, ``coreml`` or ``directml``.
        threads: threads within one operator; None leaves the choice to ONNX Runtime (one per core).

    Raises:
        DeviceError: the device is unknown, this onnxruntime has no provider for it, the provider does not start, or
            ``threads`` is out of range.
        WeightsError: the content is not a model that ONNX Runtime can load, or needs other files (external data).
    """
    kind, _, index = device.partition(":")
    if kind not in PROVIDERS or (index and not index.isdigit()):
        raise DeviceError(f"unknown device {device!r}; one of {', '.join(PROVIDERS)}, with :N for the N-th")
    refuse_external_data(model)
    provider = PROVIDERS[kind]
    if provider not in ort.get_available_providers():
        raise DeviceError(
            f"device {device!r} was asked for, but this onnxruntime has no {provider} "
            f"(it has {', '.join(ort.get_available_providers())}); it comes with: {PACKAGES.get(kind, '')}"
        )
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if kind == "cpu":
        _share_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
    if threads is not None:
        if not 1 <= threads <= MOST_THREADS:
            raise DeviceError(f"threads must be at least 1 and at most {MOST_THREADS}, got {threads}")
        options.intra_op_num_threads = threads
    if kind == "directml":  # its documentation requires both
        options.enable_mem_pattern = False
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    if kind in ("cuda", "tensorrt") and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # CUDA and cuDNN from pip packages, if installed
    try:
        # Without enable_fallback=0, onnxruntime falls back to the CPU after a device error, now or in a later run.
        opened = OneCallAtATime if kind == "directml" else ort.InferenceSession
        session = opened(model, options, providers=providers(kind, index), enable_fallback=0)
    except Exception as error:  # onnxruntime raises its own unexported types
        if kind != "cpu" and any(word in str(error) for word in ("CUDA", "CUDNN", "TensorRT", "EP_FAIL", "ep_fail")):
            raise DeviceError(f"device {device!r} was asked for, but {provider} did not start: {error}") from error
        raise WeightsError(f"ONNX Runtime cannot load the model: {' '.join(str(error).split())[:500]}") from error
    if session.get_providers()[0] != provider:
        raise DeviceError(
            f"device {device!r} was asked for, but {provider} did not start: its libraries are missing or do not match "
            f"the driver; they come with: {PACKAGES.get(kind, '')}"
        )
    return session


def _share_arena() -> None:
    """Give all sessions one arena, once, even if several threads open sessions at the same time."""
    with _arena_lock:
        _make_arena()


@cache
def _make_arena() -> None:
    """Give all CPU sessions one memory arena, which grows only by what is needed.

    By default, each has its own arena, which at least doubles whenever it is full: 280 MB more for a detector and a
    classifier called by two threads.
    """
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    by_need = ort.OrtArenaCfg({"arena_extend_strategy": 1})  # kSameAsRequested
    ort.create_and_register_allocator(memory, by_need)


def providers(kind: str, index: str = "") -> list[tuple[str, dict[str, Any]]]:
    """The providers of a session and their options, the requested one first.

    TensorRT leaves what it does not support to CUDA, on the same device. (ONNX Runtime itself appends the CPU provider
    to every session, for the few operators that work on shapes.)
    """
    settings: dict[str, Any] = {"device_id": index} if index else {}
    if kind == "cuda":
        return [(PROVIDERS[kind], settings | CUDA_OPTIONS)]
    if kind == "tensorrt":
        return [(PROVIDERS[kind], settings), (PROVIDERS["cuda"], settings | CUDA_OPTIONS)]
    return [(PROVIDERS[kind], settings)]


def choose_file(release: Release, precision: str | None = AUTO, device: str = "cpu") -> FileEntry:
    """Choose the file of a release to run.

    Args:
        release: the release.
        precision: ``int8``, ``float16`` (or ``fp16``), ``float32`` (``fp32``); None for the manifest's first file; or
            ``auto``. On a CPU with int8 instructions (:func:`has_vnni`), and with AVX2 if the file has a reduced
            range, ``auto`` is the int8 file, if the manifest's figures show that it loses no more against the float
            file than ``release.RULES`` allows. Otherwise, and on accelerators, it is the first float file. If the
            CPU's instructions are unknown, it is the manifest's first file. A release with one file has no choice.
        device: as for ``weights.session.open_session``.

    Raises:
        WeightsError: there is no such precision, or the release has no file in it; the message lists what it has.
    """
    if precision is None:
        return release.entry()
    if precision != AUTO:
        wanted = SHORT.get(precision, precision)
        if wanted not in PRECISIONS:
            raise WeightsError(f"no precision {precision!r}; there are: {', '.join((AUTO, *PRECISIONS))}")
        return release.entry(wanted)
    files = release.manifest.files
    floats = [entry for entry in files if entry.precision != "int8"]
    small = next((entry for entry in files if entry.precision == "int8"), None)
    if small is None or not floats:
        return files[0]
    if device.partition(":")[0] != "cpu":
        return floats[0]
    quick = has_vnni()
    if quick is None:
        return files[0]
    quick = quick or (small.reduced_range and has_avx2())
    return small if quick and within_bounds(release, small) else floats[0]


def within_bounds(release: Release, small: FileEntry) -> bool:
    """Whether the manifest's figures show that a smaller file's loss is within the limits; False if not measured."""
    try:
        found = [loss for loss in losses(release.manifest) if loss.small == small]
    except WeightsError:  # not measured, or not on the same rows
        return False
    return any(loss.judged for loss in found) and not any(loss.too_great for loss in found)


def refuse_external_data(model: bytes) -> None:
    """Refuse a model that would read weights from other files, which no hash covers.

    A tensor with external data names a file, and so may a node of compiled code (``EPContext``). ONNX Runtime looks for
    it in the current folder if the model itself comes from memory. The protobuf is walked without ``onnx``, which
    facepipe does not depend on. The wire format is described in https://protobuf.dev/programming-guides/encoding; the
    field numbers are those of ``onnx.proto``.

    Args:
        model: an ONNX file's content.

    Raises:
        WeightsError: a tensor is in another file, a node is compiled code, or this is not an ONNX model.
    """
    if model[4:8] == b"ORTM":
        raise WeightsError("the model is in ONNX Runtime's own format; only ONNX is read")
    try:
        _walk(model)
    except (IndexError, ValueError) as error:
        raise WeightsError("the model file is not a complete ONNX model (its protobuf is damaged)") from error


def _walk(model: bytes) -> None:
    waiting = [(0, len(model), MODEL)]
    while waiting:
        start, end, kind = waiting.pop()
        if end - start <= SMALL and model.find(KEY, start, end) < 0 and model.find(COMPILED, start, end) < 0:
            continue
        parts = PARTS.get(kind, {})
        for field, value, begin, stop in _fields(model, start, end):
            if kind == TENSOR and (field == EXTERNAL_DATA or (field == DATA_LOCATION and value)):
                raise WeightsError(
                    "the model takes weights from another file (ONNX external data), which its manifest does not "
                    "cover; export it as one file"
                )
            if kind == NODE and field == OP_TYPE and model[begin:stop] == COMPILED:
                raise WeightsError("the model contains compiled code (an EPContext node); only ONNX operators are run")
            if field in parts and stop > begin:
                waiting.append((begin, stop, parts[field]))


def _fields(model: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Number, value (of integers) and extent (of strings, bytes and messages) of each field of a message.

    Raises:
        ValueError: it is not a message.
        IndexError: it ends within a field.
    """
    while at < end:
        key, at = _varint(model, at)
        field, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(model, at)
            yield field, value, at, at
        elif wire == 2:
            length, at = _varint(model, at)
            yield field, 0, at, at + length
            at += length
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
    if at != end:
        raise ValueError("a field extends beyond its message")


def _varint(model: bytes, at: int) -> tuple[int, int]:
    """A base-128 varint, and the index after it."""
    number = model[at]
    if number < 0x80:
        return number, at + 1
    number &= 0x7F
    for shift in range(7, 70, 7):
        at += 1
        byte = model[at]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at + 1
    raise ValueError("a number of more than ten bytes")
