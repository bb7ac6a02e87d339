"""Recalibration of batch norms: their statistics measured anew with the weights as they are now.

Moving statistics trail behind weights that move fast, and a short training ends before they catch up; the model then
trains well and validates badly. Averaging the batch statistics of many batches with fixed weights removes the lag
(Wu & Johnson, "Rethinking 'Batch' in BatchNorm", 2021).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras

from ..models.multitask import batch_norms


def recalibrate(model: keras.Model, batches: Iterable[Any]) -> int:
    """Replace the moving statistics of the trainable batch norms by their mean over some batches.

    Args:
        model: its weights stay as they are.
        batches: inputs of the model; training crops without augmentation, in the size of batch that training uses.

    Returns:
        Batches used; 0 leaves the statistics alone.
    """
    norms = [norm for norm in batch_norms(model) if norm.trainable]
    if not norms:
        return 0
    # One forward pass up to the last of them, and to where branches have met; run outside fit, so that each batch sees
    # its own momentum.
    trunk = keras.Model(model.inputs, [model.features, norms[-1].output])
    kept = [norm.momentum for norm in norms]
    count = 0
    try:
        for batch in batches:
            for norm in norms:
                norm.momentum = count / (count + 1)
            trunk([batch], training=True)
            count += 1
    finally:
        for norm, momentum in zip(norms, kept, strict=True):
            norm.momentum = momentum
    return count
