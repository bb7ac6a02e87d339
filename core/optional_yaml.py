"""PyYAML, which comes with the extra ``train`` and not with facepipe itself."""

from __future__ import annotations

from types import ModuleType

from .errors import MissingExtraError


def require_yaml() -> ModuleType:
    """The module ``yaml``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError("PyYAML", "train") from error
    return yaml
