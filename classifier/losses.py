"""Losses of the attribute kinds, each masked: an unlabelled row (NaN) moves nothing.

Written in ``keras.ops``, so that they run on every backend of Keras.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import keras
import numpy as np
from keras import ops

from ..weights.manifest import Attribute, NumericAttribute
from .values import bin_centres

FLOOR = 1 / 8
"""A batch's loss is the mean over its labelled rows, but never over fewer than this share of the batch: a lone label
must not move the weights with the force of a whole batch."""


class MaskedLoss(keras.losses.Loss, ABC):
    """Mean over the labelled rows; subclasses give each row's loss and whether it is labelled."""

    @abstractmethod
    def rows(self, target: Any, output: Any) -> tuple[Any, Any]:
        """Loss of each row, finite wherever ``known`` is 0, and ``known`` itself, 0 or 1; both of one shape."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        loss, known = self.rows(y_true, y_pred)
        enough = FLOOR * float(np.prod(known.shape[1:])) * ops.cast(ops.shape(known)[0], loss.dtype)
        return ops.sum(loss * known) / ops.maximum(ops.sum(known), enough)


def _known(target: Any) -> tuple[Any, Any]:
    """The target with NaN replaced by 0, so that no gradient meets a NaN, and 0 or 1 for each entry."""
    present = ops.logical_not(ops.isnan(target))
    return ops.where(present, target, ops.zeros_like(target)), ops.cast(present, target.dtype)


def _soft_labels(value: Any, centres: np.ndarray, sigma: float) -> Any:
    """Gaussian weights of the centres around each value, (n, centres), summing to 1."""
    distance = (ops.expand_dims(value, -1) - ops.convert_to_tensor(centres, "float32")) / sigma
    return ops.softmax(-0.5 * ops.square(distance), axis=-1)


class ClassLoss(MaskedLoss):
    """Cross-entropy of class indices against logits, with label smoothing."""

    def __init__(self, smoothing: float = 0.0, **options: Any):
        super().__init__(**options)
        self.smoothing = smoothing

    def rows(self, target: Any, output: Any) -> tuple[Any, Any]:
        index, known = _known(ops.reshape(target, (-1,)))
        classes = output.shape[-1]
        wanted = ops.one_hot(ops.cast(index, "int32"), classes, dtype=output.dtype)
        wanted = wanted * (1 - self.smoothing) + self.smoothing / classes
        return -ops.sum(wanted * ops.log_softmax(output, axis=-1), axis=-1), known


class OrdinalLoss(MaskedLoss):
    """Cross-entropy against a Gaussian over the neighbouring classes (Diaz & Marathe, "Soft Labels for Ordinal
    Regression", CVPR 2019), half a class wide."""

    def rows(self, target: Any, output: Any) -> tuple[Any, Any]:
        index, known = _known(ops.reshape(target, (-1,)))
        wanted = _soft_labels(index, np.arange(output.shape[-1]), 0.5)
        return -ops.sum(wanted * ops.log_softmax(output, axis=-1), axis=-1), known


class NumericLoss(MaskedLoss):
    """A number as a distribution over bins.

    Where the number is known: cross-entropy against a Gaussian of ``sigma`` bins around it, plus the distance of the
    expectation from it in tenths of the range (as DLDL-v2, Gao et al., IJCAI 2018). Numbers beyond the ends count as
    the ends. Where only a closed range is known: minus the logarithm of the probability inside it.
    """

    def __init__(self, attribute: NumericAttribute, sigma: float = 2.0, **options: Any):
        super().__init__(**options)
        self.attribute = attribute
        self.centres = bin_centres(attribute).astype(np.float32)
        self.width = float(self.centres[1] - self.centres[0])
        self.sigma = sigma

    def rows(self, target: Any, output: Any) -> tuple[Any, Any]:
        numbers, present = _known(target)
        has_value, has_range = present[:, 0], present[:, 1]
        value = ops.clip(numbers[:, 0], self.attribute.low, self.attribute.high)
        low = ops.clip(numbers[:, 1], self.attribute.low, self.attribute.high)
        high = ops.clip(numbers[:, 2], self.attribute.low, self.attribute.high)
        logs = ops.log_softmax(output, axis=-1)
        centres = ops.convert_to_tensor(self.centres)
        wanted = _soft_labels(value, self.centres, self.sigma * self.width)
        distance = ops.abs(ops.sum(ops.exp(logs) * centres, axis=-1) - value)
        exact = -ops.sum(wanted * logs, axis=-1) + 10 * distance / (self.attribute.high - self.attribute.low)
        half = self.width / 2
        inside = ops.logical_and(centres > low[:, None] - half, centres < high[:, None] + half)
        within = -ops.logsumexp(ops.where(inside, logs, ops.full_like(logs, -1e9)), axis=-1)
        return ops.where(has_value > 0, exact, within), ops.maximum(has_value, has_range)


class PointsLoss(MaskedLoss):
    """Logarithm of the distance on each axis, steepest near zero (the inner part of the wing loss, Feng et al., CVPR
    2018): ``log(1 + |d| / scale)`` with d as a fraction of the crop's side."""

    def __init__(self, scale: float = 0.05, **options: Any):
        super().__init__(**options)
        self.scale = scale

    def rows(self, target: Any, output: Any) -> tuple[Any, Any]:
        places, known = _known(ops.reshape(target, (-1, output.shape[-1])))
        return ops.log1p(ops.abs(output - places) / self.scale), known


def attribute_loss(attribute: Attribute, smoothing: float = 0.0, sigma: float = 2.0) -> MaskedLoss:
    """The loss of an attribute's kind."""
    name = f"{attribute.name}_loss"
    match attribute.kind:
        case "numeric":
            return NumericLoss(attribute, sigma, name=name)
        case "points":
            return PointsLoss(name=name)
        case "ordinal":
            return OrdinalLoss(name=name)
        case _:
            return ClassLoss(smoothing, name=name)
