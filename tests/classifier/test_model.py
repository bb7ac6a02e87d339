"""The network: names and numbers of keras.applications, folding, freezing, batch norms, starting weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from facepipe.classifier.batchnorm import recalibrate
from facepipe.classifier.model import batch_norms, build_model, freeze, get_weights, set_weights
from facepipe.classifier.schema import read_schema
from facepipe.classifier.start import fit_start, starting_arrays
from facepipe.weights.errors import TrainingError

SCHEMA = read_schema()


def images(count: int, size: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 60, (count, size, size, 3)).astype(np.float32)


def lively(model: keras.Model) -> dict[str, np.ndarray]:
    """Weights whose batch norms do something."""
    random = np.random.default_rng(1)
    weights = get_weights(model)
    for name, value in weights.items():
        if name.endswith(("gamma", "moving_variance")):
            weights[name] = random.uniform(0.5, 1.5, value.shape).astype(np.float32)
        elif name.endswith(("beta", "moving_mean", "bias")):
            weights[name] = random.normal(0, 0.1, value.shape).astype(np.float32)
    return weights


def outputs(model: keras.Model, x: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in model.predict_on_batch(x).items()}


def test_it_is_the_resnet50_of_keras_applications():
    theirs = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3))
    arrays = lively(theirs)
    set_weights(theirs, arrays)
    ours = build_model(SCHEMA, 64)
    fresh = fit_start(ours, arrays, ("conv1", "conv2", "conv3", "conv4", "conv5"))
    assert {name.split("_")[0] for name in fresh} == {"age", "gender", "glasses", "smile", "mask", "eyes"}
    x = images(2)
    tap = keras.Model(ours.inputs, ours.get_layer("conv5_block3_out").output)
    wanted = theirs.predict_on_batch(x)
    np.testing.assert_allclose(tap.predict_on_batch(x), wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())


def test_folded_batch_norms_change_nothing():
    whole = build_model(SCHEMA, 64, "resnet14")
    arrays = lively(whole)
    set_weights(whole, arrays)
    x = images(3)
    wanted = outputs(whole, x)
    for norms in (("conv5",), ()):
        folded = build_model(SCHEMA, 64, "resnet14", norms)
        assert fit_start(folded, arrays, norms) == []
        for name, value in outputs(folded, x).items():
            np.testing.assert_allclose(value, wanted[name], rtol=1e-3, atol=1e-3)
    back = build_model(SCHEMA, 64, "resnet14")  # folded weights in a model that has batch norms
    fit_start(back, get_weights(folded), ("conv1", "conv2", "conv3", "conv4", "conv5"))
    for name, value in outputs(back, x).items():
        np.testing.assert_allclose(value, wanted[name], rtol=1e-3, atol=1e-3)


def test_a_batch_norm_behind_a_random_kernel_is_reset():
    model = build_model(SCHEMA, 32, "resnet14")
    arrays = lively(model)
    del arrays["conv5_block1_2_conv/kernel"]
    target = build_model(SCHEMA, 32, "resnet14", ("conv5",))
    assert fit_start(target, arrays, ("conv5",)) == ["conv5_block1_2_conv"]
    weights = get_weights(target)
    assert (weights["conv5_block1_2_bn/moving_variance"] == 1).all()
    assert (weights["conv5_block1_2_bn/gamma"] == 1).all()
    assert (weights["conv5_block1_1_bn/gamma"] == arrays["conv5_block1_1_bn/gamma"]).all()


def test_a_block_without_batch_norms_needs_weights():
    with pytest.raises(TrainingError, match="no batch norm in the recipe and no starting weights"):
        fit_start(build_model(SCHEMA, 32, "resnet14", ("conv5",)), {}, ("conv5",))


def test_outputs_do_not_depend_on_the_size_of_the_weights():
    small, large = (build_model(SCHEMA, size, "resnet14") for size in (32, 96))
    set_weights(large, get_weights(small))
    found = outputs(large, images(2, 96))
    assert {name: value.shape for name, value in found.items()} == {
        "age": (2, 101), "gender": (2, 2), "glasses": (2, 2), "smile": (2, 2), "mask": (2, 2), "eyes": (2, 10)
    }  # fmt: skip
    assert (found["eyes"] > 0).all()
    assert (found["eyes"] < 1).all()


def test_points_come_from_where_the_map_is_hot():
    from facepipe.classifier.model import SoftArgmax

    maps = np.full((1, 8, 8, 2), -30, np.float32)
    maps[0, 2, 5, 0] = maps[0, 7, 0, 1] = 30
    found = np.asarray(SoftArgmax()(maps))[0]
    np.testing.assert_allclose(found, [5.5 / 8, 2.5 / 8, 0.5 / 8, 7.5 / 8], atol=1e-5)


def test_frozen_blocks_stay_and_the_others_move():
    model = build_model(SCHEMA, 32, "resnet14")
    freeze(model, ("conv1", "conv2"))
    model.compile(keras.optimizers.SGD(0.1), loss={"gender": "mse"})
    before = get_weights(model)
    model.train_on_batch(images(4, 32), {"gender": np.ones((4, 2), np.float32)})
    moved = {name.split("_")[0] for name, value in get_weights(model).items() if (value != before[name]).any()}
    assert moved == {"conv3", "conv4", "conv5", "gender/kernel", "gender/bias"}
    with pytest.raises(TrainingError, match="unknown blocks"):
        freeze(model, ("conv6",))


def test_recalibrated_batch_norms_agree_in_training_and_inference_mode():
    model = build_model(SCHEMA, 64, "resnet14", dropout=0.0)
    # The batches are one and the same, so the batch statistics are the population's: the modes must agree.
    x = images(16)
    norm = batch_norms(model)[-1]
    trunk = keras.Model(model.inputs, norm.output)
    training = np.asarray(trunk([x], training=True))
    lagging = np.asarray(trunk([x], training=False))
    assert np.abs(training - lagging).mean() > 0.1
    before = get_weights(model)
    assert recalibrate(model, [x, x, x]) == 3
    inference = np.asarray(trunk([x], training=False))
    assert np.abs(training - inference).mean() < 1e-3
    after = get_weights(model)
    assert all((after[name] == before[name]).all() for name in after if "moving" not in name)
    assert {norm.momentum for norm in batch_norms(model)} == {0.9}


def test_recalibration_averages_over_batches():
    model = build_model(SCHEMA, 32, "resnet14")
    norm = batch_norms(model)[0]
    means = []
    for seed in (1, 2):
        recalibrate(model, [images(4, 32, seed)])
        means.append(np.asarray(norm.moving_mean))
    recalibrate(model, [images(4, 32, seed) for seed in (1, 2)])
    np.testing.assert_allclose(np.asarray(norm.moving_mean), np.mean(means, axis=0), rtol=1e-3, atol=1e-3)


def test_frozen_batch_norms_are_not_recalibrated():
    model = build_model(SCHEMA, 32, "resnet14")
    freeze(model, ("conv1", "conv2", "conv3", "conv4", "conv5"))
    before = get_weights(model)
    assert recalibrate(model, [images(4, 32)]) == 0
    assert all((value == before[name]).all() for name, value in get_weights(model).items())


def test_starts_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path))
    assert starting_arrays("none") == {}
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    for start in (str(tmp_path / "bad.npz"), str(tmp_path / "absent.npz"), "7.7.7"):
        with pytest.raises(TrainingError):
            starting_arrays(start)


def test_sizes_and_backbones():
    with pytest.raises(TrainingError, match="multiples of 32"):
        build_model(SCHEMA, 100)
    with pytest.raises(TrainingError, match="resnet50"):
        build_model(SCHEMA, 64, "vgg")
