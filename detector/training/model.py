"""YOLOv8s with a loss that leaves out unlabelled data, bf16 training on capable CPUs, and training from a release.

A release has only an ONNX file, in which the batch norms are folded into the convolutions. A folded layer is
``conv(x) + bias``. For any running mean m and variance v of ``conv(x)``, a batch norm with the scale ``sqrt(v + eps)``
and the shift ``bias + m`` gives the same function. m and v are measured on some of the training pictures, because
training normalises with each batch's own statistics, and these must agree with the layer's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import ultralytics_setup  # noqa: F401  isort: skip
from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.loss import v8DetectionLoss
from ultralytics.utils.ops import xywh2xyxy
from ultralytics.utils.tal import make_anchors

from ...core.errors import ImageError, TrainingError
from ...weights.manifest import InputSpec
from ...weights.release import Release
from ..data.exif import read_upright
from ..inference.preprocessing import STRIDE, InputBuffer, fit
from .torch_dataset import split_ignored

SCORES = re.compile(r"model\.\d+\.cv3\.\d+\.2\.(weight|bias)")
"""The last layers of the detection head, which have one output per class."""
YOLOV8 = re.compile(r"yolov8[nsmlx]\.yaml")
"""Ultralytics' descriptions of the architectures."""
PICTURES = 32
"""Number of training pictures on which the batch norms' statistics are measured."""


class MaskedDetectionLoss(v8DetectionLoss):
    """YOLOv8's loss in float32, whose class term leaves out unlabelled classes and ignore regions.

    The class term of an anchor counts if the picture is labelled for that class and the anchor's centre is in no ignore
    region. Anchors assigned to an object are never excluded by ignore regions.
    """

    def __init__(self, model: torch.nn.Module, *args: Any, **kwargs: Any):
        super().__init__(model, *args, **kwargs)
        self.plain_bce = torch.nn.BCEWithLogitsLoss(reduction="none")
        self.bce: Any = self.masked_bce
        self.weight: torch.Tensor | None = None

    def masked_bce(self, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Binary cross-entropy, shape (batch, anchors, classes), set to zero where the batch's mask excludes it."""
        loss = self.plain_bce(scores, targets)
        if self.weight is None:
            return loss
        labelled, free = self.weight
        assigned = targets.sum(2, keepdim=True) > 0
        return loss * (labelled[:, None, :] & (free[:, :, None] | assigned))

    def get_assigned_targets_and_loss(self, preds: dict[str, Any], batch: dict[str, Any], **kwargs: Any) -> tuple:
        """Compute ultralytics' result with the mask of this batch applied."""
        batch = split_ignored(batch, self.nc)
        preds = as_float32(preds)
        if "labelled" in batch:
            labelled = torch.stack(tuple(batch["labelled"])).to(self.device)
            self.weight = labelled, self.outside_ignored(preds["feats"], batch["ignored"].to(self.device))
        else:
            self.weight = None
        return super().get_assigned_targets_and_loss(preds, batch, **kwargs)

    def outside_ignored(self, feats: list[torch.Tensor], ignored: torch.Tensor) -> torch.Tensor:
        """Which anchor centres are in no ignore region: bool, shape (batch, anchors)."""
        points, strides = make_anchors(feats, self.stride, 0.5)
        height, width = (side * float(self.stride[0]) for side in feats[0].shape[2:])
        points = points * strides
        free = torch.ones(feats[0].shape[0], len(points), dtype=torch.bool, device=points.device)
        scale = torch.tensor([width, height, width, height], device=points.device)
        for row in ignored:
            x1, y1, x2, y2 = (xywh2xyxy(row[None, 1:])[0] * scale).tolist()
            inside = (points[:, 0] >= x1) & (points[:, 0] <= x2) & (points[:, 1] >= y1) & (points[:, 1] <= y2)
            free[int(row[0])] &= ~inside
        return free


class FoldedConv(Conv):
    """A convolution and its batch norm, computed as one convolution with the norm's running statistics.

    The statistics stay fixed even in training; kernel, scale and shift are still trained. On a CPU, where batch norm
    takes half of a layer's time, a training step takes a fifth less. Parameters and their names are those of ``Conv``.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        norm, conv = self.bn, self.conv
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        shift = norm.bias - norm.running_mean * scale
        kernel = conv.weight * scale.view(-1, 1, 1, 1)
        return self.act(
            torch.nn.functional.conv2d(x, kernel, shift, conv.stride, conv.padding, conv.dilation, conv.groups)
        )


def freeze_statistics(model: torch.nn.Module) -> int:
    """Turn every ``Conv`` of a model into a ``FoldedConv``, in place, and return their number."""
    layers = [module for module in model.modules() if type(module) is Conv]
    for layer in layers:
        layer.__class__ = FoldedConv
    return len(layers)


class FaceDetectionModel(DetectionModel):
    """Ultralytics' detection model with the masked loss.

    With ``cpu_bf16`` set, the layers run under bfloat16 autocast in channels-last order on the CPU, which ultralytics'
    trainer does not support. Boxes are still decoded in float32: in bfloat16 they would be off by whole pixels.
    """

    cpu_bf16 = False

    def init_criterion(self) -> MaskedDetectionLoss:
        return MaskedDetectionLoss(self)

    def _predict_once(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if not (self.cpu_bf16 and x.device.type == "cpu"):
            return super()._predict_once(x, *args, **kwargs)
        head: Any = self.model[-1]
        training = head.training
        head.training = True  # return raw outputs, which are decoded below
        try:
            with torch.autocast("cpu", torch.bfloat16):
                raw = super()._predict_once(x.contiguous(memory_format=torch.channels_last), *args, **kwargs)
        finally:
            head.training = training
        if training or not isinstance(raw, dict):
            return raw
        raw = as_float32(raw)
        return head._inference(raw), raw


def as_float32(raw: dict[str, Any]) -> dict[str, Any]:
    """The detection head's raw outputs (boxes, scores and feature maps) in float32."""
    return {
        key: [level.float() for level in value] if isinstance(value, list) else value.float()
        for key, value in raw.items()
        if key in ("boxes", "scores", "feats")
    }


def cpu_has_bf16() -> bool:
    """Whether oneDNN computes bfloat16 natively on this CPU (AVX-512 BF16 or AMX)."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def load_arrays(model: torch.nn.Module, path: Path) -> tuple[int, list[str]]:
    """Load every array of a .npz whose name and shape match the model's state.

    Args:
        model: the model to fill, in place.
        path: arrays named as in ultralytics' state_dict; any float type.

    Returns:
        The number of arrays loaded, and the names in the model's state that were not.

    Raises:
        TrainingError: the file cannot be read or has no array that matches the model.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path}: not a .npz of arrays: {error}") from error
    state = model.state_dict()
    agreeing = {
        name: torch.from_numpy(array).to(state[name].dtype)
        for name, array in arrays.items()
        if name in state and tuple(array.shape) == tuple(state[name].shape)
    }
    if not agreeing:
        raise TrainingError(f"{path}: none of its {len(arrays)} arrays fits this model by name and shape")
    model.load_state_dict(agreeing, strict=False)
    return len(agreeing), [name for name in state if name not in agreeing]


def release_arrays(release: Release) -> dict[str, np.ndarray]:
    """The weights of a released detector by name in ultralytics' state_dict: float32, batch norms folded.

    Raises:
        TrainingError: the release stores its weights only as int8, or without layer names.
        WeightsError: its files are not those that were released.
    """
    import onnx
    from onnx import numpy_helper

    from ...weights.session import refuse_external_data

    entry = release.finest()
    if entry.precision == "int8":
        raise TrainingError(
            f"detector {release.label} has int8 weights only, which are too coarse to continue training from; start "
            f"from a version with a float file (facepipe weights list), or from a run's checkpoint"
        )
    content = release.read(entry.precision)
    refuse_external_data(content)
    arrays = {
        tensor.name.removesuffix("_half"): numpy_helper.to_array(tensor).astype(np.float32)
        for tensor in onnx.load_from_string(content).graph.initializer
        if tensor.name.removesuffix("_half").endswith((".weight", ".bias"))
    }
    if not arrays:
        raise TrainingError(f"{release.folder / entry.name} names no weights by layer; start from a checkpoint")
    return arrays


def start_from_release(
    model: torch.nn.Module, release: Release, classes: Sequence[str], pictures: Sequence[Path], imgsz: int
) -> int:
    """Load the weights of a released detector, so that the model computes the same for the classes they share.

    Args:
        model: of the release's architecture or a narrower one, with batch norms, in float32; changed in place. A
            narrower one computes what is left of the function; see ``narrowing``.
        release: the detector to start from.
        classes: of the model; those unknown to the release start at random.
        pictures: training pictures; up to ``PICTURES`` of them are used.
        imgsz: side in pixels that they are scaled to.

    Returns:
        The number of arrays taken from the release.

    Raises:
        TrainingError: the release has another architecture or none of the classes, or no picture can be read.
    """
    arrays = {name: torch.from_numpy(array) for name, array in _fitting_arrays(release, model).items()}
    layers = {name: module for name, module in model.named_modules() if type(module) is Conv}
    taken = {}
    for name in layers:
        taken[f"{name}.conv.weight"] = arrays.pop(f"{name}.conv.weight", None)
        taken[f"{name}.bn.bias"] = arrays.pop(f"{name}.conv.bias", None)
    taken.update(arrays)
    state = model.state_dict()
    for name in [name for name in arrays if SCORES.fullmatch(name) and name in state]:
        taken[name] = _by_class(arrays[name], state[name], release, classes)
    for name, array in taken.items():
        if array is None or name not in state or array.shape != state[name].shape:
            has = "nothing" if array is None else f"shape {tuple(array.shape)}"
            raise TrainingError(
                f"detector {release.label} does not fit this model: {name} has {has} there; the model must be a "
                f"{release.manifest.architecture}"
            )
    model.load_state_dict(taken, strict=False)
    for layer in layers.values():
        norm = layer.bn
        torch.nn.init.zeros_(norm.running_mean)
        torch.nn.init.ones_(norm.running_var)
        torch.nn.init.constant_(norm.weight, (1 + norm.eps) ** 0.5)
    spread_statistics(model, list(layers.values()), release.manifest.input, pictures, imgsz)
    return len(taken)


def _fitting_arrays(release: Release, model: DetectionModel) -> dict[str, np.ndarray]:
    """The release's arrays, cut to a narrower model's widths if it has fewer parameters.

    Raises:
        TrainingError: the release has no usable arrays, or its layers are others than the model's.
    """
    arrays = release_arrays(release)
    path = f"{release.manifest.architecture.lower()}.yaml"
    if not YOLOV8.fullmatch(path) or path == Path(str(model.yaml.get("yaml_file", ""))).name:
        return arrays
    wide = FaceDetectionModel(path, nc=len(release.manifest.classes), ch=3, verbose=False)
    widths = [layer.conv.out_channels for layer in (wide.model[0], model.model[0])]
    if widths[1] >= widths[0]:
        return arrays
    from .narrowing import narrowed

    return narrowed(arrays, wide, model)


def _by_class(theirs: torch.Tensor, ours: torch.Tensor, release: Release, classes: Sequence[str]) -> torch.Tensor:
    """A layer with one output per class of the model, taken from the release for the classes that it has.

    Raises:
        TrainingError: the release has none of the classes.
    """
    known = release.manifest.classes
    if not set(classes) & set(known):
        raise TrainingError(
            f"detector {release.label} finds {', '.join(known)}, but the data set has {', '.join(classes)}: there is "
            f"nothing to go on from; convert the data set with --map THEIRS=OURS and --classes {','.join(known)}"
        )
    if len(theirs) != len(known) or theirs.shape[1:] != ours.shape[1:]:
        return theirs  # another architecture; the caller reports this for all layers
    joined = ours.clone()
    for place, name in enumerate(classes):
        if name in known:
            joined[place] = theirs[known.index(name)]
    return joined


def spread_statistics(
    model: torch.nn.Module, layers: Sequence[Conv], spec: InputSpec, pictures: Sequence[Path], imgsz: int
) -> None:
    """Set batch norms' running statistics to those of some pictures, and adjust scale and shift to keep the function.

    Args:
        model: changed in place.
        layers: convolutions whose batch norms are set.
        spec: of the input.
        pictures: up to ``PICTURES`` of them are used, evenly spaced.
        imgsz: side of the input, in pixels.

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
                with suppress(ImageError):
                    frame = read_upright(path)
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
