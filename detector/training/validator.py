"""Ultralytics' validator for pictures that are labelled in part."""

from __future__ import annotations

from typing import Any

import torch

from . import ultralytics_setup  # noqa: F401  isort: skip
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.utils.ops import xywh2xyxy

from ..inference.boxes import iou, share_inside
from .torch_dataset import split_ignored


class FaceValidator(DetectionValidator):
    """Ultralytics' validator, which neither counts ignore regions nor classes that a picture is not labelled for."""

    def preprocess(self, batch: dict[str, Any]) -> dict[str, Any]:
        return split_ignored(super().preprocess(batch), len(self.data["names"]))

    def update_metrics(self, preds: list[dict[str, torch.Tensor]], batch: dict[str, Any]) -> None:
        kept = []
        for index, pred in enumerate(preds):
            truth = self._prepare_batch(index, batch)
            labelled = batch["labelled"][index].to(pred["cls"].device)
            keep = labelled[pred["cls"].long()]
            ignored = batch["ignored"][batch["ignored"][:, 0] == index][:, 1:]
            if len(ignored) and len(pred["cls"]):
                scale = torch.tensor(truth["imgsz"], device=ignored.device)[[1, 0, 1, 0]]
                boxes = pred["bboxes"].cpu().numpy()
                inside = share_inside(boxes, (xywh2xyxy(ignored) * scale).cpu().numpy()).max(1) > 0.5
                if len(truth["cls"]):
                    inside &= iou(boxes, truth["bboxes"].cpu().numpy()).max(1) < 0.5
                keep &= torch.from_numpy(~inside).to(keep.device)
            kept.append({key: value[keep] for key, value in pred.items()})
        super().update_metrics(kept, batch)
