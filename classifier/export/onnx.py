"""Export of trained weights to the served ONNX files: float32, float16 weights or int8.

tf2onnx reads TensorFlow graphs, so this module needs Keras' TensorFlow backend; ``export_run`` starts it in a separate
process, whatever backend was used for training. The model is rebuilt in float32 with every batch norm folded, and
the ONNX file is compared with Keras. The file has one output per attribute and ``features``, the pooled features before
the heads.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import TrainingError
from ...weights.manifest import Attribute
from ..config.recipe import Recipe
from ..inference.classifier import FEATURES
from ..training.run_folder import Compression

if TYPE_CHECKING:
    import keras
    import onnx

OPSET = 17
TOLERANCE = 1e-2
"""Maximum difference between Keras and the float32 ONNX file, in logits and in fractions of the crop's side."""
CALIBRATION_BATCH = 16


def export_run(folder: Path, precisions: tuple[Compression, ...]) -> dict[str, float]:
    """Export a finished run's weights as ``classifier-<precision>.onnx`` files in its folder.

    Args:
        folder: holds ``settings.json``, ``weights.npz`` and ``calibration.npz`` (``images``: float32 model inputs).
        precisions: files to make.

    Returns:
        The maximum difference between Keras and each file over the first ``CALIBRATION_BATCH`` calibration images, by
        precision; for int8 and float16 it includes the loss from compression.

    Raises:
        TrainingError: the export failed, or the float32 file does not match Keras.
    """
    command = [sys.executable, "-m", "facepipe.classifier.export.onnx", str(folder), *precisions]
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TrainingError(f"the export to ONNX failed:\n{done.stderr[-3000:]}")
    differences: dict[str, float] = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    return differences


def export_files(
    folder: Path,
    attributes: tuple[Attribute, ...],
    recipe: Recipe,
    weights: dict[str, np.ndarray],
    images: np.ndarray,
    precisions: tuple[Compression, ...],
) -> dict[str, float]:
    """Export in this process, which must run Keras on TensorFlow; see ``export_run``.

    Args:
        folder: output folder.
        attributes: the schema.
        recipe: the one that the model was built with.
        weights: of the trained model, as returned by ``multitask.get_weights``.
        images: model inputs, float32, (n, size, size, 3), to calibrate int8; the first ones also compare the files.
        precisions: of the files to make; float32 is always made.

    Raises:
        TrainingError: the float32 file does not match Keras, or the weights do not fit the recipe.
    """
    import onnxruntime as ort

    from ...weights.compression import quantise_int8, store_float16
    from ..models.backbones import find_backbone
    from ..models.multitask import build_model, set_weights
    from ..models.pretrained import fit_start

    trained = build_model(attributes, recipe, recipe.size)
    set_weights(trained, weights)
    plain = recipe.model_copy(update={"neck": recipe.neck.model_copy(update={"batch_norm": False})})
    folded = build_model(attributes, plain, recipe.size, norms=())
    fit_start(folded, weights)
    names = [*(attribute.name for attribute in attributes), FEATURES]
    files = {precision: folder / f"classifier-{precision}.onnx" for precision in ("float32", *precisions)}
    _to_onnx(folded, names, recipe.size, files["float32"])
    if "float16" in files:
        store_float16(files["float32"], files["float16"])
    if "int8" in files:
        starts = range(0, len(images), CALIBRATION_BATCH)
        batches = ({"image": images[start : start + CALIBRATION_BATCH]} for start in starts)
        kinds = list(find_backbone(recipe.backbone).quantised)
        quantise_int8(files["float32"], files["int8"], batches, head_nodes, kinds)
    probe = images[:CALIBRATION_BATCH]
    outputs = trained(probe, training=False)
    wanted = [np.asarray(outputs[attribute.name]) for attribute in attributes]
    differences: dict[str, float] = {}
    for precision, file in files.items():
        session = ort.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
        found = session.run(names[:-1], {"image": probe})
        differences[precision] = max(float(np.abs(ours - got).max()) for ours, got in zip(wanted, found, strict=True))
    if not differences["float32"] <= TOLERANCE:
        raise TrainingError(f"the ONNX file differs from Keras by {differences['float32']:.2g}, over {TOLERANCE:g}")
    return differences


def _export(folder: Path, precisions: tuple[Compression, ...]) -> None:
    """Run the export in the separate process."""
    from ..models.pretrained import read_arrays
    from ..training.run_folder import read_settings

    settings = read_settings(folder)
    images = read_arrays(folder / "calibration.npz")["images"]
    weights = read_arrays(folder / "weights.npz")
    differences = export_files(folder, settings.attributes, settings.recipe, weights, images, precisions)
    (folder / "export.json").write_text(json.dumps(differences, indent=2) + "\n", encoding="utf-8")


def _to_onnx(model: keras.Model, names: list[str], size: int, path: Path) -> None:
    """Write the float32 file: input ``image`` (n, size, size, 3) and the named outputs, ``features`` last."""
    import keras
    import onnx
    import tensorflow as tf
    import tf2onnx

    from ..models.multitask import get_weights

    tensors = {**model.output, names[-1]: model.features}
    serving = keras.Model(model.input, [tensors[name] for name in names])

    @tf.function(input_signature=[tf.TensorSpec((None, size, size, 3), tf.float32, name="image")])
    def serve(image):  # type: ignore[no-untyped-def]
        found = serving(image, training=False)
        return [tf.identity(output, name=f"out_{name}") for output, name in zip(found, names, strict=True)]

    with _eager_collection():
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
    for value, name in zip(graph.output, names, strict=True):
        value.type.tensor_type.shape.dim[1].dim_value = tensors[name].shape[-1]
    _name_weights(proto, get_weights(model))
    onnx.checker.check_model(proto)
    onnx.save(proto, path)


@contextmanager
def _eager_collection() -> Iterator[None]:
    """Make full garbage collections cheap and frequent by freezing all existing objects.

    tf2onnx copies the graph with its weights in each of its many passes, and the copies contain reference cycles.
    Without this, ResNet50 takes 10 GB instead of 6.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(before[0], 1, 1)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
        gc.collect()


def _name_weights(proto: onnx.ModelProto, weights: dict[str, np.ndarray]) -> None:
    """Name the file's weights ``<layer>/<variable>``, as ``pretrained.weights_of_onnx`` expects."""
    from onnx import numpy_helper

    from ..models.pretrained import CONV, DEPTHWISE

    known: dict[tuple[tuple[int, ...], bytes], str] = {}
    for name, array in weights.items():
        layouts = (CONV, DEPTHWISE) if array.ndim == 4 and array.shape[3] == 1 else (CONV,)
        for stored in [array.transpose(layout) for layout in layouts] if array.ndim == 4 else [array]:
            known.setdefault((stored.shape, np.ascontiguousarray(stored).tobytes()), name)
    renamed = {}
    for tensor in proto.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if name := known.pop((array.shape, np.ascontiguousarray(array).tobytes()), ""):
            renamed[tensor.name] = tensor.name = name
    for node in proto.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]


def head_nodes(proto: onnx.ModelProto) -> list[str]:
    """Return the nodes to keep in float: the heatmap nodes, and all nodes after them or after the features."""
    reached, names = {FEATURES}, []
    for node in proto.graph.node:  # in topological order
        if "_heatmaps" in node.name or reached.intersection(node.input):
            reached.update(node.output)
            names.append(node.name)
    return names


if __name__ == "__main__":
    _export(Path(sys.argv[1]), tuple(sys.argv[2:]))  # type: ignore[arg-type]
