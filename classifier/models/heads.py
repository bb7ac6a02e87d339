"""The neck and the heads: from the backbone's feature maps to the output of each attribute.

The neck pools the backbone's last map and regularises the result with batch norm and dropout. The heads read the pooled
features or the maps:

- Classes and bins are logits. A binary attribute has two, trained with softmax and cross-entropy, which is equivalent
  to a sigmoid of their difference with binary cross-entropy.
- A number without bins is one linear output, 0 at its ``low`` and 1 at its ``high``.
- Points are fractions of the crop's side. They are linear in the pooled features, or the expectation of each point's
  heatmap (soft-argmax; Luvizon et al., 2019). Heatmaps have an eighth of the input's side and combine the last three
  blocks, as in feature pyramids (Lin et al., CVPR 2017).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from ...weights.manifest import Attribute
from ..config.recipe import Heads, Neck
from ..inference.attributes import output_width
from .resnet import MOMENTUM

POOLED = "pooled"
"""The layer exposed as ``features``: the pooled features before batch norm and dropout."""
NECK_NORM, LAST = "neck_bn", "dropout"
NECK_EPSILON = 1e-3
"""Epsilon of the neck's batch norm."""


@keras.saving.register_keras_serializable("facepipe")
class SoftArgmax(layers.Layer):
    """Turns heatmaps (n, h, w, points) into expected points, (n, points * 2), x and y as fractions."""

    def call(self, heatmaps: Any) -> Any:
        _, height, width, points = heatmaps.shape
        y, x = np.mgrid[0:height, 0:width]
        grid = np.stack([(x + 0.5) / width, (y + 0.5) / height], axis=-1).reshape(1, -1, 1, 2)
        weights = ops.softmax(ops.reshape(heatmaps, (-1, height * width, points)), axis=1)
        places = ops.sum(ops.expand_dims(weights, -1) * ops.convert_to_tensor(grid, heatmaps.dtype), axis=1)
        return ops.reshape(places, (-1, points * 2))


def attribute_output(attribute: Attribute, pooled: Any, maps: list[Any], heads: Heads, l2: float = 0.0) -> Any:
    """Build the output of one attribute, (n, ``output_width``), float32.

    Args:
        attribute: the schema entry.
        pooled: (n, width), from the neck.
        maps: feature maps of strides 8, 16 and 32.
        heads: the recipe's heads.
        l2: factor of the dense layers' squared kernels in the loss (L2 penalty).
    """
    if attribute.kind == "points" and heads.points == "heatmaps":
        return _heatmap_points(attribute, maps, heads.points_width)
    regularizer = keras.regularizers.L2(l2) if l2 else None
    x = pooled
    for place, width in enumerate(heads.hidden, 1):
        x = layers.Dense(
            width,
            activation="relu",
            kernel_initializer="he_normal",
            kernel_regularizer=regularizer,
            dtype="float32",
            name=f"{attribute.name}_hidden{place}",
        )(x)
    regressed = attribute.kind == "points" or (attribute.kind == "numeric" and attribute.bins is None)
    # A regression begins near the middle of the range for every face. A kernel of usual size would begin far outside of
    # it: age on 1,280 features was 70 years off in training, and still 60 after 10,000 pictures at a rate of 1e-4.
    small = keras.initializers.RandomNormal(stddev=1e-3)
    return layers.Dense(
        output_width(attribute),
        kernel_initializer=small if regressed else "glorot_uniform",
        kernel_regularizer=regularizer,
        bias_initializer=keras.initializers.Constant(0.5) if regressed else "zeros",
        dtype="float32",
        name=attribute.name,
    )(x)


def _heatmap_points(attribute: Attribute, maps: list[Any], channels: int) -> Any:
    name = attribute.name
    joined = layers.Conv2D(channels, 1, name=f"{name}_conv5")(maps[-1])
    for finer, block in ((maps[-2], "conv4"), (maps[-3], "conv3")):
        beside = layers.Conv2D(channels, 1, name=f"{name}_{block}")(finer)
        joined = layers.Add()([_enlarged(joined, beside.shape[1]), beside])
    joined = layers.ReLU()(joined)
    joined = layers.Conv2D(channels, 3, padding="same", activation="relu", name=f"{name}_mix")(joined)
    heatmaps = layers.Conv2D(output_width(attribute) // 2, 1, dtype="float32", name=f"{name}_heatmaps")(joined)
    return SoftArgmax(dtype="float32", name=name)(heatmaps)


def _enlarged(x: Any, side: int) -> Any:
    """Upsample a map to the side of a finer one, about twice its own (InceptionV3 does not pad: 8, 17 and 35)."""
    if side == 2 * x.shape[1]:
        return layers.UpSampling2D(2)(x)
    return layers.Resizing(side, side, interpolation="bilinear")(x)


def pooled_features(last: Any, neck: Neck) -> tuple[Any, Any]:
    """Pool a map, (n, h, w, channels), to (n, width) float32; only ``flatten`` makes the width depend on the size.

    Returns:
        The pooled features, and the same after batch norm and dropout, as input of the heads.
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
    """Return the dense layers that read the neck: the first of each head without heatmaps."""
    read = [layer.output for layer in model.layers if layer.name == LAST]
    dense = [layer for layer in model.layers if isinstance(layer, layers.Dense)]
    return [layer.name for layer in dense if any(layer.input is each for each in read)]
