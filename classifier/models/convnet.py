"""A plain convolutional network: a 3 x 3 convolution, ReLU and 2 x 2 pooling, five times; trained from scratch."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

FILTERS = (32, 64, 128, 256, 256)


def convnet_maps(image: Any, l2: float) -> list[Any]:
    """The maps of strides 8, 16 and 32.

    Args:
        image: the input, (n, size, size, 3).
        l2: factor of the squared kernels in the loss.
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
