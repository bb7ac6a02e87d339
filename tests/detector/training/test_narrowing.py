"""A wide network cut to a narrow one: the same where only weak channels go, and refused where it cannot be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from facepipe.core.errors import TrainingError
from facepipe.detector.training.model import FaceDetectionModel
from facepipe.detector.training.narrowing import narrowed, strongest
from ultralytics.nn.modules import C2f, Conv, Detect


def network(name: str) -> FaceDetectionModel:
    torch.manual_seed(0)
    return FaceDetectionModel(f"{name}.yaml", nc=2, ch=3, verbose=False).eval()


def arrays_of(model: FaceDetectionModel) -> dict[str, np.ndarray]:
    """As a release names them, with random biases."""
    random = np.random.default_rng(0)
    found = {name: value.numpy().copy() for name, value in model.fuse(verbose=False).state_dict().items()}
    for name in found:
        if name.endswith("conv.bias"):
            found[name] = random.normal(0, 0.3, found[name].shape).astype(np.float32)
    return found


def outputs(name: str, arrays: dict[str, np.ndarray], picture: torch.Tensor) -> np.ndarray:
    model = network(name).fuse(verbose=False)
    state = {key: torch.from_numpy(value) for key, value in arrays.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert not [key for key in missing if key.endswith((".weight", ".bias"))]
    with torch.no_grad():
        return np.asarray(model(picture)[0])


def empty_the_rest(arrays: dict[str, np.ndarray], wide: FaceDetectionModel, narrow: FaceDetectionModel) -> None:
    """Zero every channel beyond those that the narrow network has, of each half where a layer is split."""
    small = dict(narrow.named_modules())
    split = {f"{name}.cv1" for name, module in wide.named_modules() if isinstance(module, C2f)}
    for name, module in wide.named_modules():
        if not isinstance(module, Conv):
            continue
        width, count = module.conv.out_channels, small[name].conv.out_channels
        halves = 2 if name in split else 1
        for half in range(halves):
            rest = slice(half * width // halves + count // halves, (half + 1) * width // halves)
            for what in ("weight", "bias"):
                arrays[f"{name}.conv.{what}"][rest] = 0


def test_nothing_is_lost_where_the_weakest_channels_are_empty() -> None:
    wide, narrow = network("yolov8s"), network("yolov8n")
    arrays = arrays_of(network("yolov8s"))
    empty_the_rest(arrays, wide, narrow)
    picture = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    cut = narrowed(arrays, wide, narrow)
    np.testing.assert_allclose(
        outputs("yolov8n", cut, picture), outputs("yolov8s", arrays, picture), rtol=1e-3, atol=1e-3
    )


def test_the_same_widths_change_nothing() -> None:
    model = network("yolov8n")
    arrays = arrays_of(network("yolov8n"))
    cut = narrowed(arrays, model, model)
    assert all(np.array_equal(cut[name], arrays[name]) for name in cut)
    assert {name for name in arrays if name.endswith((".weight", ".bias"))} == set(cut)


def test_the_strongest_are_kept_in_order() -> None:
    assert strongest(np.array([1.0, 5.0, 2.0, 5.0, 4.0]), 3).tolist() == [1, 3, 4]


def test_what_cannot_be_cut_is_refused() -> None:
    wide, narrow = network("yolov8s"), network("yolov8n")
    arrays = arrays_of(network("yolov8n"))
    with pytest.raises(TrainingError, match="cannot be cut out of"):
        narrowed(arrays, narrow, wide)
    with pytest.raises(TrainingError, match="names no weights of model"):
        narrowed({}, wide, narrow)
    other = network("yolov8n")
    assert isinstance(other.model[-1], Detect)
    del other.model[-1]
    with pytest.raises(TrainingError, match="different layers"):
        narrowed(arrays, wide, other)
