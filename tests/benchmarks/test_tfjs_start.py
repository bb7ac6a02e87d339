"""Arrays of a minified TensorFlow.js model, as the npm package nsfwjs stores them."""

import base64
from pathlib import Path

import numpy as np
import pytest
import tfjs_start
from facepipe.core.errors import FacepipeError


def write_model(folder: Path, arrays: dict[str, np.ndarray], missing: int = 0) -> None:
    """One array after the other in bytes, over two shards, as text within JavaScript."""
    data, listed = b"", []
    for name, array in arrays.items():
        low, scale = float(array.min()), float(np.ptp(array)) / 255
        data += np.round((array - low) / scale).astype(np.uint8).tobytes()
        shape = ",".join(map(str, array.shape)).replace("1000", "1e3")
        quantization = f'quantization:{{min:{low},scale:{scale},dtype:"uint8"}}'
        listed.append(f'{{name:"{name}",shape:[{shape}],dtype:"float32",{quantization}}}')
    (folder / "model.min.js").write_text(f"!function(e){{weights:[{','.join(listed)}]}}();")
    data = data[: len(data) - missing]
    for number, part in enumerate((data[:1500], data[1500:]), 1):
        text = base64.b64encode(part).decode()
        (folder / f"group1-shard{number}of2.min.js").write_text(f'!function(){{e.exports="{text}"}}();')


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(4)
    shapes = {"Conv1/kernel": (3, 3, 3, 32), "Conv_1/kernel": (1, 1, 2, 1000), "bn_Conv1/gamma": (32,)}
    return {name: random.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def test_the_arrays_are_read(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    write_model(tmp_path, arrays)
    found = tfjs_start.read_model(tmp_path)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_allclose(found[name], array, atol=float(np.ptp(array)) / 500)


def test_too_few_bytes_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    write_model(tmp_path, arrays, missing=3)
    with pytest.raises(FacepipeError, match="bytes of weights, but"):
        tfjs_start.read_model(tmp_path)
    with pytest.raises(FacepipeError, match=r"no model\.min\.js"):
        tfjs_start.read_model(tmp_path / "elsewhere")


def test_names_are_those_of_our_backbones() -> None:
    named = {
        "conv2d_1/kernel": "conv2d/kernel",
        "conv2d_94/kernel": "conv2d_93/kernel",
        "batch_normalization_2/beta": "batch_normalization_1/beta",
        "block_1_depthwise/depthwise_kernel": "block_1_depthwise/kernel",
        "bn_Conv1/gamma": "bn_Conv1/gamma",
    }
    assert {name: tfjs_start.our_name(name) for name in named} == named
