"""What lies between a backbone's last map and the heads: pooling, and what regularises it."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from ..config.recipe import Neck
from .resnet import MOMENTUM

POOLED = "pooled"
"""The layer whose output people take as features: the pooled numbers before batch norm and dropout."""
NECK_NORM, LAST = "neck_bn", "dropout"
NECK_EPSILON = 1e-3
"""Of the neck's batch norm."""


def pooled_features(last: Any, neck: Neck) -> tuple[Any, Any]:
    """Pool a map, (n, h, w, channels), to (n, width) float32; only ``flatten`` makes the width depend on the size.

    Returns:
        The pooled numbers, and what the heads read: the same after batch norm and dropout.
    """
    match neck.pool:
        case "average":
            x = layers.GlobalAveragePooling2D(name=POOLED, dtype="float32")(last)
        case "max":
            x = layers.GlobalMaxPooling2D(name=POOLED, dtype="float32")(last)
        case "flatten":
            x = layers.Flatten(name=POOLED, dtype="float32")(last)
    features = x
    if neck.batch_norm:
        x = layers.BatchNormalization(epsilon=NECK_EPSILON, momentum=MOMENTUM, name=NECK_NORM, dtype="float32")(x)
    return features, layers.Dropout(neck.dropout, name=LAST, dtype="float32")(x)


def neck_layers(model: keras.Model) -> list[str]:
    """The dense layers that read the neck: the first of each head that is not made of heatmaps."""
    read = [layer.output for layer in model.layers if layer.name == LAST]
    dense = [layer for layer in model.layers if isinstance(layer, layers.Dense)]
    return [layer.name for layer in dense if any(layer.input is each for each in read)]
