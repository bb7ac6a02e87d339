"""Videos written: H.264 in MP4 with each frame's own time, the sound of the source, whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ...core.errors import FacepipeError
from ...core.files import replacing
from ..inputs.image_reader import Frame
from ..results import Result
from .decoders import require_av
from .sound import Sound, sound_or_reason

if TYPE_CHECKING:
    from av.container import OutputContainer

CODECS = {
    "libx264": {"crf": "20", "preset": "veryfast"},
    "libopenh264": {"allow_skip_frames": "0"},
    "mpeg4": {"qscale": "3"},
}
"""The first that this build of PyAV has is taken."""
TICKS = 60_000
"""Of the clock that frames are timed by, a second; whole for 24, 25, 30, 50, 60, 29.97 and 59.94 frames a second, and
MPEG-4 takes no finer one."""

Change = Callable[[Frame, Result], Frame]
"""What makes the picture that is written from a frame and its result: ``draw.draw``, or one that hides faces."""


class VideoWriter:
    """Writes frames to an ``.mp4`` file. Use it in ``with``; the file is there when the block ends without an error.

    Frames keep their times (a variable rate stays one). All get the first one's size, cut to even sides as H.264 wants
    them by doubling the last row or column.

    Args:
        path: the file.
        rate: frames a second, for players that want one; frames are shown at their own times.
        sound: a video file whose sound goes along, or None.

    Attributes:
        told: after the end, what was written, in words.

    Raises:
        MissingExtraError: PyAV is not installed.
        FacepipeError: the file cannot be written.
    """

    def __init__(self, path: Path, rate: float | None = None, sound: str | None = None):
        self._av = require_av()
        self.path, self.told = path, ""
        self._rate = Fraction(rate or 25).limit_denominator(1001)
        self._source = sound
        self._sound: Sound | None = None
        self._why_silent = ""
        self._stream: Any = None
        self._last = -1
        self.frames = 0

    def __enter__(self) -> VideoWriter:
        self._stack = ExitStack()
        try:
            part = self._stack.enter_context(replacing(self.path))
            options = {"movflags": "+faststart"}
            self._container: OutputContainer = self._av.open(str(part), "w", format="mp4", options=options)
        except (OSError, self._av.FFmpegError) as error:
            self._stack.close()
            raise FacepipeError(f"{self.path}: cannot be written ({error.strerror or error})") from error
        return self

    def add(self, frame: Frame, time: float) -> None:
        """Write a frame.

        Args:
            frame: BGR, uint8, (height, width, 3).
            time: seconds from the start, later than the frame before.
        """
        try:
            if self._stream is None:
                self._begin(frame)
            if self._sound is not None:
                self._sound.write_until(time)
            picture = self._av.VideoFrame.from_ndarray(_even(self._fit(frame)), format="bgr24")
            self._last = max(self._last + 1, round(time * TICKS))
            picture.pts, picture.time_base = self._last, Fraction(1, TICKS)
            self._container.mux(self._stream.encode(picture))
            self.frames += 1
        except (OSError, self._av.FFmpegError) as error:
            raise FacepipeError(f"{self.path}: cannot be written ({error.strerror or error})") from error

    def _begin(self, frame: Frame) -> None:
        codec = next(name for name in CODECS if _can_write(name))
        self._size = frame.shape[1], frame.shape[0]
        height, width = _even(frame).shape[:2]
        stream: Any = self._container.add_stream(codec, rate=self._rate, options=dict(CODECS[codec]))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        self._stream, self._codec = stream, codec
        if self._source is not None:
            self._sound, self._why_silent = sound_or_reason(self._source, self._container)

    def _fit(self, frame: Frame) -> Frame:
        if (frame.shape[1], frame.shape[0]) == self._size:
            return frame
        return cv2.resize(frame, self._size, interpolation=cv2.INTER_AREA)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        try:
            try:
                if kind is None:
                    self._end()
            finally:
                if self._sound is not None:
                    self._sound.close()
                if kind is not None or self._stream is None:  # nothing that has to be right: it is thrown away
                    with contextlib.suppress(OSError, self._av.FFmpegError):
                        self._container.close()
                else:
                    self._container.close()
        except BaseException as problem:
            self._stack.__exit__(type(problem), problem, problem.__traceback__)
            if isinstance(problem, OSError | self._av.FFmpegError):
                reason = problem.strerror or problem
                raise FacepipeError(f"{self.path}: cannot be written ({reason})") from problem
            raise
        try:
            self._stack.__exit__(kind, error, trace)
        except OSError as problem:
            raise FacepipeError(f"{self.path}: cannot be written ({problem.strerror})") from problem

    def _end(self) -> None:
        if self._stream is None:
            raise FacepipeError(f"{self.path}: not written, for there is no frame to write")
        self._container.mux(self._stream.encode(None))
        if self._sound is not None:
            self._sound.write_until(self._last / TICKS + 1 / float(self._rate))
            self._sound.finish()
        sound = self._sound.told if self._sound is not None else self._why_silent or "without sound"
        self.told = f"{self.path}: {self.frames:,} frames, {NAMES[self._codec]}, {sound}"


NAMES = {"libx264": "H.264", "libopenh264": "H.264", "mpeg4": "MPEG-4 (this PyAV has no H.264 encoder)"}


def write_video(
    path: Path,
    frames: Iterable[tuple[Result, Frame]],
    change: Change,
    rate: float | None = None,
    sound: str | None = None,
) -> str:
    """Write a video of results.

    Args:
        path: an ``.mp4`` file; it is there whole or as it was before.
        frames: results with a ``time`` and their frames.
        change: makes the picture from both.
        rate: frames a second.
        sound: a video file whose sound goes along.

    Returns:
        What was written, in words: how many frames, which codec, what became of the sound.

    Raises:
        FacepipeError: it cannot be written, or there is no frame.
        MissingExtraError: PyAV is not installed.
    """  # fmt: skip
    with VideoWriter(path, rate, sound) as writer:
        for result, frame in frames:
            writer.add(change(frame, result), result.time or 0.0)
    return writer.told


def _can_write(codec: str) -> bool:
    av = require_av()
    try:
        return bool(av.Codec(codec, "w").is_encoder)
    except (av.FFmpegError, ValueError):  # UnknownCodecError is a ValueError
        return False


def _even(frame: Frame) -> np.ndarray:
    height, width = frame.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return np.ascontiguousarray(frame)
    return cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
