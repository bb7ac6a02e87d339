"""A folder of its own for libraries that write into the user's home as they are imported; it is gone with the process.

Matplotlib keeps its list of fonts there, Keras its settings and downloads, ultralytics its settings and torch what it
compiles. Only the ImageNet weights that somebody asked Keras for stay where Keras keeps them, to be downloaded once.
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
"""The packages that do so, or import one that does."""
HOMES = {
    "KERAS_HOME": "keras",
    "MPLCONFIGDIR": "matplotlib",
    "TORCHINDUCTOR_CACHE_DIR": "torch",
    "YOLO_CONFIG_DIR": "ultralytics",
}
"""The environment variables that name those folders, and what they are called in ours."""
_made: list[tuple[int, Path]] = []
"""The process that made the folder, and the folder."""


def keep_out_of_home() -> None:
    """Give the libraries a folder within the temporary ones. What the user has set is left as it is.

    Child processes inherit it. It has to be called before the libraries are imported, as ``extras.require`` does.
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
        with suppress(OSError, RuntimeError):  # no links here, or no home: downloads go with the process
            (folder / HOMES["KERAS_HOME"] / "models").symlink_to(Path.home() / ".keras" / "models")


def keep_keras_downloads() -> None:
    """Make the folder in the user's home in which Keras keeps the weights that it downloads.

    Where that cannot be, they are downloaded into the process' own folder.
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
    """Remove the folder, in the process that made it."""
    for process, folder in _made:
        if process == os.getpid():
            shutil.rmtree(folder, ignore_errors=True)
