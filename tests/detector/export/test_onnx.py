"""Export of untrained models: free sizes, agreement with PyTorch, and int8 whose two ends stay in float."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from facepipe.core.errors import TrainingError
from facepipe.detector.data.dataset import read_description
from facepipe.detector.export.onnx import calibration_inputs, decoding_nodes, export_float32, float_nodes, stem_nodes
from facepipe.detector.training.model import FaceDetectionModel, freeze_statistics
from facepipe.weights.compression import quantise_int8, store_float16
from onnx import numpy_helper


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(4)
    model = FaceDetectionModel("yolov8n.yaml", nc=2, ch=3, verbose=False)
    path = tmp_path_factory.mktemp("untrained") / "best.pt"
    torch.save({"epoch": 0, "model": model, "train_args": {}}, path)
    return path


@pytest.fixture(scope="module")
def exported(checkpoint: Path) -> Path:
    target = checkpoint.with_name("float32.onnx")
    assert export_float32(checkpoint, target, 96) < 0.01
    return target


def outputs(model: Path, frames: np.ndarray) -> np.ndarray:
    return ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"images": frames})[0]


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 96, 96), (2, 64, 160), (3, 32, 32), (1, 320, 32)])
def test_every_multiple_of_32_gives_what_pytorch_gives(
    checkpoint: Path, exported: Path, batch: int, height: int, width: int
) -> None:
    frames = np.random.default_rng(0).random((batch, 3, height, width), np.float32)
    model = torch.load(checkpoint, weights_only=False)["model"].eval()
    with torch.no_grad():
        expected = model(torch.from_numpy(frames))[0].numpy()
    got = outputs(exported, frames)
    assert got.shape == expected.shape == (batch, 6, height * width // 64 * 21 // 16)
    np.testing.assert_allclose(got, expected, atol=0.01)


def test_a_model_with_frozen_statistics_exports_too(checkpoint: Path, exported: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=False)
    assert freeze_statistics(content["model"]) > 50
    torch.save(content, tmp_path / "frozen.pt")
    export_float32(tmp_path / "frozen.pt", tmp_path / "frozen.onnx", 64)
    frames = np.random.default_rng(1).random((1, 3, 64, 96), np.float32)
    np.testing.assert_allclose(outputs(tmp_path / "frozen.onnx", frames), outputs(exported, frames), atol=1e-3)


def test_an_export_that_differs_is_an_error(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.onnx.export

    def wrong(model: torch.nn.Module, *arguments: object, **settings: object) -> None:
        real(model, *arguments, **settings)
        with torch.no_grad():
            model.model[-1].cv2[0][-1].bias += 1 + torch.arange(64)

    monkeypatch.setattr(torch.onnx, "export", wrong)
    with pytest.raises(TrainingError, match="differs from PyTorch by"):
        export_float32(checkpoint, tmp_path / "wrong.onnx", 64)


def test_the_two_ends_stay_in_float(exported: Path) -> None:
    model = onnx.load(exported)
    kinds = {node.name: node.op_type for node in model.graph.node}
    stem, decoding = stem_nodes(model), decoding_nodes(model)
    assert [kinds[name] for name in stem] == ["Conv", "Sigmoid", "Mul"] * 2
    assert {kinds[name] for name in decoding} >= {"Conv", "Sigmoid", "Softmax", "Concat", "Range"}
    convolutions = [name for name in decoding if kinds[name] == "Conv"]
    assert len(convolutions) == 7  # boxes and scores of three levels, and the expectation over the distances
    assert set(float_nodes(model)) == {*stem, *decoding}
    assert len(float_nodes(model)) < len(kinds) / 2


def test_int8_and_float16_keep_the_free_size(
    exported: Path, tmp_path: Path, detection_data: Path, photo: Callable[..., np.ndarray]
) -> None:
    pictures = [picture.path for picture in read_description(detection_data).pictures["train"]]
    inputs = list(calibration_inputs([*pictures, tmp_path / "missing.png"], 96))
    assert {array["images"].shape for array in inputs} == {(1, 3, 96, 64), (1, 3, 96, 96)}
    quantise_int8(exported, tmp_path / "int8.onnx", inputs, float_nodes)
    store_float16(exported, tmp_path / "float16.onnx")
    quantised = onnx.load(tmp_path / "int8.onnx").graph
    weights = {array.name: array.data_type for array in quantised.initializer}
    dequantised = {
        node.output[0]: weights.get(node.input[0]) for node in quantised.node if node.op_type == "DequantizeLinear"
    }
    kernels = [dequantised.get(node.input[1]) for node in quantised.node if node.op_type == "Conv"]
    assert kernels.count(None) == 2 + 7
    assert kernels.count(onnx.TensorProto.INT8) == len(kernels) - 9 > 50
    bytes_used = [numpy_helper.to_array(array) for array in quantised.initializer if array.data_type == 3]
    largest = max(int(np.abs(array.astype(int)).max()) for array in bytes_used)
    assert 2 * 255 * largest <= np.iinfo(np.int16).max, "two products must fit 16 bits, or AVX2 saturates"
    assert largest >= 60, "and hardly a value of the range may be lost"
    for name, least in (("int8.onnx", 0.9), ("float16.onnx", 0.999)):
        assert (tmp_path / name).stat().st_size < exported.stat().st_size * 0.6
        for frames in (inputs[0]["images"], np.concatenate([inputs[0]["images"]] * 2)[:, :, :64]):
            expected, got = outputs(exported, frames), outputs(tmp_path / name, frames)
            assert got.shape == expected.shape
            assert np.corrcoef(expected[:, :4].ravel(), got[:, :4].ravel())[0, 1] > least
