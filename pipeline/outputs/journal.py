"""The journal of a run over pictures: one line of JSON for each that is done, the truth that every output is made from.

The file lies beside the run's first output, as ``faces.csv.partial.jsonl``. Its first line is a header with the run's
settings; each other line is one picture: ``source`` as it was given, ``files`` (what was saved of it), ``features``
(base64 of float32, where they were asked for) and, last, ``result``. A picture that was tried again has two lines, and
the later one holds. When a run has written its outputs, the journal goes.

Each line is one write to the file as soon as the picture is done, so a killed process loses at most the line in hand;
the disk is asked to keep them every ``SYNC`` seconds. Lines that are torn are cut when a run is resumed, and their
pictures are done again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any, NoReturn, Self

from ...core.errors import FacepipeError
from ..results import Result
from .journal_line import Entry, line_of, parse_line
from .same_settings import require_same_settings

SUFFIX = ".partial.jsonl"
FORM = 1
"""Of the file; another one is not read."""
SYNC = 5.0

Settings = Mapping[str, Any]


class Journal:
    """A journal that is open for writing. Use :meth:`begin` or :meth:`resume`.

    Attributes:
        path: of the file.
        cut: lines that were torn and are gone, of a resumed one.
    """

    def __init__(self, path: Path, file: FileIO):
        self.path = path
        self.cut = 0
        self._file = file
        self._end = 0
        self._synced = time.monotonic()
        self._lines: dict[str, tuple[int, int]] = {}  # by source: where its line begins, faces in it, -1 of a failure

    @classmethod
    def begin(cls, path: Path, settings: Settings) -> Self:
        """Start a journal where there is none.

        Raises:
            FacepipeError: there is one, or it cannot be written.
        """
        try:
            journal = cls(path, FileIO(path, "x+"))
        except FileExistsError:
            refuse(path)
        except OSError as error:
            raise FacepipeError(f"{path}: cannot be written ({error.strerror})") from error
        try:
            _lock(journal._file, path)
            journal._write(_header(settings))
        except BaseException:
            journal.remove()
            raise
        return journal

    @classmethod
    def resume(cls, path: Path, settings: Settings) -> Self:
        """Go on with a journal; a torn end of it is cut.

        Raises:
            FacepipeError: it is no journal, is in use, cannot be read, or was begun with other settings; the message
                names those that differ.
        """
        try:
            journal = cls(path, FileIO(path, "r+"))
        except OSError as error:
            raise FacepipeError(f"{path}: cannot be opened ({error.strerror})") from error
        try:
            _lock(journal._file, path)
            journal._scan(settings)
        except OSError as error:
            journal.close()
            raise FacepipeError(f"{path}: cannot be read ({error.strerror})") from error
        except BaseException:
            journal.close()
            raise
        return journal

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, source: str) -> bool:
        return source in self._lines

    def failed(self, source: str) -> bool:
        """Whether a picture that is done could not be read."""
        return self._lines[source][1] < 0

    @property
    def sources(self) -> Iterator[str]:
        """The pictures that are done, in the order in which they were done first."""
        return iter(self._lines)

    @property
    def faces(self) -> int:
        """Faces in all pictures."""
        return sum(max(faces, 0) for _, faces in self._lines.values())

    @property
    def failures(self) -> int:
        """Pictures that could not be read."""
        return sum(faces < 0 for _, faces in self._lines.values())

    def add(self, source: str, result: Result, files: Mapping[str, Any]) -> None:
        """Note one picture; its files must have been written.

        Raises:
            FacepipeError: it cannot be written; the journal is as it was before.
        """
        line = line_of(source, result, files)
        begin = self._end
        self._write(line)
        self._lines[source] = begin, -1 if result.error is not None else len(result.faces)
        if time.monotonic() - self._synced >= SYNC:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def entries(self) -> Iterator[Entry]:
        """Every picture's last line, in the order in which they were done first."""
        with self.path.open("rb") as file:
            for begin, _ in self._lines.values():
                if file.tell() != begin:
                    file.seek(begin)
                entry = parse_line(file.readline())
                if entry is None:
                    raise FacepipeError(f"{self.path}: was changed by something else while facepipe wrote it")
                yield entry

    def close(self) -> None:
        """Close the file and leave it there; may be called again."""
        self._file.close()

    def remove(self) -> None:
        """Close the file and remove it."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _write(self, line: bytes) -> None:
        written = 0
        try:
            self._file.seek(self._end)
            while written < len(line):
                written += self._file.write(line[written:])
        except OSError as error:
            self._file.truncate(self._end)
            raise FacepipeError(f"{self.path}: cannot be written ({error.strerror})") from error
        self._end += len(line)

    def _scan(self, settings: Settings) -> None:
        """Check the header, find the lines, cut what is torn."""
        with self.path.open("rb") as file:
            first = file.readline()
            if first.endswith(b"\n"):
                self._check(first, settings)
                self._end = len(first)
                for line in file:
                    entry = parse_line(line)
                    if entry is None:
                        self.cut = 1 + sum(1 for _ in file)
                        break
                    found = json.loads(entry.json)
                    self._lines[entry.source] = self._end, len(found["faces"]) if found["error"] is None else -1
                    self._end += len(line)
        self._file.truncate(self._end)
        if not self._end:  # the process was killed while it wrote the header
            self._write(_header(settings))

    def _check(self, first: bytes, settings: Settings) -> None:
        try:
            header = json.loads(first)
            if header["journal"] != FORM:
                raise ValueError
            before = _flat(header["settings"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FacepipeError(
                f"{self.path}: is no journal that this version of facepipe reads; move it away, or begin anew with "
                "--restart"
            ) from error
        now = _flat(json.loads(json.dumps(settings)))
        require_same_settings(self.path, before, now)


def refuse(path: Path) -> NoReturn:
    """Say what to do about a journal that is there when none was expected.

    Raises:
        FacepipeError: always; it tells a run that was interrupted from one that goes on.
    """
    try:
        with FileIO(path, "r+") as file:
            _lock(file, path)
    except OSError as error:
        raise FacepipeError(f"{path}: cannot be opened ({error.strerror})") from error
    raise FacepipeError(
        f"{path}: is the journal of a run that was interrupted; --resume goes on with it, --restart begins anew"
    )


def discard(path: Path) -> None:
    """Remove a journal, of which a running facepipe must not make use.

    Raises:
        FacepipeError: it is in use, or cannot be removed.
    """
    try:
        with FileIO(path, "r+") as file:
            _lock(file, path)
        path.unlink()
    except OSError as error:
        raise FacepipeError(f"{path}: cannot be removed ({error.strerror})") from error


def _header(settings: Settings) -> bytes:
    return json.dumps({"journal": FORM, "settings": settings}).encode("ascii") + b"\n"


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{above}{name} ")
        else:
            flat[above + name] = value
    return flat


def _lock(file: FileIO, path: Path) -> None:
    """Claim the file for this process, where the system knows how; the claim goes with the process."""
    try:
        import fcntl
    except ImportError:  # Windows, where an open file cannot be removed by another process anyway
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FacepipeError(f"{path}: another facepipe is writing it; wait until that has ended, or end it") from error
    except OSError:  # a file system without locks
        return
