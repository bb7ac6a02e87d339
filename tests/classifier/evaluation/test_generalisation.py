"""Training against validation rows, in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facepipe.classifier.config.schema import read_schema
from facepipe.classifier.data.table import read_faces
from facepipe.classifier.evaluation.generalisation import Fit, compare, training_sample
from facepipe.weights.manifest import BinaryAttribute, NumericAttribute

GENDER = BinaryAttribute(name="gender", classes=("female", "male"))
AGE = NumericAttribute(name="age", unit="years", low=0, high=100)


@pytest.mark.parametrize(
    ("measure", "unit", "train", "val", "noise", "words"),
    [
        ("mae", " years", 3.9, 5.3, 0.1, "some generalisation gap"),
        ("mae", " years", 2.0, 5.3, 0.1, "large generalisation gap"),
        ("mae", " years", 3.9, 5.3, 1.0, "no sign"),
        ("mae", " years", 5.0, 5.4, 0.1, "no sign"),
        ("mae", " years", 5.4, 5.0, 0.1, "the validation rows are easier"),
        ("accuracy", "", 0.99, 0.96, 0.005, "some generalisation gap"),
        ("accuracy", "", 0.99, 0.90, 0.005, "large generalisation gap"),
        ("accuracy", "", 0.99, 0.96, 0.02, "no sign"),
        ("accuracy", "", 0.99, 0.975, 0.001, "no sign"),
        ("accuracy", "", 0.90, 0.95, 0.01, "the validation rows are easier"),
    ],
)
def test_the_rule(measure: str, unit: str, train: float, val: float, noise: float, words: str) -> None:
    told = str(Fit("a", measure, unit, train, val, noise, 600, 2000))
    assert words in told
    assert ("regularisation" in told) == ("overfitting" in told)


def test_what_is_learnt_by_heart_is_told() -> None:
    random = np.random.default_rng(0)
    train = random.uniform(20, 80, (400, 1)), random.uniform(20, 80, (400, 1))
    outputs = [{"age": values / 100, "gender": np.eye(2)[random.integers(0, 2, 400)]} for values in train]
    targets = [
        {
            "age": np.concatenate([values + random.normal(0, spread, (400, 1)), np.full((400, 2), np.nan)], axis=1),
            "gender": each["gender"].argmax(axis=1).astype(float),
        }
        for values, spread, each in zip(train, (3, 9), outputs, strict=True)
    ]
    targets[1]["gender"][:370] = np.nan
    age, gender = compare((AGE, GENDER), (outputs[0], targets[0]), (outputs[1], targets[1]))
    assert (age.degree, age.rows, age.val_rows) == (2, 400, 400)
    assert age.metric().name == "age.mae/training rows"
    assert str(age).startswith("age mae 2.")
    assert (gender.degree, gender.train, gender.val_rows) == (0, 1.0, 30)
    targets[1]["gender"][:371] = np.nan
    assert len(compare((AGE, GENDER), (outputs[0], targets[0]), (outputs[1], targets[1]))) == 1, "too few rows"


def test_the_sample_has_the_sources_of_the_validation_rows(faces: Path) -> None:
    table = read_faces(faces, read_schema())
    train, val = table.split("train"), table.split("val")
    val = val.rows(val.columns["source"] != "points")
    sample = training_sample(train, val, 10)
    assert len(sample) <= 10
    assert set(sample.columns["split"]) == {"train"}
    assert set(sample.columns["source"]) == {"ages", "ranges"}
    assert sample.files == training_sample(train, val, 10).files
