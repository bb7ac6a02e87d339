"""From trained weights to the ONNX files that serve, in float32, with float16 weights or in int8.

tf2onnx reads TensorFlow graphs, so this module runs on Keras' TensorFlow backend; ``export_run`` starts it in a process
of its own, whatever backend trained. The model is rebuilt in float32 and compared with the ONNX file it became.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..weights.errors import TrainingError
from ..weights.manifest import Attribute
from .values import output_width

if TYPE_CHECKING:
    import keras
    import onnx

Compression = Literal["float32", "float16", "int8"]
OPSET = 17
TOLERANCE = 1e-2
"""Largest difference between Keras and the float32 ONNX file, in logits and in fractions of the crop's side."""
CALIBRATION_BATCH = 16
QUANTISED = ["Conv", "Add", "MaxPool", "Relu", "Resize"]


def export_run(folder: Path, precisions: tuple[Compression, ...]) -> dict[str, float]:
    """Export a finished run's weights as ``classifier-<precision>.onnx`` files in its folder.

    Args:
        folder: holds ``settings.json``, ``weights.npz`` and ``calibration.npz`` (``images``: float32 model inputs).
        precisions: files to make.

    Returns:
        The largest difference between Keras and each file over the calibration images, by ``<precision>``; for int8
        and float16 it includes the loss by compression.

    Raises:
        TrainingError: the export failed, or the float32 file does not agree with Keras.
    """
    command = [sys.executable, "-m", "facepipe.classifier.export", str(folder), *precisions]
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TrainingError(f"the export to ONNX failed:\n{done.stderr[-3000:]}")
    differences: dict[str, float] = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    if differences["float32"] > TOLERANCE:
        raise TrainingError(f"the ONNX file differs from Keras by {differences['float32']:.2g}, over {TOLERANCE:g}")
    return differences


def _export(folder: Path, precisions: list[str]) -> None:
    """What the process of its own does."""
    import onnxruntime as ort

    from ..weights.compression import quantise_int8, store_float16
    from .model import build_model, set_weights
    from .start import fit_start, read_arrays
    from .training import Settings

    settings = Settings.model_validate_json((folder / "settings.json").read_bytes())
    images = read_arrays(folder / "calibration.npz")["images"]
    recipe = settings.recipe
    size, weights = recipe.stages[-1].size, read_arrays(folder / "weights.npz")
    trained = build_model(settings.attributes, size, recipe.backbone, recipe.norms)
    set_weights(trained, weights)
    folded = build_model(settings.attributes, size, recipe.backbone, ())
    fit_start(folded, weights, ())
    names = [attribute.name for attribute in settings.attributes]
    files = {precision: folder / f"classifier-{precision}.onnx" for precision in ("float32", *precisions)}
    _to_onnx(folded, settings.attributes, size, files["float32"])
    if "float16" in files:
        store_float16(files["float32"], files["float16"])
    if "int8" in files:
        starts = range(0, len(images), CALIBRATION_BATCH)
        batches = ({"image": images[start : start + CALIBRATION_BATCH]} for start in starts)
        quantise_int8(files["float32"], files["int8"], batches, _heatmaps, QUANTISED)
    probe = images[:CALIBRATION_BATCH]
    wanted = {name: np.asarray(value) for name, value in trained(probe, training=False).items()}
    differences = {}
    for precision, file in files.items():
        session = ort.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
        found = session.run(names, {"image": probe})
        differences[precision] = max(
            float(np.abs(wanted[name] - got).max()) for name, got in zip(names, found, strict=True)
        )
    (folder / "export.json").write_text(json.dumps(differences, indent=2) + "\n", encoding="utf-8")


def _to_onnx(model: keras.Model, attributes: tuple[Attribute, ...], size: int, path: Path) -> None:
    """Write the float32 file: input ``image`` (n, size, size, 3), an output named as each attribute."""
    import onnx
    import tensorflow as tf
    import tf2onnx

    from .model import get_weights

    names = [attribute.name for attribute in attributes]

    @tf.function(input_signature=[tf.TensorSpec((None, size, size, 3), tf.float32, name="image")])
    def serve(image):  # type: ignore[no-untyped-def]
        outputs = model(image, training=False)
        return [tf.identity(outputs[name], name=f"out_{name}") for name in names]

    proto, _ = tf2onnx.convert.from_function(serve, input_signature=serve.input_signature, opset=OPSET)
    graph = proto.graph
    renamed = {old.name: new for old, new in zip(graph.output, names, strict=True)}
    renamed[graph.input[0].name] = "image"
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output):
        value.name = renamed.get(value.name, value.name)
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    for value, attribute in zip(graph.output, attributes, strict=True):
        value.type.tensor_type.shape.dim[1].dim_value = output_width(attribute)
    _name_weights(proto, get_weights(model))
    onnx.checker.check_model(proto)
    onnx.save(proto, path)


def _name_weights(proto: onnx.ModelProto, weights: dict[str, np.ndarray]) -> None:
    """Name the file's weights ``<layer>/<variable>``, so that :func:`weights_of_onnx` finds them."""
    from onnx import numpy_helper

    known: dict[tuple[tuple[int, ...], bytes], str] = {}
    for name, array in weights.items():
        stored = np.ascontiguousarray(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array)
        known.setdefault((stored.shape, stored.tobytes()), name)
    renamed = {}
    for tensor in proto.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if name := known.pop((array.shape, np.ascontiguousarray(array).tobytes()), ""):
            renamed[tensor.name] = tensor.name = name
    for node in proto.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]


def weights_of_onnx(content: bytes) -> dict[str, np.ndarray]:
    """The weights in an exported file by path, float32; int8 and float16 are taken back to what they stand for.

    Batch norms are folded into the kernels (``fit_start`` takes care of that).

    Raises:
        TrainingError: the file names no weights as this module does.
    """
    import onnx
    from onnx import numpy_helper

    tensors = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(content).graph.initializer
    }
    weights: dict[str, np.ndarray] = {}
    for name, array in tensors.items():
        path = name.removesuffix("_half").removesuffix("_quantized")
        if not path.endswith(("/kernel", "/bias")):
            continue
        if name.endswith("_quantized"):
            scale = tensors.get(f"{path}_scale", tensors.get(f"{name}_scale"))
            shape = (-1,) + (1,) * (array.ndim - 1)
            array = array.astype(np.float32) * np.asarray(scale, np.float32).reshape(shape)
        weights[path] = (array.transpose(2, 3, 1, 0) if array.ndim == 4 else array).astype(np.float32)
    if not weights:
        raise TrainingError("the release's ONNX file names no weights by layer; start from an .npz")
    return weights


def _heatmaps(proto: onnx.ModelProto) -> list[str]:
    """The nodes that make and read the points' heatmaps; they and the linear heads stay in float."""
    return [node.name for node in proto.graph.node if "_heatmaps" in node.name]


if __name__ == "__main__":
    _export(Path(sys.argv[1]), sys.argv[2:])
