"""The sound of a video taken over into another file: as it is where the file can hold it, else anew as AAC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...core.errors import VideoError
from .decoders import open_file, require_av

if TYPE_CHECKING:
    from av.container import OutputContainer


AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
PLAYED = ("aac", "mp3", "ac3", "eac3", "alac", "opus")
"""Codecs that players expect in MP4; it could hold others."""


class Sound:
    """Copies the sound of a file beside a picture that is being written.

    Args:
        source: the file that the sound comes from.
        output: what it goes into; nothing has been written to it yet.

    Attributes:
        told: what became of the sound, in words.
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
        self._ways = {stream.index: self._way(stream) for stream in streams}
        if streams:
            self._packets = self._input.demux(streams)

    def _way(self, stream: Any) -> _Copy | _Encode:
        if stream.codec_context.name in PLAYED and stream.codec_context.name in self._output.supported_codecs:
            return _Copy(stream, self._output)
        self._made_anew = True
        return _Encode(stream, self._output)

    @property
    def told(self) -> str:
        if not self._ways:
            return "the video has no sound"
        kept = "sound kept" + (", encoded anew as AAC" if self._made_anew else "")
        return kept + (f"; {self._damaged} damaged packets of it are left out" if self._damaged else "")

    def write_until(self, time: float | None) -> None:
        """Write the sound up to a time in seconds, or to its end."""
        av = require_av()
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
                self._ways[packet.stream.index].take(packet, self._start)
            except av.FFmpegError:
                self._damaged += 1

    def _moment(self, packet: Any) -> float:
        stamp = packet.pts if packet.pts is not None else packet.dts
        return float(stamp * packet.time_base) - self._start

    def finish(self) -> None:
        """Write what encoders still hold."""
        for way in self._ways.values():
            way.finish()

    def close(self) -> None:
        """Let go of the input."""
        self._input.close()


class _Copy:
    """A stream whose packets go over as they are."""

    def __init__(self, stream: Any, output: OutputContainer):
        self._output = output
        self._stream = output.add_stream_from_template(stream)

    def take(self, packet: Any, start: float) -> None:
        if packet.dts is None:  # the end mark
            return
        shift = round(start / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts -= shift
        packet.stream = self._stream
        self._output.mux(packet)

    def finish(self) -> None:
        """Nothing is held back."""


class _Encode:
    """A stream that is decoded and encoded as AAC."""

    def __init__(self, stream: Any, output: OutputContainer):
        av = require_av()
        context = stream.codec_context
        # Raw sound often does not say which channel is which ("2 channels"); AAC has to know.
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
    """The sound of a file; or None, and why it cannot be had."""
    try:
        return Sound(source, output), ""
    except VideoError as error:
        return None, f"sound not kept ({error})"
