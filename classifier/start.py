"""Where training starts from: named arrays, ImageNet, a released version or nothing, fitted to the model at hand."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from ..weights.errors import TrainingError, WeightsError
from ..weights.store import find
from .model import BLOCKS, EPSILON, get_weights, set_weights

NORM = ("gamma", "beta", "moving_mean", "moving_variance")


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


def starting_arrays(start: str) -> dict[str, np.ndarray]:
    """Weights to start from.

    Args:
        start: the path of an ``.npz``, a run's folder, ``imagenet`` (downloaded by Keras), a released version that
            holds its training weights, or ``none``.

    Raises:
        TrainingError: there are no such weights; the message says what to do.
    """
    if start == "none":
        return {}
    if start == "imagenet":
        try:
            return get_weights(keras.applications.ResNet50(weights="imagenet", include_top=False))
        except Exception as error:  # Keras raises whatever its downloader does
            raise TrainingError(
                f"Keras could not download ResNet50's ImageNet weights ({error}); without a network, give --start an "
                f".npz with arrays named as in keras.applications (conv1_conv/kernel ...), or 'none'"
            ) from error
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
    from .export import weights_of_onnx

    return weights_of_onnx(release.read())


def fit_start(model: keras.Model, arrays: dict[str, np.ndarray], norms: tuple[str, ...]) -> list[str]:
    """Put starting weights into a model; fold batch norms where it has none, reset them where kernels are random.

    A batch norm's numbers describe the kernel before it. Where that kernel is absent or of another shape, the kernel
    stays random and its batch norm is reset (gamma 1, beta 0, mean 0, variance 1).

    Args:
        model: from ``build_model`` with the same ``norms``.
        arrays: as ``starting_arrays`` gives them; empty changes nothing.
        norms: blocks of the model that have batch norms.

    Returns:
        Layers with kernels that start at random.

    Raises:
        TrainingError: a block without batch norms has no weights to start from, so it could not train.
    """
    weights = get_weights(model)
    layers = sorted({name.rpartition("/")[0] for name in weights if name.endswith("/kernel")})
    fresh = []
    for layer in layers:
        kernel = arrays.get(f"{layer}/kernel")
        if kernel is None or kernel.shape != weights[f"{layer}/kernel"].shape:
            fresh.append(layer)
            continue
        bias = arrays.get(f"{layer}/bias", weights[f"{layer}/bias"])
        norm = layer.removesuffix("_conv") + "_bn"
        have = layer.endswith("_conv") and f"{norm}/gamma" in arrays
        if f"{norm}/gamma" in weights:
            if have:
                weights |= {f"{norm}/{part}": arrays[f"{norm}/{part}"] for part in NORM}
            else:  # folded weights in a model with batch norms: make these do nothing
                weights[f"{norm}/moving_variance"] = np.full_like(bias, 1 - EPSILON)
        elif have:
            kernel, bias = fold(kernel, bias, *(arrays[f"{norm}/{part}"] for part in NORM))
        weights[f"{layer}/kernel"], weights[f"{layer}/bias"] = kernel, bias
    bare = [layer for layer in fresh if layer[:5] in BLOCKS and layer[:5] not in norms]
    if bare:
        raise TrainingError(
            f"these layers have no batch norm in the recipe and no starting weights: {', '.join(bare[:4])} ...; start "
            f"from weights that have them, or list every block under 'norms' in the recipe"
        )
    set_weights(model, weights)
    return fresh


def fold(
    kernel: np.ndarray, bias: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of one convolution that does what this one and its batch norm (in inference mode) do."""
    scale = gamma / np.sqrt(variance + EPSILON)
    return kernel * scale, (bias - mean) * scale + beta
