"""Write videos: H.264 in MP4, each frame with its own time. The file is written atomically.

The source's audio is kept: copied if the file can hold it, otherwise re-encoded as AAC.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ...core.errors import FacepipeError, VideoError, os_errors_as
from ...core.extras import require
from ...core.files import replacing
from ..inputs.image_reader import Frame
from ..results import Result
from .decoders import open_file

if TYPE_CHECKING:
    from av.container import OutputContainer


CODECS = {
    "libx264": {"crf": "20", "preset": "veryfast"},
    "libopenh264": {"allow_skip_frames": "0"},
    "mpeg4": {"qscale": "3"},
}
"""The first one that this build of PyAV supports is used."""
TICKS = 60_000
"""Clock ticks per second for frame times: a whole number per frame at 24, 25, 30, 50, 60, 29.97 and 59.94 frames per
second. MPEG-4 allows no finer clock."""

Change = Callable[[Frame, Result], Frame]
"""Makes the picture to write from a frame and its result: ``drawing.draw.draw``, or a function that hides faces."""
NAMES = {"libx264": "H.264", "libopenh264": "H.264", "mpeg4": "MPEG-4 (this PyAV has no H.264 encoder)"}
AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
PLAYED = ("aac", "mp3", "ac3", "eac3", "alac", "opus")
"""Codecs that players expect in MP4; the format allows others."""


class VideoWriter:
    """Writes frames to an ``.mp4`` file. Use it in ``with``; the file appears when the block ends without an error.

    Frames keep their times, so a variable rate is preserved. All frames get the size of the first, padded to even
    sides, as H.264 requires, by repeating the last row or column.

    Args:
        path: the file.
        rate: frames per second, for players that need one; frames are shown at their own times.
        sound: a video file whose audio is added, or None.

    Attributes:
        summary: afterwards, what was written, in words.

    Raises:
        MissingExtraError: PyAV is not installed.
        FacepipeError: the file cannot be written.
    """

    def __init__(self, path: Path, rate: float | None = None, sound: str | None = None):
        self._av = require("av")
        self.path, self.summary = path, ""
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
            time: seconds from the start, later than the previous frame.

        Raises:
            FacepipeError: the file cannot be written.
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
                if kind is not None or self._stream is None:  # it is discarded, so errors do not matter
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
        with os_errors_as(FacepipeError, f"{self.path}: cannot be written"):
            self._stack.__exit__(kind, error, trace)

    def _end(self) -> None:
        if self._stream is None:
            raise FacepipeError(f"{self.path}: not written, because there is no frame")
        self._container.mux(self._stream.encode(None))
        if self._sound is not None:
            self._sound.write_until(self._last / TICKS + 1 / float(self._rate))
            self._sound.finish()
        sound = self._sound.summary if self._sound is not None else self._why_silent or "without sound"
        self.summary = f"{self.path}: {self.frames:,} frames, {NAMES[self._codec]}, {sound}"


def write_video(
    path: Path,
    frames: Iterable[tuple[Result, Frame]],
    change: Change,
    rate: float | None = None,
    sound: str | None = None,
) -> str:
    """Write a video of results.

    Args:
        path: an ``.mp4`` file; on failure it is left as it was.
        frames: results with a ``time``, and their frames.
        change: makes the picture from both.
        rate: frames per second.
        sound: a video file whose audio is added.

    Returns:
        What was written, in words: number of frames, codec, and what happened to the audio.

    Raises:
        FacepipeError: it cannot be written, or there are no frames.
        MissingExtraError: PyAV is not installed.
    """  # fmt: skip
    with VideoWriter(path, rate, sound) as writer:
        for result, frame in frames:
            writer.add(change(frame, result), result.time or 0.0)
    return writer.summary


def _can_write(codec: str) -> bool:
    av = require("av")
    try:
        return bool(av.Codec(codec, "w").is_encoder)
    except (av.FFmpegError, ValueError):  # UnknownCodecError is a ValueError
        return False


def _even(frame: Frame) -> np.ndarray:
    height, width = frame.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return np.ascontiguousarray(frame)
    return cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)


class Sound:
    """Copies a file's audio alongside a video that is being written.

    Args:
        source: the file to take the audio from.
        output: the file to write to; nothing has been written to it yet.

    Attributes:
        summary: what happened to the audio, in words.
    """

    def __init__(self, source: str, output: OutputContainer):
        self._input = open_file(source)
        self._output = output
        self._start = (self._input.start_time or 0) / 1e6
        self._packets: Iterator[Any] = iter(())
        self._held: Any = None
        self._damaged = 0
        self._made_anew = False
        streams = [each for each in self._input.streams.audio if each.codec_context is not None]
        self._carriers = {stream.index: self._carrier(stream) for stream in streams}
        if streams:
            self._packets = self._input.demux(streams)

    def _carrier(self, stream: Any) -> _Copy | _Encode:
        if stream.codec_context.name in PLAYED and stream.codec_context.name in self._output.supported_codecs:
            return _Copy(stream, self._output)
        self._made_anew = True
        return _Encode(stream, self._output)

    @property
    def summary(self) -> str:
        if not self._carriers:
            return "the video has no sound"
        kept = "sound kept" + (", re-encoded as AAC" if self._made_anew else "")
        return kept + (f"; {self._damaged} damaged audio packets were left out" if self._damaged else "")

    def write_until(self, time: float | None) -> None:
        """Write the audio up to a time in seconds, or to its end."""
        av = require("av")
        while True:
            if self._held is None:
                try:
                    self._held = next(self._packets, None)
                except av.FFmpegError:
                    self._damaged += 1
                    self._packets = iter(())
            packet = self._held
            if packet is None:
                return
            if packet.dts is not None and time is not None and self._moment(packet) > time:
                return
            self._held = None
            try:
                self._carriers[packet.stream.index].take(packet, self._start)
            except av.FFmpegError:
                self._damaged += 1

    def _moment(self, packet: Any) -> float:
        stamp = packet.pts if packet.pts is not None else packet.dts
        return float(stamp * packet.time_base) - self._start

    def finish(self) -> None:
        """Flush the encoders."""
        for carrier in self._carriers.values():
            carrier.finish()

    def close(self) -> None:
        """Close the input."""
        self._input.close()


class _Copy:
    """A stream whose packets are copied unchanged."""

    def __init__(self, stream: Any, output: OutputContainer):
        self._output = output
        self._stream = output.add_stream_from_template(stream)

    def take(self, packet: Any, start: float) -> None:
        if packet.dts is None:  # end of stream
            return
        shift = round(start / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts -= shift
        packet.stream = self._stream
        self._output.mux(packet)

    def finish(self) -> None:
        """Nothing to flush."""


class _Encode:
    """A stream that is decoded and re-encoded as AAC."""

    def __init__(self, stream: Any, output: OutputContainer):
        av = require("av")
        context = stream.codec_context
        # Raw audio often has an unspecified channel layout ("2 channels"), but AAC needs one.
        layout = "mono" if context.layout.nb_channels == 1 else "stereo"
        rate = next((each for each in AAC_RATES if each >= (context.sample_rate or 48000)), AAC_RATES[-1])
        self._output = output
        self._stream: Any = output.add_stream("aac", rate=rate, layout=layout)
        self._resampler = av.AudioResampler("fltp", layout, rate)

    def take(self, packet: Any, start: float) -> None:
        for frame in packet.decode():
            if frame.pts is not None:
                frame.pts -= round(start / frame.time_base)
            for each in self._resampler.resample(frame):
                self._output.mux(self._stream.encode(each))

    def finish(self) -> None:
        for each in self._resampler.resample(None):
            self._output.mux(self._stream.encode(each))
        self._output.mux(self._stream.encode(None))


def sound_or_reason(source: str, output: OutputContainer) -> tuple[Sound | None, str]:
    """Open the audio of a file, or return None and why it is not available."""
    try:
        return Sound(source, output), ""
    except VideoError as error:
        return None, f"sound not kept ({error})"
