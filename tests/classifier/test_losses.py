"""Losses: what they measure, and that a missing label moves nothing."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from facepipe.classifier.losses import FLOOR, attribute_loss
from facepipe.weights.manifest import (
    BinaryAttribute,
    CategoricalAttribute,
    NumericAttribute,
    OrdinalAttribute,
    PointsAttribute,
)

AGE = NumericAttribute(name="age", unit="years", low=0, high=100, bins=101)
KINDS = {
    "binary": (BinaryAttribute(name="b", classes=("x", "y")), [1.0]),
    "categorical": (CategoricalAttribute(name="c", classes=("x", "y", "z")), [2.0]),
    "ordinal": (OrdinalAttribute(name="o", classes=("x", "y", "z")), [0.0]),
    "number": (AGE, [30.0, np.nan, np.nan]),
    "range": (AGE, [np.nan, 20.0, 29.0]),
    "points": (PointsAttribute(name="p", points=("a", "b")), [[0.2, 0.3], [0.7, 0.8]]),
}


def width(attribute) -> int:
    return {"numeric": 101, "points": 4}.get(attribute.kind) or len(attribute.classes)


def rows(label, count: int, labelled: int) -> np.ndarray:
    """``count`` targets of which the first ``labelled`` have the label."""
    one = np.array(label, np.float32)
    target = np.full((count, *one.shape), np.nan, np.float32)
    target[:labelled] = one
    return target[:, 0] if target.shape[1:] == (1,) else target


def one_step(attribute, inputs: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Change of a linear model's kernel in one step of plain gradient descent: minus the gradient."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(width(attribute), kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(1.0), loss=attribute_loss(attribute))
    model.train_on_batch(inputs, target)
    return model.layers[-1].get_weights()[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_label_moves_nothing(kind):
    attribute, label = KINDS[kind]
    inputs = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    assert (one_step(attribute, inputs, rows(label, 8, 0)) == 0).all()
    other = inputs.copy()
    other[3:] = 100 * np.random.default_rng(1).normal(size=(5, 3))
    moved, also = (one_step(attribute, x, rows(label, 8, 3)) for x in (inputs, other))
    assert np.abs(moved).max() > 0
    np.testing.assert_allclose(moved, also, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_falls_towards_the_label(kind):
    attribute, label = KINDS[kind]
    loss, count = attribute_loss(attribute), width(attribute)
    flat = np.full((2, count), 0.5 if kind == "points" else 0, np.float32)
    better = flat.copy()
    if kind == "points":
        better[:] = np.ravel(label)
    elif attribute.kind == "numeric":
        better[:, 26:33] = 3
    else:
        better[:, int(label[0])] = 3
    far, near = float(loss(rows(label, 2, 2), flat)), float(loss(rows(label, 2, 2), better))
    assert 0 <= near < far


def test_a_lone_label_does_not_weigh_as_a_batch():
    attribute, label = KINDS["binary"]
    output = np.zeros((32, 2), np.float32)
    all_rows, half, lone = (float(attribute_loss(attribute)(rows(label, 32, n), output)) for n in (32, 16, 1))
    assert all_rows == pytest.approx(np.log(2), rel=1e-5) == half
    assert lone == pytest.approx(all_rows / (32 * FLOOR), rel=1e-5)


def test_a_range_is_minus_the_logarithm_of_the_probability_inside():
    logits = np.random.default_rng(0).normal(size=(1, 101)).astype(np.float32)
    inside = np.exp(logits[0, 20:30]).sum() / np.exp(logits).sum()
    found = float(attribute_loss(AGE)(np.float32([[np.nan, 20, 29]]), logits))
    assert found == pytest.approx(-np.log(inside), rel=1e-4)


def test_numbers_beyond_the_ends_count_as_the_ends():
    logits = np.random.default_rng(0).normal(size=(1, 101)).astype(np.float32)
    a, b = (float(attribute_loss(AGE)(np.float32([[age, np.nan, np.nan]]), logits)) for age in (100, 116))
    assert a == b
