"""Install a release from a source: staged, verified, and visible only as a whole.

Files are staged in a folder ``.pull-…`` beside the release's final folder, where no release is looked for. Once they
are complete and verified, one rename puts the release in place.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import RemoteError, WeightsError
from ..manifest import Stage, read_manifest
from ..records import read_regular
from ..release import FACE, MANIFEST, Release, joined, open_release, place
from ..store import PACKAGE_ROOT, check_target, move_into_place, version_key, writable_root
from .download import USUAL, RetryPolicy, fetch_file, fetch_small
from .index import INDEX, INDEX_BYTES, Index, Offer, differing, read_index
from .source import Source

STAGING = ".pull-"
SPARE = 10_000_000
"""Disk space in bytes that a pull leaves free."""
SHOWN_OFFERS = 50
"""Maximum number of releases listed in a message."""


@dataclass(frozen=True)
class Wanted:
    """Which release of a source is wanted.

    Attributes:
        stage: detector or classifier.
        name: of a named release, as from ``release.split_name``.
        version: None for the source's newest.
        manifest_sha256: expected SHA-256 of the manifest, if the source alone is not trusted.
    """

    stage: Stage
    name: str = ""
    version: str | None = None
    manifest_sha256: str | None = None


@dataclass(frozen=True)
class Pulled:
    """The result of a pull.

    Attributes:
        release: the installed release.
        bytes: number of bytes downloaded; 0 if it was already installed.
    """

    release: Release
    bytes: int


def fetch_index(source: Source, retry: RetryPolicy = USUAL) -> Index:
    """Download the index of a source.

    Raises:
        RemoteError: the source has no index, or none that this facepipe can read.
    """
    return read_index(fetch_small(source, INDEX, INDEX_BYTES, retry), f"{source.label}/{INDEX}")


def choose_offer(index: Index, label: str, wanted: Wanted) -> Offer:
    """Choose the wanted release from an index: without a version, the newest final one, else the newest of all.

    Args:
        index: of a source.
        label: the source, for messages.
        wanted: the release.

    Raises:
        RemoteError: the source does not hold it (the message lists what it holds), or holds it with other content.
    """
    stage, name, version = wanted.stage, wanted.name, wanted.version
    offers = sorted(index.offers(stage, name), key=lambda offer: version_key(offer.version))
    final = [offer for offer in offers if version_key(offer.version)[3]]
    right = [offer for offer in offers if offer.version == version] if version else (final or offers)[-1:]
    if not right:
        held = [f"{offer.stage} {offer.label}" for offer in index.releases]
        shown = ", ".join(held[:SHOWN_OFFERS]) + (f" and {len(held) - SHOWN_OFFERS} more" * (len(held) > SHOWN_OFFERS))
        missing = joined(name, version) if version else name or FACE
        raise RemoteError(f"{label}: holds no {f'{stage} {missing}'.strip()}; it holds: {shown or 'nothing'}")
    (offer,) = right
    asked = wanted.manifest_sha256
    if asked is not None and offer.manifest.sha256 != asked.strip().lower():
        raise RemoteError(
            f"{label}: its {stage} {offer.label} has a manifest with SHA-256 {offer.manifest.sha256}, but "
            f"{asked[:64]} was requested; nothing was installed"
        )
    return offer


def pull(
    source: Source,
    wanted: Wanted,
    root: Path | None = None,
    replace: bool = False,
    retry: RetryPolicy = USUAL,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Pulled:
    """Install a release from a source, atomically.

    Args:
        source: holds an index and the release.
        wanted: the release.
        root: the folder of releases; None means the user's.
        replace: allow an installed version with other content to be replaced.
        retry: how often a file is tried.
        progress: called with the number of bytes received so far, and the total.

    Raises:
        RemoteError: the source does not hold it, does not answer, or sends something other than its index says.
        WeightsError: the version is installed with other content, the release was made by a newer facepipe, or the
            disk is too full or not writable.
        MissingExtraError: a required library is not installed.
    """
    offer = choose_offer(fetch_index(source, retry), source.label, wanted)
    refuse_newer(offer.facepipe, f"{source.label}: {offer.stage} {offer.label}")
    target = place(root or writable_root(), offer.stage, offer.name, offer.version)
    shipped = place(PACKAGE_ROOT, offer.stage, offer.name, offer.version)
    for folder in (target,) if root is not None or os.path.exists(target) else (target, shipped):
        if (here := _installed(folder, offer)) is not None:
            progress(offer.bytes, offer.bytes)
            return Pulled(here, 0)
    check_target(target, replace)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _refuse_full_disk(target.parent, offer.bytes)
        with tempfile.TemporaryDirectory(prefix=STAGING, dir=target.parent) as temporary:
            staged = Path(temporary) / target.name
            staged.mkdir()
            _fetch(source, offer, staged, retry, progress)
            open_release(staged).verify()
            if not replace:
                check_target(target, replace)
            move_into_place(staged, target, Path(temporary) / "replaced")
    except OSError as error:
        raise WeightsError(f"{target}: cannot be written: {error}") from error
    return Pulled(open_release(target), offer.bytes)


def refuse_newer(made_with: str, label: str) -> None:
    """Refuse a manifest written by a newer facepipe; a higher patch number (1.2.3 for 1.2.0) is not newer.

    Raises:
        WeightsError: a newer facepipe wrote the manifest.
    """
    from ...core.version import __version__

    def key(version: str) -> tuple[int, ...]:
        return tuple(int(number) for number in re.findall(r"\d+", version)[:2])

    if key(made_with) > key(__version__):
        raise WeightsError(
            f"{label} was made with facepipe {made_with}, and this is {__version__}, which may misread it. "
            f"Upgrade first (pip install --upgrade facepipe)"
        )


def _installed(target: Path, offer: Offer) -> Release | None:
    """The offered release, if exactly it is installed, with nothing missing or changed; else None."""
    try:
        content = read_regular(target / MANIFEST, offer.manifest.bytes, exactly=True)
        if hashlib.sha256(content).hexdigest() != offer.manifest.sha256:
            return None
        release = open_release(target)
        release.verify()
    except (OSError, WeightsError):
        return None
    return release


def _fetch(
    source: Source, offer: Offer, folder: Path, retry: RetryPolicy, progress: Callable[[int, int], None]
) -> None:
    """Download all files of a release: first the manifest, which must agree with the index.

    Raises:
        RemoteError: as :func:`pull`.
    """
    done = 0

    def more(number: int) -> None:
        nonlocal done
        done += number
        progress(done, offer.bytes)

    at = offer.folder
    fetch_file(source, str(at / MANIFEST), offer.manifest, folder / MANIFEST, retry, more)
    name = f"{source.label}/{at / MANIFEST}"
    try:
        manifest = read_manifest(folder / MANIFEST)
    except WeightsError as error:
        raise RemoteError(f"{name}: {str(error).partition(': ')[2]}") from error
    refuse_newer(manifest.facepipe, name)
    for difference in differing(manifest, offer):
        raise RemoteError(f"{name}: {difference}; report it to its publisher; nothing was installed")
    for file in offer.files:
        (folder / file.name).parent.mkdir(exist_ok=True)
        fetch_file(source, str(at / file.name), file, folder / file.name, retry, more)


def _refuse_full_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed + SPARE > free:
        raise WeightsError(
            f"{folder}: {needed / 1e6:,.1f} MB are needed and {free / 1e6:,.1f} MB are free; make room "
            f"(facepipe weights gc, facepipe weights remove), or choose another disk with FACEPIPE_WEIGHTS"
        )
