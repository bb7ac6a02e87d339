"""Optional packages: imported when a command needs them, or an error with the pip line that installs them."""

from __future__ import annotations

import threading
from importlib import import_module
from typing import Any

from .errors import MissingExtraError
from .library_homes import WRITERS, keep_out_of_home

PACKAGES = {
    "PIL": ("Pillow", "train"),
    "av": ("av (PyAV)", "video"),
    "faster_coco_eval": ("faster-coco-eval", "train"),
    "yaml": ("PyYAML", "train"),
}
"""Modules whose package has another name than they have: that name, and the extra that installs it."""
EXTRAS = {
    "train": ("cloudpickle", "fairlearn", "jinja2", "keras", "matplotlib", "scipy", "torchvision", "ultralytics"),
    "parquet": ("pyarrow",),
    "pandas": ("pandas",),
    "tiles": ("supervision",),
    "video": ("trackers",),
    "remote": ("filelock", "fsspec", "requests"),
    "hub": ("huggingface_hub",),
    "serve": ("fastapi", "prometheus_client", "python_multipart", "uvicorn"),
    "ray": ("ray",),
    "roboflow": ("roboflow",),
}
"""The extra that installs each of the other optional packages."""
_importing = threading.RLock()


def require(module: str, extra: str | None = None) -> Any:
    """Import an optional module.

    The module is looked up anew at each call, which costs a microsecond once it is loaded. One thread at a time imports
    here: packages whose modules import each other in circles would otherwise be handed over half made, for that is how
    Python breaks the tie of two threads that wait for each other's modules. What writes into the user's home as it is
    imported is kept out of it.

    Args:
        module: its full name, such as ``scipy.stats``.
        extra: the extra to name in the error, where it is not the one that ``PACKAGES`` and ``EXTRAS`` give.

    Returns:
        The module, as ``importlib.import_module`` gives it.

    Raises:
        MissingExtraError: it, or something that it imports, is not installed.
    """
    name = module.partition(".")[0]
    try:
        with _importing:
            if name in WRITERS:
                keep_out_of_home()
            import_module(name)
            return import_module(module)
    except ImportError as error:
        package, usual = PACKAGES.get(name) or (name, next((e for e, names in EXTRAS.items() if name in names), ""))
        raise MissingExtraError(package, extra or usual) from error


def optional(module: str) -> Any:
    """An optional module as :func:`require` gives it, or None where it is not installed."""
    try:
        return require(module)
    except MissingExtraError:
        return None
