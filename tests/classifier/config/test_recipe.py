"""Recipes: reading and merging them, and each shipped one through a step of each stage and its export to ONNX."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnxruntime as ort
import pytest
from facepipe.classifier.config.recipe import Recipe, rate_at, read_recipe, recipe_path, shipped_recipes
from facepipe.classifier.config.schema import find_schema, read_schema
from facepipe.classifier.data.loader import CropSource, exact_batches
from facepipe.classifier.data.table import read_faces
from facepipe.classifier.export.onnx import export_files
from facepipe.classifier.inference.classifier import prepare
from facepipe.classifier.models.backbones import find_backbone
from facepipe.classifier.models.multitask import get_weights, set_weights
from facepipe.classifier.models.pretrained import fit_start, weights_of_onnx
from facepipe.classifier.training.losses import attribute_losses
from facepipe.classifier.training.train_step import Devices, build_learner
from facepipe.core.errors import DataError, TrainingError
from facepipe.pipeline.cli import main

NAMED = {
    "resnet50": ("resnet50", 224),
    "multitask-mobilenetv2": ("mobilenetv2", 224),
    "multitask-resnet50": ("resnet50", 224),
    "multitask-efficientnetb0": ("efficientnetb0", 224),
    "multitask-mobilenetv2-aug": ("mobilenetv2", 224),
    "multitask-mobilenetv2-aug-weighted": ("mobilenetv2", 224),
    "multitask-mobilenetv2-aug-dense": ("mobilenetv2", 224),
    "multitask-mobilenetv2-dense-weighted": ("mobilenetv2", 224),
    "multitask-progressive": ("resnet50", 224),
    "agegender-mobilenetv2-frozen": ("mobilenetv2", 128),
    "agegender-mobilenetv2-unfrozen": ("mobilenetv2", 128),
    "heads-resnet18": ("resnet18", 224),
    "convnet": ("convnet", 128),
    "convnet-regularised": ("convnet", 128),
    "gender-inceptionv3": ("inceptionv3", 299),
}
EXPORTED: set[str] = set()
"""Architectures that a test of this module has exported."""


@pytest.fixture(autouse=True)
def _forget_models():
    """Networks of a hundred megabytes each are not kept from test to test."""
    yield
    keras.utils.clear_session(free_memory=True)


def schema_of(recipe: Recipe, name: str):
    return read_schema(find_schema(recipe.schema_file, recipe_path(name).parent))


def test_the_recipes_of_the_field_are_all_there():
    found = {name: read_recipe(name) for name in shipped_recipes()}
    assert {name: (recipe.backbone, recipe.size) for name, recipe in found.items()} == NAMED
    for name, recipe in found.items():
        schema_of(recipe, name)
        assert recipe.description.endswith(".")
        for stage in recipe.stages:
            find_backbone(recipe.backbone).check_size(stage.size)


def test_what_sets_the_recipes_apart():
    read = read_recipe
    assert [stage.attributes for stage in read("multitask-progressive").stages] == [("age",), ("age", "eyes"), None]
    plain, aug = read("multitask-mobilenetv2").augmentation, read("multitask-mobilenetv2-aug").augmentation
    assert set(plain.model_dump().values()) == {0.0}
    assert aug.model_dump() == plain.model_dump() | {"flip": 0.5, "saturation": 0.3}
    assert read("multitask-mobilenetv2-aug-dense").heads.hidden == (128,)
    assert read("multitask-mobilenetv2-aug-weighted").augmentation == aug
    assert read("multitask-mobilenetv2-dense-weighted").losses.weights["eyes"] > 1
    assert (read("multitask-mobilenetv2").split.val, read("multitask-mobilenetv2").split.test) == (0.15, 0.15)
    frozen, unfrozen = read("agegender-mobilenetv2-frozen"), read("agegender-mobilenetv2-unfrozen")
    assert (frozen.stages[0].freeze, unfrozen.stages[0].freeze) == (("backbone",), ())
    assert (frozen.neck.batch_norm, unfrozen.neck.batch_norm, unfrozen.neck.dropout) == (False, True, 0.5)
    assert unfrozen.stages[0].learning_rate == 1e-4
    assert read("heads-resnet18").balance.by == ("race", "gender")
    assert (read("convnet").l2, read("convnet-regularised").l2) == (0.0, 1e-4)
    assert read("convnet-regularised").model_copy(update={"l2": 0.0, "description": ""}) == read("convnet").model_copy(
        update={"description": ""}
    )


@pytest.mark.parametrize("years", [1, 5, 10, 20])
def test_ages_in_classes_are_of_whole_years(years):
    from facepipe.classifier.inference.attributes import bin_centres

    age, gender = read_schema(find_schema(f"agebins-{years}"))
    centres = bin_centres(age)
    nearest = [int(np.abs(centres - year).argmin()) for year in range(101)]
    assert nearest == [year // years for year in range(101)]
    assert gender.classes == ("female", "male")


@pytest.mark.parametrize("name", NAMED)  # the default first, whose export stands for ResNet50's
def test_each_recipe_learns_and_exports(name, faces, tmp_path):
    whole = read_recipe(name)
    backbone = find_backbone(whole.backbone)
    stages = [stage.model_copy(update={"size": backbone.least}) for stage in whole.stages]
    recipe = whole.model_copy(update={"stages": tuple(stages), "norms": None})
    schema = schema_of(whole, name)
    table = read_faces(faces, schema)
    spec = backbone.input_spec(recipe.size)
    source = CropSource(table, recipe.size, (114, 114, 114))
    batch = next(exact_batches(source, 8, np.arange(8)))
    images = prepare(batch.images, spec)
    losses = attribute_losses(schema, recipe.losses, None)
    weights = None
    for stage in recipe.stages:
        learner = build_learner(schema, recipe, stage, losses, Devices())
        learner.run_eagerly = True
        if weights is None:
            fit_start(learner.network, {})
        else:
            set_weights(learner.network, weights)
        before = get_weights(learner.network)
        assert np.isfinite(float(learner.train_on_batch(images, batch.targets, return_dict=True)["loss"]))
        weights = get_weights(learner.network)
        moved = {key for key, value in weights.items() if (value != before[key]).any()}
        blocks = {backbone.block(key.partition("/")[0]) for key in moved} - {""}
        assert blocks == (set() if "backbone" in stage.freeze else set(backbone.blocks[:5]) - set(stage.freeze))
        labelled = {key for key, target in batch.targets.items() if np.isfinite(target).any()}
        learning = labelled if stage.attributes is None else labelled & set(stage.attributes)
        if recipe.optimizer == "adam":  # the weight decay of adamw moves kernels even where nothing is learnt
            heads = {key for key in moved if not backbone.block(key.partition("/")[0])}
            assert {each.name for each in schema if any(key.startswith(each.name) for key in heads)} == learning

    shape = f"{recipe.backbone} {recipe.neck.pool} {recipe.neck.batch_norm} {len(recipe.heads.hidden)}"
    if shape in EXPORTED:
        return
    EXPORTED.add(shape)
    network = learner.network
    assert export_files(tmp_path, schema, recipe, weights, images, ())["float32"] < 1e-2
    session = ort.InferenceSession(tmp_path / "classifier-float32.onnx", providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    assert names == [*(attribute.name for attribute in schema), "features"]
    found = dict(zip(names, session.run(names, {spec.name: images}), strict=True))
    for key, value in network.predict_on_batch(images).items():
        np.testing.assert_allclose(found[key], value, rtol=1e-3, atol=1e-4)
    features = keras.Model(network.inputs, network.get_layer("pooled").output).predict_on_batch(images)
    assert session.get_outputs()[-1].shape == ["n", features.shape[1]]
    np.testing.assert_allclose(found["features"], features, rtol=1e-3, atol=1e-3 * max(np.abs(features).max(), 1))
    named = weights_of_onnx((tmp_path / "classifier-float32.onnx").read_bytes())
    kernels = {key for key in weights if key.endswith("/kernel")}
    assert kernels <= set(named), f"not named in the file: {sorted(kernels - set(named))[:5]}"


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_recipe_says_only_in_what_it_differs_from_its_base(tmp_path):
    changed = "base: multitask-mobilenetv2\nlosses: {weights: {age: 2.0}}\nneck: {dropout: 0.3}\n"
    first = write(tmp_path / "first.yaml", changed)
    second = write(tmp_path / "second.yaml", "base: first.yaml\nbatch: 16\nlosses: {weights: {eyes: 3.0}}\n")
    base, found = read_recipe("multitask-mobilenetv2"), read_recipe(second)
    assert found.losses.weights == {"age": 2.0, "eyes": 3.0}
    assert (found.losses.points, found.neck.dropout, found.batch) == ("mse", 0.3, 16)
    assert found.stages == base.stages == read_recipe(first).stages


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("base: own.yaml\n", "refers back to itself"),
        ("base: nothing\n", "no such recipe.*resnet50"),
        ("base: resnet50\nneck: {pools: max}\n", "neck.pools"),
        ("base: convnet\nstages:\n- {name: a, size: 64, epochs: 1, learning_rate: 1.0e-3}\n"
         "- {name: b, size: 128, epochs: 1, learning_rate: 1.0e-3}\n", "flatten"),
        ("base: resnet50\nstages:\n- {name: a, size: 64, epochs: 1, learning_rate: 1.0e-3, attributes: [age]}\n",
         "must learn every attribute"),
        ("- 1\n", "should be an object"),
    ],
)  # fmt: skip
def test_recipes_that_cannot_be(tmp_path, text, said):
    with pytest.raises(TrainingError, match=said):
        read_recipe(write(tmp_path / "own.yaml", text))


def test_schemas_by_name_and_beside_the_recipe(tmp_path):
    assert find_schema("face") == find_schema("face", tmp_path)
    assert find_schema("own.yaml", tmp_path) == tmp_path / "own.yaml"
    with pytest.raises(DataError, match=r"no schema is called 'hair'.*agebins-5.*multitask"):
        find_schema("hair")


def test_recipes_are_listed_and_shown(capsys, tmp_path):
    main_exits_well(["recipes", "list"])
    listed = capsys.readouterr().out
    assert all(name in listed for name in NAMED)
    main_exits_well(["recipes", "show", "convnet-regularised"])
    shown = capsys.readouterr().out
    assert shown.startswith(recipe_path("convnet-regularised").read_text(encoding="utf-8"))
    assert "# Its authors: gender 0.85" in shown
    main_exits_well(["recipes", "show", "multitask-mobilenetv2"])
    shown = capsys.readouterr().out
    assert re.search(r"# Reached with 60,000 pictures at 128 px, start .*gender.accuracy/utkface 0.9\d+", shown)
    assert "# Its authors: gender 0.944, age 0.297" in shown
    main_exits_well(["recipes", "show", "multitask-mobilenetv2-aug", "--whole"])
    own = write(tmp_path / "own.yaml", capsys.readouterr().out)
    assert read_recipe(own) == read_recipe("multitask-mobilenetv2-aug")
    with pytest.raises(SystemExit) as left:
        main(["recipes", "show", "nothing"])
    assert left.value.code == 2
    assert "no such recipe" in capsys.readouterr().err


def main_exits_well(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert not left.value.code


def test_listing_needs_no_training_framework():
    code = (
        "import sys; from facepipe.pipeline.cli import app; app(['recipes', 'list'], standalone_mode=False);"
        "assert not {'keras', 'tensorflow', 'torch'} & set(sys.modules), 'imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=os.environ.copy())


def test_rates_rise_and_fall():
    stage = read_recipe("resnet50").stages[-1]
    rates = [rate_at(stage, 0.05, progress) for progress in np.linspace(0, 1, 201)]
    assert max(rates) == pytest.approx(stage.learning_rate)
    assert rates.index(max(rates)) == 10
    assert rates[0] == rates[-1] == pytest.approx(0.01 * stage.learning_rate)
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))


def test_the_shipped_recipe():
    recipe = read_recipe()
    assert sum(stage.epochs for stage in recipe.stages) == 50
    assert (recipe.batch, recipe.patience, recipe.stages[-1].size) == (32, 5, 224)
    short = recipe.changed(epochs=5, batch=16, size=96)
    assert [stage.size for stage in short.stages] == [96, 96, 96]
    assert sum(stage.epochs for stage in short.stages) == pytest.approx(5)
    assert short.batch == 16


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stages: [", "not valid YAML"),
        ("backbone: resnet50\nstages: []", "stages"),
        ("backbone: resnet50\nstages: [{name: a, size: 16, epochs: 1, learning_rate: 1.0e-3}]", "stages.0.size"),
        (
            "backbone: r\nstages: [{name: a, size: 64, epochs: 1, learning_rate: 1.0e-3},"
            " {name: b, size: 32, epochs: 1, learning_rate: 1.0e-3}]",
            "largest",
        ),
    ],
)
def test_bad_recipes(tmp_path, text, words):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(TrainingError, match=words):
        read_recipe(str(path))


def test_a_recipe_that_is_not_there():
    with pytest.raises(TrainingError, match="resnet50"):
        read_recipe("resnet9000")
