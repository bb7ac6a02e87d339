"""Export: from a training checkpoint to ONNX, and what its quantisation needs."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch

from . import ultralytics_setup  # noqa: F401  isort: skip
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


def calibration_inputs(pictures: Iterable[Path], size: int) -> Iterator[dict[str, np.ndarray]]:
    """Pictures as the detector's input, one at a time; one that cannot be read is passed over.

    Args:
        pictures: files.
        size: side of the square input in pixels.
    """
    for path in pictures:
        frame = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if frame is not None:
            square, _ = letterbox(frame, size)
            yield {INPUT: np.ascontiguousarray(square[None, :, :, ::-1].transpose(0, 3, 1, 2)) / np.float32(255)}


def decoding_nodes(model: onnx.ModelProto) -> list[str]:
    """Names of the head's last convolutions and of all that follows them, where scores and boxes are decoded.

    They stay in float32: eight bits over 640 pixels would round boxes to several pixels.
    """
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
