"""Smaller ONNX files: float16 storage and static int8. Needs ``onnx``, which the ``train`` extra installs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

LEAST = 1024
"""Arrays with fewer elements stay in float32: they take hardly any space."""


def store_float16(source: Path, target: Path) -> None:
    """Halve a model's size: store the weights in float16, and cast each back to float32.

    ONNX Runtime folds the casts when it loads the model, so it computes in float32 at float32 speed.
    """
    proto = onnx.load(source)
    casts = []
    for tensor in proto.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype != np.float32 or array.size < LEAST or np.abs(array).max() > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16), f"{name}_half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    onnx.checker.check_model(proto)
    onnx.save(proto, target)


class _Inputs(CalibrationDataReader):
    """Feeds model inputs one by one to the quantiser."""

    def __init__(self, inputs: Iterable[dict[str, np.ndarray]]):
        self.inputs: Iterator[dict[str, np.ndarray]] = iter(inputs)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.inputs, None)


def quantise_int8(
    source: Path,
    target: Path,
    inputs: Iterable[dict[str, np.ndarray]],
    in_float: Callable[[onnx.ModelProto], list[str]],
    kinds: list[str] | None = None,
) -> None:
    """Quantise a float32 model to int8: static QDQ, one scale per output channel of the weights.

    Weights use 7 of the 8 bits. Without instructions for 8-bit products (VNNI), x86 processors add two products of
    unsigned and signed bytes up in 16 bits, which saturate: 2 x 255 x 127 > 32,767, but 2 x 255 x 64 is not (ONNX
    Runtime's quantization guide, "U8S8 on AVX2"). So every x86 processor gets the same sums; the manifest
    calls it ``reduced_range``. docs/speed.md has what it costs.

    Args:
        source: the float32 model.
        target: the int8 model.
        inputs: model inputs by name, (1, …) each, to calibrate the activation ranges: a hundred training pictures.
        in_float: returns the names of the model's nodes that stay in float32.
        kinds: operators to quantise; None for all that onnxruntime supports.
    """
    with tempfile.TemporaryDirectory() as temporary:
        ready = Path(temporary) / "ready.onnx"
        quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
        quantize_static(
            str(ready),
            str(target),
            _Inputs(inputs),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=kinds,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=in_float(onnx.load(ready)),
            reduce_range=True,
            extra_options={"CalibMovingAverage": True},  # one outlier must not widen a range for all
        )
