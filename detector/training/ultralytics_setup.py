"""Import ultralytics on our terms: no telemetry, no installs, no downloads, no noise, nothing in the user's home.

Every module that imports ultralytics imports this one first.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys

from ...core.extras import require


def set_up() -> None:
    """Set ultralytics' environment, then import it once.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
    """
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    os.environ.setdefault("YOLO_OFFLINE", "true")
    said, heard = io.StringIO(), logging.root.manager.disable
    logging.disable(max(heard, logging.INFO))  # it tells of the settings that it makes anew each time
    try:
        with contextlib.redirect_stdout(said):
            require("ultralytics")
            from ultralytics import settings
            from ultralytics.utils import LOGGER, tqdm
    finally:
        logging.disable(heard)
        sys.stderr.write(said.getvalue())
    dict.__setitem__(settings, "sync", False)  # its own would write the file, which may be the user's
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
