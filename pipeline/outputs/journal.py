"""The journal of a run: one line of JSON for each picture that is done, the truth that every output is made from.

The file lies beside the run's first output, as ``faces.csv.partial.jsonl``. Its first line is a header with the run's
settings, in which alone it is gone on with; each other line is one picture: ``source`` as it was given, ``files`` (what
was saved of it), ``features`` (base64 of float32, where they were asked for) and, last, ``result``. A picture that was
tried again has two lines, and the later one holds. When a run has written its outputs, the journal goes.

Each line is one write to the file as soon as the picture is done, so a killed process loses at most the line in hand;
the disk is asked to keep them every ``SYNC`` seconds. Lines that are torn are cut when a run is resumed, and their
pictures are done again.
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
"""Of the file; another one is not read."""
SYNC = 5.0

Settings = Mapping[str, Any]
MARK = b',"result":'


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
            lock(journal._file, path)
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

        Args:
            source: as it was given.
            result: of it.
            files: that were written for it, by output.

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
        """Every picture's last line, in the order in which they were done first.

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
    with os_errors_as(FacepipeError, f"{path}: cannot be opened"), FileIO(path, "r+") as file:
        lock(file, path)
    raise FacepipeError(
        f"{path}: is the journal of a run that was interrupted; --resume goes on with it, --restart begins anew"
    )


def discard(path: Path) -> None:
    """Remove a journal, of which a running facepipe must not make use.

    Raises:
        FacepipeError: it is in use, or cannot be removed.
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
    """Claim the file for this process, where the system knows how; the claim goes with the process.

    Raises:
        FacepipeError: another process has claimed it.
    """
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


@dataclass(frozen=True)
class Entry:
    """One picture that is done.

    Attributes:
        source: as it was given.
        files: what was saved of it, as the run noted it.
        features: for each face, by classifier, float32 (width,); None of a face without, () where none were wanted.
        json: the result as ``Result.model_dump_json`` wrote it.
    """

    source: str
    files: dict[str, Any]
    features: tuple[dict[str, np.ndarray] | None, ...]
    json: bytes

    @property
    def result(self) -> Result:
        """The result, with its features."""
        result = Result.model_validate_json(self.json)
        if not self.features:
            return result
        faces = tuple(
            face if found is None else face.model_copy(update={"features": found})
            for face, found in zip(result.faces, self.features, strict=True)
        )
        return result.model_copy(update={"faces": faces})


def line_of(source: str, result: Result, files: Mapping[str, Any]) -> bytes:
    """The line of a picture, with its end; the features of its faces go along.

    Args:
        source: as it was given.
        result: of it.
        files: that were written for it, by output.
    """
    head: dict[str, Any] = {"source": source, "files": files}
    if any(face.features for face in result.faces):
        head["features"] = [_packed(face.features) for face in result.faces]
    return json.dumps(head)[:-1].encode("ascii") + MARK + result.model_dump_json().encode() + b"}\n"


def parse_line(line: bytes) -> Entry | None:
    """A line's content; None where it is torn."""
    at = line.find(MARK)  # in JSON no text holds it: its quotation marks would be escaped
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
        before, now: values by setting; None, or a setting that is missing, was not given.
        verb: what the user would do with the settings of then.

    Raises:
        FacepipeError: they differ; the message tells how.
    """
    differ = [
        f"{name} was {_shown(before.get(name))} and is now {_shown(now.get(name))}"
        for name in dict.fromkeys((*before, *now))
        if before.get(name) != now.get(name)
    ]
    if differ:
        raise FacepipeError(
            f"{place}: was begun with other settings: {'; '.join(differ)}. {verb} with those of then, or begin anew "
            "with --restart"
        )


def _shown(value: object) -> str:
    if value is None:
        return "not given"
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
