"""Which class of a source becomes which class of the data set that it goes into."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...core.errors import DataError
from .formats import Annotations


@dataclass(frozen=True)
class ClassMap:
    """The classes of the converted set, and how the source's own become them.

    Attributes:
        classes: of the converted set, in order of their numbers.
        names: the source's class to the set's; a class that is not there is left out.
        labelled: the set's classes that this source labels.
        left_out: boxes of each class of the source that becomes none.
    """

    classes: tuple[str, ...]
    names: dict[str, str]
    labelled: tuple[str, ...]
    left_out: dict[str, int]

    def labelled_in(self, own: tuple[str, ...] | None) -> tuple[str, ...]:
        """The labelled classes of a picture, for which the source names its own or None, in order of their numbers."""
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
    """Decide on the classes.

    Without ``mapping``, ``classes`` and ``existing`` every class that has a box keeps its name. With any of them a
    class keeps its name only if they have it.

    Args:
        annotations: the source.
        mapping: the source's name to the set's.
        drop_others: leave out what has no class, in place of an error.
        classes: of the set, in order, where it should have more or another order than the source's.
        existing: classes of a set that is added to; they keep their numbers, further ones come after.
        labelled: the set's classes that the source labels completely; None means all that its classes become.

    Raises:
        DataError: classes with boxes that become none, a mapping of a class that is not there, or a class that is named
            in ``labelled`` or mapped to but not in ``classes``.
    """
    boxes = Counter(box.name for record in annotations.records for box in record.boxes)
    if unknown := [name for name in mapping if name not in annotations.classes and name not in boxes]:
        has = ", ".join(annotations.classes) or "none"
        raise DataError(f"{annotations.path}: no class {', '.join(unknown)} to map; it has {has}")
    known = {*mapping.values(), *classes, *existing}
    names = dict(mapping)
    for name in (*annotations.classes, *boxes):
        if name not in names and (name in known or (not known and name in boxes)):
            names[name] = name
    left_out = {name: count for name, count in boxes.items() if name not in names}
    if left_out and not drop_others:
        told = ", ".join(f"{name} ({count} boxes)" for name, count in left_out.items())
        raise DataError(
            f"{annotations.path}: nothing says what becomes of {told}: --map {next(iter(left_out))}=CLASS, or "
            "--drop-others leaves them out"
        )
    targets = list(dict.fromkeys(names[name] for name in (*mapping, *annotations.classes, *boxes) if name in names))
    if classes and (missing := [name for name in (*existing, *targets) if name not in classes]):
        raise DataError(f"{annotations.path}: --classes {','.join(classes)} has no {', '.join(missing)}")
    if classes and list(classes[: len(existing)]) != list(existing):
        raise DataError(f"--classes must begin with those of the set that is added to: {','.join(existing)}")
    everything = tuple(dict.fromkeys((*existing, *classes, *targets)))
    if not everything:
        raise DataError(f"{annotations.path}: has no box of any class; name the set's classes with --classes")
    wanted = set(targets if labelled is None else labelled)
    if unknown := sorted(wanted - set(everything)):
        raise DataError(f"--labelled: no class {', '.join(unknown)}; the set has {', '.join(everything)}")
    if not wanted:
        raise DataError(f"{annotations.path}: has no box; say which classes it has none of with --labelled")
    for name in everything:
        if not name or not name.isprintable() or any(letter in name for letter in ";,"):
            raise DataError(f"class {name!r}: a class's name needs printable letters, without a comma or semicolon")
    return ClassMap(everything, names, tuple(name for name in everything if name in wanted), left_out)
