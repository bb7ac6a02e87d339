"""The masked loss, by its gradients: what is unlabelled or ignored moves nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from facepipe.detector.training.model import FaceDetectionModel, FoldedConv, cpu_has_bf16, freeze_statistics
from ultralytics.cfg import get_cfg
from ultralytics.nn.modules.conv import Conv


@pytest.fixture(scope="module")
def model() -> FaceDetectionModel:
    torch.manual_seed(0)
    made = FaceDetectionModel("yolov8n.yaml", nc=2, ch=3, verbose=False)
    made.args = get_cfg()
    return made.train()


def batch(boxes: list[list[float]], labelled: list[list[bool]]) -> dict[str, Any]:
    """Boxes: picture, class (2: ignore), cx, cy, w, h."""
    rows = torch.tensor(boxes).reshape(-1, 6)
    return {
        "img": torch.rand(len(labelled), 3, 64, 64, generator=torch.Generator().manual_seed(1)),
        "batch_idx": rows[:, 0],
        "cls": rows[:, 1:2],
        "bboxes": rows[:, 2:],
        "labelled": tuple(torch.tensor(row) for row in labelled),
    }


def score_gradient(model: FaceDetectionModel, content: dict[str, Any]) -> torch.Tensor:
    """Gradient of the loss by the class scores, shape (pictures, 2, anchors)."""
    with torch.no_grad():
        preds = model.forward(content["img"])
    preds["scores"] = preds["scores"].detach().requires_grad_()
    loss, _ = model.init_criterion()(preds, content)
    return torch.autograd.grad(loss.sum(), preds["scores"])[0]


def test_an_unlabelled_class_moves_nothing(model: FaceDetectionModel) -> None:
    gradient = score_gradient(model, batch([[0, 0, 0.5, 0.5, 0.4, 0.4]], [[True, False], [False, True]]))
    assert gradient[0, 0].abs().min() > 0
    assert gradient[0, 1].abs().max() == 0
    assert gradient[1, 0].abs().max() == 0
    assert gradient[1, 1].abs().min() > 0


def test_an_ignored_region_moves_nothing_but_objects_in_it_count(model: FaceDetectionModel) -> None:
    free = score_gradient(model, batch([], [[True, True]]))[0]
    assert free.abs().min() > 0
    ignored = score_gradient(model, batch([[0, 2, 0.25, 0.25, 0.5, 0.5]], [[True, True]]))[0]
    first_level = ignored[0, :64].reshape(8, 8)  # stride 8
    assert first_level[:4, :4].abs().max() == 0
    assert first_level[4:, :].abs().min() > 0
    with_object = score_gradient(
        model, batch([[0, 2, 0.25, 0.25, 0.5, 0.5], [0, 0, 0.25, 0.25, 0.3, 0.3]], [[True, True]])
    )[0]
    inside = with_object[0, :64].reshape(8, 8)[:4, :4]
    assert (inside != 0).any()
    assert (inside == 0).any()


def test_bf16_agrees_with_float32_and_decodes_in_it(model: FaceDetectionModel) -> None:
    if not cpu_has_bf16():
        pytest.skip("this CPU has no bfloat16")
    frames = batch([], [[True, True]])["img"]
    model.eval()
    outputs = []
    try:
        for model.cpu_bf16 in (False, True):
            with torch.no_grad():
                outputs.append(model(frames))
    finally:
        model.cpu_bf16 = False
        model.train()
    (plain, plain_raw), (mixed, mixed_raw) = outputs
    assert mixed.dtype == mixed_raw["boxes"].dtype == torch.float32
    assert not torch.equal(plain_raw["scores"], mixed_raw["scores"])  # it really ran in another precision
    torch.testing.assert_close(mixed_raw["scores"], plain_raw["scores"], atol=0.1, rtol=0.02)
    torch.testing.assert_close(mixed[:, :4], plain[:, :4], atol=1.0, rtol=0.02)


def test_a_folded_convolution_computes_what_it_replaces_and_keeps_its_statistics() -> None:
    torch.manual_seed(2)
    layer = Conv(3, 8, 3, 2)
    with torch.no_grad():
        layer.bn.running_mean.uniform_(-1, 1)
        layer.bn.running_var.uniform_(0.5, 2)
        layer.bn.weight.uniform_(0.5, 2)
        layer.bn.bias.uniform_(-1, 1)
    picture = torch.rand(2, 3, 16, 16)
    expected = layer.eval()(picture)
    whole = torch.nn.Sequential(layer)
    assert freeze_statistics(whole) == 1
    assert type(whole[0]) is FoldedConv
    mean = layer.bn.running_mean.clone()
    got = whole.train()(picture)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(layer.bn.running_mean, mean)
    got.sum().backward()
    for parameter in (layer.conv.weight, layer.bn.weight, layer.bn.bias):
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0
