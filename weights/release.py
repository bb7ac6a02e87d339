"""One released model in its folder: its verified bytes, its name, and the accuracy that its smaller files lose.

Its label is ``1.0.0``, or ``shirt@0.1.0`` where it has a name. The face classifier and the usual detector need none;
``face`` is an alias of the unnamed ones. Others, such as a classifier of shirts or a small detector, are one folder
deeper: ``<root>/classifier/shirt/0.1.0/``, ``<root>/detector/small/0.1.0/``.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from ..core.errors import WeightsError
from .manifest import Document, FileEntry, Manifest, Metric, Metrics, NumericAttribute, Stage, read_manifest
from .records import is_version, read_regular, shortened

MANIFEST = "manifest.json"
FACE = "face"
"""Name of the unnamed classifier or detector, where it is listed beside others."""
NAME_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,99}")
"""A whole name; use with ``fullmatch``."""
EXAMPLES: dict[Stage, str] = {"detector": "small@1.0.0", "classifier": "shirt@1.0.0"}
FEW = 100
"""A figure from fewer boxes, pictures or rows is rough; no loss is judged by it."""
EXACT = ("float32", "float16", "int8")
"""Precisions, most exact first."""


@dataclass(frozen=True)
class Rule:
    """How much worse a release's smaller file may be in the figures whose names match."""

    names: re.Pattern[str]
    what: str
    higher_is_better: bool
    most: float
    of_range: bool = False
    """Whether ``most`` is a fraction of the range of the attribute that the figure's name begins with."""


RULES: dict[Stage, tuple[Rule, ...]] = {
    "detector": (Rule(re.compile(r"AP50, .*>= 16 px"), "AP50 of boxes of at least 16 px", True, 0.01),),
    "classifier": (
        Rule(re.compile(r"\w+\.accuracy$"), "accuracy", True, 0.003),
        Rule(re.compile(r"\w+\.mae$"), "mean absolute error", False, 0.001, of_range=True),
    ),
}
"""The project's limits on the loss from int8: 0.01 AP50 of a detector; 0.3 points of accuracy of a classifier, and 0.1
years for an age of 0 to 100. ``most`` of a stage's first rule can be set when a run is published."""


@dataclass(frozen=True)
class Release:
    """One released model: its folder and its manifest."""

    folder: Path
    manifest: Manifest

    @property
    def stage(self) -> Stage:
        return self.manifest.stage

    @property
    def version(self) -> str:
        return self.manifest.version

    @property
    def name(self) -> str:
        """Which of several classifiers or detectors this is; empty for the unnamed one."""
        return "" if self.manifest.name == FACE else self.manifest.name

    @property
    def label(self) -> str:
        """Its name among the releases of its stage: ``1.0.0`` or ``shirt@0.1.0``."""
        return label(self.manifest)

    def entry(self, precision: str | None = None) -> FileEntry:
        """The file stored in ``precision``; if None, the release's default file.

        Raises:
            WeightsError: the release has no such file.
        """
        for entry in self.manifest.files:
            if precision in (None, entry.precision):
                return entry
        have = ", ".join(entry.precision for entry in self.manifest.files)
        raise WeightsError(f"{self.stage} {self.label} has no {precision} file; it has: {have}")

    def finest(self) -> FileEntry:
        """The file with the most exact weights: float32, else float16, else int8."""
        return min(self.manifest.files, key=lambda entry: EXACT.index(entry.precision))

    def read(self, precision: str | None = None) -> bytes:
        """Read a model file, checking its size and SHA-256 against the manifest.

        Raises:
            WeightsError: the file is missing or is not the one that was released.
        """
        return self._checked(self.entry(precision))

    def _checked(self, entry: FileEntry | Document) -> bytes:
        path = self.folder / entry.name
        wrong = (
            f"not the file that was released as {self.stage} {self.label} (size or SHA-256 differs from the manifest); "
            f"put the original back or remove the folder"
        )
        try:
            content = read_regular(path, entry.bytes, exactly=True)
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read ({error.strerror}); the release is incomplete") from error
        except WeightsError as error:
            raise WeightsError(f"{error}: {wrong}") from error
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise WeightsError(f"{path}: {wrong}")
        return content

    def verify(self) -> None:
        """Check every file of the release, including its card, against the manifest.

        Raises:
            WeightsError: as for :meth:`read`.
        """
        for entry in self.manifest.files:
            self._checked(entry)
        for other in self.manifest.documents:
            self._checked(other)


def open_release(folder: Path) -> Release:
    """Open the release in a folder; its files are verified when they are read.

    Raises:
        WeightsError: the manifest is missing or bad.
    """
    return Release(folder, read_manifest(folder / MANIFEST))


def file_entry(path: Path, precision: str, reduced_range: bool = False) -> FileEntry:
    """The manifest entry of a model file.

    Args:
        path: the file.
        precision: ``float32``, ``float16`` or ``int8``.
        reduced_range: whether its int8 weights use 7 of 8 bits, as ``weights.compression`` makes them.
    """
    content = path.read_bytes()
    return FileEntry.model_validate(
        {
            "name": path.name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "precision": precision,
            "reduced_range": reduced_range,
        }
    )


def document(name: str, content: bytes) -> Document:
    """The manifest entry of a card or one of its plots."""
    return Document(name=name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def split_name(stage: Stage, text: str) -> tuple[str, str | None]:
    """Split a text into a name and a version.

    Args:
        stage: for messages.
        text: ``1.0.0``, ``shirt@0.1.0``, ``shirt``, ``face@1.0.0`` or ``face``.

    Returns:
        The name, empty for the unnamed classifier or detector; and the version, None if there is only a name. A text
        that looks like neither is returned as the version, which will not be found.

    Raises:
        WeightsError: the name, or the version after it, is malformed.
    """
    name, at, version = text.partition("@")
    if not at and not NAME_PATTERN.fullmatch(text):
        return "", text
    if not NAME_PATTERN.fullmatch(name):
        raise WeightsError(
            f"{shortened(text)}: a {stage} is named like {EXAMPLES[stage]}, in lower-case letters, digits and _"
        )
    if at and not is_version(version):
        raise WeightsError(f"{shortened(text)}: a version looks like 1.2.3 or 1.2.3-name, got {shortened(version)}")
    return ("" if name == FACE else name), version if at else None


def split_release(first: str, second: str | None = None) -> tuple[Stage, str | None]:
    """Stage and version of a release that a command names in one or two words.

    Args:
        first: ``detector``, ``detector@1.0.0``, ``classifier`` or ``classifier@shirt@0.1.0``.
        second: ``1.0.0`` or ``shirt@0.1.0`` after a stage alone; None if there is no second word.

    Returns:
        The stage, and the text for :func:`split_name`; None if there is only a stage.

    Raises:
        WeightsError: the first word is not a stage, or both words name a version.
    """
    word, at, version = first.partition("@")
    for stage in get_args(Stage):
        if word == stage:
            if at and second is not None:
                raise WeightsError(f"{first} {second}: two versions; write {stage}@{second} or {stage} {second}")
            return stage, (version if at else second)
    raise WeightsError(f"{shortened(first)}: name a model, such as detector@1.0.0 or classifier shirt@0.1.0")


def joined(name: str, version: str) -> str:
    """``1.0.0`` or ``shirt@0.1.0``: the inverse of :func:`split_name`."""
    return f"{name}@{version}" if name else version


def when_used(name: str) -> str:
    """When the version in use of a name is taken, in words; the name is empty for the unnamed ones."""
    return f"when {name} is named without a version" if name else "when no version is named"


def label(manifest: Manifest) -> str:
    """Name of a release among those of its stage: ``1.0.0`` or ``shirt@0.1.0``."""
    return joined("" if manifest.name == FACE else manifest.name, manifest.version)


def place(root: Path, stage: Stage, name: str, version: str) -> Path:
    """The folder of a release.

    Args:
        root: the folder of releases.
        stage: detector or classifier.
        name: of a named release, else empty.
        version: such as ``1.0.0``.
    """
    return root / stage / name / version if name else root / stage / version


@dataclass(frozen=True)
class Loss:
    """One figure in two files of a release."""

    name: str
    exact: FileEntry
    small: FileEntry
    exact_value: float
    small_value: float
    loss: float
    """By how much the smaller file is worse; negative if it is better."""
    most: float
    count: int
    """Number of boxes or rows measured."""
    share: bool = True
    """Whether the figure is a fraction of them, so that each can change it by 1 / ``count``."""

    @property
    def judged(self) -> bool:
        """Whether the limit applies: a single box or row must not be able to break it."""
        return self.count >= max(FEW, 1 / self.most if self.most and self.share else 0)

    @property
    def too_great(self) -> bool:
        """Whether it is judged and exceeds the limit."""
        return self.judged and round(self.loss, 6) > self.most

    @property
    def limit(self) -> str:
        """The limit in words."""
        return f"at most {self.most:g}" if self.judged else f"not judged: only {self.count}"

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.exact.precision} {self.exact_value:.4f}, {self.small.precision} "
            f"{self.small_value:.4f}, loss {self.loss:.4f} ({self.limit})"
        )


def metrics_of(manifest: Manifest, entry: FileEntry) -> list[Metrics]:
    """The measurements of one file. Older manifests do not name the file; theirs are of the only one."""
    alone = len(manifest.files) == 1
    return [
        metrics
        for metrics in manifest.metrics
        if metrics.file_sha256 == entry.sha256 or (metrics.file_sha256 is None and alone)
    ]


def values_of(manifest: Manifest, entry: FileEntry) -> dict[str, Metric]:
    """All figures of one file by name; if several measurements have the same figure, the first one counts."""
    found: dict[str, Metric] = {}
    for metrics in metrics_of(manifest, entry):
        found = {metric.name: metric for metric in metrics.values} | found
    return found


def losses(manifest: Manifest, most: float | None = None) -> list[Loss]:
    """What each smaller file of a release loses against the most exact one, in the figures that the rules cover.

    Args:
        manifest: of a release whose files are all measured.
        most: overrides the first rule's limit.

    Raises:
        WeightsError: the files were measured on different rows, or no rule matches any of their figures.
    """
    files = sorted(manifest.files, key=lambda entry: EXACT.index(entry.precision))
    exact = files[0]
    found: list[Loss] = []
    reference = values_of(manifest, exact)
    rules = RULES[manifest.stage]
    for small in files[1:]:
        mine = values_of(manifest, small)
        known = len(found)
        for number, rule in enumerate(rules):
            names = [name for name in reference if rule.names.match(name) and reference[name].value is not None]
            for name in names:
                allowed = most if most is not None and number == 0 else limit(manifest, name, rule)
                if name not in mine or mine[name].value is None or mine[name].count != reference[name].count:
                    raise WeightsError(
                        f"{manifest.stage} {manifest.version}: {exact.name} and {small.name} were not measured on the "
                        f"same rows ({name}); measure both again"
                    )
                values = float(reference[name].value or 0), float(mine[name].value or 0)
                worse = values[0] - values[1] if rule.higher_is_better else values[1] - values[0]
                count = reference[name].count or 0
                found.append(Loss(name, exact, small, *values, worse, allowed, count, not rule.of_range))
        if len(found) == known:
            raise WeightsError(
                f"{manifest.stage} {manifest.version}: no {' or '.join(rule.what for rule in rules)} was measured of "
                f"{exact.name}; what {small.name} loses is not known"
            )
    return found


def limit(manifest: Manifest, name: str, rule: Rule) -> float:
    """How much a figure may lose under a rule.

    Args:
        manifest: of the release.
        name: of the figure.
        rule: one of the stage's ``RULES`` that matches the name.

    Returns:
        The limit in the figure's own unit: for a number's error, the rule's fraction of the number's range.
    """
    return rule.most * _range(manifest, name, rule)


def _range(manifest: Manifest, name: str, rule: Rule) -> float:
    """The factor that ``Rule.most`` is multiplied by for a figure."""
    for attribute in manifest.attributes:
        if rule.of_range and isinstance(attribute, NumericAttribute) and name.startswith(f"{attribute.name}."):
            return attribute.high - attribute.low
    return 1.0
