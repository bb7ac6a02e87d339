"""A cap on the decoded pixels in flight, whatever the pictures' sizes, given out in the pictures' order."""

from __future__ import annotations

PIXELS = 64_000_000
"""Decoded pixels in flight (192 MB), or one picture, if it alone has more."""


class PixelBudget:
    """Who may decode, and how many pixels are in flight. The caller holds a lock around every call.

    Turns go by the pictures' numbers. If later pictures could take the budget first, an earlier one would wait for it,
    and they for the earlier one's result, for ever.

    Attributes:
        pixels: in flight.
    """

    def __init__(self) -> None:
        self.pixels = 0
        self._turn = 0
        self._settled: set[int] = set()
        """Pictures after the one whose turn it is that need no turn any more."""

    @property
    def left(self) -> bool:
        """Whether any is left."""
        return self.pixels < PIXELS

    def admits(self, number: int, pixels: int, first: bool) -> bool:
        """Whether a picture may be decoded now.

        Args:
            number: of the picture, from 0.
            pixels: that it has.
            first: no earlier picture is on its way: it is admitted, however large it is.
        """
        return self._turn == number and (first or self.pixels + pixels <= PIXELS)

    def take(self, pixels: int) -> None:
        """Count a picture's pixels from now on."""
        self.pixels += pixels

    def give_back(self, pixels: int) -> None:
        """Count them no more."""
        self.pixels -= pixels

    def settle(self, number: int) -> None:
        """A picture was admitted, or needs no room: pass the turn on."""
        if number >= self._turn:
            self._settled.add(number)
        while self._turn in self._settled:
            self._settled.remove(self._turn)
            self._turn += 1
