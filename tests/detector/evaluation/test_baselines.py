"""Other people's detectors: their layouts decoded on tensors made up for it, and the real files where they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from facepipe.core.errors import WeightsError
from facepipe.detector.evaluation.baselines import SIZE, Scrfd, YuNet, anchor_boxes, is_baseline, open_baseline
from facepipe.detector.evaluation.predictions import read_picture
from onnx import TensorProto, helper, numpy_helper

REAL = Path(__file__).parents[4] / "shared" / "data" / "peers"


def save(path: Path, nodes: list, inputs: dict, outputs: dict, constants: dict, metadata: dict | None = None) -> Path:
    def infos(named: dict[str, tuple]) -> list[Any]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in named.items()]

    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "baseline", infos(inputs), infos(outputs), initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path


def answering(path: Path, answers: dict[str, np.ndarray], metadata: dict | None = None, size: Any = "side") -> Path:
    """A model that answers the same to every picture."""
    nodes = [helper.make_node("Identity", [f"{name}_value"], [name]) for name in answers]
    return save(
        path,
        nodes,
        {"images": (1, 3, size, size)},
        {name: value.shape for name, value in answers.items()},
        {f"{name}_value": value.astype(np.float32) for name, value in answers.items()},
        metadata,
    )


@pytest.fixture
def scrfd(tmp_path: Path) -> Callable[..., Path]:
    """``scrfd([(stride, row, column, anchor, score, distances), ...])``: a model that finds these."""

    def make(found: list[tuple[int, int, int, int, float, list[float]]], points: bool = True) -> Path:
        scores, distances = {}, {}
        for stride in (8, 16, 32):
            scores[stride] = np.zeros(((SIZE // stride) ** 2 * 2, 1))
            distances[stride] = np.ones((len(scores[stride]), 4))
        for stride, row, column, anchor, score, around in found:
            place = (row * (SIZE // stride) + column) * 2 + anchor
            scores[stride][place], distances[stride][place] = score, around
        answers = {f"score{stride}": value for stride, value in scores.items()}
        answers |= {f"distance{stride}": value for stride, value in distances.items()}
        if points:
            answers |= {f"points{stride}": np.zeros((len(value), 10)) for stride, value in scores.items()}
        return answering(tmp_path / "scrfd.onnx", answers)

    return make


def test_anchors_lie_row_by_row_two_a_cell() -> None:
    places = np.array([0, 1, 2, 2 * 80 * 3 + 2 * 5 + 1])
    boxes = anchor_boxes(places, np.array([[1, 2, 3, 4.0]] * 4), 8, 80, 2)
    assert boxes.tolist() == [[-8, -16, 24, 32], [-8, -16, 24, 32], [0, -16, 32, 32], [32, 8, 64, 56]]


@pytest.mark.parametrize("points", [True, False])
def test_scrfd_s_boxes_come_back_to_the_picture(scrfd: Callable[..., Path], points: bool) -> None:
    found = [
        (8, 40, 20, 0, 0.9, [2, 2, 3, 3]),
        (32, 10, 5, 1, 0.6, [1.5, 1, 1, 6]),
        (16, 30, 30, 0, 0.4, [1, 1, 1, 1]),
        (8, 40, 20, 1, 0.8, [2, 2, 3, 3.1]),  # the same face again
    ]
    baseline = Scrfd(scrfd(found, points))
    # 320 x 160 is enlarged twice and lies in the middle of the square: 160 rows of padding above it.
    (detections,) = baseline.detect([np.zeros((160, 320, 3), np.uint8)])
    assert detections.classes == ("face",)
    assert detections.confidence.tolist() == pytest.approx([0.9, 0.6])
    expected = [[(160 - 16) / 2, (320 - 16 - 160) / 2, (160 + 24) / 2, (320 + 24 - 160) / 2]]
    expected += [[(160 - 48) / 2, (320 - 32 - 160) / 2, (160 + 32) / 2, 160]]  # its lower edge is cut at the picture's
    assert detections.boxes.tolist() == pytest.approx(np.array(expected))
    baseline.confidence, baseline.max_detections = 0.3, 2
    assert baseline.detect([np.zeros((160, 320, 3), np.uint8)])[0].confidence.tolist() == pytest.approx([0.9, 0.6])
    baseline.max_detections = 10
    assert len(baseline.detect([np.zeros((160, 320, 3), np.uint8)])[0]) == 3


def test_scrfd_finding_nothing(scrfd: Callable[..., Path]) -> None:
    detections = Scrfd(scrfd([])).detect([np.zeros((50, 50, 3), np.uint8)] * 2)
    assert [len(each) for each in detections] == [0, 0]
    assert detections[0].boxes.shape == (0, 4)


def test_scrfd_is_fed_as_insightface_feeds_it(tmp_path: Path) -> None:
    """The mean of each channel comes out as scores, halved and moved to 0..1: RGB, (x - 127.5) / 128."""
    means = [helper.make_node("ReduceMean", ["images"], ["mean"], axes=[2, 3], keepdims=0)]
    nodes = [
        *means,
        helper.make_node("Reshape", ["mean", "column"], ["both_signs"]),
        helper.make_node("Mul", ["both_signs", "half"], ["halved"]),
        helper.make_node("Add", ["halved", "half"], ["channels"]),
    ]
    answers, constants = {}, {"column": np.array([3, 1], np.int64), "half": np.array(0.5, np.float32)}
    for stride in (8, 16, 32):
        count = (SIZE // stride) ** 2 * 2
        constants[f"rest{stride}"] = np.full((count - 3, 1), -9, np.float32)
        nodes.append(helper.make_node("Concat", ["channels", f"rest{stride}"], [f"score{stride}"], axis=0))
        constants[f"d{stride}"] = np.ones((count, 4), np.float32)
        answers[f"score{stride}"] = (count, 1)
    for stride in (8, 16, 32):
        nodes.append(helper.make_node("Identity", [f"d{stride}"], [f"distance{stride}"]))
        answers[f"distance{stride}"] = ((SIZE // stride) ** 2 * 2, 4)
    baseline = Scrfd(save(tmp_path / "m.onnx", nodes, {"images": (1, 3, SIZE, SIZE)}, answers, constants))
    baseline.confidence, baseline.iou = 0.0, 1.0
    frame = np.zeros((SIZE, SIZE, 3), np.uint8)
    frame[:] = (0, 127, 255)  # blue, green, red
    confidence = baseline.detect([frame])[0].confidence
    assert sorted(set(np.round(confidence, 3).tolist())) == pytest.approx([0.002, 0.498, 0.998])
    assert confidence[0] == pytest.approx(0.998, abs=1e-3)  # the first anchor is the red channel
    boxes = baseline.detect([frame])[0].boxes
    assert boxes[0].tolist() in ([0, 0, 8, 8], [0, 0, 16, 16], [0, 0, 32, 32])


def test_files_of_another_layout_are_refused(tmp_path: Path, scrfd: Callable[..., Path]) -> None:
    one = answering(tmp_path / "one.onnx", {"output0": np.zeros((1, 5, 30))})
    with pytest.raises(WeightsError, match=r"one\.onnx: not the layout of SCRFD"):
        open_baseline(f"scrfd:{one}")
    wrong = answering(
        tmp_path / "wrong.onnx", {f"o{index}": np.zeros((7, 1 if index < 3 else 4)) for index in range(6)}
    )
    with pytest.raises(WeightsError, match="7 scores at stride 8"):
        open_baseline(f"scrfd:{wrong}").detect([np.zeros((9, 9, 3), np.uint8)])
    with pytest.raises(WeightsError, match="not YOLOv8's layout"):
        open_baseline(
            f"yolov8:{answering(tmp_path / 'y.onnx', {'output0': np.zeros((1, 30, 5))}, {'names': '{0: 1}'})}"
        ).detect([np.zeros((9, 9, 3), np.uint8)])
    (tmp_path / "text.onnx").write_text("no model")
    for kind in ("yunet", "scrfd", "yolov8"):
        with pytest.raises(WeightsError, match="cannot load"):
            open_baseline(f"{kind}:{tmp_path / 'text.onnx'}")
        with pytest.raises(WeightsError, match=r"gone\.onnx: cannot be read"):
            open_baseline(f"{kind}:{tmp_path / 'gone.onnx'}")
    with pytest.raises(WeightsError, match="no such kind of baseline"):
        open_baseline("retina:file.onnx")


def test_what_names_a_baseline() -> None:
    assert is_baseline("yunet:a.onnx")
    assert is_baseline("yolov8:folder/a.onnx")
    assert not is_baseline("1.0.0")
    assert not is_baseline("yunet")
    assert not is_baseline("C:/weights/detector/1.0.0")


def _yolo_output(rows: int, boxes: list[tuple[list[float], list[float]]]) -> np.ndarray:
    output = np.zeros((1, rows, 50), np.float32)
    for index, (box, scores) in enumerate(boxes):
        output[0, :4, index], output[0, 4 : 4 + len(scores), index] = box, scores
    return output


def test_yolov8_with_names_in_its_metadata(tmp_path: Path) -> None:
    output = _yolo_output(6, [([32, 32, 20, 10], [0.1, 0.8]), ([10, 30, 8, 8], [0.5, 0.0])])
    baseline = open_baseline(
        f"yolov8:{answering(tmp_path / 'a.onnx', {'output0': output}, {'names': str({0: 'face', 1: 'head'})}, 64)}"
    )
    assert (baseline.classes, baseline.input_text) == (("face", "head"), "letterboxed to 64 px")
    (detections,) = baseline.detect([np.zeros((128, 128, 3), np.uint8)])
    assert detections.labels.tolist() == [1, 0]
    assert detections.boxes.tolist() == [[44, 54, 84, 74], [12, 52, 28, 68]]


def test_yolov8_of_faces_alone(tmp_path: Path) -> None:
    """One class is the face, whatever it is called; points below the scores are left aside."""
    output = _yolo_output(20, [([32, 32, 20, 10], [0.8])])
    output[0, 5:] = 30
    baseline = open_baseline(f"yolov8:{answering(tmp_path / 'a.onnx', {'output0': output}, {'names': '{0: 0}'}, 64)}")
    assert baseline.classes == ("face",)
    assert len(baseline.detect([np.zeros((64, 64, 3), np.uint8)])[0]) == 1
    bare = open_baseline(f"yolov8:{answering(tmp_path / 'b.onnx', {'output0': _yolo_output(5, [])}, None, 64)}")
    assert bare.classes == ("face",)
    with pytest.raises(WeightsError, match="names no classes"):
        open_baseline(f"yolov8:{answering(tmp_path / 'c.onnx', {'output0': _yolo_output(7, [])}, None, 64)}")
    with pytest.raises(WeightsError, match="cannot be read: 'face"):
        open_baseline(
            f"yolov8:{answering(tmp_path / 'd.onnx', {'output0': _yolo_output(7, [])}, {'names': 'face('}, 64)}"
        )


@pytest.fixture(scope="module")
def yunet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in YuNet's layout that finds a face of 32 px in every bright cell of 32 px."""
    nodes: list[Any] = []
    constants: dict[str, np.ndarray] = {}
    outputs: dict[str, tuple] = {}
    for stride in (8, 16, 32):
        for name, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            key = f"{name}_{stride}"
            scored = name in ("cls", "obj")
            kernel = np.full((width, 3, stride, stride), 0.1 / stride**2 if scored and stride == 32 else 0, np.float32)
            constants[f"{key}_kernel"] = kernel
            constants[f"{key}_bias"] = np.full(width, (-20 if scored else 0), np.float32)
            constants[f"{key}_shape"] = np.array([1, -1, width], np.int64)
            nodes += [
                helper.make_node(
                    "Conv",
                    ["input", f"{key}_kernel", f"{key}_bias"],
                    [f"{key}_map"],
                    strides=[stride, stride],
                    kernel_shape=[stride, stride],
                ),
                helper.make_node("Transpose", [f"{key}_map"], [f"{key}_last"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{key}_last", f"{key}_shape"], [f"{key}_raw" if scored else key]),
            ]
            if scored:
                nodes.append(helper.make_node("Sigmoid", [f"{key}_raw"], [key]))
            outputs[key] = (1, "n", width)
    order = [f"{name}_{stride}" for name in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)]
    path = tmp_path_factory.mktemp("yunet") / "yunet.onnx"
    return save(path, nodes, {"input": (1, 3, "h", "w")}, {key: outputs[key] for key in order}, constants)


def test_yunet_s_boxes_come_back_to_the_picture(yunet: Path) -> None:
    baseline = YuNet(yunet)
    assert (baseline.confidence, baseline.iou) == (0.9, pytest.approx(0.3))
    frame = np.zeros((160, 320, 3), np.uint8)  # enlarged twice: cells of 16 px here
    frame[32:48, 48:64] = 255
    (detections,) = baseline.detect([frame])
    # OpenCV puts the box around the cell's corner, 32 px at its own scale.
    assert detections.boxes.tolist() == [[40, 24, 56, 40]]
    assert detections.confidence[0] > 0.99
    assert detections.classes == ("face",)
    assert len(baseline.detect([np.zeros((90, 40, 3), np.uint8)])[0]) == 0


@pytest.mark.skipif(not REAL.is_dir(), reason="the baselines' files are not here")
@pytest.mark.parametrize("text", ["yunet:face_detection_yunet_2023mar.onnx", "scrfd:scrfd_500m.onnx"])
def test_the_real_ones_find_the_sample_photograph_s_face(text: str) -> None:
    kind, _, file = text.partition(":")
    photo = read_picture(Path(__file__).parents[3] / "examples" / "astronaut.jpg")
    baseline = open_baseline(f"{kind}:{REAL / file}")
    (detections,) = baseline.detect([photo])
    assert detections.boxes.tolist() == [pytest.approx([181, 61, 271, 179], abs=20)]
    assert baseline.name == text
