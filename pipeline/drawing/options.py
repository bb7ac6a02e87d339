"""Options for what is drawn on pictures and videos."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from ...core.errors import FacepipeError

LAYERS = ("boxes", "labels", "points", "heads")


@dataclass(frozen=True)
class DrawOptions:
    """Which layers are drawn, and what labels say.

    Attributes:
        layers: any of ``boxes`` (of faces), ``labels``, ``points`` and ``heads``.
        fields: names of the attributes in labels; None shows all of them and the face's number.

    Raises:
        FacepipeError: an unknown layer.
    """

    layers: frozenset[str] = frozenset(LAYERS)
    fields: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in sorted(self.layers):
            if name not in LAYERS:
                raise FacepipeError(f"{_unknown('--draw', name, LAYERS)}; it takes any of {', '.join(LAYERS)}")

    @classmethod
    def parse(cls, layers: str | None, fields: str | None) -> DrawOptions:
        """Parse command-line options: comma-separated names, or None for all.

        Raises:
            FacepipeError: an unknown layer, or no name at all.
        """
        chosen = LAYERS if layers is None else _names("--draw", layers)
        return cls(frozenset(chosen), None if fields is None else _names("--label-fields", fields))

    def check(self, attributes: Iterable[str]) -> None:
        """Check that the models in use have the attributes that labels should show.

        Raises:
            FacepipeError: an attribute does not exist.
        """
        known = tuple(attributes)
        for name in self.fields or ():
            if name not in known:
                raise FacepipeError(f"{_unknown('--label-fields', name, known)}; there are: {', '.join(known)}")

    @property
    def words(self) -> str | None:
        """What differs from the default, for a run's settings; None if nothing does."""
        if self == DrawOptions():
            return None
        fields = "" if self.fields is None else f"; labels: {', '.join(self.fields)}"
        return (", ".join(name for name in LAYERS if name in self.layers) or "nothing") + fields


def _names(option: str, text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise FacepipeError(f"{option}: names nothing")
    return names


def _unknown(option: str, name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), 1)
    return f"{option}: {name!r} is unknown" + (f"; did you mean {close[0]!r}?" if close else "")
