"""Export: from a training checkpoint to the ONNX files that serve, in float32, float16 storage or int8."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch

from . import ultralytics_setup  # noqa: F401  isort: skip
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from ultralytics.nn.tasks import load_checkpoint

from ..weights.errors import TrainingError
from .letterbox import letterbox

OPSET = 17
INPUT, OUTPUT = "images", "boxes"


def export_float32(checkpoint: Path, target: Path, size: int) -> float:
    """Write the (fused, averaged) model of a checkpoint as ONNX with a free batch size.

    Args:
        checkpoint: an ultralytics checkpoint of ours.
        target: the ONNX file.
        size: side of the square input in pixels.

    Returns:
        The largest difference between PyTorch's and ONNX Runtime's outputs on a random input: box coordinates in
        pixels, scores 0 to 1.

    Raises:
        TrainingError: ONNX Runtime and PyTorch disagree by more than half a pixel.
    """
    import onnxruntime as ort

    model = load_checkpoint(checkpoint)[0].float().eval()
    model.cpu_bf16 = False
    model = model.fuse(verbose=False)
    head = model.model[-1]
    head.export, head.format, head.dynamic = True, "onnx", False
    torch.manual_seed(0)
    sample = torch.rand(2, 3, size, size)
    with torch.no_grad(), warnings.catch_warnings():
        # The TorchScript exporter is deprecated; the new one needs onnxscript, and this graph is fixed and tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        model(sample)  # makes the anchors
        expected = model(sample).numpy()
        torch.onnx.export(
            model,
            (sample,),
            str(target),
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
        )
    got = ort.InferenceSession(target.read_bytes(), providers=["CPUExecutionProvider"]).run(
        None, {INPUT: sample.numpy()}
    )
    difference = float(np.abs(got[0] - expected).max())
    if difference > 0.5:
        raise TrainingError(f"{target}: the exported model differs from PyTorch by {difference:.3g}")
    return difference


def store_float16(source: Path, target: Path) -> None:
    """Halve a model's size: float weights are stored in float16 and cast back when the model is loaded.

    ONNX Runtime folds the casts, so the model computes in float32 at float32's speed.
    """
    model = onnx.load(source)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < 64:
            continue
        values = numpy_helper.to_array(tensor)
        if np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.float16"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)
    onnx.checker.check_model(model)
    onnx.save(model, target)


class _Pictures(CalibrationDataReader):
    """Letterboxed pictures, one at a time, as the detector's input."""

    def __init__(self, pictures: Iterable[Path], size: int):
        self.pictures = iter(pictures)
        self.size = size

    def get_next(self) -> dict[str, np.ndarray] | None:
        for path in self.pictures:
            frame = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if frame is None:
                continue
            square, _ = letterbox(frame, self.size)
            return {INPUT: (square[None, :, :, ::-1].transpose(0, 3, 1, 2) / np.float32(255)).astype(np.float32)}
        return None


def quantise_int8(source: Path, target: Path, pictures: Iterable[Path], size: int) -> None:
    """Quantise a float32 model to int8 (static QDQ, one scale a channel of the weights).

    What follows the last convolutions, where scores and box coordinates are decoded, stays in float32: eight bits over
    640 pixels would round boxes to several pixels.

    Args:
        source: the float32 model.
        target: the int8 model.
        pictures: training pictures that set the ranges of the activations; a hundred or so.
        size: side of the square input in pixels.
    """
    prepared = target.with_suffix(".prepared.onnx")
    try:
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        model = onnx.load(prepared)
        quantize_static(
            str(prepared),
            str(target),
            _Pictures(pictures, size),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=_decoding_nodes(model),
            extra_options={"CalibMovingAverage": True},
        )
    finally:
        prepared.unlink(missing_ok=True)


def _decoding_nodes(model: onnx.ModelProto) -> list[str]:
    """Names of the head's last convolutions and of all that follows them."""
    makers = {output: node for node in model.graph.node for output in node.output}
    decoding: dict[str, onnx.NodeProto] = {}
    waiting = [output.name for output in model.graph.output]
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.name in decoding:
            continue
        decoding[node.name] = node
        if node.op_type != "Shape" and (node.op_type != "Conv" or "dfl" in node.name):
            waiting.extend(node.input)
    return list(decoding)
