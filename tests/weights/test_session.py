from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from facepipe.core.errors import DeviceError, WeightsError
from facepipe.weights import session
from facepipe.weights.release import Release
from facepipe.weights.session import open_session


def test_a_verified_model_runs(detector_release: Release) -> None:
    opened = open_session(detector_release.read(), "cpu", threads=1)
    output = opened.run(None, {"images": np.zeros((3, 3, 64, 64), np.float32)})[0]
    assert output.shape == (3, 6, 16)
    assert opened.get_session_options().intra_op_num_threads == 1


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "", "CPU"])
def test_unknown_devices(device: str, detector_release: Release) -> None:
    with pytest.raises(DeviceError, match="unknown device"):
        open_session(detector_release.read(), device)


def test_a_missing_device_is_an_error_and_never_the_cpu(
    detector_release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    for device in ("cuda", "cuda:1", "tensorrt", "coreml", "directml"):
        with pytest.raises(DeviceError, match="was asked for"):
            open_session(detector_release.read(), device)


def test_threads_must_be_positive(detector_release: Release) -> None:
    with pytest.raises(DeviceError, match="at least 1"):
        open_session(detector_release.read(), threads=0)


def test_what_is_no_model_is_a_weights_error() -> None:
    with pytest.raises(WeightsError, match="cannot load"):
        open_session(b"not a model")


@pytest.mark.parametrize(
    ("device", "line"),
    [("cuda", "onnxruntime-gpu[cuda,cudnn]"), ("tensorrt", "tensorrt"), ("directml", "onnxruntime-directml")],
)
def test_a_missing_provider_s_error_tells_what_brings_it(
    device: str, line: str, detector_release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError) as caught:
        open_session(detector_release.read(), device)
    assert line in str(caught.value)


def test_a_provider_that_does_not_start_is_an_error_and_never_the_cpu(
    detector_release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As onnxruntime-gpu without CUDA's libraries: it logs an error and would run on the CPU."""
    monkeypatch.setattr(
        "onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr(session, "providers", lambda kind, index: [("CPUExecutionProvider", {})])
    with pytest.raises(DeviceError, match="CUDAExecutionProvider did not start"):
        open_session(detector_release.read(), "cuda")


def test_onnxruntime_s_own_fallback_is_off(detector_release: Release) -> None:
    assert open_session(detector_release.read())._enable_fallback is False


def test_providers_and_their_options() -> None:
    assert session.providers("cpu") == [("CPUExecutionProvider", {})]
    ((name, options),) = session.providers("cuda", "1")
    assert (name, options["device_id"]) == ("CUDAExecutionProvider", "1")
    assert [name for name, _ in session.providers("tensorrt")] == ["TensorrtExecutionProvider", "CUDAExecutionProvider"]


def test_calls_that_must_not_overlap_wait_for_each_other(
    detector_release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    within, most = 0, 0

    def slow(self: object, *_: object) -> None:
        nonlocal within, most
        within += 1
        most = max(most, within)
        time.sleep(0.01)
        within -= 1

    one = session.OneCallAtATime(detector_release.read(), providers=["CPUExecutionProvider"])
    monkeypatch.setattr("onnxruntime.InferenceSession.run", slow)
    callers = [threading.Thread(target=one.run, args=(None, {})) for _ in range(5)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert most == 1
