"""Taking a release to a folder or bucket from where others can pull it.

A release's files go to a folder named after its manifest's hash, which nothing reads before the index names it; the
index is written last, by one replacement. So who pulls sees the source as it was or as it is, and a push that breaks
off leaves files that nothing names.

Two pushes at once: both must be in the index in the end.

* In a folder of a disk a file lock holds the second until the first is done (``filelock``; the system frees it when a
  program is killed). Network disks must support locks for that.
* In a bucket the lock is an object, ``index.lock``, made only if it is not there: S3 and Google's store do that in
  one step (conditional writes), and fsspec's s3fs and gcsfs ask for it; with others two pushes within the same moment
  may both pass. Therefore the index is read again after it was written, and written anew if the release is not in it.
  What remains: with a store without conditional writes, two pushes that write the index in turn between the other's
  writing and reading again. A lock older than ``push_target.STALE`` seconds was left by a push that died; it is
  removed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...core.errors import RemoteError, WeightsError
from ..release import MANIFEST, Release
from .index import INDEX, Index, Offer, offer_of
from .push_target import PushTarget

ATTEMPTS = 5
"""How often the index is written until the release is found in it."""


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Attributes:
        offer: the release's entry in the index.
        target: where it went, for messages.
        replaced: another content of the same version was there before.
        left: files of that content that could not be removed.
    """

    offer: Offer
    target: str
    replaced: bool
    left: tuple[str, ...]


def push(
    release: Release,
    store: PushTarget,
    replace: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Pushed:
    """Take a release to a store, and name it in the store's index once all of it is there.

    Args:
        release: checked against its manifest before anything is sent.
        store: where it goes.
        replace: allow another content of the same version to be replaced.
        progress: is told the bytes that are there, and all that there are.

    Raises:
        WeightsError: the release is damaged, or the store holds another content of this version.
        RemoteError: the store cannot be read or written.
    """
    release.verify()
    content = (release.folder / MANIFEST).read_bytes()
    offer = offer_of(release.manifest, content)
    _refuse_other(store.read_index(), offer, store.told, replace)
    done = 0

    def more(number: int) -> None:
        nonlocal done
        done += number
        progress(done, offer.bytes)

    for file in offer.files:
        store.put(release.folder / file.name, str(offer.folder / file.name), file.bytes, more)
    store.put(release.folder / MANIFEST, str(offer.folder / MANIFEST), offer.manifest.bytes, more)
    with store.locked():
        before = _enter(store, offer, replace)
    left: tuple[str, ...] = ()
    if before is not None and not store.remove(str(before.folder)):
        left = (f"{store.told}/{before.folder}",)
    return Pushed(offer, f"{store.told}/{offer.folder}", before is not None, left)


def _enter(store: PushTarget, offer: Offer, replace: bool) -> Offer | None:
    """Write the index with the release in it; gives back the other content of its version that the index named."""
    before: Offer | None = None
    for attempt in range(ATTEMPTS):
        index = store.read_index()
        if attempt and offer in index.releases:
            break
        before = _refuse_other(index, offer, store.told, replace) or before
        store.write_index(index.having(offer))
        if store.local is not None:
            break  # the lock is enough
    else:
        if offer not in store.read_index().releases:
            raise RemoteError(f"{store.told}/{INDEX}: other pushes overwrite it again and again; try again later")
    return before


def _refuse_other(index: Index, offer: Offer, told: str, replace: bool) -> Offer | None:
    """Another content of the same version in an index, which only ``replace`` allows to be replaced."""
    for other in index.releases:
        if other.key == offer.key and other.manifest != offer.manifest:
            if not replace:
                raise WeightsError(
                    f"{told}: holds another {offer.stage} {offer.label} (manifest {other.manifest.sha256[:12]}, this "
                    f"one {offer.manifest.sha256[:12]}); choose another version, or --replace it"
                )
            return other
    return None
