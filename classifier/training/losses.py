"""Losses for each kind of attribute. They are masked: an unlabelled row (NaN) contributes no gradient.

They use ``keras.ops`` and run on every Keras backend.
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
"""A batch's loss is the mean over its labelled rows, but the divisor is at least this share of the batch, so that a
single label does not count as much as a whole batch."""
BINNED = ("distribution", "classes")
"""Losses for numbers with bins; the others are for numbers without."""
HUBER = 0.1
"""Share of the range beyond which ``huber`` grows linearly."""
LOG_SCALE = 0.05
WING, WING_CURVATURE = 10 / 256, 2 / 256
"""w and epsilon of the wing loss: 10 and 2 pixels of a 256 px crop, as fractions of its side."""


class MaskedLoss(keras.losses.Loss, ABC):
    """Mean loss over the labelled rows; subclasses define the loss of each row and whether it is labelled."""

    @abstractmethod
    def rows(self, target: Any, output: Any) -> tuple[Any, Any]:
        """Return the loss of each row, finite even where ``known`` is 0, and ``known`` itself, 0 or 1, same shape."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        loss, known = self.rows(y_true, y_pred)
        enough = FLOOR * float(np.prod(known.shape[1:])) * ops.cast(ops.shape(known)[0], loss.dtype)
        return ops.sum(loss * known) / ops.maximum(ops.sum(known), enough)


def _known(target: Any) -> tuple[Any, Any]:
    """Replace NaN by 0, which keeps NaN out of the gradients; also return a 0/1 mask of the labelled entries."""
    present = ops.logical_not(ops.isnan(target))
    return ops.where(present, target, ops.zeros_like(target)), ops.cast(present, target.dtype)


def _soft_labels(value: Any, centres: np.ndarray, sigma: float) -> Any:
    """Compute Gaussian weights of the centres around each value, (n, centres), summing to 1."""
    distance = (ops.expand_dims(value, -1) - ops.convert_to_tensor(centres, "float32")) / sigma
    return ops.softmax(-0.5 * ops.square(distance), axis=-1)


def _outside(logs: Any, inside: Any) -> Any:
    """Compute the negative log probability of the classes that are ``inside``, (n,)."""
    return -ops.logsumexp(ops.where(inside, logs, ops.full_like(logs, -1e9)), axis=-1)


class ClassLoss(MaskedLoss):
    """Cross-entropy of class indices against logits.

    Args:
        smoothing: of the labels.
        weights: factor for the rows of each class, (classes,); None means 1.
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
        """Compute the label distribution over the classes, (n, classes).

        Args:
            index: of the class, (n,).
            classes: number of classes.
            dtype: of the result.
        """
        wanted = ops.one_hot(ops.cast(index, "int32"), classes, dtype=dtype)
        return wanted * (1 - self.smoothing) + self.smoothing / classes


class OrdinalLoss(ClassLoss):
    """Cross-entropy against a Gaussian over the neighbouring classes, with a standard deviation of half a class.

    See Diaz & Marathe, "Soft Labels for Ordinal Regression", CVPR 2019. Targets of shape (n, 3) hold class, lowest and
    highest class. If only the last two are known, the loss is the negative log probability of that range of classes.
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
    """Loss of a number, or of a closed range if only that is known; numbers are clipped to the attribute's range."""

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
        """Return each row's loss for a known value and for a known range, (n,) each."""


class BinsLoss(_NumberLoss):
    """Loss of a number as a distribution over bins.

    If only a closed range is known, it is the negative log probability inside the range. If the number is known:

    - with ``sigma``, cross-entropy against a Gaussian of ``sigma`` bins around it, plus the distance of the expectation
      from it in tenths of the range (as in DLDL-v2, Gao et al., IJCAI 2018);
    - without, cross-entropy of the bin that holds it (as in DEX, Rothe et al., 2015), with label smoothing.

    Args:
        attribute: with its bins.
        sigma: standard deviation of the label's normal distribution, in bins; None uses a single bin.
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
    """Regression loss of a number with one output; target and output are scaled so that ``low`` is 0 and ``high`` is 1.

    If only a range is known, the loss is that of the distance to the range, which is 0 inside it.

    Args:
        attribute: without bins.
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
    """Loss of points, from the distance ``d`` on each axis as a fraction of the crop's side.

    Args:
        kind: ``log``, which is ``log(1 + |d| / 0.05)``, steepest at zero; ``wing`` (Feng et al., "Wing Loss for Robust
            Facial Landmark Localisation", CVPR 2018), logarithmic near zero and linear beyond; ``l1``; or ``mse``.
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
    """Create the loss of each attribute from its kind and the recipe.

    Args:
        attributes: the schema.
        losses: from the recipe; ``weights``, ``uncertainty`` and ``class_balance`` are up to the caller.
        class_weights: (classes,) factors by name of a class attribute (:func:`class_weights`).

    Raises:
        TrainingError: the recipe's loss for numbers does not fit an attribute with bins, or one without.
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
    """Compute class weights that give all classes the same total weight, with mean 1 over the labelled rows.

    Args:
        attributes: the schema; only class attributes are used.
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
