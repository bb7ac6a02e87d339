"""A temporary folder for libraries that write into the user's home on import; it is removed when the process ends.

Matplotlib keeps its list of fonts there, Keras its settings and downloads, ultralytics its settings and torch what it
compiles. Only ImageNet weights that were requested from Keras stay in Keras's own folder, to be downloaded once.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

WRITERS = frozenset(
    ("faster_coco_eval", "fairlearn", "keras", "matplotlib", "roboflow", "supervision", "trackers", "ultralytics")
)
"""Packages that write there, or import one that does."""
HOMES = {
    "KERAS_HOME": "keras",
    "MPLCONFIGDIR": "matplotlib",
    "TORCHINDUCTOR_CACHE_DIR": "torch",
    "YOLO_CONFIG_DIR": "ultralytics",
}
"""Environment variables that set those folders, and the name of each subfolder in ours."""
_made: list[tuple[int, Path]] = []
"""ID of the process that made the folder, and the folder."""


def keep_out_of_home() -> None:
    """Give the libraries a temporary folder. Variables that the user has set are left alone.

    Child processes inherit it. Call this before the libraries are imported, as ``extras.require`` does.
    """
    wanted = [name for name in HOMES if not os.environ.get(name)]
    if not wanted:
        return
    folder = Path(tempfile.mkdtemp(prefix="facepipe-"))
    _made.append((os.getpid(), folder))
    atexit.register(forget)
    for name in wanted:
        (folder / HOMES[name]).mkdir()
        os.environ[name] = str(folder / HOMES[name])
    if "KERAS_HOME" in wanted:
        with suppress(OSError, RuntimeError):  # no links here, or no home: downloads are lost with the process
            (folder / HOMES["KERAS_HOME"] / "models").symlink_to(Path.home() / ".keras" / "models")


def keep_keras_downloads() -> None:
    """Create the folder in the user's home where Keras keeps downloaded weights.

    If that fails, they are downloaded into the process's own folder.
    """
    models = Path(os.environ.get("KERAS_HOME", "")) / "models"
    if not any(folder in models.parents for _, folder in _made) or not models.is_symlink():
        return
    try:
        models.resolve().mkdir(parents=True, exist_ok=True)
        kept = os.access(models, os.W_OK)
    except OSError:
        kept = False
    if not kept:
        models.unlink()


def forget() -> None:
    """Remove the folder, but only in the process that made it."""
    for process, folder in _made:
        if process == os.getpid():
            shutil.rmtree(folder, ignore_errors=True)
