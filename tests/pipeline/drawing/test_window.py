"""Windows on a display of their own (Xvfb): what is seen in them, what closes them, and what is said without one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe.core.errors import FacepipeError
from facepipe.pipeline.drawing.draw import draw
from facepipe.pipeline.drawing.options import DrawOptions
from facepipe.pipeline.drawing.window import check_display
from facepipe.pipeline.results import Result

LIVE = """
import sys, time
import cv2
from facepipe.pipeline.drawing.options import DrawOptions
from facepipe.pipeline.drawing.window import check_display, live_window
from facepipe.pipeline.results import Result

check_display("")
frame, result = cv2.imread("frame.png"), Result.model_validate_json(open("result.json").read())
with live_window(DrawOptions.parse("boxes,heads", None)) as show:
    while show(frame, result):
        time.sleep(0.02)
print("closed")
"""
STILL = """
import cv2
from facepipe.pipeline.drawing.window import show_until_key

show_until_key(cv2.imread("frame.png"), "a picture")
print("closed")
"""
PATIENCE = 30.0
"""Seconds that a window is waited for."""

Grab = Callable[[], np.ndarray]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Grab]:
    """A display that nobody looks at; a call gives what is on it, BGR, (900, 1600, 3)."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed")
    features, grabber = pytest.importorskip("PIL.features"), pytest.importorskip("PIL.ImageGrab")
    if not features.check("xcb"):
        pytest.skip("this Pillow takes no pictures of an X display")
    told, tells = os.pipe()
    command = ["Xvfb", "-displayfd", str(tells), "-screen", "0", "1600x900x24", "-nolisten", "tcp", "-noreset"]
    server = subprocess.Popen(command, pass_fds=[tells], stderr=subprocess.DEVNULL)
    os.close(tells)
    with os.fdopen(told) as number:
        display = f":{number.readline().strip()}"
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    try:
        yield lambda: np.asarray(grabber.grab(xdisplay=display).convert("RGB"))[..., ::-1]
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def result(pipeline: object, photo: Callable[..., np.ndarray], tmp_path: Path) -> Result:
    """Of a photo that lies, with it, where the windows' processes look."""
    frame = cv2.resize(photo(0), (640, 480))
    found: Result = pipeline.run(frame)  # type: ignore[attr-defined]
    assert found.faces
    assert found.heads
    cv2.imwrite(str(tmp_path / "frame.png"), frame)
    (tmp_path / "result.json").write_text(found.model_dump_json())
    return found


def started(script: str, folder: Path) -> subprocess.Popen[str]:
    """A process with a window: Qt keeps to one display as long as a process lives."""
    return subprocess.Popen(
        [sys.executable, "-c", script], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def until(look: Callable[[], bool], what: str, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE
    while not look():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise AssertionError(f"waited in vain for {what}: {process.communicate()}")
        time.sleep(0.1)


def press(key: str) -> None:
    """Press a key over the window."""
    if shutil.which("xdotool") is None:
        pytest.skip("xdotool is not installed")
    subprocess.run(["xdotool", "mousemove", "100", "100", "key", key], check=True)


@pytest.mark.parametrize("key", ["q", "Escape"])
def test_a_live_window_shows_what_is_drawn_until_a_key(screen: Grab, result: Result, tmp_path: Path, key: str) -> None:
    frame = cv2.imread(str(tmp_path / "frame.png"))
    assert frame is not None
    drawn = draw(frame, result, DrawOptions.parse("boxes,heads", None))
    process = started(LIVE, tmp_path)
    try:
        until(lambda: np.array_equal(screen()[:480, :640], drawn), "the frame, in its own size", process)
        assert not screen()[480:].any()  # neither a toolbar nor a border
        assert not screen()[:, 640:].any()
        press(key)
        assert process.communicate(timeout=PATIENCE) == ("closed\n", "")  # and Qt complains of nothing
    finally:
        process.kill()


def test_a_large_picture_has_a_window_that_a_screen_has_room_for(screen: Grab, result: Result, tmp_path: Path) -> None:
    frame = cv2.imread(str(tmp_path / "frame.png"))
    assert frame is not None
    cv2.imwrite(str(tmp_path / "frame.png"), cv2.resize(frame, (4000, 2250)))
    process = started(STILL, tmp_path)
    try:
        until(lambda: bool(screen()[:720, :1280].any()), "the window", process)
        time.sleep(0.5)
        lit: np.ndarray = screen().max(axis=2) > 0
        assert lit[:720, :1280].mean() > 0.95  # what is black in the picture is not lit
        assert not lit[720:].any()
        assert not lit[:, 1280:].any()
        press("a")
        assert process.communicate(timeout=PATIENCE) == ("closed\n", "")
    finally:
        process.kill()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has displays that may be absent")
def test_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:       QT5")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(FacepipeError, match=r"no display \(neither DISPLAY nor WAYLAND_DISPLAY is set\); do this"):
        check_display("do this")
    monkeypatch.setenv("DISPLAY", ":4242")  # Qt ends a process that tries
    with pytest.raises(FacepipeError, match=r"on the display :4242 \(.*\); do this"):
        check_display("do this")


def test_an_opencv_without_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:       NONE")
    with pytest.raises(FacepipeError, match=r"this OpenCV cannot open windows .*; do this"):
        check_display("do this")
