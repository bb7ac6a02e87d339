"""Pascal VOC: one XML file per picture.

Two layouts are read: the challenge's own (``Annotations``, ``JPEGImages``, splits listed in ``ImageSets/Main``), and
exports with each XML beside its picture (Roboflow's ``train``, ``valid``, ``test``; LabelImg). An object with
``difficult`` becomes an ignore region, as in VOC's evaluation; ``truncated`` ones count in full. The challenge counts
pixels from 1 (devkit_doc of VOC2007), which is corrected if ``source/database`` names it; other tools count from 0.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from ....core.errors import DataError
from .records import (
    IMAGE_SUFFIXES,
    SPLIT_NAMES,
    Annotations,
    Box,
    Pictures,
    Record,
    number,
    read_text,
    size,
    split_of_path,
)

CORNERS = ("xmin", "ymin", "xmax", "ymax")
DEEPEST = 40
"""Most levels of nested elements; VOC has four."""


@dataclass
class Element:
    """An XML element: its own text, children and line."""

    tag: str
    line: int
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def child(self, tag: str) -> Element | None:
        """The first child with a tag."""
        return next((child for child in self.children if child.tag == tag), None)

    def value(self, tag: str) -> str:
        """The text of the first child with a tag; empty if there is none."""
        child = self.child(tag)
        return "" if child is None else child.text.strip()


def read_voc(path: Path, given: Path | None = None) -> Annotations:
    """Read an XML file, or all those in a folder.

    Raises:
        DataError: the labels are invalid; the message names file and line.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.xml"))
    if not files:
        raise DataError(f"{path}: no XML file in it")
    pictures = Pictures(path, given)
    listed = _image_sets(path) if path.is_dir() else {}
    records, other = [], 0
    for file in files:
        root = parse(file)
        if root.tag == "annotation":
            records.append(_record(file, root, pictures, listed))
        else:
            other += 1
    if not records:
        raise DataError(f"{files[0]}: line 1: the first element must be <annotation>, as in Pascal VOC")
    classes = dict.fromkeys(box.name for record in records for box in record.boxes)
    notes = (f"{other} XML files that are not VOC annotations, left out",) if other else ()
    return Annotations("voc", path, tuple(classes), tuple(records), notes)


def parse(path: Path) -> Element:
    """Parse an XML file without a document type.

    VOC has no document type, and its entities would let a small file use any amount of memory.

    Raises:
        DataError: the file is not XML or has a document type; the message names file and line.
    """
    parser = expat.ParserCreate()
    top = Element("", 0)
    open_elements = [top]

    def start(tag: str, _: dict[str, str]) -> None:
        element = Element(tag, parser.CurrentLineNumber)
        if len(open_elements) > DEEPEST:
            raise DataError(f"{path}: line {element.line}: elements nested more than {DEEPEST} levels deep")
        open_elements[-1].children.append(element)
        open_elements.append(element)

    def text(content: str) -> None:
        open_elements[-1].text += content

    def refuse(*_: object) -> None:
        raise DataError(f"{path}: line {parser.CurrentLineNumber}: a document type (DTD) is not allowed here")

    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: open_elements.pop()
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        raise DataError(f"{path}: line {error.lineno}: not valid XML: {expat.ErrorString(error.code)}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (LookupError, ValueError) as error:
        raise DataError(f"{path}: line 1: unknown encoding: {error}") from error
    return top.children[0]


def _record(path: Path, root: Element, pictures: Pictures, listed: dict[str, str]) -> Record:
    line = f"{path}: line"
    found = _picture(path, root, pictures)
    split = listed.get(path.stem) or split_of_path(path, pictures.top)
    stated = root.child("size")
    where = f"{line} {stated.line if stated else root.line}"
    sides = size(stated.value("width"), stated.value("height"), where) if stated else None
    source = root.child("source")
    first = 1.0 if source is not None and source.value("database").startswith("The VOC") else 0.0
    boxes = []
    for each in root.children:
        if each.tag != "object":
            continue
        name, corners = each.value("name"), each.child("bndbox")
        if not name:
            raise DataError(f"{line} {each.line}: an object without a name")
        if corners is None:
            raise DataError(f"{line} {each.line}: an object without a bndbox")
        x1, y1, x2, y2 = (_corner(corners, tag, line) for tag in CORNERS)
        hard = each.value("difficult")
        if hard.lower() not in ("", "0", "1", "true", "false", "unspecified"):
            raise DataError(f"{line} {each.line}: difficult must be 0 or 1, got {hard!r}")
        boxes.append(
            Box((x1 - first, y1 - first, x2, y2), name, hard.lower() in ("1", "true"), f"{line} {corners.line}")
        )
    return Record(found, tuple(boxes), f"{path}", sides, split=split)


def _corner(corners: Element, tag: str, line: str) -> float:
    child = corners.child(tag)
    if child is None:
        raise DataError(f"{line} {corners.line}: bndbox has no {tag}")
    return number(child.text.strip(), f"{line} {child.line}", tag)


def _picture(path: Path, root: Element, pictures: Pictures) -> Path:
    """The picture of an XML file: the one with the same stem beside it, or else the one named in ``filename``."""
    folders = (path.parent, path.parent.parent / "JPEGImages", path.parent.parent / "images")
    for folder, suffix in itertools.product(folders, sorted(IMAGE_SUFFIXES)):
        for each in (suffix, suffix.upper()):
            if (folder / f"{path.stem}{each}").is_file() and pictures.given is None:
                return folder / f"{path.stem}{each}"
    named = root.child("filename")
    name = root.value("filename")
    where = f"{path}: line {named.line if named else root.line}"
    if not name:
        raise DataError(f"{where}: no filename, and no picture named {path.stem} beside it")
    return pictures.find(name, folders, where, split_of_path(path, pictures.top))


def _image_sets(folder: Path) -> dict[str, str]:
    """Split of each picture's stem, from ``ImageSets/Main/{train,val,test}.txt`` if present."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("ImageSets/Main/*.txt")):
        if path.stem in SPLIT_NAMES:
            for line in read_text(path).splitlines():
                if line.split():
                    found[line.split()[0]] = SPLIT_NAMES[path.stem]
    return found
