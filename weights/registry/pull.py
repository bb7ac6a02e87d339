"""Bringing a release here from a source: staged, checked, and visible only as a whole.

What comes is kept in ``.pull-<version>-<hash>/`` beside the release's place until all of it is here, so that a pull
that was broken off goes on where it was; no release is looked for there. Then the folder takes its place by one rename.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import RemoteError, WeightsError
from ...core.extras import require
from ..manifest import Stage, read_manifest
from ..release import FACE, MANIFEST, Release, joined, open_release, place
from ..store import (
    PACKAGE_ROOT,
    move_into_place,
    refuse_existing,
    user_root,
    version_key,
)
from .download import USUAL, Patience, fetch_files, fetch_small
from .index import INDEX, INDEX_BYTES, Index, Offer, differing, read_index
from .source import Source

STAGING = ".pull-"
LOCK = "lock"
SPARE = 10_000_000
"""Bytes of the disk that a pull leaves free."""


@dataclass(frozen=True)
class Pulled:
    """What a pull did.

    Attributes:
        release: it is installed now.
        missing: bytes of it that were not here when the pull began; 0 where it was installed already.
        kept: bytes of it that were, most often from an earlier try.
    """

    release: Release
    missing: int
    kept: int


def fetch_index(source: Source, patience: Patience = USUAL) -> Index:
    """What a source offers.

    Raises:
        RemoteError: it holds no index, or none that this facepipe can read.
    """
    return read_index(fetch_small(source, INDEX, INDEX_BYTES, patience), f"{source.told}/{INDEX}")


def choose_offer(index: Index, told: str, stage: Stage, name: str, version: str | None) -> Offer:
    """The release of an index that is asked for.

    Args:
        index: of a source.
        told: the source, for messages.
        version: None for the newest final version, else the newest of all.

    Raises:
        RemoteError: the source does not hold it; the message lists what it holds.
    """
    offers = sorted(index.offers(stage, name), key=lambda offer: version_key(offer.version))
    if version is None and offers:
        return ([offer for offer in offers if version_key(offer.version)[3]] or offers)[-1]
    for offer in offers:
        if offer.version == version:
            return offer
    have = ", ".join(f"{offer.stage} {offer.label}" for offer in index.releases) or "nothing"
    wanted = f"{stage} {joined(name, version)}" if version else f"{stage} {name or FACE if stage != 'detector' else ''}"
    raise RemoteError(f"{told}: holds no {wanted.strip()}; it holds: {have}")


def pull(
    source: Source,
    stage: Stage,
    name: str = "",
    version: str | None = None,
    root: Path | None = None,
    replace: bool = False,
    manifest_sha256: str | None = None,
    patience: Patience = USUAL,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Pulled:
    """Install a release from a source. It happens as a whole or not at all; what came is kept for the next try.

    Args:
        source: holds an index and the release.
        stage, name, version: as ``names.split_name`` gives them; no version means the source's newest.
        root: the folder of releases; None means the user's.
        replace: allow a version of another content that is already there to be replaced.
        manifest_sha256: what the manifest must be, where the source alone is not to be trusted with that.
        patience: limits on waiting.
        progress: is told the bytes that are here, and all that there are.

    Raises:
        RemoteError: the source does not hold it, does not answer, or sends something else than its index says.
        WeightsError: another version of that name is there, it was made by a newer facepipe, the disk is too full, or
            cannot be written to.
        MissingExtraError: a library that this needs is not installed.
    """
    offer = choose_offer(fetch_index(source, patience), source.told, stage, name, version)
    if manifest_sha256 is not None and offer.manifest.sha256 != manifest_sha256.strip().lower():
        raise RemoteError(
            f"{source.told}: its {stage} {offer.label} has a manifest of SHA-256 {offer.manifest.sha256}, and "
            f"{manifest_sha256} was asked for; nothing was installed"
        )
    refuse_newer(offer.facepipe, f"{source.told}: {stage} {offer.label}")
    target = place(root or user_root(), offer.stage, offer.name, offer.version)
    shipped = place(PACKAGE_ROOT, offer.stage, offer.name, offer.version)
    for folder in (target,) if root is not None or target.exists() else (target, shipped):
        if (here := _installed(folder, offer)) is not None:
            progress(offer.bytes, offer.bytes)
            return Pulled(here, 0, offer.bytes)
    refuse_existing(target, replace)
    staging = target.parent / f"{STAGING}{offer.version}-{offer.manifest.sha256[:12]}"
    try:
        with _alone(staging, f"{stage} {offer.label}"):
            missing, kept = _bring(source, offer, staging, patience, progress)
            _finish(offer, staging, target)
    except OSError as error:
        raise WeightsError(f"{target}: cannot be written: {error}") from error
    shutil.rmtree(staging, ignore_errors=True)  # what is left of it, `weights gc` finds
    return Pulled(open_release(target), missing, kept)


def refuse_newer(made_with: str, told: str) -> None:
    """Raise WeightsError for a manifest that a newer facepipe wrote; a third number more is none (1.2.3 for 1.2.0)."""
    from ...core.version import __version__

    def key(version: str) -> tuple[int, ...]:
        return tuple(int(number) for number in re.findall(r"\d+", version)[:2])

    if key(made_with) > key(__version__):
        raise WeightsError(
            f"{told} was made with facepipe {made_with}, and this is {__version__}: it may not be understood right. "
            f"Upgrade first (pip install --upgrade facepipe)"
        )


def _installed(target: Path, offer: Offer) -> Release | None:
    """The very release that is offered, where it is installed with nothing missing or changed."""
    import hashlib

    try:
        content = (target / MANIFEST).read_bytes()
        if hashlib.sha256(content).hexdigest() != offer.manifest.sha256:
            return None
        release = open_release(target)
        release.verify()
    except (OSError, WeightsError):
        return None
    return release


@contextmanager
def _alone(staging: Path, told: str) -> Iterator[None]:
    """Hold the staging folder against other pulls of the same release; a killed program lets go of it."""
    filelock = require("filelock")
    staging.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(staging / LOCK, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise WeightsError(f"{told} is being pulled already, by another program; wait for it") from error
    try:
        yield
    finally:
        lock.release()


def _bring(
    source: Source, offer: Offer, staging: Path, patience: Patience, progress: Callable[[int, int], None]
) -> tuple[int, int]:
    """Bring all files of a release to its staging folder: the manifest first, which must agree with the index.

    Returns:
        Bytes that were missing, and bytes that were there.
    """
    files, parts = staging / "files", staging / "parts"
    here = _here(files, parts, offer)
    _refuse_full_disk(staging, offer.bytes - here)
    done, total = 0, offer.bytes

    def more(number: int) -> None:
        nonlocal done
        done += number
        progress(done, total)

    at = offer.folder
    fetch_files(source, at, {MANIFEST: offer.manifest}, files, parts, patience, more)
    told = f"{source.told}/{at / MANIFEST}"
    try:
        manifest = read_manifest(files / MANIFEST)
    except WeightsError as error:
        raise RemoteError(f"{told}: {str(error).partition(': ')[2]}") from error
    refuse_newer(manifest.facepipe, told)
    for difference in differing(manifest, offer):
        raise RemoteError(f"{told}: {difference}; tell its publisher, nothing was installed")
    fetch_files(source, at, {file.name: file for file in offer.files}, files, parts, patience, more)
    return total - here, here


def _here(files: Path, parts: Path, offer: Offer) -> int:
    """Bytes of a release that an earlier pull left."""
    named = [(MANIFEST, offer.manifest.bytes), *((file.name, file.bytes) for file in offer.files)]
    return sum(
        min(path.stat().st_size, size)
        for name, size in named
        for path in (files / name, parts / name)
        if path.is_file()
    )


def _refuse_full_disk(staging: Path, needed: int) -> None:
    free = shutil.disk_usage(staging).free
    if needed + SPARE > free:
        raise WeightsError(
            f"{staging.parent}: {needed / 1e6:,.1f} MB are needed and {free / 1e6:,.1f} MB are free; make room "
            f"(facepipe weights gc, facepipe weights remove), or choose another disk with FACEPIPE_WEIGHTS"
        )


def _finish(offer: Offer, staging: Path, target: Path) -> None:
    """Check the release once more as it will be read, and move it to its place.

    Its folder is put together of the files that are listed and nothing else.
    """
    whole = staging / target.name
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir()
    for name in (MANIFEST, *(file.name for file in offer.files)):
        (whole / name).parent.mkdir(exist_ok=True)
        (staging / "files" / name).replace(whole / name)
    open_release(whole).verify()
    move_into_place(whole, target, staging / "replaced")
