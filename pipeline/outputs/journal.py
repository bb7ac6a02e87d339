"""The journal of a run: one JSON line per finished picture, from which every output is made.

The file lies next to the run's first output, for example ``faces.csv.partial.jsonl``. Its first line is a header with
the run's settings; a run can only be resumed with the same settings. Every other line is one picture: ``source`` as it
was given, ``files`` (the files saved for it), ``features`` (base64 of float32, if requested) and, last, ``result``. A
picture that was retried has two lines, and the later one counts. The journal is removed once the run has written its
outputs.

Each line is one write, made as soon as the picture is done, so a killed process loses at most the line in progress. The
file is synced to disk every ``SYNC`` seconds. When a run is resumed, truncated lines are cut off and their pictures are
done again.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np

from ...core.errors import FacepipeError, os_errors_as
from ..results import Result

SUFFIX = ".partial.jsonl"
FORM = 1
"""Version of the file format; other versions are rejected."""
SYNC = 5.0

Settings = Mapping[str, Any]
MARK = b',"result":'


class Journal:
    """A journal that is open for writing. Use :meth:`begin` or :meth:`resume`.

    Attributes:
        path: of the file.
        cut: number of truncated lines removed when it was resumed.
    """

    def __init__(self, path: Path, file: FileIO):
        self.path = path
        self.cut = 0
        self._file = file
        self._end = 0
        self._synced = time.monotonic()
        self._lines: dict[str, tuple[int, int]] = {}  # by source: offset of its line, number of faces (-1 if it failed)

    @classmethod
    def begin(cls, path: Path, settings: Settings) -> Self:
        """Create a journal where there is none.

        Raises:
            FacepipeError: it already exists, or cannot be written.
        """
        try:
            journal = cls(path, FileIO(path, "x+"))
        except FileExistsError:
            refuse(path)
        except OSError as error:
            raise FacepipeError(f"{path}: cannot be written ({error.strerror})") from error
        try:
            lock(journal._file, path)
            journal._write(_header(settings))
        except BaseException:
            journal.remove()
            raise
        return journal

    @classmethod
    def resume(cls, path: Path, settings: Settings) -> Self:
        """Continue a journal; a truncated end is cut off.

        Raises:
            FacepipeError: it is not a journal, is in use, cannot be read, or was begun with other settings; the message
                names those that differ.
        """
        with os_errors_as(FacepipeError, f"{path}: cannot be opened"):
            journal = cls(path, FileIO(path, "r+"))
        try:
            lock(journal._file, path)
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
        """Whether a finished picture could not be read."""
        return self._lines[source][1] < 0

    @property
    def sources(self) -> Iterator[str]:
        """The finished pictures, in the order in which they were first done."""
        return iter(self._lines)

    @property
    def faces(self) -> int:
        """Number of faces in all pictures."""
        return sum(max(faces, 0) for _, faces in self._lines.values())

    @property
    def failures(self) -> int:
        """Number of pictures that could not be read."""
        return sum(faces < 0 for _, faces in self._lines.values())

    def add(self, source: str, result: Result, files: Mapping[str, Any]) -> None:
        """Record one picture; its files must already be written.

        Args:
            source: as it was given.
            result: the picture's result.
            files: files written for it, by output.

        Raises:
            FacepipeError: the line cannot be written; the journal stays as it was.
        """
        line = line_of(source, result, files)
        begin = self._end
        self._write(line)
        self._lines[source] = begin, -1 if result.error is not None else len(result.faces)
        if time.monotonic() - self._synced >= SYNC:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def entries(self) -> Iterator[Entry]:
        """Every picture's last line, in the order in which the pictures were first done.

        Raises:
            FacepipeError: the journal cannot be read, or is damaged.
        """
        with self.path.open("rb") as file:
            for begin, _ in self._lines.values():
                if file.tell() != begin:
                    file.seek(begin)
                entry = parse_line(file.readline())
                if entry is None:
                    raise FacepipeError(f"{self.path}: was changed by something else while facepipe wrote it")
                yield entry

    def close(self) -> None:
        """Close the file and keep it; may be called again."""
        self._file.close()

    def remove(self) -> None:
        """Close the file and delete it."""
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
        """Check the header, index the lines, and cut off what is truncated."""
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
        if not self._end:  # the process was killed while writing the header
            self._write(_header(settings))

    def _check(self, first: bytes, settings: Settings) -> None:
        try:
            header = json.loads(first)
            if header["journal"] != FORM:
                raise ValueError
            before = _flat(header["settings"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FacepipeError(
                f"{self.path}: is not a journal that this version of facepipe reads; move it away, or start over "
                "with --restart"
            ) from error
        now = _flat(json.loads(json.dumps(settings)))
        require_same_settings(self.path, before, now)


def refuse(path: Path) -> NoReturn:
    """Say what to do about a journal that was not expected.

    Raises:
        FacepipeError: always; the message distinguishes an interrupted run from one that is still running.
    """
    with os_errors_as(FacepipeError, f"{path}: cannot be opened"), FileIO(path, "r+") as file:
        lock(file, path)
    raise FacepipeError(f"{path}: is the journal of an interrupted run; --resume continues it, --restart starts over")


def discard(path: Path) -> None:
    """Delete a journal that no running facepipe uses.

    Raises:
        FacepipeError: it is in use, or cannot be deleted.
    """
    with os_errors_as(FacepipeError, f"{path}: cannot be removed"):
        with FileIO(path, "r+") as file:
            lock(file, path)
        path.unlink()


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


def lock(file: FileIO, path: Path) -> None:
    """Lock the file for this process, if the system supports it; the lock ends with the process.

    Raises:
        FacepipeError: another process holds the lock.
    """
    try:
        import fcntl
    except ImportError:  # Windows, where another process cannot delete an open file anyway
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FacepipeError(
            f"{path}: another facepipe is writing it; wait until that has finished, or stop it"
        ) from error
    except OSError:  # a file system without locks
        return


@dataclass(frozen=True)
class Entry:
    """One finished picture.

    Attributes:
        source: as it was given.
        files: the files saved for it, as the run recorded them.
        features: for each face, by classifier, float32 (width,); None for a face without, () if none were requested.
        json: the result as ``Result.model_dump_json`` wrote it.
    """

    source: str
    files: dict[str, Any]
    features: tuple[dict[str, np.ndarray] | None, ...]
    json: bytes

    @property
    def result(self) -> Result:
        """The result, including its features."""
        result = Result.model_validate_json(self.json)
        if not self.features:
            return result
        faces = tuple(
            face if found is None else face.model_copy(update={"features": found})
            for face, found in zip(result.faces, self.features, strict=True)
        )
        return result.model_copy(update={"faces": faces})


def line_of(source: str, result: Result, files: Mapping[str, Any]) -> bytes:
    """The line of a picture, with its line end and the features of its faces.

    Args:
        source: as it was given.
        result: the picture's result.
        files: files written for it, by output.
    """
    head: dict[str, Any] = {"source": source, "files": files}
    if any(face.features for face in result.faces):
        head["features"] = [_packed(face.features) for face in result.faces]
    return json.dumps(head)[:-1].encode("ascii") + MARK + result.model_dump_json().encode() + b"}\n"


def parse_line(line: bytes) -> Entry | None:
    """The content of a line, or None if it is truncated."""
    at = line.find(MARK)  # no JSON string can contain it: its quotation marks would be escaped
    if at < 0 or not line.endswith(b"}\n"):
        return None
    raw = line[at + len(MARK) : -2]
    try:
        head = json.loads(line[:at] + b"}")
        json.loads(raw)
        features = tuple(None if found is None else _unpacked(found) for found in head.get("features", ()))
        return Entry(head["source"], head["files"], features, raw)
    except (ValueError, KeyError, TypeError):
        return None


def _packed(features: Mapping[str, tuple[float, ...]] | None) -> dict[str, str] | None:
    if not features:
        return None
    return {
        name: base64.b64encode(np.array(values, "<f4").tobytes()).decode("ascii") for name, values in features.items()
    }


def _unpacked(features: Mapping[str, str]) -> dict[str, np.ndarray]:
    return {name: np.frombuffer(base64.b64decode(text, validate=True), "<f4") for name, text in features.items()}


def require_same_settings(
    place: object, before: Mapping[str, object], now: Mapping[str, object], verb: str = "Resume"
) -> None:
    """Refuse to mix results of different settings.

    Args:
        place: what holds the earlier results, as the message names it.
        before, now: values by setting; None or a missing setting means that it was not given.
        verb: what the user would do with the earlier settings.

    Raises:
        FacepipeError: they differ; the message says how.
    """
    differ = [
        f"{name} was {_shown(before.get(name))} and is now {_shown(now.get(name))}"
        for name in dict.fromkeys((*before, *now))
        if before.get(name) != now.get(name)
    ]
    if differ:
        raise FacepipeError(
            f"{place}: was started with different settings: {'; '.join(differ)}. {verb} with the earlier ones, or "
            "start over with --restart"
        )


def _shown(value: object) -> str:
    if value is None:
        return "not given"
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
