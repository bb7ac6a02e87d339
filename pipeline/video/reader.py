"""Read a video file, camera or RTSP stream as upright BGR frames with exact times, decoded ahead in a thread.

PyAV reads files and streams, OpenCV reads cameras. OpenCV 5's own FFmpeg gives the same frames, times and upright
pictures for files (tested on mp4, mkv, webm and avi, constant and variable frame rates, rotated videos). But it
silently ends a damaged file at the damage (24 of 60 frames, where PyAV gives 58 and reports it), and it neither copies
audio nor writes H.264. PyAV does both, and the tracking library already depends on it.
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
"""Most frames decoded ahead, and most pixels they may have together (48 MB); always at least two frames."""
WAIT = 0.2
"""Seconds between checks of a waiting thread; this bounds how quickly Ctrl-C is noticed on Windows."""


@dataclass(frozen=True)
class VideoFrame:
    """One frame.

    Attributes:
        number: position in the video, from 0; skipped frames count.
        time: seconds from the start of the video, or from when a live source was opened.
        image: upright, BGR, uint8, (height, width, 3).
    """

    number: int
    time: float
    image: Frame


class VideoReader:
    """Reads a video ahead of its consumer. Iterate over it once, inside ``with``.

    For a live source (camera, ``rtsp://``) the newest frame wins: frames not consumed in time are dropped. A lost RTSP
    stream is reopened a few times.

    >>> with VideoReader("clip.mp4", every=5) as frames:
    ...     for frame in frames:
    ...         print(frame.number, frame.time, frame.image.shape)
    ...     print(frames.error or "all of it")

    Args:
        source: a path, ``camera:N``, or an RTSP URL.
        every: yield only every n-th frame; the others are decoded but not converted.
        seconds: stop after this many seconds of the video; None goes to the end.
        limits: ``pixels`` caps a frame's size.

    Attributes:
        info: the video's size, frame rate and length.
        error: after the last frame, why the video ended early or what is damaged; None if all is well. The readable
            frames have already been yielded.

    Raises:
        VideoError: missing, not a video, without a video stream, not decodable, over a limit, or no such camera.
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
        """Yield the frames in order.

        Raises:
            VideoError: an error that ends the whole video, such as a frame over the limit; raised after the frames
                before it.
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
        """End the stream after the frames already decoded. Safe to call from a signal handler or another thread."""
        self._stop.set()

    def close(self) -> None:
        """Stop the thread and release the video."""
        self._stop.set()
        with self._changed:
            self._waiting.clear()
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        """Body of the decoding thread."""
        try:
            self._decode()
        except Exception as error:  # re-raised in the consumer
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
        """Queue a frame once there is room, or replace an older one in a live stream. Return False to stop."""
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
