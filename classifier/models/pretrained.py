"""Starting weights for training (ImageNet, named arrays, a run, a release or none) and their fit to a model.

Both the weights and the model may have a batch norm as a separate layer or folded into its kernel; either form is
converted to the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import keras
import numpy as np

from ...core.errors import TrainingError, WeightsError
from ...core.extras import require
from ...core.library_homes import keep_keras_downloads
from ...weights.store import find
from ..config.recipe import Recipe
from .backbones import ALL, BACKBONES, Backbone, find_backbone
from .heads import NECK_EPSILON, NECK_NORM, neck_layers
from .keras_applications import imagenet_arrays
from .multitask import get_weights, set_weights

CONV, DEPTHWISE = (3, 2, 0, 1), (2, 3, 0, 1)
"""Axes of Keras kernels in ONNX order: (h, w, in, out) and (h, w, channels, 1)."""
NORM = ("gamma", "beta", "moving_mean", "moving_variance")
TORCH_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
"""Names of a batch norm's arrays in torch, mapped to ours."""


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read named float arrays from an ``.npz``; nothing in it is executed.

    Raises:
        TrainingError: the file is missing or is not such an archive.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name].astype(np.float32) for name in archive.files}
    except (OSError, ValueError, EOFError) as error:
        raise TrainingError(f"{path}: not an .npz of arrays ({error})") from error


def starting_arrays(start: str, backbone: str) -> dict[str, np.ndarray]:
    """Load the weights to start training from.

    Args:
        start: the path of an ``.npz``, a run folder, ``imagenet`` (downloaded by Keras, or by torchvision for
            ``resnet18``), a released version that holds its training weights, or ``none``.
        backbone: a key of ``BACKBONES``; it determines the ``imagenet`` weights.

    Raises:
        TrainingError: there are no such weights; the message says what to do.
        MissingExtraError: torchvision is needed but not installed.
    """
    if start == "none":
        return {}
    if start == "imagenet":
        return _imagenet(find_backbone(backbone))
    path = Path(start)
    if path.is_dir():
        path = path / "weights.npz"
    if path.suffix == ".npz":
        return read_arrays(path)
    try:
        release = find("classifier", start)
    except WeightsError as error:
        raise TrainingError(
            f"--start {start}: neither an .npz, a run's folder, a released version, 'imagenet' nor 'none' ({error})"
        ) from error
    return weights_of_onnx(release.read(release.finest().precision))


def without_network(backbone: str) -> str:
    """Suggest a start if the ImageNet weights cannot be downloaded: the released classifier if it fits."""
    others = (
        "give --start an .npz with arrays named <layer>/<variable> as in keras.applications (conv1_conv/kernel ...), a "
        "run's folder, a released version, or 'none'"
    )
    try:
        release = find("classifier")
    except WeightsError:
        return f"without a network, {others}"
    if release.manifest.architecture != backbone:
        return f"without a network, {others}"
    return f"without a network, --start {release.label} begins with the released classifier's weights; or {others}"


def _imagenet(backbone: Backbone) -> dict[str, np.ndarray]:
    if backbone.name == "resnet18":
        return resnet18_arrays()
    if not backbone.application:
        having = ", ".join(each.name for each in BACKBONES.values() if each.application)
        raise TrainingError(
            f"there are no ImageNet weights for {backbone.name}, only for {having} and resnet18; --start none trains "
            f"it from scratch"
        )
    keep_keras_downloads()
    try:
        return imagenet_arrays(getattr(keras.applications, backbone.application))
    except Exception as error:  # Keras passes on any error of its downloader and reader
        raise TrainingError(
            f"Keras could not get {backbone.application}'s ImageNet weights ({error}); "
            f"{without_network(backbone.name)}. A broken download stays in Keras' folder, ~/.keras/models or "
            f"$KERAS_HOME/models: delete the file there and try again"
        ) from error


def fit_start(model: keras.Model, arrays: dict[str, np.ndarray]) -> list[str]:
    """Load starting weights into a model; fold batch norms where it has none, reset them where kernels are random.

    The values of a batch norm belong to the kernel before it. If that kernel is missing or has another shape, it stays
    random and its batch norm is reset (gamma 1, beta 0, mean 0, variance 1).

    Args:
        model: new, from ``build_model``.
        arrays: as returned by ``starting_arrays``; empty changes nothing.

    Returns:
        Layers whose kernels start at random.

    Raises:
        TrainingError: the arrays fit no layer of the backbone, or a block with folded batch norms has no starting
            weights and so could not train.
    """
    backbone = find_backbone(model.name)
    weights = get_weights(model)
    arrays = _fold_neck(model, arrays)
    layers = sorted({name.rpartition("/")[0] for name in weights if name.endswith("/kernel")})
    fresh = []
    for layer in layers:
        kernel = arrays.get(f"{layer}/kernel")
        if kernel is None or kernel.shape != weights[f"{layer}/kernel"].shape:
            fresh.append(layer)
        else:
            _fit_layer(backbone, layer, weights, arrays)
    if f"{NECK_NORM}/gamma" in weights and arrays:
        _fit_norm(NECK_NORM, NECK_EPSILON, weights, arrays)
    bare = [layer for layer in fresh if (norm := backbone.norm(layer)) and f"{norm}/beta" not in weights]
    if bare:
        raise TrainingError(
            f"these layers have no batch norm in the recipe and no starting weights: {', '.join(bare[:4])} ...; start "
            f"from weights that have them, or list every block under 'norms' in the recipe"
        )
    if arrays and all(layer in fresh for layer in layers if backbone.block(layer)):
        known = ", ".join(sorted(arrays)[:3])
        raise TrainingError(
            f"the starting weights fit no layer of {backbone.name}: they come from another network ({known} ...); "
            f"start from weights of {backbone.name}, 'imagenet' or 'none'"
        )
    set_weights(model, weights)
    return fresh


def frozen_at_random(recipe: Recipe, fresh: list[str]) -> str:
    """Return a warning about blocks that start wholly or partly at random but are never trained; "" if there are none.

    Args:
        recipe: its stages freeze blocks.
        fresh: as returned by ``fit_start``.
    """
    backbone = find_backbone(recipe.backbone)
    random = {backbone.block(layer) for layer in fresh} - {""}
    never = [block for block in sorted(random) if all({block, ALL} & {*stage.freeze} for stage in recipe.stages)]
    if not never:
        return ""
    return (
        f"warning: {', '.join(never)} of {backbone.name} start at random and are frozen in every stage, so that the "
        f"heads learn from noise; start from weights (--start imagenet), or freeze less"
    )


def _fit_layer(backbone: Backbone, layer: str, weights: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> None:
    """Set a layer's kernel and bias, and the batch norm after it, from arrays that hold its kernel."""
    kernel, norm = arrays[f"{layer}/kernel"], backbone.norm(layer)
    like = weights[f"{layer}/bias"] if f"{layer}/bias" in weights else weights[f"{norm}/beta"]
    bias = arrays.get(f"{layer}/bias", np.zeros_like(like))
    if f"{norm}/beta" in weights:
        _fit_norm(norm, backbone.epsilon, weights, arrays)
        if f"{layer}/bias" not in weights:
            # The convolution has no bias, like most in keras.applications: the batch norm absorbs a folded one.
            part = "moving_mean" if f"{norm}/beta" in arrays else "beta"
            weights[f"{norm}/{part}"] = weights[f"{norm}/{part}"] + (bias if part == "beta" else -bias)
    elif norm and f"{norm}/beta" in arrays:
        # Some batch norms have no gamma.
        gamma, beta, mean, variance = (arrays.get(f"{norm}/{part}", np.ones_like(like)) for part in NORM)
        kernel, bias = fold(kernel, bias, gamma, beta, mean, variance, backbone.epsilon)
    weights[f"{layer}/kernel"] = kernel
    if f"{layer}/bias" in weights:
        weights[f"{layer}/bias"] = bias


def _fit_norm(norm: str, epsilon: float, weights: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> None:
    """Set a batch norm from the arrays; missing parts (folded, or no gamma) become the identity."""
    nothing = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1 - epsilon}
    for part in NORM:
        if (name := f"{norm}/{part}") in weights:
            weights[name] = arrays.get(name, np.full_like(weights[name], nothing[part]))


def _fold_neck(model: keras.Model, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Fold the neck's batch norm into the first dense layers of the heads if the model has no such norm."""
    if f"{NECK_NORM}/gamma" not in arrays or any(layer.name == NECK_NORM for layer in model.layers):
        return arrays
    gamma, beta, mean, variance = (arrays[f"{NECK_NORM}/{part}"] for part in NORM)
    scale = gamma / np.sqrt(variance + NECK_EPSILON)
    folded = dict(arrays)
    for layer in neck_layers(model):
        kernel = arrays.get(f"{layer}/kernel")
        if kernel is not None and len(kernel) == len(scale):
            folded[f"{layer}/kernel"] = kernel * scale[:, None]
            folded[f"{layer}/bias"] = arrays[f"{layer}/bias"] + (beta - mean * scale) @ kernel
    return folded


def fold(
    kernel: np.ndarray,
    bias: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    epsilon: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Fold a batch norm (in inference mode) into the kernel and bias of the convolution before it.

    Args:
        kernel: (h, w, in, out), or (h, w, channels, 1) of a depthwise convolution.
        bias: of the convolution, (out,).
        gamma: scale of the batch norm, (out,).
        beta: offset of the batch norm, (out,).
        mean: moving mean of the batch norm, (out,).
        variance: moving variance of the batch norm, (out,).
        epsilon: of the batch norm.
    """
    scale = gamma / np.sqrt(variance + epsilon)
    depthwise = kernel.shape[3] == 1 and kernel.shape[2] == len(scale)
    return kernel * (scale[:, None] if depthwise else scale), (bias - mean) * scale + beta


def resnet18_arrays() -> dict[str, np.ndarray]:
    """Download torchvision's ``IMAGENET1K_V1`` weights (once; torch caches the file) and rename them to our layers.

    Raises:
        MissingExtraError: torchvision is not installed.
        TrainingError: the download failed, or does not match the hash in its name.
    """
    torchvision = require("torchvision")
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    try:
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (URLError, OSError, RuntimeError) as error:
        raise TrainingError(
            f"torchvision could not download ResNet18's ImageNet weights from {weights.url} ({error}); "
            f"{without_network('resnet18')}"
        ) from error
    return arrays_of_torch(state)


def arrays_of_torch(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Rename a torchvision ResNet18's state: ``layer2.0.conv1.weight`` becomes ``conv3_block1_1_conv/kernel``.

    The final dense layer is left out.
    """
    arrays = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[0] == "fc" or parts[-1] == "num_batches_tracked":
            continue
        unit = "conv1"
        if parts[0].startswith("layer"):
            place = "0" if parts[2] == "downsample" else parts[2][-1]
            unit = f"conv{int(parts[0][-1]) + 1}_block{int(parts[1]) + 1}_{place}"
        array = np.asarray(tensor.detach().cpu().numpy(), np.float32)
        if array.ndim == 4:
            arrays[f"{unit}_conv/kernel"] = array.transpose(2, 3, 1, 0)
        else:
            arrays[f"{unit}_bn/{TORCH_NORM[parts[-1]]}"] = array
    return arrays


def weights_of_onnx(content: bytes) -> dict[str, np.ndarray]:
    """Read the weights of an exported file by path, as float32; int8 and float16 are dequantised.

    Batch norms are folded into the kernels, which ``fit_start`` handles.

    Raises:
        TrainingError: the file names no weights as this module does.
        WeightsError: the file refers to external data.
    """
    import onnx
    from onnx import numpy_helper

    from ...weights.session import refuse_external_data

    refuse_external_data(content)
    tensors = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(content).graph.initializer
    }
    weights: dict[str, np.ndarray] = {}
    for name, array in tensors.items():
        path = name.removesuffix("_half").removesuffix("_quantized")
        if not path.endswith(("/kernel", "/bias")):
            continue
        if name.endswith("_quantized"):
            scale = tensors.get(f"{path}_scale", tensors.get(f"{name}_scale"))
            shape = (-1,) + (1,) * (array.ndim - 1)
            array = array.astype(np.float32) * np.asarray(scale, np.float32).reshape(shape)
        if array.ndim == 4:
            depthwise = array.shape[1] == 1 and array.shape[0] > 1
            array = array.transpose(np.argsort(DEPTHWISE if depthwise else CONV))
        weights[path] = array.astype(np.float32)
    if not weights:
        raise TrainingError("the release's ONNX file names no weights by layer; start from an .npz")
    return weights
