"""Optional packages: imported on demand, or an error with the pip command that installs them."""

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
"""Modules whose package has a different name: that name, and the extra that installs it."""
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
"""The other optional packages, by the extra that installs them."""
_importing = threading.RLock()


def require(module: str, extra: str | None = None) -> Any:
    """Import an optional module.

    The module is looked up on every call, which costs a microsecond once it is loaded. Only one thread imports at a
    time. When two threads wait for each other's modules, Python breaks the deadlock by returning half-initialised
    modules, which breaks packages with circular imports. Packages that write into the user's home on import are kept
    out of it.

    Args:
        module: full name, such as ``scipy.stats``.
        extra: the extra to name in the error, if not the one from ``PACKAGES`` and ``EXTRAS``.

    Returns:
        The module, as from ``importlib.import_module``.

    Raises:
        MissingExtraError: the module, or something that it imports, is not installed.
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
    """Import an optional module like :func:`require`, or return None if it is not installed."""
    try:
        return require(module)
    except MissingExtraError:
        return None
