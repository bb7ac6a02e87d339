"""Losses of the attribute kinds, each masked: an unlabelled row (NaN) moves nothing.

Written in ``keras.ops``, so that they run on every backend of Keras.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from ...core.errors import TrainingError
from ...weights.manifest import Attribute, ClassesBase, NumericAttribute
from ..config.recipe import Losses
from ..inference.attributes import bin_centres

FLOOR = 1 / 8
"""A batch's loss is the mean over its labelled rows, but never over fewer than this share of the batch: a lone label
must not move the weights with the force of a whole batch."""
BINNED = ("distribution", "classes")
"""Losses of numbers with bins; the others are of numbers without."""
HUBER = 0.1
"""Share of the range beyond which ``huber`` grows linearly."""
LOG_SCALE = 0.05
WING, WING_CURVATURE = 10 / 256, 2 / 256
"""The wing loss's w and epsilon: 10 and 2 pixels of a crop of 256, as fractions of its side."""


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


def _outside(logs: Any, inside: Any) -> Any:
    """Minus the logarithm of the probability of the classes that are ``inside``, (n,)."""
    return -ops.logsumexp(ops.where(inside, logs, ops.full_like(logs, -1e9)), axis=-1)


class ClassLoss(MaskedLoss):
    """Cross-entropy of class indices against logits.

    Args:
        smoothing: of the labels.
        weights: factor of each class's rows, (classes,); None means 1.
    """

    def __init__(self, smoothing: float = 0.0, weights: np.ndarray | None = None, **options: Any):
        super().__init__(**options)
        self.smoothing = smoothing
        self.weights = None if weights is None else np.asarray(weights, np.float32)

    def rows(self, target: Any, output: Any) -> tuple[Any, Any]:
        index, known = _known(ops.reshape(target, (-1,)))
        wanted = self.wanted(index, output.shape[-1], output.dtype)
        loss = -ops.sum(wanted * ops.log_softmax(output, axis=-1), axis=-1)
        if self.weights is not None:
            loss = loss * ops.take(ops.convert_to_tensor(self.weights), ops.cast(index, "int32"))
        return loss, known

    def wanted(self, index: Any, classes: int, dtype: Any) -> Any:
        """The label's distribution over the classes, (n, classes).

        Args:
            index: of the class, (n,).
            classes: how many there are.
            dtype: of the result.
        """
        wanted = ops.one_hot(ops.cast(index, "int32"), classes, dtype=dtype)
        return wanted * (1 - self.smoothing) + self.smoothing / classes


class OrdinalLoss(ClassLoss):
    """Cross-entropy against a Gaussian over the neighbouring classes (Diaz & Marathe, "Soft Labels for Ordinal
    Regression", CVPR 2019), half a class wide.

    Targets of shape (n, 3), class, lowest and highest class, may know only the latter two: then the loss is minus the
    logarithm of the probability of the classes from one to the other.
    """

    def rows(self, target: Any, output: Any) -> tuple[Any, Any]:
        if len(target.shape) == 1 or target.shape[-1] == 1:
            return super().rows(target, output)
        exact, has_class = super().rows(target[:, 0], output)
        numbers, present = _known(target)
        place = ops.arange(output.shape[-1], dtype="float32")
        inside = ops.logical_and(place >= numbers[:, 1:2], place <= numbers[:, 2:3])
        within = _outside(ops.log_softmax(output, axis=-1), inside)
        return ops.where(has_class > 0, exact, within), ops.maximum(has_class, present[:, 1])

    def wanted(self, index: Any, classes: int, dtype: Any) -> Any:
        return ops.cast(_soft_labels(index, np.arange(classes), 0.5), dtype)


class _NumberLoss(MaskedLoss):
    """Of a number, or of a closed range where only that is known; numbers beyond the ends count as the ends."""

    def __init__(self, attribute: NumericAttribute, **options: Any):
        super().__init__(**options)
        self.attribute = attribute

    def rows(self, target: Any, output: Any) -> tuple[Any, Any]:
        numbers, present = _known(target)
        numbers = ops.clip(numbers, self.attribute.low, self.attribute.high)
        has_value, has_range = present[:, 0], present[:, 1]
        exact, within = self.both(numbers[:, 0], numbers[:, 1], numbers[:, 2], output)
        return ops.where(has_value > 0, exact, within), ops.maximum(has_value, has_range)

    @abstractmethod
    def both(self, value: Any, low: Any, high: Any, output: Any) -> tuple[Any, Any]:
        """Each row's loss if its value is known and if its range is, (n,) each."""


class BinsLoss(_NumberLoss):
    """A number as a distribution over bins.

    Where only a closed range is known: minus the logarithm of the probability inside it. Where the number is known:

    - with ``sigma``, cross-entropy against a Gaussian of ``sigma`` bins around it, plus the distance of the expectation
      from it in tenths of the range (as DLDL-v2, Gao et al., IJCAI 2018);
    - without, cross-entropy of the bin that holds it (as DEX, Rothe et al., 2015), with label smoothing.

    Args:
        attribute: with its bins.
        sigma: of the label's normal distribution, in bins; None puts all on one bin.
        smoothing: without ``sigma``, the share of the label that is spread over all bins.
    """

    def __init__(self, attribute: NumericAttribute, sigma: float | None = 2.0, smoothing: float = 0.0, **options: Any):
        super().__init__(attribute, **options)
        self.centres = bin_centres(attribute).astype(np.float32)
        self.width = float(self.centres[1] - self.centres[0])
        self.sigma, self.smoothing = sigma, smoothing

    def both(self, value: Any, low: Any, high: Any, output: Any) -> tuple[Any, Any]:
        logs = ops.log_softmax(output, axis=-1)
        centres = ops.convert_to_tensor(self.centres)
        if self.sigma is None:
            index = ops.cast(ops.floor((value - self.attribute.low) / self.width + 0.5), "int32")
            wanted = ops.one_hot(index, len(self.centres), dtype=logs.dtype)
            wanted = wanted * (1 - self.smoothing) + self.smoothing / len(self.centres)
            exact = -ops.sum(wanted * logs, axis=-1)
        else:
            wanted = _soft_labels(value, self.centres, self.sigma * self.width)
            distance = ops.abs(ops.sum(ops.exp(logs) * centres, axis=-1) - value)
            exact = -ops.sum(wanted * logs, axis=-1) + 10 * distance / (self.attribute.high - self.attribute.low)
        half = self.width / 2
        inside = ops.logical_and(centres > low[:, None] - half, centres < high[:, None] + half)
        return exact, _outside(logs, inside)


class RegressionLoss(_NumberLoss):
    """A number as one output, both on a scale on which ``low`` is 0 and ``high`` is 1. Of a row that knows only a range
    the distance outside it counts, so that inside it nothing moves.

    Args:
        kind: ``mse``, ``mae`` or ``huber`` of the distance.
    """

    def __init__(self, attribute: NumericAttribute, kind: str, **options: Any):
        super().__init__(attribute, **options)
        self.kind = kind

    def both(self, value: Any, low: Any, high: Any, output: Any) -> tuple[Any, Any]:
        found = ops.reshape(output, (-1,))
        value, low, high = ((number - self.attribute.low) / self._span for number in (value, low, high))
        outside = ops.relu(low - found) + ops.relu(found - high)
        return self._size(found - value), self._size(outside)

    @property
    def _span(self) -> float:
        return self.attribute.high - self.attribute.low

    def _size(self, distance: Any) -> Any:
        if self.kind == "mse":
            return ops.square(distance)
        size = ops.abs(distance)
        if self.kind == "mae":
            return size
        return ops.where(size < HUBER, 0.5 * ops.square(distance), HUBER * (size - 0.5 * HUBER))


class PointsLoss(MaskedLoss):
    """Of the distance ``d`` on each axis, as a fraction of the crop's side.

    Args:
        kind: ``log``, ``log(1 + |d| / 0.05)``, steepest near zero throughout; ``wing`` (Feng et al., "Wing Loss for
            Robust Facial Landmark Localisation", CVPR 2018), a logarithm near zero and linear beyond; ``l1``; ``mse``.
    """

    def __init__(self, kind: str = "log", **options: Any):
        super().__init__(**options)
        self.kind = kind

    def rows(self, target: Any, output: Any) -> tuple[Any, Any]:
        places, known = _known(ops.reshape(target, (-1, output.shape[-1])))
        distance = output - places
        size = ops.abs(distance)
        match self.kind:
            case "log":
                loss = ops.log1p(size / LOG_SCALE)
            case "wing":
                near = WING * ops.log1p(size / WING_CURVATURE)
                loss = ops.where(size < WING, near, size - WING + WING * float(np.log1p(WING / WING_CURVATURE)))
            case "l1":
                loss = size
            case _:
                loss = ops.square(distance)
        return loss, known


def attribute_losses(
    attributes: Iterable[Attribute], losses: Losses, class_weights: Mapping[str, np.ndarray] | None = None
) -> dict[str, MaskedLoss]:
    """The loss of each attribute, by its kind and the recipe.

    Args:
        attributes: the schema.
        losses: the recipe's part; its ``weights``, ``uncertainty`` and ``class_balance`` are the caller's affair.
        class_weights: (classes,) factors by the name of an attribute of classes (:func:`class_weights`).

    Raises:
        TrainingError: the recipe's loss of numbers is not one for a number with bins, or without.
    """
    weights = class_weights or {}
    return {attribute.name: _loss(attribute, losses, weights.get(attribute.name)) for attribute in attributes}


def _loss(attribute: Attribute, losses: Losses, weights: np.ndarray | None) -> MaskedLoss:
    name = f"{attribute.name}_loss"
    match attribute.kind:
        case "numeric":
            if (attribute.bins is None) == (losses.numeric in BINNED):
                have, fit = (
                    ("no bins", "mse, mae or huber") if attribute.bins is None else ("bins", " or ".join(BINNED))
                )
                raise TrainingError(
                    f"attribute {attribute.name} has {have}, so the recipe's losses.numeric must be {fit}, "
                    f"got {losses.numeric}; change it, or the schema's 'bins'"
                )
            if losses.numeric == "distribution":
                return BinsLoss(attribute, losses.sigma, name=name)
            if losses.numeric == "classes":
                return BinsLoss(attribute, None, losses.smoothing, name=name)
            return RegressionLoss(attribute, losses.numeric, name=name)
        case "points":
            return PointsLoss(losses.points, name=name)
        case "ordinal":
            return OrdinalLoss(weights=weights, name=name)
        case _:
            return ClassLoss(losses.smoothing, weights, name=name)


def class_weights(attributes: Iterable[Attribute], targets: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Factors of the classes that make each weigh as much as every other, with mean 1 over the labelled rows.

    Args:
        attributes: the schema; only its attributes of classes are looked at.
        targets: as in FaceTable, of the training rows.

    Returns:
        (classes,) float32 by attribute; 1 for a class without rows, and no entry where nothing is labelled.
    """
    found = {}
    for attribute in attributes:
        if not isinstance(attribute, ClassesBase):
            continue
        labels = targets[attribute.name].reshape(len(targets[attribute.name]), -1)[:, 0]
        counts = np.bincount(labels[~np.isnan(labels)].astype(int), minlength=len(attribute.classes))
        if counts.any():
            even = counts.sum() / np.count_nonzero(counts)
            found[attribute.name] = np.where(counts > 0, even / np.maximum(counts, 1), 1).astype(np.float32)
    return found
