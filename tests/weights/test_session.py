from __future__ import annotations

import numpy as np
import pytest
from facepipe.weights.errors import DeviceError, WeightsError
from facepipe.weights.session import open_session
from facepipe.weights.store import Release


def test_a_verified_model_runs(detector_release: Release) -> None:
    session = open_session(detector_release.read(), "cpu", threads=1)
    output = session.run(None, {"images": np.zeros((3, 3, 64, 64), np.float32)})[0]
    assert output.shape == (3, 6, 16)
    assert session.get_session_options().intra_op_num_threads == 1


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
