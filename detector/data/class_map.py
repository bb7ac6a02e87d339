"""Map the classes of a source to those of the data set that it joins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import DataError
from .formats import Annotations


@dataclass(frozen=True)
class ClassMap:
    """The classes of the converted set, and how the source's classes map to them.

    Attributes:
        classes: of the converted set, in order of their numbers.
        names: class of the source to class of the set; unmapped classes are missing.
        labelled: classes of the set that this source labels.
        left_out: number of boxes of each unmapped class.
    """

    classes: tuple[str, ...]
    names: dict[str, str]
    labelled: tuple[str, ...]
    left_out: dict[str, int]

    def labelled_in(self, own: tuple[str, ...] | None) -> tuple[str, ...]:
        """The labelled classes of a picture, given those that the source states for it (None: all), in class order."""
        if own is None:
            return self.labelled
        mapped = {self.names.get(name) for name in own}
        return tuple(name for name in self.labelled if name in mapped)


def map_classes(
    annotations: Annotations,
    mapping: Mapping[str, str],
    drop_others: bool = False,
    classes: Sequence[str] = (),
    existing: Sequence[str] = (),
    labelled: Sequence[str] | None = None,
) -> ClassMap:
    """Map the source's classes to those of the set.

    Without ``mapping``, ``classes`` and ``existing``, every class with boxes keeps its name. Otherwise only classes
    named in one of them keep theirs.

    Args:
        annotations: the source.
        mapping: class of the source to class of the set.
        drop_others: leave out unmapped classes instead of raising an error.
        classes: of the set, in order, if it needs more classes or another order than the source.
        existing: classes of the set that is added to; they keep their numbers, and new classes follow.
        labelled: classes of the set that the source labels completely; None means all that its classes map to.

    Raises:
        DataError: a class with boxes is unmapped, a mapped class does not exist, or a class that is mapped to or named
            in ``labelled`` is missing from ``classes``.
    """
    boxes = Counter(box.name for record in annotations.records for box in record.boxes)
    found = list(dict.fromkeys((*annotations.classes, *boxes)))
    if unknown := [name for name in mapping if name not in found]:
        has = ", ".join(annotations.classes) or "none"
        raise DataError(f"{annotations.path}: no class {', '.join(unknown)} to map; it has {has}")
    known = {*mapping.values(), *classes, *existing}
    kept = {name: name for name in found if (name in known if known else name in boxes)}
    names = {**mapping, **{name: target for name, target in kept.items() if name not in mapping}}
    left_out = {name: count for name, count in boxes.items() if name not in names}
    if left_out and not drop_others:
        what = ", ".join(f"{name} ({count} boxes)" for name, count in left_out.items())
        raise DataError(
            f"{annotations.path}: not mapped: {what}; use --map {next(iter(left_out))}=CLASS, or "
            "--drop-others to leave them out"
        )
    targets = list(dict.fromkeys(names[name] for name in (*mapping, *found) if name in names))
    everything = _in_order(annotations.path, targets, classes, existing)
    return ClassMap(everything, names, _labelled(annotations.path, targets, everything, labelled), left_out)


def _in_order(path: Path, targets: Sequence[str], classes: Sequence[str], existing: Sequence[str]) -> tuple[str, ...]:
    """All classes of the set, in order of their numbers.

    Raises:
        DataError: there are none, ``classes`` lacks one or does not begin with the existing ones, or a name is invalid.
    """
    if classes and (missing := [name for name in (*existing, *targets) if name not in classes]):
        raise DataError(f"{path}: --classes {','.join(classes)} has no {', '.join(missing)}")
    if classes and list(classes[: len(existing)]) != list(existing):
        raise DataError(f"--classes must begin with those of the set that is added to: {','.join(existing)}")
    everything = tuple(dict.fromkeys((*existing, *classes, *targets)))
    if not everything:
        raise DataError(f"{path}: has no boxes of any class; name the set's classes with --classes")
    for name in everything:
        if not name or not name.isprintable() or any(letter in name for letter in ";,"):
            raise DataError(
                f"class {name!r}: a class name may contain only printable characters, without commas and semicolons"
            )
    return everything


def _labelled(
    path: Path, targets: Sequence[str], everything: tuple[str, ...], named: Sequence[str] | None
) -> tuple[str, ...]:
    """The classes that the source labels: the named ones, or all of its own; in order of their numbers.

    Raises:
        DataError: the set does not have one of them, or there are none.
    """
    wanted = set(targets if named is None else named)
    if unknown := sorted(wanted - set(everything)):
        raise DataError(f"--labelled: no class {', '.join(unknown)}; the set has {', '.join(everything)}")
    if not wanted:
        raise DataError(f"{path}: has no boxes; name the classes it was labelled for with --labelled")
    return tuple(name for name in everything if name in wanted)
