"""Rounds: the sides of a comparison take turns, so that what else the machine does hits all of them alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping

SETTLE = 0.05
"""Seconds between two measurements, in which the threads of the one before come to rest (ONNX Runtime's spin on for a
moment)."""

Action = Callable[[], float | None]
"""Does a side's work once. Where it gives a number, that is the seconds it took; else they are measured around it."""


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
        seconds: time for all of it; no round begins that is likely to end after it.
        fewest: rounds that are done whatever it takes.
        most: rounds at most.
        clock: seconds from some moment on.

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
            told = actions[name]()
            timed[name].append(clock() - start if told is None else told)
        order.reverse()
    return timed
