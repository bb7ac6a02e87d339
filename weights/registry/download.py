"""One file from a source, whole and checked, or a part of it that the next try goes on from.

How the work is shared with pooch: pooch knows which files are wanted and with what hash, leaves alone what is there
already, checks what comes and moves it into place in one step (``Pooch.fetch``). What it cannot do is in the downloader
that it is given here, which is pooch's own place for such things: its own one begins anew after every break, follows
redirects anywhere, takes as many bytes as are sent, and repeats a file of a wrong hash as if it were a broken
connection. Ours keeps partial files, asks for the rest of them, cuts off who sends too much, and tells errors that pass
from those that stay.

How long to wait for a source, and an end to the wait however it stalls.

A socket's own timeout begins anew with every byte and does not cover the look-up of a name, so that a server which
sends a header letter by letter can hold a program for ever. Here the source is asked in a thread of its own, and who
waits does so by the clock.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from ...core.errors import RemoteError, WeightsError
from ...core.extras import require
from ...core.files import write_whole
from ..manifest import Record
from .index import Stamp
from .source import PassingError, Source, Stream


@dataclass(frozen=True)
class Patience:
    """Limits on waiting.

    Attributes:
        silence: seconds in which at least something must come.
        slowest: bytes a second that must come on average over each ``silence``.
        attempts: how often a file is tried in all.
        pause: seconds before the second attempt; before each further one twice as long.
    """

    silence: float = 30.0
    slowest: float = 1000.0
    attempts: int = 4
    pause: float = 1.0


USUAL = Patience()


def watched(ask: Callable[[], Stream], silence: float, told: str) -> Generator[Stream | bytes, None, None]:
    """Open a stream and read it, but never wait longer than ``silence`` seconds for what comes next.

    Args:
        ask: opens the stream.
        silence: seconds.
        told: what is read, for messages.

    Yields:
        The stream, and then its chunks; its own iterator is read here. Closing the generator closes the stream.

    Raises:
        PassingError: nothing came for so long.
        Exception: whatever ``ask`` or the stream raises.
    """
    found: queue.Queue[Stream | bytes | Exception | None] = queue.Queue(maxsize=4)
    given_up = threading.Event()

    def hand_over(item: Stream | bytes | Exception | None) -> bool:
        while not given_up.is_set():
            try:
                found.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def read() -> None:
        try:
            stream = ask()
            try:
                if hand_over(stream):
                    for chunk in stream.chunks:
                        if not hand_over(chunk):
                            break
            finally:
                stream.close()
        except Exception as error:  # raised again where it is waited for
            hand_over(error)
        else:
            hand_over(None)

    threading.Thread(target=read, name="facepipe-source", daemon=True).start()
    try:
        while True:
            try:
                item = found.get(timeout=silence)
            except queue.Empty:
                raise PassingError(f"{told}: nothing came for {silence:g} seconds") from None
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        given_up.set()


Progress = Callable[[int], None]
"""Is told by how many bytes more, or (below zero) less, is here."""


class PartNote(Record):
    """What stands beside a partial file: which content it is the beginning of."""

    sha256: str
    validator: str | None


class Part:
    """A file that is not all here yet, and the note beside it.

    Args:
        path: of the partial file.
        wanted: what the whole must be.
    """

    def __init__(self, path: Path, wanted: Stamp):
        self.path, self.wanted = path, wanted
        self._note = path.with_name(path.name + ".json")
        self.validator: str | None = None
        try:
            note = PartNote.model_validate_json(self._note.read_bytes())
            self.here = path.stat().st_size
        except (OSError, ValidationError):
            note, self.here = PartNote(sha256="", validator=None), 0
        self.validator = note.validator
        if note.sha256 != wanted.sha256 or self.here > wanted.bytes:
            self.drop()

    def drop(self) -> int:
        """Forget it; gives back how many bytes that are."""
        lost, self.here, self.validator = self.here, 0, None
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
        return lost

    def begin(self, validator: str | None) -> None:
        """Note what the bytes that follow belong to, before the first of them is written."""
        self.validator = validator
        note = PartNote(sha256=self.wanted.sha256, validator=validator)
        write_whole(self._note, note.model_dump_json().encode())

    def is_right(self) -> bool:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.wanted.sha256


def fetch_files(
    source: Source,
    folder: PurePosixPath,
    wanted: Mapping[str, Stamp],
    target: Path,
    parts: Path,
    patience: Patience = USUAL,
    progress: Progress = lambda more: None,
) -> None:
    """Bring files here, each whole and checked; those that are here already are left as they are.

    Args:
        source: where they come from.
        folder: theirs, below the source.
        wanted: size and SHA-256 by name.
        target: the folder that they go to.
        parts: the folder of partial files.
        patience: limits on waiting.
        progress: is told what comes, and what is here from an earlier try.

    Raises:
        RemoteError: a file did not come, or is not the one that is wanted. What came of it is kept where more may come.
        OSError: a file cannot be written.
        MissingExtraError: pooch is not installed.
    """
    pooch = require("pooch")
    pooch.get_logger().setLevel("ERROR")
    shelf = pooch.create(
        path=target,
        base_url="",
        registry={name: f"sha256:{each.sha256}" for name, each in wanted.items()},
        urls={name: str(folder / name) for name in wanted},
    )

    for name, stamp in wanted.items():
        resuming = Resuming(source, Part(parts / name, stamp), patience, progress)
        shelf.fetch(name, downloader=resuming)
        if not resuming.used:
            progress(stamp.bytes)


class Resuming:
    """A downloader as pooch has them, for one file."""

    def __init__(self, source: Source, part: Part, patience: Patience, progress: Progress):
        self.source, self.part, self.patience, self.progress = source, part, patience, progress
        self.used = False

    def __call__(self, place: str, output: str, shelf: Any) -> None:
        """Bring the file to pooch's temporary file; an error is raised through pooch as it is."""
        self.used = True
        download(self.source, place, self.part, self.patience, self.progress)
        self.part.path.replace(output)
        self.part.drop()


def download(source: Source, place: str, part: Part, patience: Patience, progress: Progress) -> None:
    """Bring a partial file to its end, in as many attempts as ``patience`` allows.

    Raises:
        RemoteError: what is sent is not the file that is wanted (the part is dropped then), or the attempts are used up
            (the part stays).
        OSError: it cannot be written.
    """
    progress(part.here)
    for attempt in range(1, patience.attempts + 1):
        begun_at = part.here
        try:
            if part.here < part.wanted.bytes:
                _attempt(source, place, part, patience, progress)
            if part.is_right():
                return
            progress(-part.drop())
            told = f"{source.told}/{place}: not the file that the index names (SHA-256 differs)"
            if not begun_at:
                raise RemoteError(f"{told}; tell its publisher, nothing was installed")
            raise PassingError(told)  # perhaps two contents in one: it is begun anew
        except PassingError as error:
            if attempt == patience.attempts:
                kept = (
                    f"; {part.here:,} bytes of it are kept, and the same command goes on from there"
                    if part.here
                    else ""
                )
                raise RemoteError(f"{error} (tried {attempt} times){kept}") from error
            time.sleep(patience.pause * 2 ** (attempt - 1))


def _attempt(source: Source, place: str, part: Part, patience: Patience, progress: Progress) -> None:
    """Read what is missing of a partial file, as far as it comes.

    Raises:
        PassingError: it came to an end before the file did.
        RemoteError: it is not the file that is wanted; the part is dropped.
    """
    told = f"{source.told}/{place}"
    flow = watched(lambda: source.open(place, part.here, part.validator), patience.silence, told)
    try:
        stream = next(flow)
        assert isinstance(stream, Stream)
        if stream.total not in (None, part.wanted.bytes):
            progress(-part.drop())
            raise RemoteError(
                f"{told}: has {stream.total:,} bytes, and the index says {part.wanted.bytes:,}; nothing was installed"
            )
        if stream.start != part.here or not part.here:
            progress(-part.drop())
            part.path.parent.mkdir(parents=True, exist_ok=True)
            part.begin(stream.validator)
        _write(flow, told, part, patience, progress)
    finally:
        flow.close()
    if part.here < part.wanted.bytes:
        raise PassingError(f"{told}: the connection ended after {part.here:,} of {part.wanted.bytes:,} bytes")


def _write(flow: Any, told: str, part: Part, patience: Patience, progress: Progress) -> None:
    """Append what comes to the partial file; who sends more than the file has is cut off."""
    window, in_window = time.monotonic(), 0
    with part.path.open("ab", buffering=0) as file:  # no buffer: what came is there even if the program is killed
        for chunk in flow:
            if part.here + len(chunk) > part.wanted.bytes:
                file.close()
                progress(-part.drop())
                raise RemoteError(f"{told}: sends more than the {part.wanted.bytes:,} bytes that the index says")
            view = memoryview(chunk)
            while view:
                view = view[file.write(view) :]
            part.here += len(chunk)
            in_window += len(chunk)
            progress(len(chunk))
            if part.here == part.wanted.bytes:
                # One answer more: its end, or a byte too many.
                continue
            if (now := time.monotonic()) - window >= patience.silence:
                if in_window < patience.slowest * (now - window):
                    raise PassingError(f"{told}: slower than {patience.slowest:,.0f} bytes a second")
                window, in_window = now, 0


def fetch_small(source: Source, place: str, most: int, patience: Patience = USUAL) -> bytes:
    """The content of a small file whose size is not known before, such as an index.

    Args:
        most: more bytes than these are refused.

    Raises:
        RemoteError: it did not come.
    """
    told = f"{source.told}/{place}"
    for attempt in range(1, patience.attempts + 1):
        try:
            return _small(source, place, told, most, patience)
        except PassingError as error:
            if attempt == patience.attempts:
                raise RemoteError(f"{error} (tried {attempt} times)") from error
            time.sleep(patience.pause * 2 ** (attempt - 1))
    raise WeightsError(f"{told}: patience for no attempt at all")


def _small(source: Source, place: str, told: str, most: int, patience: Patience) -> bytes:
    content = bytearray()
    flow = watched(lambda: source.open(place), patience.silence, told)
    end = time.monotonic() + 2 * patience.silence  # it is small: a trickle is no better than silence
    total: int | None = None
    try:
        for item in flow:
            if isinstance(item, Stream):
                total = item.total
                if total is not None and total > most:
                    raise RemoteError(f"{told}: has {total:,} bytes; such a file has at most {most:,}")
                continue
            content += item
            if len(content) > most:
                raise RemoteError(f"{told}: sends more than {most:,} bytes; such a file has fewer")
            if time.monotonic() > end:
                raise PassingError(f"{told}: did not come to an end within {2 * patience.silence:g} seconds")
    finally:
        flow.close()
    if total is not None and len(content) < total:
        raise PassingError(f"{told}: the connection ended after {len(content):,} of {total:,} bytes")
    return bytes(content)
