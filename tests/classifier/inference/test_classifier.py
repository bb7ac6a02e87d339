"""The classifier as it serves, with random weights."""

from __future__ import annotations

import numpy as np
import pytest
from facepipe.classifier.inference.classifier import BATCH, AttributeClassifier, prepare
from facepipe.core.errors import DeviceError, FrameError, WeightsError
from facepipe.weights.manifest import InputSpec
from facepipe.weights.release import Release


@pytest.fixture(scope="module")
def classifier(classifier_release: Release) -> AttributeClassifier:
    return AttributeClassifier(release=classifier_release, threads=1)


def crops(classifier: AttributeClassifier, count: int) -> np.ndarray:
    side = classifier.crop.size
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def test_no_crops_no_values(classifier):
    assert classifier.classify(crops(classifier, 0)) == []


def test_batches_do_not_mix_faces(classifier):
    many = crops(classifier, BATCH + 5)
    together = classifier.classify(many)
    assert len(together) == len(many)
    for index in (0, BATCH - 1, BATCH, BATCH + 4):
        alone = classifier.classify(many[index : index + 1])[0]
        assert alone.keys() == together[index].keys() == {"age", "gender", "glasses", "smile", "mask", "eyes"}
        assert alone["age"].value == pytest.approx(together[index]["age"].value, rel=1e-4)
        assert alone["gender"].value == together[index]["gender"].value


def test_what_is_no_batch_of_crops_is_refused(classifier):
    good = crops(classifier, 2)
    for bad in (good.astype(np.float32), good[0], good[:, 1:], good[..., :1], list(good)):
        with pytest.raises(FrameError, match="uint8 array"):
            classifier.classify(bad)


def test_outputs_that_the_manifest_does_not_describe(classifier_release):
    manifest = classifier_release.manifest
    other = manifest.attributes[1].model_copy(update={"name": "hat"})
    changed = Release(classifier_release.folder, manifest.model_copy(update={"attributes": (other,)}))
    with pytest.raises(WeightsError, match="'hat'"):
        AttributeClassifier(release=changed)
    larger = manifest.crop.model_copy(update={"size": 64})
    with pytest.raises(WeightsError, match="crops are 64 px"):
        AttributeClassifier(release=Release(classifier_release.folder, manifest.model_copy(update={"crop": larger})))


def test_features_are_an_output_more_where_the_release_has_them(publish_colours, classifier, tmp_path):
    colours = AttributeClassifier(release=publish_colours(tmp_path, "shirt"))
    pictures = crops(colours, BATCH + 3)
    outputs = colours.outputs(pictures, features=True)
    assert outputs.keys() == {"shirt_colour", "features"}
    np.testing.assert_allclose(outputs["features"], pictures.mean(axis=(1, 2)), rtol=1e-3)
    assert outputs["features"].dtype == np.float32
    assert colours.outputs(pictures).keys() == {"shirt_colour"}
    assert colours.outputs(pictures[:0], features=True)["features"].shape == (0, 3)
    assert len(colours.classify(pictures)) == len(pictures)
    with pytest.raises(WeightsError, match=r"classifier 99\.0\.0 gives no features.*weights list"):
        classifier.outputs(crops(classifier, 1), features=True)


def test_features_that_the_manifest_does_not_describe(publish_colours, tmp_path):
    for name, told in (("wide", {"features": 5}), ("lost", {"features": 3})):
        release = publish_colours(tmp_path, name, features=3 if name == "wide" else None)
        changed = Release(release.folder, release.manifest.model_copy(update=told))
        with pytest.raises(WeightsError, match=f"'features' should have {told['features']} numbers"):
            AttributeClassifier(release=changed)


def test_a_device_that_is_not_there(classifier_release):
    with pytest.raises(DeviceError, match="unknown device"):
        AttributeClassifier(release=classifier_release, device="abacus")


def test_preparation_follows_the_manifest():
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    bgr = {"name": "x", "size": 16, "colour": "BGR", "layout": "NHWC", "scale": 1.0}
    assert (prepare(pixels, InputSpec(**bgr)) == pixels).all()
    centred = prepare(pixels, InputSpec(**bgr | {"mean": (1.0, 2.0, 3.0), "std": (1.0, 1.0, 2.0)}))
    assert centred[0, 0, 0].tolist() == [-1, -1, -0.5]
    planes = prepare(pixels, InputSpec(**bgr | {"colour": "RGB", "layout": "NCHW", "scale": 0.5}))
    assert planes.shape == (1, 3, 2, 2)
    assert planes[0, :, 0, 0].tolist() == [1, 0.5, 0]


def with_least(release: Release, **least: float) -> AttributeClassifier:
    changed = tuple(each.model_copy(update={"min_side": least.get(each.name)}) for each in release.manifest.attributes)
    return AttributeClassifier(
        release=Release(release.folder, release.manifest.model_copy(update={"attributes": changed}))
    )


def test_an_attribute_is_left_out_below_its_own_least_size(classifier_release):
    every = ("age", "gender", "glasses", "smile", "mask", "eyes")
    classifier = with_least(classifier_release, age=24, gender=16, glasses=30, smile=32, mask=12, eyes=24)
    assert classifier.served_crop.min_side == 12
    assert classifier.crop.min_side == 8, "the recipe that training cut by stays"
    pictures = crops(classifier, 4)
    small, middle, edge, large = classifier.classify(pictures, [12, 20, 32, 200])
    assert list(small) == ["mask"]
    assert list(middle) == ["gender", "mask"]
    assert tuple(edge) == tuple(large) == every
    assert [tuple(each) for each in classifier.classify(pictures)] == [every] * 4
    assert classifier.unread(20) == {
        name: f"too small: 20.0 px, at least {least} are needed"
        for name, least in (("age", 24), ("glasses", 30), ("smile", 32), ("eyes", 24))
    }
    assert classifier.unread(32) == {}


def test_without_least_sizes_the_recipe_decides(classifier_release):
    assert with_least(classifier_release).served_crop == classifier_release.manifest.crop
    assert with_least(classifier_release, mask=2).least_sides["mask"] == 8, "no crop is made of less"
