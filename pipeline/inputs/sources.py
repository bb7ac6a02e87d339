"""Turns what a user names into lists of pictures and videos: files, folders, globs, URLs, cameras, streams.

Also recognises URLs and formats them for messages. Fetching is in ``fetch``, which imports HTTP and TLS.
"""

from __future__ import annotations

import codecs
import fnmatch
import glob
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard
from urllib.parse import urlsplit

from ...core.errors import DataError, ImageError, ImageTypeError
from .heif_boxes import is_still
from .image_header import read_header

PICTURES = "jpg jpeg jpe jfif png webp bmp dib gif tif tiff heic heif hif avif"
VIDEOS = "mp4 m4v mov avi mkv webm mpg mpeg wmv flv 3gp ogv ts mts m2ts"
PICTURE_SUFFIXES = frozenset(f".{each}" for each in PICTURES.split())
VIDEO_SUFFIXES = frozenset(f".{each}" for each in VIDEOS.split())
LIVE = re.compile(r"(?i:rtsps?://.)|camera:\d+\Z", re.ASCII)
"""An RTSP stream or a camera."""
STORE = re.compile(r"(?!https?://|rtsps?://)[a-z][a-z0-9+.-]+://", re.IGNORECASE)
VIDEO_MARKS = (
    (0, b"\x1a\x45\xdf\xa3"),
    (8, b"AVI LIST"),
    (0, b"FLV\x01"),
    (0, b"OggS"),
    (0, b"\0\0\x01\xba"),
    (0, b"\0\0\x01\xb3"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    (4, b"moov"),
    (4, b"mdat"),
    (4, b"wide"),
)
"""Offset and magic bytes of videos: Matroska, AVI, FLV, Ogg, MPEG-PS, MPEG-1 and 2, ASF, old QuickTime."""
LIST_BYTES = 2**28
"""Maximum size of a list (256 MiB: more than a million paths)."""


@dataclass(frozen=True)
class Gathered:
    """The sources that were found.

    Attributes:
        pictures: paths and URLs, each once, in the order they were named; those of a folder sorted by name.
        videos: paths of video files, ``rtsp://…`` and ``camera:N``, likewise.
        passed_over: number of other files in the folders and globs, except hidden ones (``.name``).
        problems: one line for each folder that could not be read or holds nothing; the rest continues without it.
    """

    pictures: tuple[str, ...]
    videos: tuple[str, ...]
    passed_over: int
    problems: tuple[str, ...] = ()


def gather(texts: Sequence[str], allow_url: bool = False, recursive: bool = True) -> Gathered:
    """Find the pictures and videos that a user names.

    A file that is named itself is taken whatever its suffix, even if it does not exist: its result will say so. In
    folders and globs the suffix decides. Links to folders are followed, but each folder is walked only once, so
    circular links do no harm.

    Args:
        texts: files; folders; globs that the shell did not expand (``**`` matches nested folders); http or https URLs
            of pictures; ``rtsp://…``; ``camera:N``.
        allow_url: accept URLs.
        recursive: also search the subfolders of folders.

    Raises:
        ImageError: nothing was found; or a URL is not allowed, or is that of a video.
    """
    gathering = _Gathering(recursive)
    for text in texts:
        gathering.take(os.fspath(text), allow_url)
    found = gathering.found()
    if not found.pictures and not found.videos:
        names = ", ".join(_shown(text) for text in texts[:3]) + (", …" if len(texts) > 3 else "")
        more = f" ({found.passed_over:,} other files there)" if found.passed_over else ""
        problems = "".join(f"; {problem}" for problem in gathering.unreadable)
        raise ImageError(
            f"{names or 'nothing named'}: no picture or video found{more}{problems}; "
            f"facepipe takes {PICTURES} and videos ({VIDEOS})"
        )
    return found


class _Gathering:
    """Collects the lists."""

    def __init__(self, recursive: bool):
        self.recursive = recursive
        self.pictures: dict[str, str] = {}  # by normalised path; a dict keeps the order
        self.videos: dict[str, str] = {}
        self.passed_over: set[str] = set()
        self.unreadable: dict[str, None] = {}
        self.barren: dict[str, None] = {}
        self.base = os.getcwd()

    def found(self) -> Gathered:
        return Gathered(
            tuple(self.pictures.values()),
            tuple(self.videos.values()),
            len(self.passed_over),
            (*self.unreadable, *self.barren),
        )

    def take(self, text: str, allow_url: bool) -> None:
        if is_url(text):
            if not allow_url:
                raise ImageError(f"{shown(text)}: is a URL; it is fetched only with --allow-url (allow_url=True)")
            if _url_suffix(text) in VIDEO_SUFFIXES:
                raise ImageError(f"{shown(text)}: is a video; download it first, facepipe fetches pictures only")
            self.pictures.setdefault(text, text)
        elif LIVE.match(text):
            self.videos.setdefault(text, text)
        elif text == "-":
            raise ImageError("-: a list of paths on standard input is read with --from -")
        elif os.path.isdir(text):
            self._take_all(self._walk(text, self.recursive), text)
        elif glob.has_magic(text) and "\0" not in text and not os.path.lexists(text):
            self._take_all(self._matches(text), text)
        else:
            self._add(text, not _is_video(text))

    def _matches(self, pattern: str) -> Iterator[str]:
        """The files that match a glob, and those in the folders that match it."""
        if "**" in pattern:  # not with glob: it follows circular links through every combination of them
            yield from self._deep_matches(pattern)
            return
        for match in sorted(glob.iglob(pattern)):
            if os.path.isdir(match):
                yield from self._walk(match, self.recursive)
            else:
                yield match

    def _deep_matches(self, pattern: str) -> Iterator[str]:
        parts = pattern.replace(os.altsep or os.sep, os.sep).split(os.sep)
        fixed = next(place for place, part in enumerate(parts) if glob.has_magic(part))
        folder = os.sep.join(parts[:fixed]) or (os.sep if fixed else "")
        steps = tuple(None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts[fixed:] if part)
        for path in self._walk(folder or os.curdir, True):
            path = path if folder else path.removeprefix(os.curdir + os.sep)
            if _fits(path[len(folder) :].strip(os.sep).split(os.sep), steps):
                yield path

    def _take_all(self, paths: Iterable[str], named: str) -> None:
        """Add the paths with a known suffix."""
        any_taken = False
        for path in paths:
            suffix = _suffix(path)
            if suffix in PICTURE_SUFFIXES or suffix in VIDEO_SUFFIXES:
                self._add(path, suffix in PICTURE_SUFFIXES)
                any_taken = True
            else:
                self.passed_over.add(self._key(path))
        if not any_taken:
            self.barren[f"{_shown(named)}: holds no picture or video"] = None

    def _add(self, path: str, picture: bool) -> None:
        (self.pictures if picture else self.videos).setdefault(self._key(path), path)

    def _key(self, path: str) -> str:
        """A key that is the same for ``a.jpg`` and ``./a.jpg``."""
        return os.path.normpath(path if os.path.isabs(path) else f"{self.base}{os.sep}{path}")

    def _walk(self, folder: str, recursive: bool) -> Iterator[str]:
        """The files in a folder that are not hidden, sorted by path component. Each folder is walked once."""
        walked: set[tuple[int, int]] = set()
        waiting = [(folder, True)]  # a stack, because folders may be nested without limit
        while waiting:
            path, is_folder = waiting.pop()
            if not is_folder:
                yield path
                continue
            try:
                status = os.stat(path)
                if (status.st_dev, status.st_ino) in walked:
                    continue
                walked.add((status.st_dev, status.st_ino))
                with os.scandir(path) as listed:
                    entries = [entry for entry in listed if not entry.name.startswith(".")]
            except OSError as error:
                self.unreadable[f"{_shown(path)}: cannot be read ({error.strerror})"] = None
                continue
            entries.sort(key=_name, reverse=True)
            for entry in entries:
                inner = _is_folder(entry)
                if not inner or recursive:
                    waiting.append((entry.path, inner))


def read_list(path: str | os.PathLike[str]) -> list[str]:
    """Read the paths in a list file: one per line, or NUL-separated as in ``find -print0`` and ``git ls-files -z``.

    The file is UTF-8, with or without a byte order mark; invalid bytes are kept as they are, as in file names. A file
    with a UTF-16 byte order mark, as Windows shells write it, is read as UTF-16. Blank lines are skipped. Paths are
    taken verbatim; relative ones start from the folder in which facepipe was started.

    Args:
        path: the file; ``-`` is standard input.

    Raises:
        DataError: the file does not exist, cannot be read, lists nothing, or is itself a picture.
    """
    name = "standard input" if os.fspath(path) == "-" else _shown(os.fspath(path))
    try:
        if os.fspath(path) == "-":
            content = sys.stdin.buffer.read(LIST_BYTES + 1)
        else:
            with open(path, "rb") as file:
                content = file.read(LIST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: the list cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if len(content) > LIST_BYTES:
        raise DataError(f"{name}: over {LIST_BYTES:,} bytes; split the list")
    if _is_picture(content):
        raise DataError(f"{name}: is a picture, not a list of paths; name it without --from")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content.decode("utf-16", "replace")
    else:
        text = content.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    pieces = text.split("\0") if "\0" in text else (line.removesuffix("\r") for line in text.split("\n"))
    paths = [piece for piece in pieces if piece.strip()]
    if not paths:
        raise DataError(f"{name}: the list is empty")
    return paths


def is_url(source: object) -> TypeGuard[str]:
    """Whether a source is an http or https URL."""
    return isinstance(source, str) and source[:8].lower().startswith(("http://", "https://"))


def is_store(text: str) -> bool:
    """Whether a string is the address of a store, such as ``s3://bucket/a.jpg``: not a path, a web page or a stream."""
    return STORE.match(text) is not None


def shown(url: str) -> str:
    """A URL for messages: without user, password, fragment and query, which may hold a key.

    >>> shown("https://ann:secret@example.org/a.jpg?key=1234")
    'https://example.org/a.jpg?…'
    """
    bare, asked, _ = without_credentials(url).partition("?")
    return bare + ("?…" if asked else "")


def without_credentials(url: str) -> str:
    """A URL without user, password and fragment; the query is kept because it may identify the picture.

    >>> without_credentials("https://ann:secret@example.org/a.jpg?page=1")
    'https://example.org/a.jpg?page=1'
    """
    scheme, _, rest = url.partition("://")
    end = min((place for mark in "/?#\\" if (place := rest.find(mark)) >= 0), default=len(rest))
    bare = rest[:end].rpartition("@")[2] + rest[end:]
    return printable(f"{scheme}://{bare.partition('#')[0]}")


def printable(text: str) -> str:
    """Untrusted text with its terminal control characters replaced."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _is_picture(content: bytes) -> bool:
    try:
        read_header(content)
    except ImageError:
        return False
    return True


def _is_video(path: str) -> bool:
    """Whether a file that was named itself is a video, by its first bytes or, if they do not tell, its suffix."""
    try:
        with open(path, "rb") as file:
            content = file.read(4096) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
    except (OSError, ValueError):
        content = b""
    if content[4:8] == b"ftyp":
        return not is_still(content)
    if any(content[place : place + len(mark)] == mark for place, mark in VIDEO_MARKS):
        return True
    if content and _may_be_picture(content):
        return False
    if len(content) > 376 and content[0] == content[188] == content[376] == 0x47:  # MPEG-TS
        return True
    return _suffix(path) in VIDEO_SUFFIXES


def _may_be_picture(content: bytes) -> bool:
    try:
        read_header(content)
    except ImageTypeError:
        return False
    except ImageError:  # a picture whose header is longer than these bytes
        return True
    return True


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _url_suffix(url: str) -> str:
    """The suffix of a URL's path; "" if it is not a valid URL, which its own result will report."""
    try:
        return _suffix(urlsplit(url).path)
    except ValueError:  # "http://["
        return ""


def _shown(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "replace")


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # for example a circular link; reading it will report the problem
        return False


def _fits(parts: Sequence[str], steps: Sequence[re.Pattern[str] | None]) -> bool:
    """Whether the components of a path match a glob's steps; None stands for ``**``, any number of folders."""
    if not steps:
        return not parts
    first, rest = steps[0], steps[1:]
    if first is not None:
        return bool(parts) and first.match(parts[0]) is not None and _fits(parts[1:], rest)
    if not rest:
        return True
    return any(_fits(parts[skipped:], rest) for skipped in range(len(parts)))
