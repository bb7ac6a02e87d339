"""What ``facepipe data check`` can find in a data set, and what the checks of boxes and of labelled faces share.

The kinds of findings, their severity and order; multi-threaded reading of stored pictures; and the choice of what a
contact sheet shows.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import numpy as np

from .errors import ImageError

T = TypeVar("T")
R = TypeVar("R")
K = TypeVar("K", bound=Hashable)


class Severity(StrEnum):
    """``error``: training or evaluation would be wrong; ``warning``: look at it; ``note``: good to know."""

    error = "error"
    warning = "warning"
    note = "note"


@dataclass(frozen=True)
class Kind:
    """One kind of finding."""

    severity: Severity
    title: str
    """What it is, in a few words."""
    about_picture: bool = False
    """Whether the whole picture can be set aside for it."""
    aside: bool = False
    """Whether the picture is set aside when no kinds are named."""


ERROR, WARNING, NOTE = Severity.error, Severity.warning, Severity.note
BOX_KINDS: dict[str, Kind] = {
    # the set
    "split": Kind(ERROR, "split without pictures"),
    "csv-line": Kind(ERROR, "bad line in the CSV of labelled classes"),
    "csv-missing": Kind(ERROR, "picture without a line in the CSV", True),
    "csv-orphan": Kind(WARNING, "line of the CSV without a picture"),
    "csv-double": Kind(WARNING, "two lines of the CSV for one picture"),
    # files
    "picture-empty": Kind(ERROR, "picture of zero bytes", True, True),
    "picture-broken": Kind(ERROR, "picture that cannot be read", True, True),
    "same-labels": Kind(ERROR, "two pictures that share a label file", True),
    "extension": Kind(WARNING, "extension of another format", True),
    "not-read": Kind(WARNING, "unsupported file among the pictures"),
    "turned": Kind(NOTE, "picture rotated by its EXIF orientation", True),
    "label-missing": Kind(WARNING, "picture without a label file", True),
    "label-orphan": Kind(WARNING, "label file without a picture"),
    "ignore-orphan": Kind(WARNING, "ignore file without a picture"),
    # boxes
    "label-line": Kind(ERROR, "malformed line of a label file", True),
    "ignore-line": Kind(ERROR, "malformed line of an ignore file", True),
    "box-degenerate": Kind(ERROR, "box with no area", True),
    "box-off": Kind(ERROR, "box entirely outside the picture", True),
    "box-outside": Kind(WARNING, "box partly outside the picture", True),
    "box-double": Kind(WARNING, "duplicate box", True),
    "box-unlabelled": Kind(WARNING, "box of a class that the picture is not labelled for", True),
    "box-tiny": Kind(NOTE, "tiny box", True),
    # classes
    "class-empty": Kind(WARNING, "class without boxes"),
    "class-rare": Kind(NOTE, "rare class"),
    # duplicates
    "copy-across": Kind(ERROR, "same file in two splits", True),
    "alike-across": Kind(WARNING, "near-duplicate pictures in two splits", True),
    "copy-differs": Kind(WARNING, "same file twice, labelled differently", True),
    "copy": Kind(NOTE, "same file twice", True),
    # poor pictures
    "small": Kind(WARNING, "picture too small", True, True),
    "blank": Kind(WARNING, "blank picture", True, True),
    "dark": Kind(WARNING, "picture too dark", True, True),
    "bright": Kind(WARNING, "over-exposed picture", True, True),
    "blurred": Kind(WARNING, "blurred picture", True, True),
    # the second look
    "nothing-found": Kind(WARNING, "labelled, but the detector finds nothing", True, True),
    "not-labelled": Kind(WARNING, "found with high confidence, but not labelled", True),
}
"""What can be wrong with a detector's data set; some of it also applies to a classifier's."""
FACE_KINDS: dict[str, Kind] = {
    "row": Kind(ERROR, "malformed row"),
    "picture-missing": Kind(ERROR, "missing picture"),
    "number-outside": Kind(ERROR, "number outside the schema's range"),
    "number-beyond": Kind(WARNING, "number just above the schema's range: training clips it"),
    "number-unlike": Kind(WARNING, "number outside its own range"),
    "point-outside": Kind(ERROR, "point outside its picture"),
    "points-mirrored": Kind(ERROR, "left and right points swapped"),
    "group-across": Kind(ERROR, "group in two splits"),
    "alike-differs": Kind(WARNING, "near-duplicate pictures, labelled differently"),
    "attribute-untaught": Kind(WARNING, "attribute that cannot be learnt from the training rows"),
    "class-missing": Kind(WARNING, "class without rows"),
    "class-few": Kind(NOTE, "class with few rows"),
    "unlabelled": Kind(WARNING, "row without labels"),
}
"""What else can be wrong with a classifier's labelled faces."""
KINDS = BOX_KINDS | FACE_KINDS
"""All kinds by name, in the order in which they are reported within a severity."""
_ORDER = {name: (list(Severity).index(kind.severity), index) for index, (name, kind) in enumerate(KINDS.items())}


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        kind: a key of ``KINDS``.
        file: the file concerned, relative to the data set's root.
        text: a sentence with the details.
        line: line of that file, if there is one.
        picture: the picture concerned, relative to the root, or "".
        boxes: boxes concerned: x1, y1, x2, y2 as fractions of the picture's sides.
        other: the other picture of a pair.
        weight: how bad it is among its kind; the worst is reported first.
    """

    kind: str
    file: str
    text: str
    line: int | None = None
    picture: str = ""
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    other: str = ""
    weight: float = 0.0

    def to_dict(self) -> dict[str, object]:
        """The finding as in the JSON report."""
        return {
            "severity": self.severity.value,
            "kind": self.kind,
            "file": self.file,
            "line": self.line,
            "picture": self.picture,
            "other": self.other or None,
            "text": self.text,
            "boxes": [list(box) for box in self.boxes],
        }

    @property
    def severity(self) -> Severity:
        return KINDS[self.kind].severity

    @property
    def where(self) -> str:
        """The file and, if there is one, the line."""
        return self.file if self.line is None else f"{self.file}: line {self.line}"


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Sort findings by severity, errors first, then by kind, worst first within a kind, then by file and line."""
    return sorted(findings, key=lambda f: (_ORDER[f.kind], -f.weight, f.file, f.line or 0))


def counts(findings: Iterable[Finding]) -> dict[Severity, int]:
    """Number of findings per severity."""
    found = dict.fromkeys(Severity, 0)
    for finding in findings:
        found[finding.severity] += 1
    return found


def read_stored(path: Path, opener: Callable[[bytes], T]) -> tuple[str, T | None, tuple[str, str] | None]:
    """Read and decode a stored picture.

    Args:
        path: the picture.
        opener: decodes its bytes; raises ``ImageError`` if it cannot.

    Returns:
        The file's SHA-256 ("" if it cannot be read or is empty), the opener's result, and the kind and text of the
        problem; None for either that does not exist.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        return "", None, ("picture-broken", f"cannot be read ({error.strerror})")
    if not content:
        return "", None, ("picture-empty", "is empty")
    digest = hashlib.sha256(content).hexdigest()
    try:
        return digest, opener(content), None
    except ImageError as error:
        return digest, None, ("picture-broken", str(error))


def in_chunks(
    items: Sequence[T],
    read: Callable[[T], R],
    size: int,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[list[R]]:
    """Call ``read`` on each item in several threads, and yield the results in order, in chunks.

    Args:
        items: what to read.
        read: called from several threads.
        size: items per chunk, which is what is held in memory at a time.
        workers: threads; None for one per core.
        progress: called after each chunk with the number of items done and the total.
    """
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for start in range(0, len(items), size):
            chunk = items[start : start + size]
            yield list(pool.map(read, chunk))
            progress(start + len(chunk), len(items))


def together(keys: Iterable[object]) -> list[list[int]]:
    """Indices that share a key, in order, for each key that occurs at least twice; None is not a key."""
    groups: dict[object, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        if key is not None:
            groups[key].append(index)
    return [members for members in groups.values() if len(members) > 1]


def worst(
    findings: Iterable[Finding], key: Callable[[Finding], K | None], most: int, per_kind: int
) -> dict[K, list[Finding]]:
    """Choose what a sheet shows of a check: pictures and their findings, without notes.

    Args:
        findings: most severe first.
        key: returns the picture of a finding; None if there is none that can be shown.
        most: maximum number of pictures.
        per_kind: maximum number of pictures whose most severe finding is of the same kind.
    """
    by_picture: dict[K, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.picture and finding.severity != Severity.note and (place := key(finding)) is not None:
            by_picture[place].append(finding)
    shown: Counter[str] = Counter()
    chosen: dict[K, list[Finding]] = {}
    for place, found in by_picture.items():  # in the order of their most severe findings
        if shown[found[0].kind] < per_kind and len(chosen) < most:
            shown[found[0].kind] += 1
            chosen[place] = found
    return chosen


def sample(pictures: Iterable[tuple[str, T]], count: int, seed: int) -> list[tuple[str, T]]:
    """A random sample of pictures from each source.

    Args:
        pictures: each with its source.
        count: pictures per source.
        seed: random seed.
    """
    sources: dict[str, list[T]] = defaultdict(list)
    for source, picture in pictures:
        sources[source].append(picture)
    random = np.random.default_rng(seed)
    return [
        (source, sources[source][place])
        for source in sorted(sources)
        for place in sorted(random.permutation(len(sources[source]))[:count])
    ]
