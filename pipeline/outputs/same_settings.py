"""Whether an interrupted run is gone on with in the settings that it was begun in."""

from __future__ import annotations

from collections.abc import Mapping

from ...core.errors import FacepipeError


def require_same_settings(
    place: object, before: Mapping[str, object], now: Mapping[str, object], verb: str = "Resume"
) -> None:
    """Refuse to mix results of different settings.

    Args:
        place: what holds the earlier results, as the message names it.
        before, now: values by setting; None, or a setting that is missing, was not given.
        verb: what the user would do with the settings of then.

    Raises:
        FacepipeError: they differ; the message tells how.
    """
    differ = [
        f"{name} was {_shown(before.get(name))} and is now {_shown(now.get(name))}"
        for name in dict.fromkeys((*before, *now))
        if before.get(name) != now.get(name)
    ]
    if differ:
        raise FacepipeError(
            f"{place}: was begun with other settings: {'; '.join(differ)}. {verb} with those of then, or begin anew "
            "with --restart"
        )


def _shown(value: object) -> str:
    if value is None:
        return "not given"
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
