"""Backbones of ``keras.applications``, cloned with stable layer names and foldable batch norms.

A run's weights are stored by layer name, but Keras numbers unnamed layers differently in each process and model. The
clone also omits preprocessing layers (EfficientNet's rescaling and normalisation): the input convention of every
backbone is in the manifest, never in the graph.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

import keras
import numpy as np

from .resnet import MOMENTUM

IMAGENET_SHAPE = (224, 224, 3)
"""Input shape for loading the ImageNet weights, which fit any size."""
PREPARATION = (keras.layers.Rescaling, keras.layers.Normalization)
TAPS = {
    "mobilenetv2": ("block_6_expand_relu", "block_13_expand_relu", "out_relu"),
    "efficientnetb0": ("block4a_expand_activation", "block6a_expand_activation", "top_activation"),
    "inceptionv3": ("mixed2", "mixed7", "mixed10"),
}
"""Layers whose maps have strides 8, 16 and 32; for the first two networks, those commonly used by detectors."""

_PARTS = {
    "mobilenetv2": (
        (r"Conv1|bn_Conv1|expanded_conv_.*", "conv1"),
        (r"block_[12]_.*", "conv2"),
        (r"block_[345]_.*", "conv3"),
        (r"block_([6-9]|1[012])_.*", "conv4"),
        (r"block_1[3-6]_.*|Conv_1(_bn)?", "conv5"),
    ),
    "efficientnetb0": (
        (r"stem_.*|block1._.*", "conv1"),
        (r"block2._.*", "conv2"),
        (r"block3._.*", "conv3"),
        (r"block[45]._.*", "conv4"),
        (r"block[67]._.*|top_.*", "conv5"),
    ),
}
_INCEPTION_LAST = (2, 4, 25, 69, 93)
"""Index, from 0, of InceptionV3's last convolution in each block."""


def block_of(name: str, layer: str) -> str:
    """Return the block of a layer with weights; "" for a layer outside the backbone."""
    if name == "inceptionv3":
        found = re.fullmatch(r"(?:conv2d|batch_normalization)(?:_(\d+))?", layer)
        if found is None:
            return ""
        number = int(found[1] or 0)
        return next(f"conv{block}" for block, last in enumerate(_INCEPTION_LAST, 1) if number <= last)
    return next((block for pattern, block in _PARTS[name] if re.fullmatch(pattern, layer)), "")


def norm_of(name: str, layer: str) -> str:
    """Return the batch norm after a convolution; "" if there is none."""
    if not block_of(name, layer):
        return ""
    if name == "inceptionv3":
        return layer.replace("conv2d", "batch_normalization") if layer.startswith("conv2d") else ""
    if name == "efficientnetb0":
        if layer.endswith("dwconv"):
            return f"{layer.removesuffix('dwconv')}bn"
        return f"{layer.removesuffix('_conv')}_bn" if layer.endswith("_conv") else ""
    if layer == "Conv1":
        return "bn_Conv1"
    if layer == "Conv_1":
        return "Conv_1_bn"
    return f"{layer}_BN" if layer.endswith(("_expand", "_depthwise", "_project")) else ""


def application_maps(name: str, function: str, image: Any, norms: Collection[str]) -> list[Any]:
    """Build the maps of strides 8, 16 and 32 of a clone of the application, with random weights.

    Args:
        name: a key of ``TAPS``.
        function: its function in keras.applications.
        image: the input, (n, size, size, 3).
        norms: blocks with batch norms; the others have none and expect weights with the norms folded in.
    """
    size = image.shape[1]
    original = getattr(keras.applications, function)(weights=None, include_top=False, input_shape=(size, size, 3))
    names = lasting_names(original)
    folded = {
        norm
        for layer in names.values()
        if (norm := norm_of(name, layer)) and block_of(name, layer) not in norms and norm in names.values()
    }

    def copy(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config() | {"name": names[layer.name]}
        if "momentum" in config:
            config["momentum"] = MOMENTUM
        if norm_of(name, config["name"]) in folded:
            config["use_bias"] = True
        return layer.__class__.from_config(config)

    def call(layer: keras.Layer, x: Any, *rest: Any, **options: Any) -> Any:
        left_out = isinstance(layer, PREPARATION) or layer.name in folded
        return x if left_out else layer(x, *rest, **options)

    clone = keras.models.clone_model(original, input_tensors=image, clone_function=copy, call_function=call)
    return [clone.get_layer(tap).output for tap in TAPS[name]]


def lasting_names(model: keras.Model) -> dict[str, str]:
    """Map each layer name to a stable one: names that Keras numbered are renumbered within this model."""
    numbered: dict[str, list[tuple[int, str]]] = {}
    names = {}
    for layer in model.layers:
        stem = _numbered_stem(layer)
        found = re.fullmatch(rf"{stem}(?:_(\d+))?", layer.name)
        if found:
            numbered.setdefault(stem, []).append((int(found[1] or 0), layer.name))
        else:
            names[layer.name] = layer.name
    for stem, found_names in numbered.items():
        for place, (_, old) in enumerate(sorted(found_names)):
            names[old] = f"{stem}_{place}" if place else stem
    return names


def _numbered_stem(layer: keras.Layer) -> str:
    """Return the name that Keras derives from a layer's class, without the number."""
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", type(layer).__name__)).lower()


def imagenet_arrays(function: Callable[..., keras.Model]) -> dict[str, np.ndarray]:
    """Return an application's ImageNet weights by ``<layer>/<variable>``; Keras downloads and caches them."""
    model = function(weights="imagenet", include_top=False, input_shape=IMAGENET_SHAPE)
    names = lasting_names(model)
    return {
        f"{names[layer.name]}/{variable.name}": np.asarray(keras.ops.convert_to_numpy(variable), np.float32)
        for layer in model.layers
        for variable in layer.weights
        if "seed_generator" not in variable.path
    }
