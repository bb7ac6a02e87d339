"""ONNX Runtime sessions over verified model bytes, on a device that was asked for and no other."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

import onnxruntime as ort

from ..core.errors import DeviceError, WeightsError

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
"""What brings a provider; the packages of ONNX Runtime overwrite each other, so the plain one goes first."""
CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
"""Inputs come in many shapes: an exhaustive search (the default) for the quickest convolutions would start anew with
each, and an arena that doubles whenever it is full keeps far more memory than was ever needed."""


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
        model: an ONNX file's content, as ``Release.read`` gives it.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``tensorrt``, ``coreml`` or ``directml``.
        threads: threads within one operator; None leaves the choice to ONNX Runtime (one a core).

    Raises:
        DeviceError: the device is unknown, this onnxruntime has no provider for it, or the provider does not start.
        WeightsError: the content is not a model that ONNX Runtime can load.
    """
    kind, _, index = device.partition(":")
    if kind not in PROVIDERS or (index and not index.isdigit()):
        raise DeviceError(f"unknown device {device!r}; one of {', '.join(PROVIDERS)}, with :N for the N-th")
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
        if threads < 1:
            raise DeviceError(f"threads must be at least 1, got {threads}")
        options.intra_op_num_threads = threads
    if kind == "directml":  # its own documentation asks for both
        options.enable_mem_pattern = False
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    if kind in ("cuda", "tensorrt") and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # CUDA and cuDNN from pip's packages, where they are there
    try:
        # Without enable_fallback=0 onnxruntime goes on on the CPU after an error of the device, then or in a run.
        opened = OneCallAtATime if kind == "directml" else ort.InferenceSession
        session = opened(model, options, providers=providers(kind, index), enable_fallback=0)
    except Exception as error:  # onnxruntime raises its own unexported types
        if kind != "cpu" and any(word in str(error) for word in ("CUDA", "CUDNN", "TensorRT", "EP_FAIL", "ep_fail")):
            raise DeviceError(f"device {device!r} was asked for, but {provider} did not start: {error}") from error
        raise WeightsError(f"ONNX Runtime cannot load the model: {error}") from error
    if session.get_providers()[0] != provider:
        raise DeviceError(
            f"device {device!r} was asked for, but {provider} did not start: its libraries are missing or do not fit "
            f"the driver; they come with: {PACKAGES.get(kind, '')}"
        )
    return session


@cache
def _share_arena() -> None:
    """Give all sessions on the CPU one memory arena, which grows by what is needed.

    By default each has its own, which at least doubles whenever it is full: 280 MB more for a detector and a classifier
    called by two threads.
    """
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    by_need = ort.OrtArenaCfg({"arena_extend_strategy": 1})  # kSameAsRequested
    ort.create_and_register_allocator(memory, by_need)


def providers(kind: str, index: str = "") -> list[tuple[str, dict[str, Any]]]:
    """The providers of a session and their options, the asked-for one first.

    TensorRT leaves what it cannot do to CUDA, on the same device. (ONNX Runtime itself puts the CPU's last in every
    session, for the few operators that work on shapes.)
    """
    settings: dict[str, Any] = {"device_id": index} if index else {}
    if kind == "cuda":
        return [(PROVIDERS[kind], settings | CUDA_OPTIONS)]
    if kind == "tensorrt":
        return [(PROVIDERS[kind], settings), (PROVIDERS["cuda"], settings | CUDA_OPTIONS)]
    return [(PROVIDERS[kind], settings)]
