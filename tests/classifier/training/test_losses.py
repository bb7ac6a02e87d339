"""Losses: what they measure, and that a missing label moves nothing."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from facepipe.classifier.config.recipe import Losses
from facepipe.classifier.inference.attributes import output_width
from facepipe.classifier.training.losses import FLOOR, WING, WING_CURVATURE, MaskedLoss, attribute_losses, class_weights
from facepipe.core.errors import TrainingError
from facepipe.weights.manifest import (
    Attribute,
    BinaryAttribute,
    CategoricalAttribute,
    NumericAttribute,
    OrdinalAttribute,
    PointsAttribute,
)

AGE = NumericAttribute(name="age", unit="years", low=0, high=100, bins=101)
DECADES = NumericAttribute(name="age", unit="years", low=0, high=100, bins=11)
LINE = NumericAttribute(name="age", unit="years", low=0, high=100)
BINARY = BinaryAttribute(name="b", classes=("x", "y"))
CATEGORICAL = CategoricalAttribute(name="c", classes=("x", "y", "z"))
ORDINAL = OrdinalAttribute(name="o", classes=("x", "y", "z"))
POINTS = PointsAttribute(name="p", points=("a", "b"))
PLACES = [[0.2, 0.3], [0.7, 0.8]]
NAN = np.nan
KINDS: dict[str, tuple[Attribute, list, dict]] = {
    "binary": (BINARY, [1.0], {"smoothing": 0.1}),
    "categorical": (CATEGORICAL, [2.0], {}),
    "ordinal": (ORDINAL, [0.0], {}),
    "ordinal, class": (ORDINAL, [1.0, NAN, NAN], {}),
    "ordinal, range": (ORDINAL, [NAN, 1.0, 2.0], {}),
    "number": (AGE, [30.0, NAN, NAN], {}),
    "range": (AGE, [NAN, 20.0, 29.0], {}),
    "number in classes": (DECADES, [30.0, NAN, NAN], {"numeric": "classes", "smoothing": 0.05}),
    "range in classes": (DECADES, [NAN, 20.0, 29.0], {"numeric": "classes"}),
    **{f"number, {kind}": (LINE, [30.0, NAN, NAN], {"numeric": kind}) for kind in ("mse", "mae", "huber")},
    **{f"range, {kind}": (LINE, [NAN, 20.0, 29.0], {"numeric": kind}) for kind in ("mse", "mae", "huber")},
    **{f"points, {kind}": (POINTS, PLACES, {"points": kind}) for kind in ("log", "wing", "l1", "mse")},
}
WEIGHTS = {"b": np.float32([3, 0.5]), "c": np.float32([1, 2, 0.2]), "o": np.float32([0.3, 4, 1])}


def loss_of(attribute: Attribute, options: dict | None = None, weights: dict | None = None) -> MaskedLoss:
    return attribute_losses([attribute], Losses(**(options or {})), weights)[attribute.name]


def rows(label: list, count: int, labelled: int) -> np.ndarray:
    """``count`` targets of which the first ``labelled`` have the label."""
    one = np.array(label, np.float32)
    target = np.full((count, *one.shape), NAN, np.float32)
    target[:labelled] = one
    return target[:, 0] if target.shape[1:] == (1,) else target


def one_step(loss: MaskedLoss, attribute: Attribute, inputs: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Change of a linear model's kernel in one step of plain gradient descent: minus the gradient."""
    head = keras.layers.Dense(output_width(attribute), kernel_initializer="zeros", bias_initializer="ones")
    model = keras.Sequential([keras.Input((3,)), head])
    model.compile(keras.optimizers.SGD(1.0), loss=loss)
    model.train_on_batch(inputs, target)
    return head.get_weights()[0]


CASES = [(kind, None) for kind in KINDS] + [(kind, WEIGHTS) for kind in KINDS if KINDS[kind][0].name in WEIGHTS]


@pytest.mark.parametrize(("kind", "weights"), CASES)
def test_a_missing_label_moves_nothing(kind: str, weights: dict | None) -> None:
    attribute, label, options = KINDS[kind]
    loss = loss_of(attribute, options, weights)
    inputs = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    assert (one_step(loss, attribute, inputs, rows(label, 8, 0)) == 0).all()
    other = inputs.copy()
    other[3:] = 100 * np.random.default_rng(1).normal(size=(5, 3))
    moved, also = (one_step(loss, attribute, x, rows(label, 8, 3)) for x in (inputs, other))
    assert np.abs(moved).max() > 0
    np.testing.assert_allclose(moved, also, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_falls_towards_the_label(kind: str) -> None:
    attribute, label, options = KINDS[kind]
    loss, width = loss_of(attribute, options), output_width(attribute)
    far = np.full((2, width), 0.5 if attribute.kind == "points" else 0, np.float32)
    near = far.copy()
    if attribute.kind == "points":
        near[:] = np.ravel(label)
    elif attribute.kind == "numeric" and attribute.bins is None:
        near[:] = 0.25 if "range" in kind else 0.3
    elif attribute.kind == "numeric":
        near[:, 26:33] = 3
        if width == 11:
            near[:, 2 if "range" in kind else 3] = 3
    else:
        near[:, int(np.nanmax(label)) if "range" in kind else int(label[0])] = 3
    worse, better = (float(loss(rows(label, 2, 2), output)) for output in (far, near))
    assert 0 <= better < worse


def test_a_lone_label_does_not_weigh_as_a_batch() -> None:
    loss, output = loss_of(BINARY), np.zeros((32, 2), np.float32)
    all_rows, half, lone = (float(loss(rows([1.0], 32, n), output)) for n in (32, 16, 1))
    assert all_rows == pytest.approx(np.log(2), rel=1e-5) == half
    assert lone == pytest.approx(all_rows / (32 * FLOOR), rel=1e-5)


def test_a_range_is_minus_the_logarithm_of_the_probability_inside() -> None:
    logits = np.random.default_rng(0).normal(size=(1, 101)).astype(np.float32)
    inside = np.exp(logits[0, 20:30]).sum() / np.exp(logits).sum()
    for numeric in ("distribution", "classes"):
        found = float(loss_of(AGE, {"numeric": numeric})(np.float32([[NAN, 20, 29]]), logits))
        assert found == pytest.approx(-np.log(inside), rel=1e-4)
    logits = logits[:, :3]
    inside = np.exp(logits[0, 1:]).sum() / np.exp(logits).sum()
    assert float(loss_of(ORDINAL)(np.float32([[NAN, 1, 2]]), logits)) == pytest.approx(-np.log(inside), rel=1e-4)


def test_a_range_pulls_a_regression_only_from_outside() -> None:
    target = np.float32([[NAN, 20, 30]])
    for kind, wanted in (("mse", 0.04), ("mae", 0.2), ("huber", 0.1 * (0.2 - 0.05))):
        loss = loss_of(LINE, {"numeric": kind})
        found = [float(loss(target, np.float32([[value]]))) for value in (0.2, 0.27, 0.3, 0.0, 0.5)]
        assert found[:3] == pytest.approx([0, 0, 0], abs=1e-9)
        assert found[3:] == pytest.approx([wanted, wanted], rel=1e-4)
        inputs = np.float32([[1, 0, 0]])
        head = keras.layers.Dense(1, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(0.25))
        model = keras.Sequential([keras.Input((3,)), head])
        model.compile(keras.optimizers.SGD(1.0), loss=loss)
        model.train_on_batch(inputs, target)
        assert head.get_weights()[0].tolist() == [[0], [0], [0]]


@pytest.mark.parametrize(
    ("attribute", "numeric"), [(AGE, "distribution"), (DECADES, "classes"), (LINE, "mse"), (LINE, "huber")]
)
def test_numbers_beyond_the_ends_count_as_the_ends(attribute: NumericAttribute, numeric: str) -> None:
    outputs = np.random.default_rng(0).normal(size=(1, output_width(attribute))).astype(np.float32)
    loss = loss_of(attribute, {"numeric": numeric})
    a, b = (float(loss(np.float32([[age, NAN, NAN]]), outputs)) for age in (100, 116))
    assert a == b


def test_a_number_s_bin_is_the_nearest_centre() -> None:
    loss = loss_of(DECADES, {"numeric": "classes"})
    logits = np.eye(11, dtype=np.float32)[[3]] * 9
    losses = [float(loss(np.float32([[age, NAN, NAN]]), logits)) for age in (24.9, 25.1, 30, 34.9, 35.1)]
    assert losses[1] == losses[2] == losses[3] < 0.01
    assert min(losses[0], losses[4]) > 8


def test_the_wing_loss_has_no_step_and_is_linear_beyond() -> None:
    loss = loss_of(POINTS, {"points": "wing"})

    def at(distance: float) -> float:
        return float(loss(np.zeros((1, 2, 2), np.float32), np.full((1, 4), distance, np.float32)))

    assert at(0.01) == pytest.approx(WING * np.log1p(0.01 / WING_CURVATURE), rel=1e-4)
    assert at(WING - 1e-5) == pytest.approx(at(WING + 1e-5), abs=3e-5)
    assert at(0.5) - at(0.3) == pytest.approx(0.2, rel=1e-4)


def test_class_weights_are_inverse_shares_with_mean_1() -> None:
    labels = np.array([0, 0, 0, 1, NAN, NAN], np.float32)
    found = class_weights([BINARY, CATEGORICAL, AGE, ORDINAL], {
        "b": labels, "c": labels, "age": np.full((6, 3), NAN), "o": np.full(6, NAN),
    })  # fmt: skip
    assert set(found) == {"b", "c"}
    np.testing.assert_allclose(found["b"], [2 / 3, 2])
    np.testing.assert_allclose(found["c"], [2 / 3, 2, 1])
    plain, weighed = loss_of(BINARY), loss_of(BINARY, None, {"b": found["b"]})
    output = np.zeros((6, 2), np.float32)
    assert float(weighed(labels, output)) == pytest.approx(float(plain(labels, output)), rel=1e-5)
    output[:, 1] = 5  # right for the rare class only
    assert float(weighed(labels, output)) < float(plain(labels, output))


@pytest.mark.parametrize(
    ("attribute", "numeric", "words"),
    [
        (AGE, "mse", "age has bins.*distribution or classes"),
        (LINE, "distribution", "age has no bins.*mse, mae or huber"),
    ],
)
def test_a_loss_that_does_not_fit_the_schema(attribute: NumericAttribute, numeric: str, words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        loss_of(attribute, {"numeric": numeric})
