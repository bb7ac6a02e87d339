"""The weights of a YOLOv8 cut down to a narrower one: a start for a small detector, taken from a released large one.

Each convolution keeps the outputs whose kernels have the largest L2 norm (Li et al., "Pruning Filters for Efficient
ConvNets", 2017), and the inputs that its predecessors kept. Batch norms are folded into the kernels, so their scales
count. Channels that are added to each other are chosen together. A network that is cut so finds little by itself, and
learns again much faster than from random weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import ultralytics_setup  # noqa: F401  isort: skip
from ultralytics.nn.modules import SPPF, C2f, Concat, Conv, Detect
from ultralytics.nn.tasks import DetectionModel

from ...core.errors import TrainingError

Arrays = dict[str, np.ndarray]


def narrowed(arrays: Arrays, wide: DetectionModel, narrow: DetectionModel) -> Arrays:
    """Cut the arrays of a wide network to the shapes of a narrow one.

    Args:
        arrays: of the wide network by name in ultralytics' state_dict, batch norms folded: ``….conv.weight``, (outputs,
            inputs, height, width), and ``….conv.bias``, (outputs,).
        wide: a YOLOv8 of the same widths.
        narrow: one with as many layers, none of them wider.

    Returns:
        The arrays of the narrow network, of the same names.

    Raises:
        TrainingError: the two have other layers, or a layer would have to grow.
    """
    if [type(layer) for layer in wide.model] != [type(layer) for layer in narrow.model]:
        raise TrainingError("the two architectures have different layers, so one cannot start from the other")
    cutter = _Cutter(arrays)
    kept: list[np.ndarray] = []
    for number, (old, new) in enumerate(zip(wide.model, narrow.model, strict=True)):
        places = [old.f] if isinstance(old.f, int) else list(old.f)
        inputs = [np.arange(3)] if not kept else [kept[place] for place in places]
        widths = [_width(wide, number + place if place < 0 else place) for place in places] if kept else [3]
        name = f"model.{number}"
        if isinstance(old, Conv):
            kept.append(cutter.convolution(name, inputs[0], new.conv.out_channels))
        elif isinstance(old, C2f):
            kept.append(_cut_c2f(cutter, name, old, new, inputs[0]))
        elif isinstance(old, SPPF):
            middle = cutter.convolution(f"{name}.cv1", inputs[0], new.cv1.conv.out_channels)
            four = _side_by_side([middle] * 4, [old.cv1.conv.out_channels] * 4)
            kept.append(cutter.convolution(f"{name}.cv2", four, new.cv2.conv.out_channels))
        elif isinstance(old, Concat):
            kept.append(_side_by_side(inputs, widths))
        elif isinstance(old, Detect):
            _cut_head(cutter, name, old, new, inputs)
            kept.append(np.arange(0))
        else:
            kept.append(inputs[0])  # upsampling
    return cutter.made


class _Cutter:
    """Cuts convolutions of a network one by one.

    Attributes:
        made: the arrays so far.
    """

    def __init__(self, arrays: Arrays):
        self.arrays, self.made = arrays, Arrays()

    def strength(self, name: str, outputs: slice = slice(None)) -> np.ndarray:
        """L2 norm of each output's kernel, (outputs,)."""
        kernel = self._array(f"{name}.conv.weight")[outputs]
        return np.asarray(np.sqrt((kernel.astype(np.float64) ** 2).sum(axis=(1, 2, 3))))

    def convolution(
        self, name: str, inputs: np.ndarray, count: int, outputs: np.ndarray | None = None, of: str = ".conv"
    ) -> np.ndarray:
        """Cut one convolution, and return the indices of the outputs that it keeps, ascending.

        Args:
            name: of the module.
            inputs: indices of the inputs that are left.
            count: how many outputs stay.
            outputs: which ones; None takes the strongest.
            of: what follows the name in the arrays' names.
        """
        kernel, bias = self._array(f"{name}{of}.weight"), self._array(f"{name}{of}.bias")
        if outputs is None:
            outputs = strongest(self.strength(name), count) if count < len(kernel) else np.arange(len(kernel))
        if count > len(kernel):
            raise TrainingError(f"{name}: {count} outputs cannot be cut out of {len(kernel)}")
        self.made[f"{name}{of}.weight"] = np.ascontiguousarray(kernel[outputs][:, inputs])
        self.made[f"{name}{of}.bias"] = np.ascontiguousarray(bias[outputs])
        return outputs

    def _array(self, name: str) -> np.ndarray:
        if name not in self.arrays:
            raise TrainingError(f"the release names no weights of {name}; start from another one")
        return self.arrays[name]


def strongest(strength: np.ndarray, count: int) -> np.ndarray:
    """Indices of the ``count`` largest values of ``strength``, (n,), ascending: int, (count,)."""
    return np.sort(np.argsort(-strength, kind="stable")[:count])


def _width(model: DetectionModel, number: int) -> int:
    """Output channels of a layer."""
    layer = model.model[number]
    if isinstance(layer, Conv):
        return int(layer.conv.out_channels)
    if isinstance(layer, C2f | SPPF):
        return int(layer.cv2.conv.out_channels)
    places = [layer.f] if isinstance(layer.f, int) else list(layer.f)
    return sum(_width(model, number + place if place < 0 else place) for place in places)


def _side_by_side(parts: Sequence[np.ndarray], widths: Sequence[int]) -> np.ndarray:
    """Indices into parts that are concatenated, from those into each part and the parts' full widths."""
    starts = np.concatenate([[0], np.cumsum(widths)[:-1]]).astype(int)
    return np.concatenate([part + start for part, start in zip(parts, starts, strict=True)])


def _cut_c2f(cutter: _Cutter, name: str, old: C2f, new: C2f, inputs: np.ndarray) -> np.ndarray:
    """A C2f: one convolution split in halves, bottlenecks on the second, and one over all of them."""
    width, count = int(old.c), int(new.c)
    first = strongest(cutter.strength(f"{name}.cv1", slice(0, width)), count)
    strength = cutter.strength(f"{name}.cv1", slice(width, None))
    added = [block.add for block in old.m]
    if all(added):  # what is added to each other keeps the same channels
        strength = strength + sum(cutter.strength(f"{name}.m.{index}.cv2") for index in range(len(old.m)))
    second = strongest(strength, count)
    cutter.convolution(f"{name}.cv1", inputs, 2 * count, np.concatenate([first, width + second]))
    parts, left = [first, second], second
    for index, block in enumerate(new.m):
        inner = cutter.convolution(f"{name}.m.{index}.cv1", left, block.cv1.conv.out_channels)
        left = cutter.convolution(f"{name}.m.{index}.cv2", inner, count, second if all(added) else None)
        parts.append(left)
    return cutter.convolution(f"{name}.cv2", _side_by_side(parts, [width] * len(parts)), new.cv2.conv.out_channels)


def _cut_head(cutter: _Cutter, name: str, old: Detect, new: Detect, inputs: Sequence[np.ndarray]) -> None:
    """The detection head: for each level two convolutions and a plain one, for boxes and for classes."""
    for branch in ("cv2", "cv3"):
        for level, left in enumerate(inputs):
            blocks = getattr(new, branch)[level]
            place = f"{name}.{branch}.{level}"
            for index in range(2):
                left = cutter.convolution(f"{place}.{index}", left, blocks[index].conv.out_channels)
            cutter.convolution(f"{place}.2", left, getattr(old, branch)[level][2].out_channels, None, "")
    if f"{name}.dfl.conv.weight" in cutter.arrays:
        cutter.made[f"{name}.dfl.conv.weight"] = cutter.arrays[f"{name}.dfl.conv.weight"]
