"""Rounds: the sides of a comparison take turns, so that other load on the machine affects all of them alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping

SETTLE = 0.05
"""Seconds between two measurements, for the previous one's threads to settle (ONNX Runtime's keep spinning for a
moment)."""

Action = Callable[[], float | None]
"""Does a side's work once. If it returns a number, that is the seconds it took; otherwise the call is timed."""


def interleave(
    actions: Mapping[str, Action],
    seconds: float,
    fewest: int = 3,
    most: int = 15,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Time several actions in rounds: A B C, C B A, A B C, … Each is run once before, untimed.

    Args:
        actions: by name.
        seconds: total time; no round starts that is likely to end after it.
        fewest: minimum number of rounds, however long they take.
        most: maximum number of rounds.
        clock: seconds since some fixed moment.

    Returns:
        By name, the seconds of each round.
    """
    began = clock()
    for action in actions.values():
        action()
    timed: dict[str, list[float]] = {name: [] for name in actions}
    rounds_began, order = clock(), list(actions)
    for number in range(most):
        now = clock()
        if number >= fewest and now - began + (now - rounds_began) / number > seconds:
            break
        for name in order:
            gc.collect()
            time.sleep(SETTLE)
            start = clock()
            reported = actions[name]()
            timed[name].append(clock() - start if reported is None else reported)
        order.reverse()
    return timed
