"""The network: names and numbers of keras.applications and torchvision, folding, freezing, batch norms, heads."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from facepipe import weights
from facepipe.classifier.config.recipe import Heads, Neck, Recipe, Stage, read_recipe
from facepipe.classifier.config.schema import find_schema, read_schema
from facepipe.classifier.inference.classifier import prepare
from facepipe.classifier.models.backbones import BACKBONES, BLOCKS, find_backbone
from facepipe.classifier.models.heads import SoftArgmax
from facepipe.classifier.models.keras_applications import lasting_names
from facepipe.classifier.models.multitask import batch_norms, build_model, freeze, get_weights, set_weights
from facepipe.classifier.models.pretrained import fit_start, weights_of_onnx
from facepipe.classifier.training.validation import recalibrate
from facepipe.core.errors import TrainingError
from facepipe.weights.manifest import BinaryAttribute, NumericAttribute
from facepipe.weights.release import open_release

SCHEMA = read_schema()
GENDER = read_schema(find_schema("gender"))


def recipe(backbone: str = "resnet14", norms: tuple[str, ...] | None = None, **parts) -> Recipe:
    stages = (Stage(name="only", size=96, epochs=1, learning_rate=1e-3),)
    return Recipe(backbone=backbone, norms=norms, stages=stages, **parts)


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
    return {name: np.asarray(value) for name, value in model(x, training=False).items()}


def test_it_is_the_resnet50_of_keras_applications():
    theirs = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3))
    arrays = lively(theirs)
    set_weights(theirs, arrays)
    ours = build_model(SCHEMA, recipe("resnet50"), 64)
    fresh = fit_start(ours, arrays)
    assert {name.split("_")[0] for name in fresh} == {"age", "gender", "glasses", "smile", "mask", "eyes"}
    x = images(2)
    tap = keras.Model(ours.input, ours.get_layer("conv5_block3_out").output)
    wanted = theirs.predict_on_batch(x)
    np.testing.assert_allclose(tap.predict_on_batch(x), wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("name", "function", "last"),
    [
        ("mobilenetv2", keras.applications.MobileNetV2, "out_relu"),
        ("efficientnetb0", keras.applications.EfficientNetB0, "top_activation"),
        ("inceptionv3", keras.applications.InceptionV3, "mixed10"),
    ],
)
def test_it_is_the_network_of_keras_applications_on_the_same_picture(name, function, last):
    keras.layers.Conv2D(1, 1)  # so that the layers that Keras numbers do not begin at 0
    size = 96
    theirs = function(weights=None, include_top=False, input_shape=(size, size, 3))
    set_weights(theirs, lively(theirs))
    crops = np.random.default_rng(3).integers(0, 256, (2, size, size, 3), np.uint8)
    rgb = crops[..., ::-1].astype(np.float32)
    if name == "efficientnetb0":  # with its weights comes its own normalisation, whose preprocess_input does nothing
        spec = find_backbone(name).input_spec(size)
        layer = next(each for each in theirs.layers if isinstance(each, keras.layers.Normalization))
        layer.mean, layer.variance = (np.array(part).reshape(1, 1, 1, 3) for part in (spec.mean, np.square(spec.std)))
        made = rgb
    else:
        module = {"mobilenetv2": keras.applications.mobilenet_v2, "inceptionv3": keras.applications.inception_v3}[name]
        made = module.preprocess_input(rgb)
    ours = build_model(GENDER, recipe(name), size)
    names = lasting_names(theirs)
    arrays = {
        f"{names[layer.name]}/{variable.name}": np.asarray(variable)
        for layer in theirs.layers
        for variable in layer.weights
    }
    assert set(fit_start(ours, arrays)) == {"gender"}
    tap = keras.Model(ours.input, ours.get_layer(last).output)
    wanted = np.asarray(theirs(made, training=False))
    found = np.asarray(tap(prepare(crops, find_backbone(name).input_spec(size)), training=False))
    assert wanted.std() > 1e-3
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())


def test_the_default_recipe_has_the_layers_of_what_is_released():
    release = open_release(Path(weights.__file__).parent / "classifier" / "1.0.0")
    arrays = weights_of_onnx(release.read())
    default = read_recipe("resnet50")
    folded = build_model(SCHEMA, default, 32, norms=())
    assert {name: value.shape for name, value in get_weights(folded).items()} == {
        name: value.shape for name, value in arrays.items()
    }
    model = build_model(SCHEMA, default, 32)
    assert fit_start(model, arrays) == []
    assert {norm.name.split("_")[0] for norm in batch_norms(model)} == {"conv5"}


@pytest.mark.parametrize("name", ["resnet14", "resnet18", "mobilenetv2", "efficientnetb0", "inceptionv3"])
def test_folded_batch_norms_change_nothing(name):
    size = 75 if name == "inceptionv3" else 64
    kinds = (read_schema(find_schema("multitask"))[0], SCHEMA[-1])
    whole = build_model(kinds, recipe(name, neck=Neck(batch_norm=True)), size)
    arrays = lively(whole)
    set_weights(whole, arrays)
    x = images(3, size) / (1 if name == "resnet14" else 60)
    wanted = outputs(whole, x)

    def same(found):
        for key, value in wanted.items():
            np.testing.assert_allclose(found[key], value, rtol=1e-3, atol=1e-4 * np.abs(value).max())

    for norms in (("conv5",), ()):
        folded = build_model(kinds, recipe(name, norms), size)
        assert fit_start(folded, arrays) == []
        assert {find_backbone(name).block(norm.name) for norm in batch_norms(folded)} == set(norms)
        same(outputs(folded, x))
    back = build_model(kinds, recipe(name, neck=Neck(batch_norm=True)), size)  # folded weights, and batch norms again
    assert fit_start(back, get_weights(folded)) == []
    same(outputs(back, x))


def test_a_batch_norm_behind_a_random_kernel_is_reset():
    model = build_model(SCHEMA, recipe(), 32)
    arrays = lively(model)
    del arrays["conv5_block1_2_conv/kernel"]
    target = build_model(SCHEMA, recipe(norms=("conv5",)), 32)
    assert fit_start(target, arrays) == ["conv5_block1_2_conv"]
    weights = get_weights(target)
    assert (weights["conv5_block1_2_bn/moving_variance"] == 1).all()
    assert (weights["conv5_block1_2_bn/gamma"] == 1).all()
    assert (weights["conv5_block1_1_bn/gamma"] == arrays["conv5_block1_1_bn/gamma"]).all()


def test_a_block_without_batch_norms_needs_weights():
    with pytest.raises(TrainingError, match="no batch norm in the recipe and no starting weights"):
        fit_start(build_model(SCHEMA, recipe(norms=("conv5",)), 32), {})


def test_outputs_do_not_depend_on_the_size_of_the_weights():
    small, large = (build_model(SCHEMA, recipe(), size) for size in (32, 96))
    set_weights(large, get_weights(small))
    found = outputs(large, images(2, 96))
    assert {name: value.shape for name, value in found.items()} == {
        "age": (2, 101), "gender": (2, 2), "glasses": (2, 2), "smile": (2, 2), "mask": (2, 2), "eyes": (2, 10)
    }  # fmt: skip
    assert (found["eyes"] > 0).all()
    assert (found["eyes"] < 1).all()


def test_necks_and_heads_are_what_the_recipe_says():
    schema = read_schema(find_schema("multitask"))
    parts = {"neck": Neck(pool="flatten", batch_norm=True, dropout=0.5), "heads": Heads(hidden=(7, 5), points="pooled")}
    model = build_model(schema, recipe("convnet", l2=0.1, **parts), 64)
    shapes = {name: value.shape for name, value in get_weights(model).items() if name.startswith(("age", "eyes"))}
    assert shapes == {
        f"{name}{part}": shape
        for name, width in (("age", 1), ("eyes", 4))
        for part, shape in {
            "_hidden1/kernel": (2 * 2 * 256, 7), "_hidden1/bias": (7,),
            "_hidden2/kernel": (7, 5), "_hidden2/bias": (5,), "/kernel": (5, width), "/bias": (width,),
        }.items()
    }  # fmt: skip
    assert [norm.name for norm in batch_norms(model)] == ["neck_bn"]
    assert model.get_layer("dropout").rate == 0.5
    kernels = [value for name, value in get_weights(model).items() if name.endswith("/kernel")]
    penalty = sum(float(np.square(kernel).sum()) for kernel in kernels)
    np.testing.assert_allclose(float(sum(model.losses)), 0.1 * penalty, rtol=1e-4)
    maximum = build_model(GENDER, recipe("convnet", neck=Neck(pool="max")), 64)
    x = images(2) / 60
    tap = keras.Model(maximum.input, [maximum.get_layer("conv5_pool").output, maximum.get_layer("pooled").output])
    last, pooled = tap.predict_on_batch(x)
    np.testing.assert_allclose(pooled, last.max(axis=(1, 2)))


@pytest.mark.parametrize("name", ["pooled", "features", "conv5_x", "dropout"])
def test_attributes_are_not_called_as_parts_of_the_network(name):
    attribute = BinaryAttribute(name=name, classes=("no", "yes"))
    with pytest.raises(TrainingError, match=f"cannot be called '{name}'"):
        build_model((attribute,), recipe("convnet"), 32)


def test_a_regressed_number_begins_in_the_middle_of_its_range():
    age = NumericAttribute(name="age", unit="years", low=0, high=100)
    found = outputs(build_model((age,), recipe("convnet"), 32), np.zeros((1, 32, 32, 3), np.float32))
    np.testing.assert_allclose(found["age"], [[0.5]])


def test_points_come_from_where_the_map_is_hot():
    maps = np.full((1, 8, 8, 2), -30, np.float32)
    maps[0, 2, 5, 0] = maps[0, 7, 0, 1] = 30
    found = np.asarray(SoftArgmax()(maps))[0]
    np.testing.assert_allclose(found, [5.5 / 8, 2.5 / 8, 0.5 / 8, 7.5 / 8], atol=1e-5)


def test_frozen_blocks_stay_and_the_others_move():
    model = build_model(SCHEMA, recipe(), 32)
    freeze(model, recipe(), ("conv1", "conv2"))
    model.compile(keras.optimizers.SGD(0.1), loss={"gender": "mse"})
    before = get_weights(model)
    model.train_on_batch(images(4, 32), {"gender": np.ones((4, 2), np.float32)})
    moved = {name.split("_")[0] for name, value in get_weights(model).items() if (value != before[name]).any()}
    assert moved == {"conv3", "conv4", "conv5", "gender/kernel", "gender/bias"}
    with pytest.raises(TrainingError, match="unknown blocks of resnet14: conv6"):
        freeze(model, recipe(), ("conv6",))


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_every_weight_of_a_backbone_is_in_one_of_its_blocks(name):
    chosen = recipe(name)
    model = build_model(GENDER, chosen, find_backbone(name).least)
    freeze(model, chosen, ("backbone",))
    assert {path.partition("/")[0] for path in trainable(model)} == {"gender"}
    freeze(model, chosen, ())
    everything = trainable(model)
    shares = []
    for block in BLOCKS:
        freeze(model, chosen, (block,))
        shares.append(everything - trainable(model))
    assert all(shares)
    assert sum(map(len, shares)) == len(set().union(*shares)) == len(everything) - 2
    for norm in batch_norms(model):  # a frozen batch norm runs in inference mode: that is Keras' rule for the layer
        assert norm.trainable == (norm.name not in {path.partition("/")[0] for path in shares[-1]})


def trainable(model: keras.Model) -> set[str]:
    return {f"{layer.name}/{each.name}" for layer in model.layers for each in layer.trainable_weights}


def test_recalibrated_batch_norms_agree_in_training_and_inference_mode():
    model = build_model(SCHEMA, recipe(neck=Neck(dropout=0.0)), 64)
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
    model = build_model(SCHEMA, recipe(), 32)
    norm = batch_norms(model)[0]
    means = []
    for seed in (1, 2):
        recalibrate(model, [images(4, 32, seed)])
        means.append(np.asarray(norm.moving_mean))
    recalibrate(model, [images(4, 32, seed) for seed in (1, 2)])
    np.testing.assert_allclose(np.asarray(norm.moving_mean), np.mean(means, axis=0), rtol=1e-3, atol=1e-3)


def test_frozen_batch_norms_are_not_recalibrated():
    model = build_model(SCHEMA, recipe(), 32)
    freeze(model, recipe(), ("backbone",))
    before = get_weights(model)
    assert recalibrate(model, [images(4, 32)]) == 0
    assert all((value == before[name]).all() for name, value in get_weights(model).items())


def test_batch_norms_of_parallel_branches_are_all_recalibrated():
    model = build_model(GENDER, recipe("inceptionv3"), 75)
    before = get_weights(model)
    assert recalibrate(model, [images(4, 75) / 60]) == 1
    after = get_weights(model)
    means = [name for name in after if name.endswith("moving_mean")]
    assert len(means) == 94
    assert all((after[name] != before[name]).any() for name in means)


def test_sizes_and_backbones():
    with pytest.raises(TrainingError, match="multiples of 32 from 32, got 100"):
        build_model(SCHEMA, recipe(), 100)
    with pytest.raises(TrainingError, match="whole numbers from 75, got 64"):
        build_model(SCHEMA, recipe("inceptionv3"), 64)
    with pytest.raises(TrainingError, match="unknown backbone 'vgg'; one of resnet50"):
        build_model(SCHEMA, recipe("vgg"), 64)
    with pytest.raises(TrainingError, match="norms: unknown blocks"):
        build_model(SCHEMA, recipe(norms=("conv9",)), 64)


def test_regressions_begin_near_the_middle_of_their_range():
    """Whatever the features: those of a random network go up to 6 here, 1,280 of them."""
    attributes = read_schema(find_schema("multitask"))
    stages = (Stage(name="only", size=64, epochs=1, learning_rate=1e-3),)
    network = build_model(attributes, Recipe(backbone="mobilenetv2", stages=stages, heads=Heads(points="pooled")), 64)
    features = keras.Model(network.inputs, [network.features, network.output])
    pooled, outputs = features.predict_on_batch(images(8) / 60)
    assert pooled.shape == (8, 1280)
    for name in ("age", "eyes"):
        head = network.get_layer(name)
        worst = head(np.full((1, 1280), 6.0, np.float32))
        assert np.abs(np.asarray(worst) - 0.5).max() < 1
        assert np.abs(outputs[name] - 0.5).max() < 0.3
