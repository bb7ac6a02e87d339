"""Checkpoints of a training run: weights, optimizer state and position in one file, written atomically."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ...core.errors import TrainingError
from ..models.multitask import get_weights, set_weights

if TYPE_CHECKING:
    from .train_step import Learner

LOG_VARIANCES = "learner/log_variances"


@dataclass
class Position:
    """The progress of a run."""

    stage: int = 0
    step: int = 0
    """Batches done in this stage."""
    epochs: float = 0.0
    """Epochs done in earlier stages."""
    seconds: float = 0.0
    """Running time of all stages so far, without the pauses before a resumption."""
    stage_start: float = 0.0
    """``seconds`` at the start of this stage."""
    best: float = float("inf")
    """Lowest validation loss of this stage."""
    waited: int = 0
    """Validations since the best one."""
    validated: int = -1
    """Step of the last validation in this stage."""
    served: float = float("inf")
    """Lowest validation loss of earlier stages at the served size."""
    served_stage: int = -1
    """The stage that reached it; -1 if none yet."""


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an ``.npz`` atomically. The partial file of an interrupted write is overwritten by the next one.

    Args:
        path: ends in ``.npz``.
        arrays: of any shape, by name.
    """
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    os.replace(part, path)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read an ``.npz`` written by :func:`write_arrays`.

    Raises:
        TrainingError: the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError) as error:
        raise TrainingError(f"{path}: no checkpoint to resume from ({error})") from error


def save(path: Path, learner: Learner, position: Position) -> None:
    """Write a checkpoint.

    Args:
        path: of the ``.npz``.
        learner: provides weights, optimizer state and random states.
        position: of the run.
    """
    arrays = {f"weight/{name}": value for name, value in get_weights(learner.network).items()}
    arrays |= {f"random/{name}": _array(variable) for name, variable in _random_states(learner.network).items()}
    for index, variable in enumerate(learner.optimizer.variables):
        arrays[f"optimizer/{index}"] = _array(variable)
    if learner.log_variances is not None:
        arrays[LOG_VARIANCES] = _array(learner.log_variances)
    arrays["position"] = np.array(json.dumps(asdict(position)))
    write_arrays(path, arrays)


def read(path: Path) -> tuple[Position, dict[str, np.ndarray]]:
    """Read a checkpoint.

    Raises:
        TrainingError: there is none, or it was written by another program.
    """
    arrays = read_arrays(path)
    try:
        return Position(**json.loads(str(arrays.pop("position")))), arrays
    except (KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"{path}: not a checkpoint of this facepipe ({error})") from error


def weights_in(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Extract the weights from a checkpoint's arrays, by path.

    Args:
        arrays: of any shape, by name.
    """
    return {name.removeprefix("weight/"): value for name, value in arrays.items() if name.startswith("weight/")}


def restore(learner: Learner, arrays: dict[str, np.ndarray]) -> None:
    """Load a checkpoint's weights, optimizer state and random states into a learner of the same stage.

    Args:
        learner: of the same stage.
        arrays: of any shape, by name, as written by :func:`save`.

    Raises:
        TrainingError: they belong to another network or optimizer.
    """
    set_weights(learner.network, weights_in(arrays))
    states = {f"random/{name}": variable for name, variable in _random_states(learner.network).items()}
    states |= {f"optimizer/{index}": variable for index, variable in enumerate(learner.optimizer.variables)}
    if learner.log_variances is not None:
        states[LOG_VARIANCES] = learner.log_variances
    for name, variable in states.items():
        if name not in arrays or arrays[name].shape != tuple(variable.shape):
            raise TrainingError(
                f"the checkpoint has no {name} of shape {tuple(variable.shape)}: it belongs to another recipe"
            )
        variable.assign(arrays[name])


def _random_states(network: keras.Model) -> dict[str, Any]:
    """Return the random states of dropout, so that a resumed run continues the same sequence."""
    return {
        f"{layer.name}/{index}": variable
        for layer in network.layers
        for index, variable in enumerate(layer.variables)
        if "seed_generator" in variable.path
    }


def _array(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable))
