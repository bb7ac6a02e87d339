"""Windows: a picture until a key is pressed (``Result.show``), or live videos and cameras (``detect --show``)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cv2

from ...core.errors import FacepipeError
from ..inputs.image_reader import Frame
from ..result_data import ResultData
from .draw import Drawer
from .options import DrawOptions

Show = Callable[[Frame, ResultData], bool]
"""Shows a frame with its result; returns False once the window was closed."""
TITLE = "facepipe"
CLOSING = (ord("q"), 27)
"""Keys that close the window: q and Escape."""
LARGEST = (1280, 720)
"""Maximum initial width and height of a window in pixels; the user may enlarge it."""
FLAGS = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
CALM = {"QT_LOGGING_RULES": "default.warning=false"}
"""Silences OpenCV's Qt, which complains about fonts that are not needed here."""
PATIENCE = 30.0
"""Seconds to wait for a display to answer."""


def check_display(instead: str) -> None:
    """Check that a window can be opened.

    Args:
        instead: an alternative to suggest in the error.

    Raises:
        FacepipeError: there is no display, it does not answer, or this OpenCV has no window support.
    """
    if re.search(r"GUI:\s+NONE", cv2.getBuildInformation()):
        raise FacepipeError(
            f"this OpenCV cannot open windows (opencv-python can, opencv-python-headless cannot); {instead}"
        )
    if not sys.platform.startswith("linux"):
        return
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not display:
        raise FacepipeError(f"there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set); {instead}")
    # Qt ends the whole process if the display does not answer, so try in a separate one.
    command = [sys.executable, "-c", f"import cv2; cv2.namedWindow({TITLE!r})"]
    try:
        tried = subprocess.run(
            command, cwd="/", env=os.environ | CALM, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise FacepipeError(f"the display {display} does not answer; {instead}") from None
    if tried.returncode != 0:
        why = tried.stderr.strip().partition("\n")[0]
        raise FacepipeError(f"no window can be opened on the display {display} ({why}); {instead}")


def show_until_key(picture: Frame, title: str) -> None:
    """Show a picture, BGR, uint8, (height, width, 3), until a key is pressed or the window is closed.

    Raises:
        FacepipeError: no window can be opened.
    """
    check_display("save(path) writes the picture")
    _open(title, picture)
    cv2.imshow(title, picture)
    while cv2.waitKey(100) == -1 and _is_open(title):
        pass
    cv2.destroyAllWindows()


@contextmanager
def live_window(options: DrawOptions | None = None) -> Iterator[Show]:
    """Yield a function that shows video frames during the block; check first with ``check_display``.

    Args:
        options: what is drawn on the frames; None draws everything.
    """
    drawer, opened = Drawer(options), False

    def show(frame: Frame, result: ResultData) -> bool:
        nonlocal opened
        drawn = drawer(frame, result)
        if not opened:
            _open(TITLE, drawn)
        cv2.imshow(TITLE, drawn)
        opened = cv2.waitKey(1) & 0xFF not in CLOSING and _is_open(TITLE)
        if not opened:
            cv2.destroyAllWindows()
        return opened

    try:
        yield show
    finally:
        cv2.destroyAllWindows()


def _open(title: str, picture: Frame) -> None:
    """Open a window of the picture's size, or smaller to fit on a screen."""
    for name, value in CALM.items():
        os.environ.setdefault(name, value)
    cv2.namedWindow(title, FLAGS)
    height, width = picture.shape[:2]
    share = min(1.0, LARGEST[0] / width, LARGEST[1] / height)
    cv2.resizeWindow(title, max(1, round(width * share)), max(1, round(height * share)))


def _is_open(title: str) -> bool:
    return bool(cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) >= 1)
