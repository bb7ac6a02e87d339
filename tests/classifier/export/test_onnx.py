"""The files of an export: int8 and float16 of every kind of network, weights by name, a process of its own."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from facepipe.classifier.config.recipe import Heads, Neck, Recipe, Stage
from facepipe.classifier.config.schema import find_schema, read_schema
from facepipe.classifier.export import onnx as export
from facepipe.classifier.export.onnx import export_files, export_run
from facepipe.classifier.models.multitask import build_model, get_weights, set_weights
from facepipe.classifier.models.pretrained import fit_start, weights_of_onnx
from facepipe.classifier.training.run_folder import Settings
from facepipe.core.errors import TrainingError
from facepipe.weights.manifest import CropRecipe, PointsAttribute

SCHEMA = read_schema(find_schema("multitask"))


def recipe(backbone: str, size: int = 32, **parts) -> Recipe:
    stages = (Stage(name="only", size=size, epochs=1, learning_rate=1e-3),)
    return Recipe(backbone=backbone, stages=stages, **parts)


def lively(chosen: Recipe, schema=SCHEMA) -> dict[str, np.ndarray]:
    """Weights whose batch norms and biases do something."""
    random = np.random.default_rng(1)
    weights = get_weights(build_model(schema, chosen, chosen.size))
    for name, value in weights.items():
        if name.endswith(("gamma", "moving_variance")):
            weights[name] = random.uniform(0.5, 1.0, value.shape).astype(np.float32)
        elif name.endswith(("beta", "moving_mean", "bias")):
            weights[name] = random.normal(0, 0.1, value.shape).astype(np.float32)
    return weights


def images(count: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(2).normal(0, 1, (count, size, size, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory):
    """A MobileNetV2 with a norm in its neck, heatmaps and a hidden layer in each head, in all three precisions."""
    folder = tmp_path_factory.mktemp("export")
    chosen = recipe("mobilenetv2", 64, neck=Neck(batch_norm=True), heads=Heads(hidden=(16,)))
    weights = lively(chosen)
    differences = export_files(folder, SCHEMA, chosen, weights, images(24, 64), ("float16", "int8"))
    return folder, chosen, weights, differences


def test_each_precision_agrees_with_keras(exported):
    folder, chosen, weights, differences = exported
    model = build_model(SCHEMA, chosen, 64)
    set_weights(model, weights)
    wanted = {name: np.asarray(value) for name, value in model(images(16, 64), training=False).items()}
    spread = max(float(value.max() - value.min()) for value in wanted.values())
    for precision, bound in (("float32", 1e-4), ("float16", 0.01), ("int8", 0.2)):
        session = ort.InferenceSession(folder / f"classifier-{precision}.onnx", providers=["CPUExecutionProvider"])
        names = [each.name for each in session.get_outputs()]
        assert names == ["gender", "age", "eyes", "features"]
        assert [each.shape for each in session.get_outputs()] == [["n", 2], ["n", 1], ["n", 4], ["n", 1280]]
        found = dict(zip(names, session.run(names, {"image": images(16, 64)}), strict=True))
        worst = max(float(np.abs(found[name] - value).max()) for name, value in wanted.items())
        assert worst <= bound * spread
        np.testing.assert_allclose(worst, differences[precision], atol=1e-5)


def test_int8_leaves_heads_and_heatmaps_in_float(exported):
    folder = exported[0]
    proto = onnx.load(folder / "classifier-int8.onnx")
    stored = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    assert stored["Conv1/kernel_quantized"] == onnx.TensorProto.INT8
    assert stored["block_3_depthwise/kernel_quantized"] == onnx.TensorProto.INT8
    for name in ("eyes_heatmaps/kernel", "gender_hidden1/kernel", "age/kernel"):
        assert stored[name] == onnx.TensorProto.FLOAT, name
    makers = {name: node for node in proto.graph.node for name in node.output}
    assert makers["features"].op_type not in ("QuantizeLinear", "DequantizeLinear")
    sizes = {precision: (folder / f"classifier-{precision}.onnx").stat().st_size for precision in exported[3]}
    assert sizes["float32"] > 1.9 * sizes["float16"]
    assert sizes["float32"] > 2.5 * sizes["int8"]


def test_a_file_is_a_start_for_the_next_training(exported):
    folder, chosen, weights, _ = exported
    model = build_model(SCHEMA, chosen, 64)
    set_weights(model, weights)
    wanted = {name: np.asarray(value) for name, value in model(images(4, 64), training=False).items()}
    again = build_model(SCHEMA, chosen, 64)
    for precision, bound in (("float32", 1e-4), ("float16", 2e-3), ("int8", 0.05)):
        arrays = weights_of_onnx((folder / f"classifier-{precision}.onnx").read_bytes())
        assert fit_start(again, arrays) == []
        for name, value in again(images(4, 64), training=False).items():
            np.testing.assert_allclose(value, wanted[name], atol=bound * max(1.0, np.abs(wanted[name]).max()))


def test_a_single_point_keeps_its_name(tmp_path):
    schema = (PointsAttribute(name="tip", points=("nose",)),)
    chosen = recipe("convnet", heads=Heads(points_width=4))
    weights = lively(chosen, schema)
    export_files(tmp_path, schema, chosen, weights, images(2), ())
    found = weights_of_onnx((tmp_path / "classifier-float32.onnx").read_bytes())
    assert {name: value.shape for name, value in found.items()} == {
        name: value.shape for name, value in weights.items()
    }
    assert all((value == weights[name]).all() for name, value in found.items())


def test_files_without_our_names_are_no_start(classifier_release):
    with pytest.raises(TrainingError, match="names no weights by layer"):
        weights_of_onnx(classifier_release.read())


def settings(chosen: Recipe) -> Settings:
    return Settings(
        name="run",
        data=("faces.csv",),
        start="none",
        recipe=chosen,
        attributes=SCHEMA,
        crop=CropRecipe(margin=0.1, size=chosen.size),
        labels_sha256="0" * 64,
    )


def test_a_run_is_exported_in_a_process_of_its_own(tmp_path):
    chosen = recipe("convnet", neck=Neck(pool="max"))
    settings(chosen).write(tmp_path)
    np.savez(tmp_path / "weights.npz", **lively(chosen))
    np.savez(tmp_path / "calibration.npz", images=images(4))
    differences = export_run(tmp_path, ("float16",))
    assert set(differences) == {"float32", "float16"}
    assert json.loads((tmp_path / "export.json").read_text()) == differences
    assert (tmp_path / "classifier-float16.onnx").is_file()


def test_an_export_that_disagrees_with_keras_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    chosen = recipe("convnet")
    with pytest.raises(TrainingError, match="differs from Keras by"):
        export_files(tmp_path, SCHEMA, chosen, lively(chosen), images(2), ())
