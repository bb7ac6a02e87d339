"""Training on from a released detector, of which there is only the ONNX file: its batch norms are folded away there.

A folded layer is ``conv(x) + bias``. Any running mean m and variance v of ``conv(x)`` give the same function back as a
batch norm, with the scale ``sqrt(v + eps)`` and the shift ``bias + m``. m and v are measured on some of the training
pictures, for training normalises with each batch's own statistics and these must agree with the layer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from . import ultralytics_setup  # noqa: F401  isort: skip
from ultralytics.nn.modules.conv import Conv

from ...core.errors import TrainingError
from ...weights.manifest import InputSpec
from ...weights.store import Release
from ..inference.input_buffer import InputBuffer
from ..inference.preprocessing import STRIDE, fit

PICTURES = 32
"""Training pictures that the batch norms' statistics are measured on."""


def release_arrays(release: Release) -> dict[str, np.ndarray]:
    """The weights of a released detector by their names in ultralytics' state_dict, float32, batch norms folded.

    Raises:
        TrainingError: the release stores its weights as int8 only, or names none of them.
        WeightsError: its files are not those that were released.
    """
    import onnx
    from onnx import numpy_helper

    entry = release.finest()
    if entry.precision == "int8":
        raise TrainingError(
            f"detector {release.label} has int8 weights only, which are too coarse to train on from; start from a "
            f"version with a float file (facepipe weights list), or from a run's checkpoint"
        )
    arrays = {
        tensor.name.removesuffix("_half"): numpy_helper.to_array(tensor).astype(np.float32)
        for tensor in onnx.load_from_string(release.read(entry.precision)).graph.initializer
        if tensor.name.removesuffix("_half").endswith((".weight", ".bias"))
    }
    if not arrays:
        raise TrainingError(f"{release.folder / entry.name} names no weights by layer; start from a checkpoint")
    return arrays


def start_from_release(model: torch.nn.Module, release: Release, pictures: Sequence[Path], imgsz: int) -> int:
    """Give a model the weights of a released detector; it then computes what that computes.

    Args:
        model: of the release's architecture, batch norms and all, in float32; it is filled in place.
        release: the detector to go on from.
        pictures: training pictures; up to ``PICTURES`` of them are looked at.
        imgsz: side in pixels that they are scaled to.

    Returns:
        How many of the release's arrays were taken.

    Raises:
        TrainingError: the release is of another architecture or other classes, or no picture can be read.
    """
    arrays = {name: torch.from_numpy(array) for name, array in release_arrays(release).items()}
    layers = {name: module for name, module in model.named_modules() if type(module) is Conv}
    taken = {}
    for name in layers:
        taken[f"{name}.conv.weight"] = arrays.pop(f"{name}.conv.weight", None)
        taken[f"{name}.bn.bias"] = arrays.pop(f"{name}.conv.bias", None)
    taken.update(arrays)
    state = model.state_dict()
    for name, array in taken.items():
        if array is None or name not in state or array.shape != state[name].shape:
            has = "nothing" if array is None else f"shape {tuple(array.shape)}"
            raise TrainingError(
                f"detector {release.label} does not fit this model: {name} has {has} there; the model must be a "
                f"{release.manifest.architecture} of as many classes ({', '.join(release.manifest.classes)})"
            )
    model.load_state_dict(taken, strict=False)
    for layer in layers.values():
        norm = layer.bn
        torch.nn.init.zeros_(norm.running_mean)
        torch.nn.init.ones_(norm.running_var)
        torch.nn.init.constant_(norm.weight, (1 + norm.eps) ** 0.5)
    spread_statistics(model, list(layers.values()), release.manifest.input, pictures, imgsz)
    return len(taken)


def spread_statistics(
    model: torch.nn.Module, layers: Sequence[Conv], spec: InputSpec, pictures: Sequence[Path], imgsz: int
) -> None:
    """Set batch norms' running statistics to those of some pictures, and scale and shift so that nothing changes.

    Raises:
        TrainingError: no picture can be read.
    """
    sums = {layer: torch.zeros(3, layer.conv.out_channels, dtype=torch.float64) for layer in layers}

    def add(layer: Conv, found: torch.Tensor) -> None:
        values = found.double()
        sums[layer] += torch.stack(
            [torch.full((values.shape[1],), values[:, 0].numel()), values.sum((0, 2, 3)), (values**2).sum((0, 2, 3))]
        )

    hooks = [layer.conv.register_forward_hook(lambda _, __, found, layer=layer: add(layer, found)) for layer in layers]
    buffer, training = InputBuffer(spec), model.training
    model.eval()
    try:
        with torch.no_grad():
            for path in pictures[:: max(1, len(pictures) // PICTURES)][:PICTURES]:
                frame = cv2.imread(str(path))
                if frame is not None:
                    box = fit(frame.shape[1], frame.shape[0], imgsz, STRIDE)
                    model(torch.from_numpy(buffer.fill([frame], [box]).copy()))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    for layer, (count, total, squares) in sums.items():
        if not count.any():
            raise TrainingError("none of the training pictures can be read, so batch norms have nothing to measure")
        mean = total / count
        variance = (squares / count - mean**2).clamp_min(0)
        norm = layer.bn
        with torch.no_grad():
            norm.bias += mean.float()
            norm.weight.copy_((variance + norm.eps).sqrt())
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
