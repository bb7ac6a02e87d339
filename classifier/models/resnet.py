"""Residual networks whose batch norms can be omitted block by block, and a plain convolutional network.

The residual networks follow He et al., "Deep Residual Learning", CVPR 2016. ``resnet50`` is ResNet50 v1 with the layer
names of ``keras.applications``, whose ImageNet weights fit. ``resnet18`` has basic blocks as in torchvision (padding on
both sides, the stride in a block's first convolution). The plain network repeats a 3 x 3 convolution, ReLU and 2 x 2
pooling five times and is trained from scratch.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras
from keras import layers

EPSILON = 1.001e-5
"""Epsilon of the batch norms, as in keras.applications."""
MOMENTUM = 0.9
"""Momentum of the batch norms' moving statistics, low enough to follow fast-moving weights (see
``training/validation.py``)."""
FILTERS = (32, 64, 128, 256, 256)
"""Filters per block of the plain network."""
DEPTHS = {"resnet50": (3, 4, 6, 3), "resnet18": (2, 2, 2, 2), "resnet14": (1, 1, 1, 1)}
"""Residual units in conv2 to conv5. ``resnet14`` is for experiments: ResNet50 at a quarter of the depth."""
BASIC = {"resnet18"}
"""Networks with basic units of two 3 x 3 convolutions; the others have bottleneck units."""


def residual_maps(name: str, image: Any, norms: Collection[str], l2: float) -> list[Any]:
    """Build the feature maps of strides 8, 16 and 32.

    Args:
        name: a key of ``DEPTHS``.
        image: the input, (n, size, size, 3).
        norms: blocks with batch norms; the others have none and expect weights with the norms folded in.
        l2: factor of the squared kernels in the loss (L2 penalty).
    """

    def conv(x: Any, filters: int, kernel: int, name: str, stride: int = 1, active: bool = True) -> Any:
        regularizer = keras.regularizers.L2(l2) if l2 else None
        padding = "valid" if stride > 1 else "same"
        x = layers.Conv2D(
            filters,
            kernel,
            stride,
            padding,
            kernel_initializer="he_normal",
            kernel_regularizer=regularizer,
            name=f"{name}_conv",
        )(x)
        if name[:5] in norms:
            x = layers.BatchNormalization(epsilon=EPSILON, momentum=MOMENTUM, name=f"{name}_bn")(x)
        return layers.ReLU(name=f"{name}_relu")(x) if active else x

    x = layers.ZeroPadding2D(3, name="conv1_pad")(image)
    x = conv(x, 64, 7, "conv1", stride=2)
    x = layers.MaxPooling2D(3, 2, name="pool1_pool")(layers.ZeroPadding2D(1, name="pool1_pad")(x))
    maps = []
    for stage, units in enumerate(DEPTHS[name], 2):
        filters = 32 << stage - 1
        for index in range(1, units + 1):
            unit, stride = f"conv{stage}_block{index}", 2 if index == 1 and stage > 2 else 1
            shortcut = x
            if name in BASIC:
                if stride > 1:
                    shortcut = conv(x, filters, 1, f"{unit}_0", stride, active=False)
                    x = layers.ZeroPadding2D(1, name=f"{unit}_1_pad")(x)
                x = conv(x, filters, 3, f"{unit}_1", stride)
                x = conv(x, filters, 3, f"{unit}_2", active=False)
            else:
                if index == 1:
                    shortcut = conv(x, 4 * filters, 1, f"{unit}_0", stride, active=False)
                x = conv(x, filters, 1, f"{unit}_1", stride)
                x = conv(x, filters, 3, f"{unit}_2")
                x = conv(x, 4 * filters, 1, f"{unit}_3", active=False)
            x = layers.ReLU(name=f"{unit}_out")(layers.Add(name=f"{unit}_add")([shortcut, x]))
        maps.append(x)
    return maps[1:]


def convnet_maps(image: Any, l2: float) -> list[Any]:
    """Build the feature maps of strides 8, 16 and 32.

    Args:
        image: the input, (n, size, size, 3).
        l2: factor of the squared kernels in the loss (L2 penalty).
    """
    maps, x = [], image
    for block, filters in enumerate(FILTERS, 1):
        regularizer = keras.regularizers.L2(l2) if l2 else None
        x = layers.Conv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            kernel_regularizer=regularizer,
            name=f"conv{block}_conv",
        )(x)
        x = layers.MaxPooling2D(2, name=f"conv{block}_pool")(x)
        maps.append(x)
    return maps[2:]
