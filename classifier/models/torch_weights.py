"""ImageNet weights of ResNet18, which keras.applications lacks, from torchvision; read as tensors, nothing executed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.error import URLError

import numpy as np
import torchvision

from ...core.errors import TrainingError

_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def resnet18_arrays() -> dict[str, np.ndarray]:
    """Download (once; torch keeps the file) torchvision's ``IMAGENET1K_V1`` weights and name them as our layers.

    Raises:
        TrainingError: they could not be downloaded, or are not what their name's hash says.
    """
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    try:
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (URLError, OSError, RuntimeError) as error:
        raise TrainingError(
            f"torchvision could not download ResNet18's ImageNet weights from {weights.url} ({error}); without a "
            f"network, give --start an .npz with arrays named <layer>/<variable> (conv1_conv/kernel ...), or 'none'"
        ) from error
    return arrays_of_torch(state)


def arrays_of_torch(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A torchvision ResNet18's state by our names: ``layer2.0.conv1.weight`` is ``conv3_block1_1_conv/kernel``.

    Its last, dense layer is left out.
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
            arrays[f"{unit}_bn/{_NORM[parts[-1]]}"] = array
    return arrays
