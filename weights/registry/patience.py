"""How long to wait for a source, and an end to the wait however it stalls.

A socket's own timeout begins anew with every byte and does not cover the look-up of a name, so that a server which
sends a header letter by letter can hold a program for ever. Here the source is asked in a thread of its own, and who
waits does so by the clock.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass

from .source import PassingError, Stream


@dataclass(frozen=True)
class Patience:
    """Limits on waiting.

    Attributes:
        silence: seconds in which at least something must come.
        slowest: bytes a second that must come on average over each ``silence``.
        attempts: how often a file is tried in all.
        pause: seconds before the second attempt; before each further one twice as long.
    """

    silence: float = 30.0
    slowest: float = 1000.0
    attempts: int = 4
    pause: float = 1.0


USUAL = Patience()


def watched(ask: Callable[[], Stream], silence: float, told: str) -> Generator[Stream | bytes, None, None]:
    """Open a stream and read it, but never wait longer than ``silence`` seconds for what comes next.

    Args:
        ask: opens the stream.
        silence: seconds.
        told: what is read, for messages.

    Yields:
        The stream, and then its chunks; its own iterator is read here. Closing the generator closes the stream.

    Raises:
        PassingError: nothing came for so long.
        Exception: whatever ``ask`` or the stream raises.
    """
    found: queue.Queue[Stream | bytes | Exception | None] = queue.Queue(maxsize=4)
    given_up = threading.Event()

    def hand_over(item: Stream | bytes | Exception | None) -> bool:
        while not given_up.is_set():
            try:
                found.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def read() -> None:
        try:
            stream = ask()
            try:
                if hand_over(stream):
                    for chunk in stream.chunks:
                        if not hand_over(chunk):
                            break
            finally:
                stream.close()
        except Exception as error:  # raised again where it is waited for
            hand_over(error)
        else:
            hand_over(None)

    threading.Thread(target=read, name="facepipe-source", daemon=True).start()
    try:
        while True:
            try:
                item = found.get(timeout=silence)
            except queue.Empty:
                raise PassingError(f"{told}: nothing came for {silence:g} seconds") from None
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        given_up.set()
