"""Import ultralytics on our terms: no telemetry, no installs, no downloads, no noise, its settings in our own folder.

Every module that imports ultralytics imports this one first.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path

import platformdirs

from ..weights.errors import MissingExtraError


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
            from ultralytics import settings
    except ImportError as error:
        raise MissingExtraError("ultralytics", "train") from error
    finally:
        sys.stderr.write(said.getvalue())
    if settings["sync"]:
        settings.update({"sync": False})


set_up()
