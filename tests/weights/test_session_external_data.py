"""Models that would take weights from other files are refused before a session is opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from facepipe import FaceDetector
from facepipe.core.errors import WeightsError
from facepipe.weights.manifest import write_manifest
from facepipe.weights.release import Release, file_entry
from facepipe.weights.session import open_session, refuse_external_data
from facepipe.weights.store import PACKAGE_ROOT
from onnx import TensorProto, helper, numpy_helper


def tensor(external: bool, name: str = "weights") -> TensorProto:
    """Sixteen numbers, here or in the file ``weights.bin``."""
    made = numpy_helper.from_array(np.arange(16, dtype=np.float32), name)
    if external:
        made.ClearField("raw_data")
        made.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "weights.bin"), ("offset", "0"), ("length", "64")):
            entry = made.external_data.add()
            entry.key, entry.value = key, value
    return made


def info(name: str, kind: int = TensorProto.FLOAT, shape: tuple = (16,)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def whole(graph: onnx.GraphProto, **more: object) -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **more)


def in_an_initializer(external: bool) -> onnx.ModelProto:
    node = helper.make_node("Add", ["x", "weights"], ["y"])
    return whole(helper.make_graph([node], "location", [info("x")], [info("y")], [tensor(external)]))


def in_a_constant(external: bool) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Constant", [], ["weights"], value=tensor(external)),
        helper.make_node("Add", ["x", "weights"], ["y"]),
    ]
    return whole(helper.make_graph(nodes, "g", [info("x")], [info("y")]))


def in_a_branch(external: bool) -> onnx.ModelProto:
    constant = helper.make_node("Constant", [], ["z"], value=tensor(external))
    branch = helper.make_graph([constant], "branch", [], [info("z")])
    nodes = [
        helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True), "yes")),
        helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch),
    ]
    return whole(helper.make_graph(nodes, "g", [info("x")], [info("y")]))


def in_a_function(external: bool) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Constant", [], ["weights"], value=tensor(external)),
        helper.make_node("Add", ["a", "weights"], ["b"]),
    ]
    function = helper.make_function("mine", "Added", ["a"], ["b"], nodes, [helper.make_opsetid("", 17)])
    node = helper.make_node("Added", ["x"], ["y"], domain="mine")
    return whole(helper.make_graph([node], "g", [info("x")], [info("y")]), functions=[function])


def beside_a_large_one(external: bool) -> onnx.ModelProto:
    model = in_an_initializer(external)
    large = numpy_helper.from_array(np.zeros(100_000, np.float32), "large")
    model.graph.initializer.insert(0, large)
    return model


PLACES = [in_an_initializer, in_a_constant, in_a_branch, in_a_function, beside_a_large_one]


@pytest.mark.parametrize("make", PLACES)
def test_wherever_the_tensor_lies(
    make: Callable[[bool], onnx.ModelProto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(np.full(16, 7, np.float32).tobytes())
    inside = make(False).SerializeToString()
    refuse_external_data(inside)
    assert open_session(inside).run(None, {"x": np.zeros(16, np.float32)})[0][1] == 1
    outside = make(True).SerializeToString()
    with pytest.raises(WeightsError, match="another file"):
        refuse_external_data(outside)
    opened: list[object] = []
    monkeypatch.setattr(ort, "InferenceSession", lambda *given, **named: opened.append(given))
    with pytest.raises(WeightsError, match="another file"):
        open_session(outside)
    assert opened == []


def test_compiled_code_and_other_formats_are_refused() -> None:
    node = helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft", ep_cache_context="engine.bin")
    model = whole(helper.make_graph([node], "g", [info("x")], [info("y")]))
    with pytest.raises(WeightsError, match="EPContext"):
        refuse_external_data(model.SerializeToString())
    with pytest.raises(WeightsError, match="own format"):
        refuse_external_data(b"\x10\0\0\0ORTM" + bytes(100))


def test_a_damaged_model_is_refused() -> None:
    content = in_an_initializer(True).SerializeToString()
    for damaged in (content[:-3], content + b"\x3a\xff\xff\xff\xff\x0f", b"\xff" * 20 + b"location"):
        with pytest.raises(WeightsError):
            refuse_external_data(damaged)


def test_what_ships_is_whole() -> None:
    for path in PACKAGE_ROOT.glob("*/*/*.onnx"):
        refuse_external_data(path.read_bytes())


def test_a_release_with_external_data(tmp_path: Path, publish_detector: Callable[..., Release]) -> None:
    release = publish_detector(tmp_path)
    path = release.folder / "model.onnx"
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    write_manifest(
        release.manifest.model_copy(update={"files": (file_entry(path, "float32"),)}), release.folder / "manifest.json"
    )
    with pytest.raises(WeightsError, match="another file"):
        FaceDetector(str(release.folder))


def test_training_does_not_start_from_external_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretrained = pytest.importorskip("facepipe.classifier.models.pretrained")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(np.full(16, 7, np.float32).tobytes())
    with pytest.raises(WeightsError, match="another file"):
        pretrained.weights_of_onnx(in_an_initializer(True).SerializeToString())
