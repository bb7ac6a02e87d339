"""The comparison with other people's programs: their networks called as they call them, and the script as a whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import peers
import pytest
import typer
from facepipe import read_frame
from onnx import TensorProto, helper, numpy_helper

SCRIPT = Path(peers.__file__)
PHOTO = SCRIPT.parents[1] / "examples" / "astronaut.jpg"


@pytest.fixture
def genderage(tmp_path: Path) -> Path:
    """A network in InsightFace's layout that answers with the means of red, green and blue over 255."""
    nodes = [
        helper.make_node("ReduceMean", ["data"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Div", ["mean", "most"], ["fc1"]),
    ]
    graph = helper.make_graph(
        nodes,
        "genderage",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, (1, 3, 96, 96))],
        [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, (1, 3))],
        [numpy_helper.from_array(np.array(255, np.float32), "most")],
    )
    path = tmp_path / "genderage.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_gender_and_age_are_read_of_half_again_the_box(genderage: Path) -> None:
    reader = peers.GenderAge(genderage)
    frame = np.zeros((200, 200, 3), np.uint8)
    frame[70:130, 70:130] = (255, 51, 102)  # blue, green, red: what a box of 40 pixels is cut to
    gender, age = reader.read(frame, np.array([80, 80, 120, 120], np.float32))
    assert (gender, age) == ("female", pytest.approx(100, abs=2))  # red is the first score of two
    frame[70:130, 70:130] = (128, 204, 102)
    assert reader.read(frame, np.array([80, 80, 120, 120], np.float32)) == ("male", pytest.approx(50, abs=1))


def test_a_table_of_all_sides(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    small = cv2.resize(read_frame(PHOTO), (256, 256), interpolation=cv2.INTER_AREA)
    for name in ("a.jpg", "b.png"):
        cv2.imwrite(str(folder / name), small)
    done = subprocess.run(
        [sys.executable, SCRIPT, folder, "--minutes", "0"], capture_output=True, text=True, check=True, timeout=120
    )
    rows = [line.split(" | ") for line in done.stdout.splitlines()]
    assert [row[0].strip("| ") for row in rows[2:]] == ["facepipe", "facepipe stream", "detector"]
    assert [row[-1].strip("| ") for row in rows[2:]] == ["2", "2", "2"]  # one face a picture
    assert rows[2][3] == "1.00"


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(PHOTO.read_bytes())
    (tmp_path / "scrfd.onnx").write_bytes(b"no model")
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path, "--scrfd", tmp_path / "scrfd.onnx"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert "peers.py: scrfd scrfd.onnx has ended" in done.stderr


def test_what_is_not_given(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="no pictures"):
        peers.main(tmp_path)
    with pytest.raises(typer.BadParameter, match="needs --scrfd"):
        peers.main(tmp_path, genderage=tmp_path / "g.onnx")
