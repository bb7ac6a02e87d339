"""The backbones available to recipes: input convention, freezable blocks and construction of each.

Every backbone has five blocks, ``conv1`` to ``conv5``, which end at strides 2, 4, 8, 16 and 32. A recipe can therefore
switch backbones and keep its stages.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from ...core.errors import TrainingError
from ...weights.manifest import InputSpec
from .keras_applications import application_maps, block_of, norm_of
from .resnet import EPSILON, convnet_maps, residual_maps

BLOCKS = ("conv1", "conv2", "conv3", "conv4", "conv5")
ALL = "backbone"
"""Stands for all blocks."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of RGB pixels from 0 to 1, as used by torchvision and EfficientNet."""
CAFFE_MEAN = (103.939, 116.779, 123.68)
"""BGR mean to subtract for the ResNet50 weights of keras.applications."""

_KINDS = ("Conv", "Add", "MaxPool", "Relu", "Resize")

Maps = list[Any]
_TORCH: dict[str, Any] = {"colour": "RGB", "scale": 1 / 255, "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
_TF: dict[str, Any] = {"scale": 1 / 127.5, "mean": (1.0, 1.0, 1.0)}


@dataclass(frozen=True)
class Backbone:
    """A backbone network, without neck and heads."""

    name: str
    maps: Callable[[Any, Collection[str], float], Maps]
    """Builds the maps of strides 8, 16 and 32 from the image, the blocks with batch norms and the L2 factor."""
    block: Callable[[str], str]
    """Returns the block of a layer with weights, by name; "" for a layer outside the backbone."""
    norm: Callable[[str], str]
    """Returns the batch norm after a convolution, by name; "" if there is none."""
    colour: Literal["RGB", "BGR"]
    scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    epsilon: float = EPSILON
    """Epsilon of the batch norms."""
    least: int = 32
    """Minimum input side in pixels."""
    step: int = 32
    """Input sides must be multiples of this."""
    application: str = ""
    """The function of keras.applications whose ImageNet weights fit; "" if there is none."""
    blocks: tuple[str, ...] = (*BLOCKS, ALL)
    """Names accepted by ``freeze``."""
    quantised: tuple[str, ...] = _KINDS
    """ONNX operators that int8 export quantises."""
    depthwise: bool = False
    """Whether it is made of depthwise convolutions. TensorFlow trains those slower in bfloat16 on a CPU: EfficientNetB0
    at 20 instead of 30 pictures a second, MobileNetV2 at 36 instead of 42 (128 px, one core with AVX512-BF16)."""

    def input_spec(self, size: int) -> InputSpec:
        """Return the input convention at a size: ``(pixel * scale - mean) / std``, (n, size, size, 3)."""
        self.check_size(size)
        return InputSpec(
            name="image",
            size=size,
            colour=self.colour,
            layout="NHWC",
            scale=self.scale,
            mean=self.mean,
            std=self.std,
        )

    def check_size(self, size: int) -> None:
        """Check an input size.

        Raises:
            TrainingError: the backbone does not support it.
        """
        if size < self.least or size % self.step:
            wanted = f"multiples of {self.step}" if self.step > 1 else "whole numbers"
            raise TrainingError(f"input sizes of {self.name} are {wanted} from {self.least}, got {size}")


def _ours_block(layer: str) -> str:
    return layer[:5] if layer[:5] in BLOCKS and layer[5:6] == "_" else ""


def _ours_norm(layer: str) -> str:
    return f"{layer.removesuffix('_conv')}_bn" if _ours_block(layer) and layer.endswith("_conv") else ""


def _no_norm(layer: str) -> str:
    return ""


def _convnet(image: Any, norms: Collection[str], l2: float) -> Maps:
    return convnet_maps(image, l2)


def _resnet(name: str, **convention: Any) -> Backbone:
    return Backbone(name, partial(residual_maps, name), _ours_block, _ours_norm, **convention)


def _application(name: str, function: str, **convention: Any) -> Backbone:
    def maps(image: Any, norms: Collection[str], l2: float) -> Maps:
        return application_maps(name, function, image, norms)

    return Backbone(
        name, maps, partial(block_of, name), partial(norm_of, name), "RGB",
        epsilon=1e-3, application=function, **convention,
    )  # fmt: skip


BACKBONES: dict[str, Backbone] = {
    backbone.name: backbone
    for backbone in (
        _resnet("resnet50", colour="BGR", mean=CAFFE_MEAN, application="ResNet50"),
        _resnet("resnet14", colour="BGR", mean=CAFFE_MEAN),
        _resnet("resnet18", **_TORCH),
        Backbone("convnet", _convnet, _ours_block, _no_norm, "RGB", 1 / 255),
        _application("mobilenetv2", "MobileNetV2", **_TF, quantised=(*_KINDS, "Clip"), depthwise=True),
        _application(
            "efficientnetb0",
            "EfficientNetB0",
            scale=1 / 255,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            quantised=(*_KINDS, "Mul", "Sigmoid"),
            depthwise=True,
        ),
        _application("inceptionv3", "InceptionV3", **_TF, least=75, step=1),
    )
}


def find_backbone(name: str) -> Backbone:
    """Return a backbone by name.

    Raises:
        TrainingError: there is no such backbone.
    """
    if name not in BACKBONES:
        raise TrainingError(f"unknown backbone {name!r}; one of {', '.join(BACKBONES)}")
    return BACKBONES[name]
