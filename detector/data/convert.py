"""Convert any data set that ``formats`` reads to the project's layout.

The layout is data.yaml, images, labels, ignore and pictures.csv.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import DataError, ImageError
from ...core.extras import require
from .box_clipping import Fitted, Tally, fit_boxes
from .class_map import ClassMap, map_classes
from .dataset import read_description
from .exif import Seen, look
from .folder import YAML, DataSet, building, free_name, link_or_copy, merge_terms, open_set, put
from .formats import Annotations, Record
from .formats.records import IMAGE_SUFFIXES, SPLITS
from .splits import DEFAULT_SHARES, group_alike, leakage, new_splits, own_splits, too_few

NAMED = 5
"""Most broken pictures named in an error."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Options:
    """How a source is converted.

    Attributes:
        mapping: class of the source to class of the set; see ``class_map.map_classes`` for this and the next three.
        drop_others: leave out boxes of unmapped classes.
        classes: of the set, in order.
        labelled: classes that this source labels completely; None means all that it has.
        source: its name in the set; None takes the format's name for it, or the folder's.
        terms: its terms of use.
        shares: of train, val and optionally test.
        seed: of the split.
        keep_splits: keep the format's own splits instead of making new ones; None keeps them if every picture has one
            and both train and val exist.
        add: join the source to the existing set.
        link: hard-link the pictures instead of copying them.
        orientation: ``auto``, ``upright`` or ``stored``; see ``exif.look``.
        skip_broken: leave out pictures that are missing, unreadable, or not of the size that their labels state.
        workers: threads that read pictures.
    """

    mapping: Mapping[str, str] = field(default_factory=dict)
    drop_others: bool = False
    classes: Sequence[str] = ()
    labelled: Sequence[str] | None = None
    source: str | None = None
    terms: str | None = None
    shares: Mapping[str, float] = field(default_factory=lambda: DEFAULT_SHARES)
    seed: int = 0
    keep_splits: bool | None = False
    add: bool = False
    link: bool = False
    orientation: str = "auto"
    skip_broken: bool = False
    workers: int = 2


@dataclass(frozen=True)
class SplitCount:
    """Contents of a split: pictures, boxes by class, ignore regions, and pictures without boxes."""

    pictures: int
    boxes: dict[str, int]
    ignored: int
    empty: int


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion.

    Attributes:
        out: the set's folder.
        format: of the source.
        classes: the class map.
        splits: what this source added to each split.
        tally: corrections of boxes.
        broken: pictures left out, each with the reason.
        alike: pictures with a near-duplicate in this source or, with ``add``, in the set.
        leakage: groups of near-duplicates that the kept splits spread over several splits.
        notes: remarks for the user.
    """

    out: Path
    format: str
    classes: ClassMap
    splits: dict[str, SplitCount]
    tally: Tally
    broken: tuple[tuple[Path, str], ...]
    alike: int
    leakage: int
    notes: tuple[str, ...]


def convert(
    annotations: Annotations,
    out: Path,
    options: Options = Options(),
    extra: Callable[[Path], None] = lambda folder: None,
    progress: Progress = lambda done, of: None,
) -> Conversion:
    """Convert a data set.

    Args:
        annotations: the source, as ``formats.read`` returns it.
        out: the folder to create, or with ``options.add`` the set to join.
        options: how to convert.
        extra: called with the new folder before it becomes ``out``, to add further files.
        progress: called after each picture that was read, with the number done and the total.

    Raises:
        DataError: the source, the options or the target are invalid; nothing has been written then.
    """
    require("yaml")  # fail before the work, not after it
    target = open_set(out) if options.add else DataSet()
    classes = map_classes(
        annotations, options.mapping, options.drop_others, options.classes, target.classes, options.labelled
    )
    sources = _sources(annotations, options.source)
    if again := sorted({row["source"] for row in target.rows} & set(sources)):
        raise DataError(f"{out}: already has a source {again[0]}; name this one with --source")
    seen, broken = _look_at(annotations, options, progress)
    tally = Tally()
    prepared = [
        fit_boxes(record, each, classes, tally)
        for record, each in zip(annotations.records, seen, strict=True)
        if each is not None
    ]
    if not prepared:
        raise DataError(f"{annotations.path}: no pictures left to convert")
    groups, fixed = group_alike(prepared, target)
    splits, notes = _splits(annotations, prepared, groups, fixed, len(classes.classes), options, target)
    sizes = Counter([*groups, *fixed])
    _write(out, target, prepared, splits, classes, annotations, options, extra)
    return Conversion(
        out=out,
        format=annotations.format,
        classes=classes,
        splits={name: _count(name, prepared, splits, classes) for name in SPLITS if name in splits},
        tally=tally,
        broken=tuple(broken),
        alike=sum(sizes[group] > 1 for group in groups),
        leakage=leakage(groups, fixed, splits),
        notes=notes,
    )


def _splits(
    annotations: Annotations,
    prepared: Sequence[Fitted],
    groups: Sequence[int],
    fixed: Mapping[int, str],
    classes: int,
    options: Options,
    target: DataSet,
) -> tuple[Sequence[str], tuple[str, ...]]:
    """The split of each picture, and the notes of the source with any remark on the splits."""
    notes = annotations.notes
    if keep := own_splits(annotations.path, prepared, options.add, options.keep_splits):
        return keep, notes
    if (few := too_few(groups, fixed, options.shares)) is None:
        return new_splits(prepared, groups, fixed, classes, options.shares, options.seed), notes
    if len(prepared) >= len(options.shares):
        splits = new_splits(prepared, range(len(prepared)), {}, classes, options.shares, options.seed)
        return splits, (*notes, f"{few}, so near-duplicates end up in several of them")
    target.content["val"] = target.place("train")
    note = f"{few}, so val is train: figures measured on it say nothing about other pictures"
    return ["train"] * len(prepared), (*notes, note)


def _sources(annotations: Annotations, named: str | None) -> list[str]:
    """The sources' names, which prefix the pictures' names: letters, digits, dots, hyphens and underscores."""
    if named is not None:
        if not re.fullmatch(r"[\w.-]+", named):
            raise DataError(f"--source {named!r}: only letters, digits, dots, hyphens and underscores are allowed")
        return [named]
    return list(dict.fromkeys(_source(record, annotations) for record in annotations.records))


def _source(record: Record, annotations: Annotations) -> str:
    path = annotations.path.resolve()
    folder = path if path.is_dir() else path.parent
    return re.sub(r"[^\w.-]+", "_", record.source or folder.name).strip("._") or annotations.format


def _look_at(
    annotations: Annotations, options: Options, progress: Progress
) -> tuple[list[Seen | None], list[tuple[Path, str]]]:
    """Read every picture: None for each one that is left out, and the list of those with the reasons."""
    records = annotations.records

    def one(record: Record) -> Seen | str:
        if record.path.suffix.lower() not in IMAGE_SUFFIXES:
            return f"{record.path.suffix or 'no suffix'}: pictures end in {', '.join(sorted(IMAGE_SUFFIXES))}"
        try:
            return look(record.path, record.size, options.orientation)
        except ImageError as error:
            return str(error)

    seen: list[Seen | None] = []
    broken = []
    with ThreadPoolExecutor(options.workers) as pool:
        for record, found in zip(records, pool.map(one, records), strict=True):
            seen.append(None if isinstance(found, str) else found)
            if isinstance(found, str):
                broken.append((record.path, f"{found} ({record.where})"))
            progress(len(seen), len(records))
    if broken and not options.skip_broken:
        first = "; ".join(f"{path}: {reason}" for path, reason in broken[:NAMED])
        rest = f"; and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
        raise DataError(f"{annotations.path}: {first}{rest}; --skip-broken leaves such pictures out")
    return seen, broken


def _count(name: str, prepared: Sequence[Fitted], splits: Sequence[str], classes: ClassMap) -> SplitCount:
    mine = [each for each, split in zip(prepared, splits, strict=True) if split == name]
    boxes = Counter(classes.classes[box.label] for each in mine for box in each.boxes)
    return SplitCount(
        pictures=len(mine),
        boxes={each: boxes[each] for each in classes.classes},
        ignored=sum(len(each.ignored) for each in mine),
        empty=sum(not each.boxes for each in mine),
    )


def _write(
    out: Path,
    target: DataSet,
    prepared: Sequence[Fitted],
    splits: Sequence[str],
    classes: ClassMap,
    annotations: Annotations,
    options: Options,
    extra: Callable[[Path], None],
) -> None:
    top = annotations.path.resolve()
    top = top if top.is_dir() else top.parent
    taken = {Path(row["file"]).stem.lower() for row in target.rows}
    sources: dict[str, None] = {}
    with building(out, options.add) as folder:
        for split in ("train", "val"):
            (folder / target.place(split)).mkdir(parents=True, exist_ok=True)
        for each, split in zip(prepared, splits, strict=True):
            record, path = each.record, each.record.path.resolve()
            source = options.source or _source(record, annotations)
            sources[source] = None
            name = free_name(f"{source}__{path.name}", taken)
            picture = folder / target.place(split) / name
            picture.parent.mkdir(parents=True, exist_ok=True)
            (link_or_copy if options.link else shutil.copyfile)(path, picture)
            for kind, rows in (("labels", each.boxes), ("ignore", each.ignored)):
                if rows or kind == "labels":
                    lines = "".join(row.line(each.seen.width, each.seen.height) + "\n" for row in rows)
                    put((folder / target.place(split, kind) / name).with_suffix(".txt"), lines.encode())
            target.rows.append(
                {
                    "file": f"{target.place(split)}/{name}",
                    "source": source,
                    "split": split,
                    "labelled_classes": ";".join(each.labelled),
                    "width": str(each.seen.width),
                    "height": str(each.seen.height),
                    "boxes": str(len(each.boxes)),
                    "original": path.relative_to(top).as_posix() if path.is_relative_to(top) else path.name,
                    "hash": f"{each.seen.fingerprint:016x}",
                }
            )
        target.content["names"] = dict(enumerate(classes.classes))
        merge_terms(target.content, list(sources), options.terms, annotations.terms)
        target.write(folder)
        extra(folder)
        read_description(folder / YAML)  # check the result the way training will read it
