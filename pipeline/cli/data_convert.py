"""``facepipe data roboflow`` and ``data convert``: other people's data sets in the project's layout."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...core.errors import DataError, os_errors_as
from ..console import console, printable, progress

if TYPE_CHECKING:
    from ...detector.data.convert import Conversion, Options


class LabelFormat(StrEnum):
    yolo = "yolo"
    coco = "coco"
    voc = "voc"
    wider = "wider"
    wider_mat = "wider-mat"
    csv = "csv"


class Export(StrEnum):
    yolov8 = "yolov8"
    coco = "coco"
    voc = "voc"


class Orientation(StrEnum):
    auto = "auto"
    upright = "upright"
    stored = "stored"


@dataclass(frozen=True)
class Classes:
    """Which classes the set gets, and which pictures of it."""

    mapping: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="THEIRS=OURS", help="Rename a class, or merge it into another; repeat for each class."
        ),
    ] = None
    drop_others: Annotated[bool, typer.Option(help="Leave out classes that are not mapped.")] = False
    classes: Annotated[
        str | None, typer.Option(metavar="A,B", help="Classes of the set, in order. Default: the source's own.")
    ] = None
    labelled: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS", help="A class of which every object is labelled. Default: all classes of the source."
        ),
    ] = None
    seed: Annotated[int, typer.Option(help="Random seed for the split.")] = 0
    add: Annotated[bool, typer.Option(help="Add the source to the set that is already in DIR.")] = False
    skip_broken: Annotated[
        bool, typer.Option(help="Leave out pictures that are missing, broken or of the wrong size, and list them.")
    ] = False
    workers: Annotated[int, typer.Option(min=1, help="Number of threads that read pictures.")] = 2

    def options(self, source: str | None, split: str, **more: Any) -> Options:
        """The same as a conversion takes it."""
        from ...detector.data.convert import Options
        from ...detector.data.splits import read_shares

        given = {
            **vars(self),
            "mapping": _mapping(self.mapping),
            "classes": [word.strip() for word in (self.classes or "").split(",") if word.strip()],
            "labelled": self.labelled or None,
        }
        return Options(**given, source=source, shares=read_shares(split), **more)


@dataclass(frozen=True)
class Taken:
    """What is taken of the source, and how."""

    label_format: Annotated[
        LabelFormat | None, typer.Option("--format", help="Format of the labels. Default: detected automatically.")
    ] = None
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the pictures, if they are not in SOURCE.")
    ] = None
    name: Annotated[
        str | None, typer.Option("--source", metavar="NAME", help="Name of the source. Default: the folder's name.")
    ] = None
    terms: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Terms of use of the data; they go into the manifest.")
    ] = None
    split: Annotated[str, typer.Option(metavar="SHARES", help="Shares of train, val and optionally test.")] = (
        "0.85,0.15"
    )
    keep_splits: Annotated[bool, typer.Option(help="Keep the source's own splits.")] = False
    link: Annotated[bool, typer.Option(help="Hard-link the pictures where possible, instead of copying them.")] = False
    exif: Annotated[
        Orientation,
        typer.Option(
            "--exif",
            help="Orientation that the boxes of EXIF-rotated pictures refer to. auto: decide by the stated size.",
        ),
    ] = Orientation.auto


def convert(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Label file, or folder of the data set.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the new data set.")],
    taken: Taken,
    classes: Classes,
) -> None:
    """Convert a detection data set from YOLO, COCO, Pascal VOC, WIDER FACE or CSV to facepipe's layout.

    Writes DIR/data.yaml for train-detector, with images, labels, ignore regions and pictures.csv beside it. Pictures
    that look alike stay on the same side of the split.
    """
    from ...detector.data.convert import convert as convert_set
    from ...detector.data.formats import read

    options = classes.options(
        taken.name,
        taken.split,
        terms=taken.terms,
        keep_splits=taken.keep_splits,
        link=taken.link,
        orientation=taken.exif.value,
    )
    annotations = read(source, taken.label_format.value if taken.label_format else None, taken.images)
    with progress("pictures") as bar:
        done = convert_set(annotations, out, options, progress=bar)
    _show(done)


def roboflow(
    name: Annotated[str, typer.Argument(metavar="WORKSPACE/PROJECT/VERSION", help="The version, as in its URL.")],
    classes: Classes,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the data set. Default: PROJECT-VERSION.")
    ] = None,
    export: Annotated[Export, typer.Option("--format", help="Roboflow export format to request.")] = Export.yolov8,
    sha256: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="Expected SHA-256 of the zip or of its contents; refuse other data."),
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the source. Default: the project's name.")
    ] = None,
    terms: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Terms of use of the data. Default: the licence named in the export."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="SHARES", help="Split again by these shares. Default: the version's own splits, if it has any."
        ),
    ] = None,
) -> None:
    """Download a version of a Roboflow project and convert it to facepipe's layout.

    The key is read from ROBOFLOW_API_KEY. DIR/roboflow.json records what was downloaded, with its SHA-256.
    """
    from ...detector.data import roboflow as remote
    from ...detector.data.convert import convert as convert_set
    from ...detector.data.folder import check_free
    from ...detector.data.formats import read

    project, version = remote.parse_name(name, 3)[1:]
    out = out or Path(f"{project}-{version}")
    check_free(out, classes.add)  # before a long download
    keep = None if split is None else False
    options = classes.options(source or project, split or "0.85,0.15", keep_splits=keep, link=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=_folder(out.parent)) as temporary:
        folder = Path(temporary) / project
        with progress("download", "bytes") as bar:
            found = remote.download(name, export.value, folder, sha256, bar)
        annotations = read(folder, remote.FORMATS[export.value])
        options = replace(options, terms=terms or found.licence or None)
        with progress("pictures") as bar:
            done = convert_set(annotations, out, options, found.note, bar)
    _show(done)
    print(f"{out / remote.RECORD}: {name} as {export.value}, contents' SHA-256 {found.contents_sha256}")


def _mapping(given: list[str] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given or ():
        theirs, equals, ours = (part.strip() for part in text.partition("="))
        if not (theirs and equals and ours):
            raise typer.BadParameter(f"--map takes THEIRS=OURS, such as person_head=head, got {text!r}")
        if found.setdefault(theirs, ours) != ours:
            raise typer.BadParameter(f"--map: {theirs} is mapped to both {found[theirs]} and {ours}")
    return found


def _folder(path: Path) -> Path:
    with os_errors_as(DataError, f"{path}: the folder cannot be created"):
        path.mkdir(parents=True, exist_ok=True)
    return path


def _show(done: Conversion) -> None:
    from rich.table import Table

    print(printable(f"{done.out / 'data.yaml'} (from {done.format}); labelled: {', '.join(done.classes.labelled)}"))
    table = Table()
    for heading in ("split", "pictures", *done.classes.classes, "ignored", "without a box"):
        table.add_column(printable(heading), justify="left" if heading == "split" else "right")
    for name, count in done.splits.items():
        boxes = [f"{count.boxes[each]:,}" for each in done.classes.classes]
        table.add_row(name, f"{count.pictures:,}", *boxes, f"{count.ignored:,}", f"{count.empty:,}")
    console().print(table)
    for what, number in sorted(done.tally.counts.items()):
        print(f"{number} {what}; first: {printable(done.tally.first[what])}")
    for name, number in done.classes.left_out.items():
        print(f"{number} boxes of class {printable(name)} left out")
    if done.alike:
        kept = "" if done.leakage else "; each such group is on one side of the split"
        print(f"{done.alike} pictures are near-duplicates of another{kept}")
    if done.leakage:
        print(f"warning: {done.leakage} groups of near-duplicates are on more than one side of the split")
    for note in done.notes:
        print(printable(note))
    for path, reason in done.broken:
        print(f"left out: {printable(str(path))}: {printable(reason)}")
