"""Import ultralytics on our terms: no telemetry, no installs, no downloads, no noise, its settings in our own folder.

Every module that imports ultralytics imports this one first.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from pathlib import Path

import platformdirs

from ...core.extras import require


def set_up() -> None:
    """Set ultralytics' environment, then import it once.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
    """
    home = Path(platformdirs.user_config_dir("facepipe", appauthor=False)) / "ultralytics"
    home.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("YOLO_CONFIG_DIR", str(home))
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    os.environ.setdefault("YOLO_OFFLINE", "true")
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            require("ultralytics")
            from ultralytics import settings
            from ultralytics.utils import LOGGER, tqdm
    finally:
        sys.stderr.write(said.getvalue())
    if settings["sync"]:
        settings.update({"sync": False})
    LOGGER.setLevel(max(LOGGER.level, logging.WARNING))  # training says more (FaceTrainer.train)
    for handler in LOGGER.handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(_StandardOutput())  # it took the standard output of the import for good
    tqdm.is_noninteractive_console = _no_terminal  # there a bar would write ten lines a second; it writes its last


class _StandardOutput:
    """The standard output of the moment."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text) if sys.stdout is not None else len(text)

    def flush(self) -> None:
        if sys.stdout is not None:
            sys.stdout.flush()


def _no_terminal() -> bool:
    return sys.stdout is None or not sys.stdout.isatty()


set_up()
