"""Optional loggers besides the run's own record: ultralytics' callbacks for TensorBoard and MLflow.

Ultralytics enables loggers by the user's settings file, and some by default if their package is installed. Here, only
the settings of this process are changed, and every logger that was not requested is off.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ...core.errors import TrainingError
from ...core.extras import require

LOGGERS = ("tensorboard", "mlflow")
SWITCHES = ("clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")
"""Ultralytics' settings that switch a logger on (``utils/callbacks/base.py``)."""


def check_loggers(names: Sequence[str]) -> None:
    """Check that loggers are known and installed.

    Raises:
        TrainingError: an unknown name.
        MissingExtraError: its package is not installed.
    """
    for name in names:
        if name not in LOGGERS:
            raise TrainingError(f"no logger {name!r}; one of {', '.join(LOGGERS)}")
        require(name, name)


@contextmanager
def loggers(names: Sequence[str]) -> Iterator[None]:
    """Limit trainers created in this context to these loggers, without writing the user's settings file."""
    from . import ultralytics_setup  # noqa: F401  isort: skip
    from ultralytics.utils import SETTINGS

    before = {key: SETTINGS[key] for key in SWITCHES if key in SETTINGS}
    if "mlflow" in names:
        os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", "facepipe detector")
    try:
        for key in before:
            dict.__setitem__(SETTINGS, key, key in names)  # its own __setitem__ would write the file
        yield
    finally:
        for key, value in before.items():
            dict.__setitem__(SETTINGS, key, value)
