"""Import ultralytics without telemetry, installs, downloads, console output, or files in the user's home.

Every module that imports ultralytics must import this one first.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys

from ...core.extras import require


def set_up() -> None:
    """Set ultralytics' environment and import it.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
    """
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    os.environ.setdefault("YOLO_OFFLINE", "true")
    output, disabled = io.StringIO(), logging.root.manager.disable
    logging.disable(max(disabled, logging.INFO))  # it logs each time that it creates its settings
    try:
        with contextlib.redirect_stdout(output):
            require("ultralytics")
            from ultralytics import settings
            from ultralytics.utils import LOGGER, tqdm
    finally:
        logging.disable(disabled)
        sys.stderr.write(output.getvalue())
    dict.__setitem__(settings, "sync", False)  # its own __setitem__ would write the file, possibly the user's
    LOGGER.setLevel(max(LOGGER.level, logging.WARNING))  # training raises the verbosity (FaceTrainer.train)
    for handler in LOGGER.handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(_StandardOutput())  # it would keep using the standard output of import time
    tqdm.is_noninteractive_console = _no_terminal  # without a terminal, write only the last bar, not ten per second


class _StandardOutput:
    """A stream to the current standard output."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text) if sys.stdout is not None else len(text)

    def flush(self) -> None:
        if sys.stdout is not None:
            sys.stdout.flush()


def _no_terminal() -> bool:
    return sys.stdout is None or not sys.stdout.isatty()


set_up()
