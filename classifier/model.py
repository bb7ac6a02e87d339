"""ResNet50 with one output for each attribute of a schema, in Keras on any backend.

The network is ResNet50 v1 (He et al., 2016) with the layer names of ``keras.applications``: its ImageNet weights fit.
Batch norms of the blocks that never learn their statistics again are folded into the convolutions before training
(``norms`` names the blocks that keep them): the same function, a third less time a step in bfloat16 on a CPU.

Class and numeric outputs are linear in the pooled features. Points are read from a map of an eighth of the input's
side, which joins conv3, conv4 and conv5 (as feature pyramids do, Lin et al., CVPR 2017), by the expectation of each
point's heatmap (soft-argmax; Luvizon et al., 2019).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from ..weights.errors import TrainingError
from ..weights.manifest import Attribute
from .values import output_width

BLOCKS = ("conv1", "conv2", "conv3", "conv4", "conv5")
DEPTHS = {"resnet50": (3, 4, 6, 3), "resnet14": (1, 1, 1, 1)}
"""Residual units of conv2 to conv5. ``resnet14`` is for trying things out: it has a quarter of the depth."""
EPSILON = 1.001e-5
"""Of the batch norms, as keras.applications has it."""
MOMENTUM = 0.9
"""Of the batch norms' moving statistics: they must not lag behind weights that move fast (see batchnorm.py)."""
INPUT_MEAN = (103.939, 116.779, 123.68)
"""BGR mean that keras.applications' ResNet50 weights expect to be subtracted."""
STEP = 32
"""Input sizes are multiples of it."""


@keras.saving.register_keras_serializable("facepipe")
class SoftArgmax(layers.Layer):
    """Heatmaps (n, h, w, points) to the expected place of each point, (n, points * 2), x and y as fractions."""

    def call(self, heatmaps: Any) -> Any:
        _, height, width, points = heatmaps.shape
        y, x = np.mgrid[0:height, 0:width]
        grid = np.stack([(x + 0.5) / width, (y + 0.5) / height], axis=-1).reshape(1, -1, 1, 2)
        weights = ops.softmax(ops.reshape(heatmaps, (-1, height * width, points)), axis=1)
        places = ops.sum(ops.expand_dims(weights, -1) * ops.convert_to_tensor(grid, heatmaps.dtype), axis=1)
        return ops.reshape(places, (-1, points * 2))


def build_model(
    attributes: Iterable[Attribute],
    size: int,
    backbone: str = "resnet50",
    norms: Iterable[str] = BLOCKS,
    dropout: float = 0.2,
    points_width: int = 96,
) -> keras.Model:
    """Build the network, with random weights.

    Args:
        attributes: the schema; outputs are a dict by attribute name.
        size: side of the input in pixels, a multiple of 32. Weights do not depend on it.
        backbone: a key of ``DEPTHS``.
        norms: blocks that have batch norms; the others have none and expect weights with them folded in.
        dropout: of the pooled features.
        points_width: channels of the map from which points are read.

    Returns:
        A model from float images (n, size, size, 3), BGR minus ``INPUT_MEAN``, to a dict of float32 outputs.

    Raises:
        TrainingError: an unknown backbone, or a size that is no multiple of 32.
    """
    if backbone not in DEPTHS:
        raise TrainingError(f"unknown backbone {backbone!r}; one of {', '.join(DEPTHS)}")
    if size % STEP or size < STEP:
        raise TrainingError(f"input sizes are multiples of {STEP}, got {size}")
    normed = set(norms)

    def conv(x: Any, filters: int, kernel: int, name: str, stride: int = 1, active: bool = True) -> Any:
        padding = "valid" if stride > 1 else "same"
        x = layers.Conv2D(filters, kernel, stride, padding, kernel_initializer="he_normal", name=f"{name}_conv")(x)
        if name[:5] in normed:
            x = layers.BatchNormalization(epsilon=EPSILON, momentum=MOMENTUM, name=f"{name}_bn")(x)
        return layers.ReLU(name=f"{name}_relu")(x) if active else x

    image = keras.Input((size, size, 3), name="image")
    x = layers.ZeroPadding2D(3, name="conv1_pad")(image)
    x = conv(x, 64, 7, "conv1", stride=2)
    x = layers.MaxPooling2D(3, 2, name="pool1_pool")(layers.ZeroPadding2D(1, name="pool1_pad")(x))
    taps = []
    for block, units in zip(BLOCKS[1:], DEPTHS[backbone], strict=True):
        filters = 32 << int(block[-1]) - 1
        for unit in range(1, units + 1):
            name, stride = f"{block}_block{unit}", 2 if unit == 1 and block != "conv2" else 1
            shortcut = conv(x, 4 * filters, 1, f"{name}_0", stride, active=False) if unit == 1 else x
            x = conv(x, filters, 1, f"{name}_1", stride)
            x = conv(x, filters, 3, f"{name}_2")
            x = conv(x, 4 * filters, 1, f"{name}_3", active=False)
            x = layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, x]))
        taps.append(x)

    pooled = layers.GlobalAveragePooling2D(name="pooled", dtype="float32")(x)
    pooled = layers.Dropout(dropout, name="dropout", dtype="float32")(pooled)
    outputs = {}
    for attribute in attributes:
        width = output_width(attribute)
        if attribute.kind == "points":
            joined = layers.Conv2D(points_width, 1, name=f"{attribute.name}_conv5")(taps[-1])
            for tap, block in ((taps[-2], "conv4"), (taps[-3], "conv3")):
                finer = layers.Conv2D(points_width, 1, name=f"{attribute.name}_{block}")(tap)
                joined = layers.Add()([layers.UpSampling2D(2)(joined), finer])
            joined = layers.ReLU()(joined)
            joined = layers.Conv2D(points_width, 3, padding="same", activation="relu", name=f"{attribute.name}_mix")(
                joined
            )
            heatmaps = layers.Conv2D(width // 2, 1, dtype="float32", name=f"{attribute.name}_heatmaps")(joined)
            outputs[attribute.name] = SoftArgmax(dtype="float32", name=attribute.name)(heatmaps)
        else:
            outputs[attribute.name] = layers.Dense(width, dtype="float32", name=attribute.name)(pooled)
    return keras.Model(image, outputs, name=backbone)


def freeze(model: keras.Model, blocks: Iterable[str]) -> None:
    """Make the layers of some blocks untrainable (their batch norms run in inference mode), all others trainable.

    Raises:
        TrainingError: a name that is no block.
    """
    frozen = tuple(blocks)
    if unknown := set(frozen) - set(BLOCKS):
        raise TrainingError(f"unknown blocks to freeze: {', '.join(sorted(unknown))}; one of {', '.join(BLOCKS)}")
    for layer in model.layers:
        layer.trainable = layer.name[:5] not in frozen


def batch_norms(model: keras.Model) -> list[layers.BatchNormalization]:
    """The model's batch norms, in order."""
    return [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]


def get_weights(model: keras.Model) -> dict[str, np.ndarray]:
    """Every weight by path, ``<layer>/<variable>``, as float32."""
    return {
        f"{layer.name}/{variable.name}": np.asarray(keras.ops.convert_to_numpy(variable), np.float32)
        for layer in model.layers
        for variable in layer.weights
        if "seed_generator" not in variable.path
    }


def set_weights(model: keras.Model, weights: dict[str, np.ndarray]) -> None:
    """Set every weight by path.

    Raises:
        TrainingError: one is missing or has another shape.
    """
    for layer in model.layers:
        for variable in layer.weights:
            if "seed_generator" in variable.path:
                continue
            name = f"{layer.name}/{variable.name}"
            if name not in weights or weights[name].shape != tuple(variable.shape):
                got = weights[name].shape if name in weights else "nothing"
                raise TrainingError(f"weight {name} should have shape {tuple(variable.shape)}, got {got}")
            variable.assign(weights[name])
