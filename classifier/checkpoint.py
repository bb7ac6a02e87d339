"""Checkpoints of a training run: weights, optimizer and position in one file that is either old or new, never half."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

from ..weights.errors import TrainingError
from .model import get_weights, set_weights


@dataclass
class Position:
    """Where a run stands."""

    stage: int = 0
    step: int = 0
    """Batches done in this stage."""
    seconds: float = 0.0
    """Running time of all stages so far, pauses between a kill and the resumption left out."""
    stage_start: float = 0.0
    """``seconds`` when this stage began."""
    best: float = float("inf")
    """Lowest validation loss of this stage."""
    waited: int = 0
    """Validations since then."""


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an ``.npz`` in one step."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    os.replace(part, path)


def save(path: Path, model: keras.Model, position: Position) -> None:
    """Write a checkpoint."""
    arrays = {f"weight/{name}": value for name, value in get_weights(model).items()}
    for index, variable in enumerate(model.optimizer.variables):
        arrays[f"optimizer/{index}"] = np.asarray(keras.ops.convert_to_numpy(variable))
    arrays["position"] = np.array(json.dumps(asdict(position)))
    write_arrays(path, arrays)


def read(path: Path) -> tuple[Position, dict[str, np.ndarray]]:
    """Read a checkpoint.

    Raises:
        TrainingError: there is none.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError) as error:
        raise TrainingError(f"{path}: no checkpoint to resume from ({error})") from error
    return Position(**json.loads(str(arrays.pop("position")))), arrays


def weights_in(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights among a checkpoint's arrays, by path."""
    return {name.removeprefix("weight/"): value for name, value in arrays.items() if name.startswith("weight/")}


def restore(model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    """Put a checkpoint's weights and optimizer into a compiled model of the same stage."""
    set_weights(model, weights_in(arrays))
    model.optimizer.build(model.trainable_variables)
    for index, variable in enumerate(model.optimizer.variables):
        variable.assign(arrays[f"optimizer/{index}"])
