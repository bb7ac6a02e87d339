"""The learner: which part of the network moves in a step, learnt weights of the losses, and penalties."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from facepipe.classifier.config.recipe import Recipe
from facepipe.classifier.models.multitask import get_weights
from facepipe.classifier.training.checkpoint import Position
from facepipe.classifier.training.losses import attribute_losses
from facepipe.classifier.training.train_step import Devices, Learner, build_learner, loss_weights, present
from facepipe.classifier.training.trainer import checkpoint
from facepipe.core.errors import DeviceError, TrainingError
from facepipe.weights.manifest import Attribute, BinaryAttribute, NumericAttribute, PointsAttribute

SCHEMA: tuple[Attribute, ...] = (
    NumericAttribute(name="age", unit="years", low=0, high=100, bins=11),
    BinaryAttribute(name="beard", classes=("no", "yes"), weight=2.0),
    PointsAttribute(name="eyes", points=("left", "right")),
    NumericAttribute(name="height", unit="m", low=0, high=2, bins=5),
)
TARGETS = {
    "age": np.float32([[30, np.nan, np.nan], [np.nan, 20, 39]]),
    "beard": np.float32([1, np.nan]),
    "eyes": np.full((2, 2, 2), np.nan, np.float32),
    "height": np.full((2, 3), np.nan, np.float32),
}


def make(stage: dict[str, Any] | None = None, **content: Any) -> Learner:
    stages = [{"name": "one", "size": 32, "epochs": 1, "learning_rate": 0.01, **(stage or {})}]
    if stage:
        stages.append({"name": "all", "size": 32, "epochs": 1, "learning_rate": 0.01})
    recipe = Recipe.model_validate({"backbone": "convnet", "neck": {"dropout": 0.0}, "stages": stages, **content})
    losses = attribute_losses(SCHEMA, recipe.losses, None)
    return build_learner(SCHEMA, recipe, recipe.stages[0], losses, Devices())


def step(learner: Learner, targets: dict[str, np.ndarray] = TARGETS) -> tuple[dict[str, float], set[str]]:
    """Train on two pictures; what was reported, and the layers whose kernels moved."""
    before = get_weights(learner.network)
    images = np.random.default_rng(0).normal(0, 1, (2, 32, 32, 3)).astype(np.float32)
    logs = Devices().step(learner, images, targets)
    after = get_weights(learner.network)
    moved = {name.rpartition("/")[0] for name in before if "moving" not in name and (before[name] != after[name]).any()}
    return logs, moved


def test_only_labelled_heads_move() -> None:
    logs, moved = step(make(optimizer="sgd"))
    assert {"age", "beard", "conv5_conv", "conv1_conv"} <= moved
    assert not {name for name in moved if name.startswith(("eyes", "height"))}
    assert logs["loss"] == pytest.approx(logs["age_loss"] + 2 * logs["beard_loss"], rel=1e-5)
    assert logs["eyes_loss"] == logs["height_loss"] == 0


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_a_stage_moves_only_what_it_learns(optimizer: str) -> None:
    """Nor do weight decay, momentum and penalties touch the heads of the others."""
    learner = make({"attributes": ["age"], "freeze": ["conv1", "conv2"]}, optimizer=optimizer, l2=0.1)
    logs, moved = step(learner)
    step(learner)
    _, again = step(learner)
    for found in (moved, again):
        assert {"age", "conv5_conv"} <= found
        heads = {name for name in found if not name.startswith("conv")}
        assert heads == {"age"}
        assert not {name for name in found if name.startswith(("conv1", "conv2"))}
    assert set(logs) == {"loss", "age_loss"}


def test_a_row_that_knows_only_a_range_trains_the_age_head() -> None:
    targets = {name: np.full_like(values, np.nan) for name, values in TARGETS.items()}
    assert step(make(optimizer="sgd"), targets)[1] == set()
    targets["age"][0, 1:] = (30, 39)
    logs, moved = step(make(optimizer="sgd"), targets)
    assert "age" in moved
    assert "beard" not in moved
    assert logs["age_loss"] > 0


def test_nothing_labelled_moves_nothing_with_learnt_weights() -> None:
    """Only the weights themselves, which have a term of their own."""
    learner = make(optimizer="sgd", losses={"uncertainty": True})
    nothing = {name: np.full_like(values, np.nan) for name, values in TARGETS.items()}
    assert step(learner, nothing)[1] == set()


def test_weights_are_learnt_and_start_as_given() -> None:
    learner = make(optimizer="sgd", losses={"uncertainty": True, "weights": {"eyes": 0.5}})
    assert learner.factors == pytest.approx({"age": 1, "beard": 2, "eyes": 0.5, "height": 1})
    before = learner.factors
    logs, _ = step(learner)
    spread = [np.log(1 / 1), np.log(1 / 2), np.log(0.5 / 0.5), np.log(1 / 1)]
    wanted = logs["age_loss"] + 2 * logs["beard_loss"] + sum(spread) / 2
    assert logs["loss"] == pytest.approx(wanted, rel=1e-4)
    after = learner.factors
    # d/ds of f exp(-s) loss + s / 2, in one step of 0.01 along it
    for name, factor in before.items():
        gradient = 0.5 - factor * logs[f"{name}_loss"]
        assert after[name] == pytest.approx(factor * np.exp(0.01 * gradient), rel=1e-4), name


def test_learnt_weights_are_kept_in_the_checkpoint(tmp_path: Any) -> None:
    learner = make(losses={"uncertainty": True})
    step(learner)
    checkpoint.save(tmp_path / "c.npz", learner, Position(step=1))
    position, arrays = checkpoint.read(tmp_path / "c.npz")
    assert position == Position(step=1)
    other = make(losses={"uncertainty": True})
    assert other.factors != learner.factors
    checkpoint.restore(other, arrays)
    assert other.factors == learner.factors
    assert step(learner)[0] == pytest.approx(step(other)[0], rel=1e-4)
    assert other.factors == pytest.approx(learner.factors, rel=1e-5)
    del arrays[checkpoint.LOG_VARIANCES]
    with pytest.raises(TrainingError, match="belongs to another recipe"):
        checkpoint.restore(other, arrays)


def test_learnt_weights_of_idle_attributes_stay() -> None:
    learner = make({"attributes": ["age"]}, losses={"uncertainty": True})
    before = keras.ops.convert_to_numpy(learner.log_variances).copy()
    for _ in range(3):
        step(learner)
    after = keras.ops.convert_to_numpy(learner.log_variances)
    assert after[0] != before[0]
    assert (after[1:] == before[1:]).all()
    assert set(learner.factors) == {"age"}


def test_penalties_are_in_the_loss() -> None:
    plain, _ = step(make(optimizer="sgd"))
    keras.utils.set_random_seed(0)
    learner = make(optimizer="sgd", l2=0.5)
    kernels = [value for name, value in get_weights(learner.network).items() if name.endswith("kernel")]
    logs, _ = step(learner)
    parts = logs["age_loss"] + 2 * logs["beard_loss"]
    assert plain["loss"] == pytest.approx(plain["age_loss"] + 2 * plain["beard_loss"], rel=1e-5)
    assert 0 < logs["loss"] - parts <= 0.5 * sum(float((kernel**2).sum()) for kernel in kernels) * 1.001


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"losses": {"weights": {"hat": 1.0}}}, "losses.weights: hat is not in the schema; it has age, beard"),
        ({"losses": {"weights": {"age": 0.0}}}, "above 0, got 0.0 for age"),
    ],
)
def test_weights_that_cannot_be(content: dict, words: str) -> None:
    recipe = Recipe.model_validate(
        {"backbone": "convnet", "stages": [{"name": "a", "size": 32, "epochs": 1, "learning_rate": 1.0}], **content}
    )
    with pytest.raises(TrainingError, match=words):
        loss_weights(SCHEMA, recipe)


def test_stages_that_cannot_be() -> None:
    with pytest.raises(TrainingError, match="stage one: attributes: hat is not in the schema"):
        make({"attributes": ["hat"]})
    with pytest.raises(TrainingError, match="learns no attribute"):
        make({"attributes": []})


def test_devices_that_are_not_there() -> None:
    assert "cpu:0" in present()
    assert Devices(("cpu",)).names == ("cpu:0",)
    with pytest.raises(DeviceError, match=r"device gpu:7 is not available: \w+ sees cpu:0"):
        Devices(("7",))
    with pytest.raises(DeviceError, match="must differ"):
        Devices(("cpu", "cpu:0"))
