"""A live window for videos and cameras (``detect --show``)."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cv2

from ...core.errors import FacepipeError
from ..inputs.image_reader import Frame
from ..results import Result

Show = Callable[[Frame, Result], bool]
"""Shows a frame with its result; false once the window was closed."""
TITLE = "facepipe"
CLOSING = (ord("q"), 27)
"""Keys that close the window: q and Escape."""


def check_display() -> None:
    """Check that a window can be opened.

    Raises:
        FacepipeError: there is no display, or this OpenCV has no windows.
    """
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise FacepipeError(
            "--show needs a display, and there is none (neither DISPLAY nor WAYLAND_DISPLAY is set); --save DIR writes "
            "the video with everything drawn in"
        )
    if re.search(r"GUI:\s+NONE", cv2.getBuildInformation()):
        raise FacepipeError("--show: this OpenCV has no windows; opencv-python has, opencv-python-headless has not")


@contextmanager
def live_window(wanted: bool) -> Iterator[Show | None]:
    """Open the window for the block; None where it is not wanted.

    Raises:
        FacepipeError: it cannot be opened.
    """
    if not wanted:
        yield None
        return
    check_display()
    try:
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
    except cv2.error as error:
        raise FacepipeError(f"--show: no window can be opened ({error.err})") from error
    from ..drawing.draw import draw

    def show(frame: Frame, result: Result) -> bool:
        cv2.imshow(TITLE, draw(frame, result))
        pressed = cv2.waitKey(1) & 0xFF
        return pressed not in CLOSING and cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1

    try:
        yield show
    finally:
        cv2.destroyAllWindows()
