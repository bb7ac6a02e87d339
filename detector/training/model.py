"""YOLOv8s with a loss that leaves out what is not labelled, and bf16 training on CPUs that have it."""

from __future__ import annotations

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

from ...core.errors import TrainingError
from .torch_dataset import split_ignored


class MaskedDetectionLoss(v8DetectionLoss):
    """YOLOv8's loss, in float32, whose class term passes over unlabelled classes and ignore regions.

    A class term counts for an anchor when its picture is labelled for that class and the anchor's centre lies in no
    ignore region; an anchor that was assigned to an object always counts.
    """

    def __init__(self, model: torch.nn.Module, *args: Any, **kwargs: Any):
        super().__init__(model, *args, **kwargs)
        self.plain_bce = torch.nn.BCEWithLogitsLoss(reduction="none")
        self.bce: Any = self.masked_bce
        self.weight: torch.Tensor | None = None

    def masked_bce(self, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Binary cross-entropy, shape (batch, anchors, classes), zero where the mask of the batch says so."""
        loss = self.plain_bce(scores, targets)
        if self.weight is None:
            return loss
        labelled, free = self.weight
        assigned = targets.sum(2, keepdim=True) > 0
        return loss * (labelled[:, None, :] & (free[:, :, None] | assigned))

    def get_assigned_targets_and_loss(self, preds: dict[str, Any], batch: dict[str, Any], **kwargs: Any) -> tuple:
        """As ultralytics has it, with the mask of this batch in place."""
        batch = split_ignored(batch, self.nc)
        preds = as_float32(preds)
        if "labelled" in batch:
            labelled = torch.stack(tuple(batch["labelled"])).to(self.device)
            self.weight = labelled, self.outside_ignored(preds["feats"], batch["ignored"].to(self.device))
        else:
            self.weight = None
        return super().get_assigned_targets_and_loss(preds, batch, **kwargs)

    def outside_ignored(self, feats: list[torch.Tensor], ignored: torch.Tensor) -> torch.Tensor:
        """Which anchor centres lie in no ignore region: bool, shape (batch, anchors)."""
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
    """A convolution and its batch norm computed as one convolution, by the norm's running statistics.

    The statistics stay as they are, in training too; kernel, scale and shift go on learning. A training step on a CPU,
    where batch norm is half of a layer's time, takes a fifth less. Parameters and their names are those of ``Conv``.
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
    """Turn every ``Conv`` of a model into a ``FoldedConv``, in place; how many there were."""
    layers = [module for module in model.modules() if type(module) is Conv]
    for layer in layers:
        layer.__class__ = FoldedConv
    return len(layers)


class FaceDetectionModel(DetectionModel):
    """Ultralytics' detection model with the masked loss.

    With ``cpu_bf16`` set, the layers run under bfloat16 autocast in channels-last order on the CPU, which ultralytics'
    trainer does not offer. Boxes are decoded in float32 all the same: in bfloat16 they would be off by whole pixels.
    """

    cpu_bf16 = False

    def init_criterion(self) -> MaskedDetectionLoss:
        return MaskedDetectionLoss(self)

    def _predict_once(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if not (self.cpu_bf16 and x.device.type == "cpu"):
            return super()._predict_once(x, *args, **kwargs)
        head: Any = self.model[-1]
        training = head.training
        head.training = True  # raw outputs, to be decoded below
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
    """Load every array of a .npz whose name and shape agree with the model's state.

    Args:
        model: the model to fill, in place.
        path: arrays named as in ultralytics' state_dict; any float type.

    Returns:
        How many were loaded, and the names of the model's own that were not.

    Raises:
        TrainingError: the file cannot be read or shares nothing with the model.
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
