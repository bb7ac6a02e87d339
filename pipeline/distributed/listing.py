"""Turn the sources that a user names into blocks of pictures: local files, and files in buckets through fsspec."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ...core.errors import FacepipeError, ImageError, MissingExtraError, RemoteError, WeightsError
from ...weights.registry.source import described, offline, redacted
from ...weights.registry.sources import open_store
from ..inputs.sources import PICTURE_SUFFIXES, VIDEO_SUFFIXES, gather, is_store

FEWEST, MOST = 25, 500
"""Default bounds on the pictures per block. A lost worker loses one block; each block is one file."""
BLOCKS = 256
"""Minimum number of blocks in a run, unless they would become too small, so that many workers finish together."""


@dataclass
class Listing:
    """What was found.

    Attributes:
        sizes: bytes of each picture by its source (None if unknown), local ones first, then those in buckets, sorted by
            name within each address.
        passed_over: other files in the folders and globs, including the ``videos``.
        problems: one line each for what could not be listed or contains nothing.
    """

    sizes: dict[str, int | None] = field(default_factory=dict)
    passed_over: int = 0
    videos: int = 0
    problems: list[str] = field(default_factory=list)


def list_pictures(texts: Sequence[str], allow_url: bool = False, recursive: bool = True) -> Listing:
    """Find the pictures that a user names.

    Args:
        texts: as ``inputs.sources.gather`` takes them, and addresses such as ``s3://bucket/**``, ``gs://bucket/folder``
            and ``file:///srv/photos/*.jpg``. In addresses ``**`` descends into folders. An object named explicitly is
            taken whatever its suffix; in folders and globs the suffix decides, and names that begin with a dot are
            skipped.
        allow_url: accept http and https URLs.
        recursive: descend into subfolders.

    Raises:
        ImageError: nothing was found, or a URL that is not allowed.
        FacepipeError: a video is named, which this engine does not support, or a store cannot be used.
    """
    listing = Listing()
    local = [text for text in texts if not is_store(text)]
    if local:
        found = gather(local, allow_url, recursive)
        named = set(local)
        for video in found.videos:
            if video in named:
                raise _is_video(video)
        listing.sizes.update(dict.fromkeys(found.pictures))
        listing.passed_over += found.passed_over + len(found.videos)
        listing.videos += len(found.videos)
        listing.problems += found.problems
    stores = Stores()
    for text in texts:
        if is_store(text):
            _take(text, stores, recursive, listing)
    if not listing.sizes:
        more = f" ({listing.passed_over:,} other files there)" if listing.passed_over else ""
        problems = "".join(f"; {problem}" for problem in listing.problems)
        raise ImageError(f"{', '.join(redacted_text(text) for text in texts[:3])}: no picture found{more}{problems}")
    return listing


def redacted_text(text: str) -> str:
    """A source for messages; if it is an address, without keys."""
    return redacted(text) if is_store(text) else text


def _is_video(name: str) -> FacepipeError:
    return FacepipeError(f"{name}: is a video; --engine ray takes pictures only, --engine local also videos")


def _take(address: str, stores: Stores, recursive: bool, listing: Listing) -> None:
    from fsspec.core import has_magic

    system, path = stores.open(address)
    try:
        system.invalidate_cache()
        if has_magic(path) and not system.exists(path):
            found = _globbed(system, path, recursive)
        else:
            info = system.info(path)
            if info["type"] != "directory":
                _take_named(address, info.get("size"), listing)
                return
            found = _below(system, path, recursive)
    except FileNotFoundError:
        if _suffix(address) in PICTURE_SUFFIXES:  # its row will say that it does not exist
            listing.sizes.setdefault(address, None)
        else:
            listing.problems.append(f"{redacted(address)}: not there")
        return
    except MissingExtraError:
        raise
    except PermissionError as error:
        raise RemoteError(f"{redacted(address)}: listing is not permitted ({error})") from error
    except Exception as error:  # each store's library has its own errors
        raise RemoteError(f"{redacted(address)}: cannot be listed: {described(error)}") from error
    before = len(listing.sizes)
    netloc = urlsplit(address).netloc
    for each in sorted(found):
        suffix = _suffix(each)
        if posixpath.basename(each).startswith("."):
            continue
        if suffix in PICTURE_SUFFIXES:
            listing.sizes.setdefault(address_of(system, scheme_of(address), netloc, each), found[each].get("size"))
        else:
            listing.passed_over += 1
            listing.videos += suffix in VIDEO_SUFFIXES
    if len(listing.sizes) == before:
        listing.problems.append(f"{redacted(address)}: contains no picture that is not already listed")


def _take_named(address: str, size: int | None, listing: Listing) -> None:
    if _suffix(address) in VIDEO_SUFFIXES:
        raise _is_video(redacted(address))
    listing.sizes.setdefault(address, size)


def _below(system: Any, folder: str, recursive: bool) -> dict[str, Any]:
    """The files below a folder, with the details the store reports."""
    found: dict[str, Any] = system.find(folder, maxdepth=None if recursive else 1, detail=True)
    return found


def _globbed(system: Any, pattern: str, recursive: bool) -> dict[str, Any]:
    """The files that match a glob, and those in the folders that match it."""
    found: dict[str, Any] = {}
    for path, info in system.glob(pattern, detail=True).items():
        if info["type"] != "directory":
            found[path] = info
        elif "**" not in pattern:  # which has descended into them already
            found |= _below(system, path, recursive)
    return found


def _suffix(path: str) -> str:
    return posixpath.splitext(path)[1].lower()


@dataclass(frozen=True)
class Block:
    """A run of consecutive pictures.

    Attributes:
        index: position among the blocks, from 0.
        name: of its file; unique to its sources and the run's settings.
        sources: as they were found.
        sizes: bytes of each, None if unknown.
    """

    index: int
    name: str
    sources: tuple[str, ...]
    sizes: tuple[int | None, ...]


def block_size(pictures: int) -> int:
    """Pictures per block, for a given total.

    >>> block_size(500), block_size(20_000), block_size(1_000_000)
    (25, 79, 500)
    """
    return max(FEWEST, min(MOST, -(-pictures // BLOCKS)))


def list_hash(sources: Iterable[str]) -> str:
    """SHA-256 of a list of sources."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(os.fsencode(source) + b"\0")
    return digest.hexdigest()


def cut_blocks(sizes: Mapping[str, int | None], size: int, settings: Mapping[str, Any]) -> list[Block]:
    """Cut a list into blocks. The same list, size and settings give the same blocks.

    Args:
        sizes: the sources in order, with their bytes.
        size: pictures per block.
        settings: everything that the rows depend on; part of each block's name.
    """
    sources: Sequence[str] = list(sizes)
    text = json.dumps(settings, sort_keys=True)
    blocks = []
    for index, start in enumerate(range(0, len(sources), size)):
        taken = tuple(sources[start : start + size])
        mark = hashlib.sha256(f"{text}\0{list_hash(taken)}".encode()).hexdigest()[:12]
        blocks.append(Block(index, f"part-{index:06}-{mark}.parquet", taken, tuple(sizes[each] for each in taken)))
    return blocks


def scheme_of(address: str) -> str:
    """The scheme of an address: ``s3`` of ``s3://bucket/a.jpg``."""
    return address.partition("://")[0].lower()


class Stores:
    """The file systems of addresses, each opened once. Thread-safe."""

    def __init__(self) -> None:
        self._systems: dict[str, Any] = {}

    def open(self, address: str) -> tuple[Any, str]:
        """Open the file system of an address, and return it with the path there.

        Raises:
            WeightsError: a store that other processes cannot reach, or that fsspec does not know; or an address with a
                password.
            RemoteError: the network is forbidden (``FACEPIPE_OFFLINE``).
            MissingExtraError: a package that the store needs is not installed.
        """
        scheme, netloc = scheme_of(address), urlsplit(address).netloc
        root = f"{scheme}://{netloc}/"
        system = self._systems.get(root)
        if system is None:
            if scheme == "memory":
                raise WeightsError(f"{redacted(address)}: memory:// belongs to one process; workers cannot see it")
            if ":" in netloc.rpartition("@")[0]:
                raise WeightsError(
                    f"{redacted(address)}: contains a password, which would appear in every row; set it the way "
                    "the store's own tools expect (~/.aws, gcloud auth, the environment)"
                )
            if scheme != "file" and offline():
                raise RemoteError(f"{redacted(address)}: needs a network, which FACEPIPE_OFFLINE forbids")
            system = self._systems[root] = open_store(root)[0]
        return system, str(system._strip_protocol(address))


def address_of(system: Any, scheme: str, netloc: str, path: str) -> str:
    """The address of a path that a store has listed.

    Args:
        system: of fsspec.
        scheme, netloc: of the address that was listed.
        path: as the store returns it: ``bucket/a.jpg`` for S3, ``/srv/a.jpg`` for a disk.

    Raises:
        WeightsError: the store has no address that leads back to that path.
    """
    bare = path.lstrip("/")
    for address in (f"{scheme}://{bare}", f"{scheme}://{netloc}/{bare}"):
        if str(system._strip_protocol(address)) == path:
            return address
    raise WeightsError(f"{scheme}://{netloc}: a path there has no address of its own ({path})")
