"""Frames of a video file, a camera or an RTSP stream: upright BGR with exact times, decoded ahead in a thread.

Files and streams are read by PyAV, cameras by OpenCV. OpenCV 5's own FFmpeg gives the same frames, times and upright
pictures of files (tried on mp4, mkv, webm and avi, constant and variable rates, turned ones), but it ends a damaged
file where the damage is as if that were its end (24 of 60 frames where PyAV gives 58 and says so), and neither copies
sound nor writes H.264. PyAV does, and the tracker's library brings it along.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ..inputs.image_reader import DEFAULT_LIMITS, Frame, Limits
from .decoders import VideoInfo, is_live, open_decoder

__all__ = ["VideoFrame", "VideoInfo", "VideoReader", "is_live"]

AHEAD, AHEAD_PIXELS = 16, 16_000_000
"""Frames decoded ahead: so many, or fewer where together they would have more pixels (48 MB); two at least."""
WAIT = 0.2
"""Seconds after which a waiting thread looks about; how soon Ctrl-C is heard on Windows."""


@dataclass(frozen=True)
class VideoFrame:
    """One frame.

    Attributes:
        number: in the video, from 0; skipped ones count.
        time: seconds from the video's start; of a live source, from when it was opened.
        image: upright, BGR, uint8, (height, width, 3).
    """

    number: int
    time: float
    image: Frame


class VideoReader:
    """Reads a video, ahead of whoever takes its frames. Iterate over it once, in ``with``.

    Of a live source (camera, ``rtsp://``) the newest frame wins: what nobody took in time is dropped. A lost RTSP
    stream is opened again a few times.

    >>> with VideoReader("clip.mp4", every=5) as frames:
    ...     for frame in frames:
    ...         print(frame.number, frame.time, frame.image.shape)
    ...     print(frames.error or "all of it")

    Args:
        source: a path, ``camera:N``, or a URL of RTSP.
        every: give every n-th frame only; the others are decoded but not converted.
        seconds: stop after so many seconds of the video; None goes to its end.
        limits: ``pixels`` caps a frame's size.

    Attributes:
        info: the video's size, rate and length.
        error: after the last frame, why the video ended before its time, or what is damaged; None where all is well.
            The frames that could be read have been given.

    Raises:
        VideoError: missing, no video, without a moving picture, not decodable, over a limit, or no such camera.
        MissingExtraError: PyAV is not installed.
    """

    def __init__(self, source: str, every: int = 1, seconds: float | None = None, limits: Limits = DEFAULT_LIMITS):
        self.source = source
        self._every, self._seconds = max(1, every), seconds
        self._stop = threading.Event()
        self._decoder = open_decoder(source, limits, self._stop)
        self.info = self._decoder.info
        room = max(2, min(AHEAD, AHEAD_PIXELS // max(1, self.info.width * self.info.height)))
        self._room = 1 if self.info.live else room
        self._waiting: deque[VideoFrame] = deque()
        self._failure: Exception | None = None
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="facepipe-decode", daemon=True)
        self._thread.start()

    @property
    def error(self) -> str | None:
        return self._decoder.error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[VideoFrame]:
        """The frames in order.

        Raises:
            VideoError: what ends the whole video, as a frame over the limit does; after the frames before it.
        """
        while True:
            with self._changed:
                while not self._waiting and not self._ended:
                    self._changed.wait(WAIT)
                frame = self._waiting.popleft() if self._waiting else None
                self._changed.notify_all()
            if frame is None:
                if self._failure is not None:
                    raise self._failure
                return
            yield frame

    def stop(self) -> None:
        """End the stream after the frames that are decoded already. May be called from a signal or another thread."""
        self._stop.set()

    def close(self) -> None:
        """End the thread and let go of the video."""
        self._stop.set()
        with self._changed:
            self._waiting.clear()
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        """The thread."""
        try:
            self._decode()
        except Exception as error:  # raised where the frames are taken
            self._failure = error
        finally:
            self._decoder.close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _decode(self) -> None:
        for number, (time, convert) in enumerate(self._decoder):
            if self._stop.is_set() or (self._seconds is not None and time >= self._seconds):
                return
            if number % self._every == 0 and not self._put(VideoFrame(number, time, convert())):
                return

    def _put(self, frame: VideoFrame) -> bool:
        """Hand a frame over as soon as there is room, or in a live stream in place of an older one; False to stop."""
        with self._changed:
            while len(self._waiting) >= self._room and not self.info.live and not self._stop.is_set():
                self._changed.wait(WAIT)
            if self._stop.is_set():
                return False
            while len(self._waiting) >= self._room:
                self._waiting.popleft()
            self._waiting.append(frame)
            self._changed.notify_all()
        return True
