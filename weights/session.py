"""ONNX Runtime sessions over verified model bytes, on a device that was asked for and no other."""

from __future__ import annotations

import onnxruntime as ort

from .errors import DeviceError, WeightsError

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}


def open_session(model: bytes, device: str = "cpu", threads: int | None = None) -> ort.InferenceSession:
    """Open an inference session.

    Args:
        model: an ONNX file's content, as ``Release.read`` gives it.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``tensorrt``, ``coreml`` or ``directml``.
        threads: threads within one operator; None leaves the choice to ONNX Runtime (one a core).

    Raises:
        DeviceError: the device is unknown, or this onnxruntime has no provider for it.
        WeightsError: the content is not a model that ONNX Runtime can load.
    """
    kind, _, index = device.partition(":")
    if kind not in PROVIDERS or (index and not index.isdigit()):
        raise DeviceError(f"unknown device {device!r}; one of {', '.join(PROVIDERS)}, with :N for the N-th")
    provider = PROVIDERS[kind]
    if provider not in ort.get_available_providers():
        raise DeviceError(
            f"device {device!r} was asked for, but this onnxruntime has no {provider} "
            f"(it has {', '.join(ort.get_available_providers())}); install the onnxruntime package for that device"
        )
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        if threads < 1:
            raise DeviceError(f"threads must be at least 1, got {threads}")
        options.intra_op_num_threads = threads
    settings = {"device_id": index} if index else {}
    try:
        session = ort.InferenceSession(model, options, providers=[(provider, settings)])
    except Exception as error:  # onnxruntime raises its own unexported types
        raise WeightsError(f"ONNX Runtime cannot load the model: {error}") from error
    if session.get_providers()[0] != provider:
        raise DeviceError(f"device {device!r} was asked for, but {provider} did not start; see onnxruntime's log")
    return session
