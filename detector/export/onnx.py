"""Export a training checkpoint to ONNX, and prepare its quantisation."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import torch

from ..training import ultralytics_setup  # noqa: F401  isort: skip
from ultralytics.nn.tasks import load_checkpoint

from ...core.errors import ImageError, TrainingError
from ..data.exif import read_upright
from ..inference.preprocessing import STRIDE, letterbox

OPSET = 17
INPUT, OUTPUT = "images", "boxes"


def export_float32(checkpoint: Path, target: Path, size: int) -> float:
    """Export the (fused, averaged) model of a checkpoint to ONNX with dynamic batch, height and width.

    Anchors are computed in the graph from the shapes of the feature maps, so one file accepts every input whose sides
    are multiples of 32. The outputs of PyTorch and ONNX Runtime are compared at ``size`` and at shapes that were not
    traced.

    Args:
        checkpoint: an ultralytics checkpoint of ours.
        target: the ONNX file.
        size: side in pixels of the square input that the model is meant for, a multiple of 32.

    Returns:
        The largest difference between the outputs of PyTorch and ONNX Runtime on random inputs: box coordinates in
        pixels, scores 0 to 1.

    Raises:
        TrainingError: ONNX Runtime and PyTorch disagree by more than half a pixel.
    """
    import onnxruntime as ort

    model = load_checkpoint(checkpoint)[0].float().eval()
    model.cpu_bf16 = False
    model = model.fuse(verbose=False)
    head = model.model[-1]
    head.export, head.format, head.dynamic = True, "onnx", True
    torch.manual_seed(0)
    sample = torch.rand(2, 3, size, size)
    with torch.no_grad(), warnings.catch_warnings():
        # The TorchScript exporter is deprecated, but the new one needs onnxscript, and this graph is tested below. The
        # exporter also warns that the anchors' strides and offsets become constants, which they are.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        torch.onnx.export(
            model,
            (sample,),
            str(target),
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "batch", 2: "height", 3: "width"}, OUTPUT: {0: "batch", 2: "anchors"}},
        )
    session = ort.InferenceSession(target.read_bytes(), providers=["CPUExecutionProvider"])
    difference = 0.0
    for batch, height, width in ((2, size, size), (1, size // 64 * 32 + 32, size), (3, size + 32, 96), (1, 32, 64)):
        sample = torch.rand(batch, 3, height, width)
        with torch.no_grad():
            expected = model(sample).numpy()
        got = session.run(None, {INPUT: sample.numpy()})[0]
        if got.shape != expected.shape:
            raise TrainingError(f"{target}: at {width} x {height} it gives {got.shape}, PyTorch {expected.shape}")
        difference = max(difference, float(np.abs(got - expected).max()))
    if difference > 0.5:
        raise TrainingError(f"{target}: the exported model differs from PyTorch by {difference:.3g}")
    return difference


def calibration_inputs(pictures: Iterable[Path], size: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield calibration pictures as detector inputs, one at a time, padded to the next multiple of 32 as in inference.

    Args:
        pictures: files; unreadable ones are skipped.
        size: longer side of the scaled pictures in pixels.
    """
    for path in pictures:
        with suppress(ImageError):
            padded, _ = letterbox(read_upright(path), size, stride=STRIDE)
            yield {INPUT: np.ascontiguousarray(padded[None, :, :, ::-1].transpose(0, 3, 1, 2)) / np.float32(255)}


def float_nodes(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that stay in float32 when a detector is quantised: its first and last ones.

    The last convolutions and the decoding stay, because eight bits over 640 pixels would round boxes to several pixels.
    The first two convolutions stay, because they see the widest range of values in few channels. These two cost 1 % of
    time and 0.05 MB and recover most of the loss: 0.4 of 0.5 points of AP50 of heads, on 143 pictures of detector
    0.1.0's data. Keeping the rest of the head or the third block, or other ranges (percentiles), gained nothing more.
    """
    return [*stem_nodes(model), *decoding_nodes(model)]


def stem_nodes(model: onnx.ModelProto, convolutions: int = 2) -> list[str]:
    """Names of the first convolutions after the input and of their activations."""
    reached, stem = {model.graph.input[0].name}, []
    for node in model.graph.node:
        if reached.isdisjoint(node.input) or (node.op_type == "Conv" and convolutions == 0):
            continue
        convolutions -= node.op_type == "Conv"
        stem.append(node.name)
        reached.update(node.output)
    return stem


def decoding_nodes(model: onnx.ModelProto) -> list[str]:
    """Names of the head's last convolutions and of all nodes after them, which decode scores and boxes."""
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
