"""Video decoders: PyAV for files and RTSP streams, OpenCV for cameras. ``reader`` runs one in a thread."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2

from ...core.errors import VideoError
from ...core.extras import require
from ..inputs.image_reader import Frame, Limits, opencv_quiet
from ..inputs.orientation import matrix_orientation, turned

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame as AvFrame
    from av.video.stream import VideoStream

CAMERA, STREAMS = "camera:", ("rtsp://", "rtsps://")
RETRIES, PATIENCE = 5, 5.0
"""How many times in a row to reopen a lost stream, and how many seconds to wait for an answer or a frame."""
EARLY = 0.5
"""Seconds that may be missing at the end before a video counts as cut short."""
FEW = 0.5
"""A file that yields less than this share of its announced frames gets an error."""

Step = tuple[float, Callable[[], Frame]]
"""A decoded frame: its time in seconds, and a function that converts it to upright BGR."""


@dataclass(frozen=True)
class VideoInfo:
    """What a video declares about itself.

    Attributes:
        width, height: of the upright frames, in pixels.
        rate: frames per second, the average if it varies; None if unknown.
        seconds, frames: length; None for live sources or if unknown.
        live: whether frames are dropped rather than waited for.
    """

    width: int
    height: int
    rate: float | None
    seconds: float | None
    frames: int | None
    live: bool


class Decoder(Protocol):
    """Frames of one source. Iterate over it once.

    Attributes:
        info: available as soon as the source is open.
        error: after the last frame, why the video ended early.
        damaged: number of packets so far that could not be decoded.
    """

    info: VideoInfo
    error: str | None
    damaged: int

    def __iter__(self) -> Iterator[Step]: ...

    def close(self) -> None: ...


def is_live(source: str) -> bool:
    """Whether a source delivers frames in real time: a camera or a stream."""
    return source.startswith((CAMERA, *STREAMS))


def open_decoder(source: str, limits: Limits, stop: threading.Event) -> Decoder:
    """Open a path, ``camera:N`` or an RTSP URL.

    Args:
        stop: ends the wait for a lost stream.

    Raises:
        VideoError, MissingExtraError: see ``reader.VideoReader``.
    """
    if source.startswith(CAMERA):
        return CameraDecoder(source, limits)
    require("av")
    return StreamDecoder(source, limits, stop) if is_live(source) else FileDecoder(source, limits)


class FileDecoder:
    """A video file. Packets are decoded one by one, so a damaged packet does not end the video.

    Raises:
        VideoError: the file cannot be opened, or holds no video.
    """

    def __init__(self, source: str, limits: Limits):
        self.error: str | None = None
        self.damaged = 0
        self._source, self._limits = source, limits
        self._container = open_file(source)
        try:
            self._stream = _picture_stream(self._container, source)
            self._stream.thread_type = "AUTO"
            context = self._stream.codec_context
            check_pixels(context.width, context.height, limits, source)
            self._start = (self._container.start_time or 0) / 1e6
            self._end = 0.0
            self._frames = self._decode()
            self._first = next(self._frames, None)
            if self._first is None:
                raise VideoError(f"{source}: no frame of it can be decoded; it is damaged or cut short")
            self._aspect = _aspect(self._stream)
            width, height = shown_size(self._first, self._aspect)
            rate, seconds = _rate(self._stream), _seconds(self._container, self._stream)
            self.info = VideoInfo(width, height, rate, seconds, self._stream.frames or None, live=False)
        except BaseException:
            self._container.close()
            raise

    def __iter__(self) -> Iterator[Step]:
        step = 1 / (self.info.rate or 25.0)
        last: float | None = None
        count = 0
        frame = self._first
        self._first = None
        while frame is not None:
            moment = last + step if frame.time is None and last is not None else (frame.time or 0.0) - self._start
            last = moment = round(moment, 6)
            check_pixels(frame.width, frame.height, self._limits, self._source)
            count += 1
            yield moment, lambda frame=frame: upright(frame, self._aspect)  # type: ignore[misc]
            frame = next(self._frames, None)
        whole = self.info.seconds
        if whole is not None and self._end < whole - EARLY:
            self.error = f"{self._source}: ends at {last or 0:.1f} s of {whole:.1f} s; it is cut short or damaged"
        elif self.info.frames is not None and count < FEW * self.info.frames:
            self.error = (
                f"{self._source}: only {count} of its {self.info.frames} frames could be read; its times, or its data, "
                "are damaged"
            )
        elif self.damaged:
            self.error = f"{self._source}: {self.damaged} of its packets are damaged and were skipped"

    def _decode(self) -> Iterator[AvFrame]:
        av = require("av")
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                self.damaged += 1
                packet = None
            if packet is None:
                return
            if packet.pts is not None:
                end = float((packet.pts + (packet.duration or 0)) * packet.time_base) - self._start
                self._end = max(self._end, end)
            try:
                yield from packet.decode()
            except av.EOFError:
                return
            except av.FFmpegError:
                self.damaged += 1

    def close(self) -> None:
        self._frames.close()  # type: ignore[attr-defined]
        self._container.close()


class StreamDecoder:
    """An RTSP stream over TCP, reopened if it is lost.

    Args:
        source: an RTSP URL.
        limits: on each frame.
        stop: ends the wait for frames.
    """

    def __init__(self, source: str, limits: Limits, stop: threading.Event):
        self.error: str | None = None
        self.damaged = 0
        self._source, self._limits, self._stop = source, limits, stop
        self._name = without_password(source)
        self._opened = time.monotonic()
        self._container = open_stream(source)
        stream = _picture_stream(self._container, self._name)
        context = stream.codec_context
        check_pixels(context.width, context.height, limits, self._name)
        self.info = VideoInfo(context.width, context.height, _rate(stream), None, None, live=True)

    def __iter__(self) -> Iterator[Step]:
        av = require("av")
        failures = 0
        while not self._stop.is_set():
            try:
                for frame in self._frames():
                    failures = 0
                    check_pixels(frame.width, frame.height, self._limits, self._name)
                    moment = round(time.monotonic() - self._opened, 6)
                    yield moment, lambda frame=frame: upright(frame)  # type: ignore[misc]
                reason = "the stream ended"
            except av.FFmpegError as error:
                reason = error.strerror or type(error).__name__
            while True:
                failures += 1
                if failures > RETRIES:
                    self.error = f"{self._name}: {reason}; reopened {RETRIES} times without success"
                    return
                if self._stop.wait(min(8.0, 0.5 * 2**failures)):
                    return
                try:
                    self._container.close()
                    self._container = open_stream(self._source)
                    break
                except VideoError as error:
                    reason = str(error).removeprefix(f"{self._name}: ")

    def _frames(self) -> Iterator[AvFrame]:
        av = require("av")
        stream = _picture_stream(self._container, self._name)
        for packet in self._container.demux(stream):
            if self._stop.is_set():
                return
            try:
                yield from packet.decode()
            except av.InvalidDataError:  # before the first key frame, or after a lost packet
                self.damaged += 1

    def close(self) -> None:
        self._container.close()


class CameraDecoder:
    """A camera that OpenCV opens by number.

    Raises:
        VideoError: there is no such camera, or it delivers no frames.
    """

    def __init__(self, source: str, limits: Limits):
        self.error: str | None = None
        self.damaged = 0
        self._source = source
        number = source.removeprefix(CAMERA)
        if not re.fullmatch(r"\d{1,4}", number, re.ASCII):
            raise VideoError(f"{source}: expected a number of at most four digits after camera:, as in camera:0")
        self._opened = time.monotonic()
        with opencv_quiet:
            self._camera = cv2.VideoCapture(int(number))
        if not self._camera.isOpened():
            raise VideoError(f"{source}: there is no such camera, or another program is using it")
        self._camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        width, height = (int(self._camera.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        check_pixels(width, height, limits, source)
        self.info = VideoInfo(width, height, self._camera.get(cv2.CAP_PROP_FPS) or None, None, None, live=True)

    def __iter__(self) -> Iterator[Step]:
        while self._camera.grab():
            yield round(time.monotonic() - self._opened, 6), self._retrieve
        self.error = f"{self._source}: the camera gives no more frames"

    def _retrieve(self) -> Frame:
        done, image = self._camera.retrieve()
        if not done:
            raise VideoError(f"{self._source}: the camera gave a frame that cannot be decoded")
        return image

    def close(self) -> None:
        self._camera.release()


def upright(frame: AvFrame, aspect: float = 1.0) -> Frame:
    """Convert an FFmpeg frame to BGR, rotated and mirrored by its display matrix, with square pixels.

    Args:
        frame: as decoded.
        aspect: width over height of one stored pixel.

    Returns:
        uint8, shape (height, width, 3).
    """
    width = round(frame.width * aspect)
    image = frame.to_ndarray(format="bgr24", width=width, height=frame.height)
    return turned(image, orientation_of(frame))


def orientation_of(frame: AvFrame) -> int:
    """Orientation from the display matrix, 1 to 8 as in EXIF. Mirrored frames stay mirrored, as in players."""
    side_data: Any = frame.side_data  # PyAV types it as its keys
    matrix = next((bytes(each) for each in side_data if each.type.name == "DISPLAYMATRIX"), b"")
    return matrix_orientation(matrix) if len(matrix) >= 36 else 1


def shown_size(frame: AvFrame, aspect: float = 1.0) -> tuple[int, int]:
    """Width and height of a frame as returned by ``upright``."""
    width, height = round(frame.width * aspect), frame.height
    return (height, width) if orientation_of(frame) >= 5 else (width, height)


def _aspect(stream: VideoStream) -> float:
    """Width over height of one stored pixel. It differs from 1 in DV and anamorphic recordings."""
    ratio = float(stream.sample_aspect_ratio or 1)
    return ratio if 0.2 < ratio < 5 and abs(ratio - 1) > 0.01 else 1.0


def check_pixels(width: int, height: int, limits: Limits, source: str) -> None:
    """Check frames against the pixel limit before decoding one.

    Args:
        width: in pixels.
        height: in pixels.
        limits: on a picture.
        source: named in the message.

    Raises:
        VideoError: frames are over the limit.
    """
    if width * height > limits.pixels:
        raise VideoError(f"{source}: frames of {width} x {height} pixels, over the limit of {limits.pixels:,}")


def open_stream(source: str) -> InputContainer:
    """Open an RTSP URL.

    Raises:
        VideoError: no answer within ``PATIENCE``, connection refused, or no video.
    """
    av = require("av")
    options = {"rtsp_transport": "tcp", "fflags": "nobuffer", "flags": "low_delay"}
    try:
        return av.open(source, options=options, timeout=(PATIENCE, PATIENCE))
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{without_password(source)}: the stream cannot be opened ({error.strerror})") from error


def without_password(url: str) -> str:
    """A URL safe to show: ``rtsp://name:secret@host/`` without the name and the secret."""
    scheme, mark, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return scheme + mark + host.rpartition("@")[2] + slash + path


def open_file(source: str) -> InputContainer:
    """Open a local video file.

    Raises:
        VideoError: missing, a folder, or not a video.
    """
    av = require("av")
    path = Path(source)
    if path.is_dir():
        raise VideoError(f"{source}: is a folder; name a video")
    try:
        if path.exists() and not path.is_file():
            raise VideoError(f"{source}: is not a regular file")
        if not path.exists():
            raise VideoError(f"{source}: no such file")
        # Never treat a name as an FFmpeg URL, and never let a playlist lead outside local files.
        return av.open(
            "file:" + os.path.abspath(path), options={"protocol_whitelist": "file"}, metadata_errors="replace"
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise VideoError(f"{source}: is not a readable video, or is damaged ({reason})") from error


def _picture_stream(container: InputContainer, source: str) -> VideoStream:
    av = require("av")
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        raise VideoError(f"{source}: contains no video, only {_kinds(container)}")
    if streams[0].codec_context is None:
        raise VideoError(f"{source}: its codec is not supported; convert it, for example to H.264")
    return streams[0]


def _kinds(container: InputContainer) -> str:
    return ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"


def _rate(stream: VideoStream) -> float | None:
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate and 0.1 < rate < 1000 else None


def _clock(text: str) -> float | None:
    """Seconds of a Matroska tag such as ``00:01:02.500000000``, or None if it is not a time."""
    found = re.fullmatch(r"\s*(\d{1,6}):(\d{1,2}):(\d{1,2}(?:\.\d{1,12})?)\s*", text, re.ASCII)
    return None if found is None else 3600 * int(found[1]) + 60 * int(found[2]) + float(found[3])


def _seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """Expected length of the video stream. The container's length is used only without audio, which may be longer."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if text := stream.metadata.get("DURATION"):
        return _clock(text)
    if container.duration and len(container.streams) == 1:
        return container.duration / 1e6
    return None
