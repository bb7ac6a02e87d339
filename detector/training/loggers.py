"""Loggers beside the run's own record: ultralytics' callbacks for TensorBoard and MLflow, on when asked for.

Ultralytics switches loggers by its user's settings file, and has some of them on wherever their package is installed.
Here the settings of this process alone are changed, and every logger is off that was not asked for.
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
    """Within it, trainers that are made tell these loggers and no others. The user's settings file is not written."""
    from . import ultralytics_setup  # noqa: F401  isort: skip
    from ultralytics.utils import SETTINGS

    before = {key: SETTINGS[key] for key in SWITCHES if key in SETTINGS}
    if "mlflow" in names:
        os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", "facepipe detector")
    try:
        for key in before:
            dict.__setitem__(SETTINGS, key, key in names)  # SETTINGS' own would write the file
        yield
    finally:
        for key, value in before.items():
            dict.__setitem__(SETTINGS, key, value)
