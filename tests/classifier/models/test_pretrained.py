"""Where training starts from: downloads that fail or lie, arrays, releases, other backbones, torchvision's names."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from facepipe.classifier.config.recipe import Neck, Recipe, Stage, read_recipe
from facepipe.classifier.config.schema import find_schema, read_schema
from facepipe.classifier.models import pretrained as start
from facepipe.classifier.models.multitask import build_model, get_weights, set_weights
from facepipe.classifier.models.pretrained import fit_start, frozen_at_random, starting_arrays, without_network
from facepipe.core.errors import TrainingError
from facepipe.weights.store import find

GENDER = read_schema(find_schema("gender"))
MODULES = {
    "resnet50": ("resnet", "BASE_WEIGHTS_PATH"),
    "mobilenetv2": ("mobilenet_v2", "BASE_WEIGHT_PATH"),
    "efficientnetb0": ("efficientnet", "BASE_WEIGHTS_PATH"),
    "inceptionv3": ("inception_v3", "WEIGHTS_PATH_NO_TOP"),
}


def recipe(backbone: str, **parts) -> Recipe:
    return Recipe(
        backbone=backbone,
        stages=(Stage(name="only", size=96, epochs=1, learning_rate=1e-3, freeze=("conv1",)),),
        **parts,
    )


class _Server(BaseHTTPRequestHandler):
    files: dict[str, bytes] = {}  # noqa: RUF012

    def do_GET(self) -> None:
        content = self.files.get(self.path.rpartition("/")[2])
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """Files that a local server gives where Keras would ask the network; empty: it refuses."""
    import importlib

    (tmp_path / "keras").mkdir()  # else Keras takes /tmp/.keras
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path / "keras"))  # Keras asks KERAS_HOME once
    _Server.files = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    origin = f"http://127.0.0.1:{server.server_port}/"
    for module, constant in MODULES.values():
        whole = origin + ("inception.h5" if constant == "WEIGHTS_PATH_NO_TOP" else "")
        monkeypatch.setattr(importlib.import_module(f"keras.src.applications.{module}"), constant, whole)
    yield _Server.files
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("backbone", sorted(MODULES))
def test_a_server_that_refuses(downloads, backbone):
    with pytest.raises(TrainingError, match=r"(?s)could not get .*404.*without a network, .*give --start an \.npz"):
        starting_arrays("imagenet", backbone)


def test_without_a_network_the_released_classifier_is_proposed(monkeypatch, tmp_path):
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path))
    newest = find("classifier").version
    assert without_network("resnet50").startswith(f"without a network, --start {newest} begins with the released")
    assert f"--start {newest}" not in without_network("mobilenetv2"), "it is a ResNet50"


def test_a_server_that_lies(downloads):
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    downloads[name] = b"<html>please sign in</html>"
    with pytest.raises(TrainingError, match=r"(?s)could not get MobileNetV2.*delete the file there and try again"):
        starting_arrays("imagenet", "mobilenetv2")
    downloads["inception.h5"] = b"<html>please sign in</html>"
    with pytest.raises(TrainingError, match=r"(?s)could not get InceptionV3.*hash"):
        starting_arrays("imagenet", "inceptionv3")


def test_downloaded_weights_are_read_by_name(downloads, tmp_path):
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    theirs = keras.applications.MobileNetV2(weights=None, include_top=False)
    with h5py.File(tmp_path / "made.h5", "w") as file:
        save_weights_to_hdf5_group(file, theirs)
    downloads["mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"] = (tmp_path / "made.h5").read_bytes()
    model = build_model(GENDER, recipe("mobilenetv2"), 32)
    assert fit_start(model, starting_arrays("imagenet", "mobilenetv2")) == ["gender"]
    wanted = get_weights(theirs)
    assert all((value == wanted[key]).all() for key, value in get_weights(model).items() if "gender" not in key)


def test_backbones_without_imagenet_weights():
    for backbone in ("convnet", "resnet14"):
        with pytest.raises(TrainingError, match=f"no ImageNet weights for {backbone}, only for resnet50"):
            starting_arrays("imagenet", backbone)


def test_starts_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path))
    assert starting_arrays("none", "resnet14") == {}
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    for name in (str(tmp_path / "bad.npz"), str(tmp_path / "absent.npz"), "7.7.7"):
        with pytest.raises(TrainingError):
            starting_arrays(name, "resnet14")


def test_a_run_folder_is_a_start(tmp_path):
    model = build_model(GENDER, recipe("convnet"), 32)
    np.savez(tmp_path / "weights.npz", **get_weights(model))
    other = build_model(GENDER, recipe("convnet"), 64)
    assert fit_start(other, starting_arrays(str(tmp_path), "convnet")) == []
    assert all((value == get_weights(model)[name]).all() for name, value in get_weights(other).items())


def test_weights_of_another_backbone_are_refused():
    arrays = get_weights(build_model(GENDER, recipe("convnet"), 32))
    with pytest.raises(TrainingError, match=r"fit no layer of mobilenetv2: they come from another network"):
        fit_start(build_model(GENDER, recipe("mobilenetv2"), 32), arrays)


def test_a_head_of_another_shape_starts_at_random():
    arrays = get_weights(build_model(read_schema(find_schema("agebins-5")), recipe("convnet"), 32))
    target = build_model(read_schema(find_schema("agebins-10")), recipe("convnet"), 32)
    assert fit_start(target, arrays) == ["age"]


def test_random_blocks_that_never_learn_are_told():
    frozen = read_recipe("agegender-mobilenetv2-frozen")
    fresh = fit_start(build_model(GENDER, frozen, 32), {})
    warning = frozen_at_random(frozen, fresh)
    assert warning.startswith("warning: conv1, conv2, conv3, conv4, conv5 of mobilenetv2 start at random")
    assert frozen_at_random(frozen, ["age", "gender"]) == ""
    assert frozen_at_random(read_recipe("agegender-mobilenetv2-unfrozen"), fresh) == ""
    assert frozen_at_random(read_recipe("resnet50"), ["conv5_block1_1_conv", "age"]) == ""
    assert "conv1" in frozen_at_random(read_recipe("resnet50"), ["conv1_conv"])


def test_a_kernel_and_a_bias_take_a_norm_in():
    random = np.random.default_rng(0)
    for shape, channels in (((3, 3, 4, 5), 5), ((3, 3, 6, 1), 6)):
        kernel = random.normal(size=shape).astype(np.float32)
        gamma, beta, mean, bias = random.normal(size=(4, channels)).astype(np.float32)
        variance = random.uniform(0.5, 2, channels).astype(np.float32)
        x = random.normal(size=(1, 8, 8, shape[2])).astype(np.float32)
        apply = keras.ops.depthwise_conv if shape[3] == 1 else keras.ops.conv
        wanted = (np.asarray(apply(x, kernel)) + bias - mean) / np.sqrt(variance + 0.01) * gamma + beta
        folded, shift = start.fold(kernel, bias, gamma, beta, mean, variance, epsilon=0.01)
        np.testing.assert_allclose(np.asarray(apply(x, folded)) + shift, wanted, rtol=1e-3, atol=1e-4)


def test_resnet18_is_torchvisions():
    torch, torchvision = pytest.importorskip("torch"), pytest.importorskip("torchvision")
    from facepipe.classifier.models.pretrained import arrays_of_torch

    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(weights=None).eval()
    with torch.no_grad():
        for norm in theirs.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                for part in (norm.weight, norm.running_var):
                    part.uniform_(0.5, 1.5)
                for part in (norm.bias, norm.running_mean):
                    part.normal_(0, 0.1)
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    model = build_model(GENDER, recipe("resnet18", neck=Neck(dropout=0.0)), 64)
    assert fit_start(model, arrays_of_torch(theirs.state_dict())) == ["gender"]
    with torch.no_grad():
        theirs.fc = torch.nn.Identity()
        wanted = theirs(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
    pooled = keras.Model(model.inputs, model.get_layer("pooled").output).predict_on_batch(images)
    np.testing.assert_allclose(pooled, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())


def test_torchvisions_download_failing_is_told(monkeypatch):
    torchvision = pytest.importorskip("torchvision")

    def refuse(self, **options):
        assert options["check_hash"]
        assert options["weights_only"]
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", refuse)
    with pytest.raises(TrainingError, match=r"(?s)could not download ResNet18.*no route.*without a network"):
        starting_arrays("imagenet", "resnet18")


def test_weights_must_have_their_shapes():
    model = build_model(GENDER, recipe("convnet"), 32)
    with pytest.raises(TrainingError, match=r"gender/kernel should have shape \(256, 2\), got nothing"):
        set_weights(model, {name: value for name, value in get_weights(model).items() if name != "gender/kernel"})
