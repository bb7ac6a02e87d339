"""data.yaml, the description of a data set in YOLO's layout, read as ultralytics reads it.

``train``, ``val`` and ``test`` each name a folder, a text file that lists pictures, or a list of these. ``names`` lists
the classes. ``path`` is the folder that they are relative to, by default that of the YAML. ``kpt_shape`` describes the
keypoints after each box. For the additional keys ``labelled``, ``ignore`` and ``terms`` see ``data.dataset``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....core.errors import DataError
from ....core.yaml import read_yaml
from .records import SPLIT_NAMES, SPLITS, is_picture, read_text

ADVICE = "facepipe data convert converts other data sets to this form"
LARGEST_LIST = 2**26
"""Most bytes of a text file that lists pictures."""


@dataclass(frozen=True)
class DataYaml:
    """A data.yaml with checked keys; its pictures have not been checked.

    Attributes:
        path: of the YAML.
        root: the folder that its paths are relative to.
        classes: names in order of their numbers.
        places: folders, lists and pictures of each split present, in the order train, val, test.
        points: as ``labels.LabelReader`` takes them.
        labelled: the CSV of labelled classes.
        ignore: the folder of ignore regions, which mirrors ``images``.
        terms: by source; ``*`` for all of them.
        content: all keys, unchanged.
    """

    path: Path
    root: Path
    classes: tuple[str, ...]
    places: dict[str, tuple[Path, ...]]
    points: tuple[int, int] | None
    labelled: Path | None
    ignore: str | None
    terms: dict[str, str]
    content: dict[str, Any]

    def pictures(self, split: str) -> Iterator[Path]:
        """The pictures of a split without repeats, sorted by name within each place.

        Raises:
            DataError: a place is missing or leads above the data set, or a line of a list does not name a picture.
        """
        seen: set[Path] = set()
        for place in self.places.get(split, ()):
            for picture in self._pictures(split, place):
                if picture not in seen:
                    seen.add(picture)
                    yield picture

    def _pictures(self, split: str, place: Path) -> Iterator[Path]:
        kind = kind_of(place)
        if kind is None:
            raise DataError(f"{self.path}: {split}: {place} does not exist")
        if kind == "file":
            yield from [place] if is_picture(place) else _listed(place, self.root)
            return
        folder = self.path.resolve().parent
        if folder != place.resolve() and folder.is_relative_to(place.resolve()):
            raise DataError(f"{self.path}: {split}: {place} points outside the data set's own folder")
        for path in sorted(place.rglob("*")):  # keep dangling links: they are pictures that cannot be read
            if is_picture(path) and not any(part.startswith(".") for part in path.relative_to(place).parts):
                yield path


def read_data_yaml(path: Path, needed: Sequence[str] = ("train", "val")) -> DataYaml:
    """Read a data.yaml and check its keys.

    Args:
        path: the file.
        needed: splits that must be present.

    Raises:
        DataError: the file is missing or not YAML, or a key is missing or invalid; the message names it.
        MissingExtraError: PyYAML is not installed.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: needs the keys {', '.join((*needed, 'names'))}; {ADVICE}")
    content = {SPLIT_NAMES.get(key, key) if isinstance(key, str) else key: value for key, value in content.items()}
    if missing := [key for key in needed if not content.get(key)]:
        raise DataError(f"{path}: needs the key {', '.join(missing)}; {ADVICE}")
    classes = _classes(path, content)
    root = _root(path, content)
    labelled = _text(path, content, "labelled")
    ignore = _text(path, content, "ignore")
    terms = content.get("terms") or {}
    return DataYaml(
        path=path,
        root=root,
        classes=classes,
        places={split: tuple(_places(path, root, split, content[split])) for split in SPLITS if content.get(split)},
        points=_points(path, content.get("kpt_shape")),
        labelled=root / labelled if labelled else None,
        ignore=ignore.strip("/") if ignore else None,
        terms={str(key): str(value) for key, value in (terms if isinstance(terms, dict) else {"*": terms}).items()},
        content=content,
    )


def find_data_yaml(folder: Path) -> Path | None:
    """Find the YAML of a data set in a folder: data.yaml, or else the only one with ``names`` and a split.

    Raises:
        DataError: there are several.
    """
    if (folder / "data.yaml").is_file():
        return folder / "data.yaml"
    found = []
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        text = read_text(path)
        if "names:" in text and any(f"{key}:" in text for key in SPLIT_NAMES):
            found.append(path)
    if len(found) > 1:
        raise DataError(f"{folder}: has {found[0].name} and {found[1].name}; name the one to read")
    return found[0] if found else None


def kind_of(path: Path) -> str | None:
    """``folder`` or ``file``; None if it is neither, is missing, or cannot exist."""
    try:
        return "folder" if path.is_dir() else "file" if path.is_file() else None
    except (OSError, ValueError):  # a name that is too long or not allowed
        return None


def _classes(path: Path, content: dict[str, Any]) -> tuple[str, ...]:
    names, count = content.get("names"), content.get("nc")
    try:
        number = None if count is None else int(count) if float(count) == int(float(count)) else -1
    except (TypeError, ValueError, OverflowError):
        number = -1
    if number is not None and not 1 <= number <= 10_000:
        raise DataError(f"{path}: nc must be the number of classes, got {count!r}")
    if isinstance(names, str):
        names = [names]
    if names is None and number is not None:
        names = [f"class_{place}" for place in range(number)]  # ultralytics' default names
    if isinstance(names, dict):
        numbered = {int(key) if isinstance(key, str) and key.isdecimal() else key: names[key] for key in names}
        if set(numbered) != set(range(len(names))) or any(isinstance(key, bool) for key in numbered):
            given = ", ".join(str(key) for key in names)
            raise DataError(f"{path}: names must be numbered 0 to {len(names) - 1}, got {given}")
        names = [numbered[key] for key in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{path}: needs the key names, a list of the classes; {ADVICE}")
    if number is not None and number != len(names):
        raise DataError(f"{path}: nc is {count}, but names has {len(names)}")
    for place, name in enumerate(names):
        if isinstance(name, dict | list) or name is None or not str(name).strip() or not str(name).isprintable():
            raise DataError(f"{path}: names: class {place} must be a word, got {name!r}")
        if isinstance(content.get("names"), str) and "," in str(name):
            raise DataError(f"{path}: names must be a list of the classes, such as [face, head], got {name!r}")
    texts = tuple(str(name).strip() for name in names)
    if len(set(texts)) < len(texts):
        twice = next(text for text in texts if texts.count(text) > 1)
        raise DataError(f"{path}: names: {twice} appears twice")
    return texts


def _root(path: Path, content: dict[str, Any]) -> Path:
    """The folder that paths are relative to; the YAML's own folder if the one it names does not exist here."""
    named = _text(path, content, "path")
    root = path.parent / named if named else path.parent
    return (root if kind_of(root) == "folder" else path.parent).resolve()


def _places(path: Path, root: Path, split: str, value: object) -> Iterator[Path]:
    """A split's places as full paths, with links not resolved: label paths depend on the folder names."""
    for each in value if isinstance(value, list) else [value]:
        if not isinstance(each, str) or not each.strip() or "\0" in each:
            raise DataError(f"{path}: {split} must name a folder of pictures, or several in a list, got {each!r}")
        place = root / each
        if kind_of(place) is None and each.startswith("../"):  # in Roboflow's exports; ultralytics does the same
            place = root / each[3:]
        yield Path(os.path.normpath(place))


def _points(path: Path, shape: object) -> tuple[int, int] | None:
    if shape is None:
        return None
    if isinstance(shape, list) and len(shape) == 2 and all(type(each) is int for each in shape):
        number, each = shape
        if number == 0 or (0 < number <= 10_000 and each in (2, 3)):
            return (number, each) if number else (0, 0)
    raise DataError(f"{path}: kpt_shape must be [number of points, 2 or 3 numbers per point], got {shape!r}")


def _text(path: Path, content: dict[str, Any], key: str) -> str:
    value = content.get(key)
    if value is None or value is False:
        return ""
    if not isinstance(value, str | int | float) or isinstance(value, bool) or "\0" in str(value):
        raise DataError(f"{path}: {key} must be a path, got {value!r}")
    return str(value)


def _listed(path: Path, root: Path) -> Iterator[Path]:
    """The pictures listed in a text file, relative to it or else to the data set's folder."""
    for line, text in enumerate(read_text(path, LARGEST_LIST).splitlines(), 1):
        name = text.strip()
        if not name:
            continue
        picture = Path(name)
        if "\0" in name or not is_picture(picture):
            raise DataError(f"{path}: line {line}: not the name of a picture: {name[:100]!r}")
        tops, names = (path.parent, root), (picture, Path(name.replace("\\", "/")))  # the latter for Windows paths
        places = [top / each for each in names for top in tops]
        yield Path(os.path.normpath(next((place for place in places if kind_of(place)), places[0])))
