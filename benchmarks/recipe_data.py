"""The rows on which ``benchmarks/recipes.py`` trains and measures a recipe. The same labels give the same rows."""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import shirts
from facepipe.classifier.config.schema import label_columns
from facepipe.classifier.data.label_files import read_table_file
from facepipe.classifier.data.table import SIDECAR
from facepipe.classifier.inference.crop import cut_region
from facepipe.core.errors import FacepipeError
from facepipe.weights.manifest import Attribute, CropRecipe

KEPT = ("file", "source", "split", "group", "framing", "race")
SHIRT = "shirt_colour"
DRAWN = 6955, 700
"""Default number of shirts drawn for training and validation; the first is that of ``heads-resnet18``'s authors."""
OWN = {"heads-resnet18": {"gender": "fairface", "glasses": "mtfl"}}
"""Recipes in which an attribute is learnt from a single source; everything else is learnt from every source with
labels."""


@dataclass(frozen=True)
class Amount:
    """How many rows to take from each source; None takes all."""

    train: int | None
    val: int | None
    seed: int


def subset(data: Path, recipe: str, attributes: Sequence[Attribute], amount: Amount, out: Path) -> list[str]:
    """Write the label files of one recipe.

    For each source and split, the rows with any label in the schema are ordered by their name and the seed alone, and
    the first ones are taken. So two recipes that can use a row agree on it.

    Returns:
        The label files, as ``--data`` takes them.

    Raises:
        FacepipeError: no row labels an attribute.
    """
    given = read_table_file(data)
    own = OWN.get(recipe, {})
    known = [each for each in attributes if set(label_columns(each)) & set(given.names)]
    parts = {name: [each for each in known if each.name == name] for name in own}
    parts["rest"] = [each for each in known if each.name not in own]
    if absent := [each.name for each in attributes if each not in known and each.name != SHIRT]:
        raise FacepipeError(f"{data}: no column for {', '.join(absent)}, which recipe {recipe} learns")
    found = []
    for part, wanted in parts.items():
        if wanted:
            chosen = _choose(given.cells, wanted, amount, own.get(part))
            found.append(_write(out / part, data, given.root, chosen, wanted))
    if any(each.name == SHIRT for each in attributes):
        found.append(draw_torsos(out / SHIRT, amount))
    return [str(path) for path in found]


def _choose(
    cells: Sequence[Mapping[str, str]], wanted: Sequence[Attribute], amount: Amount, source: str | None
) -> list[Mapping[str, str]]:
    columns = [name for each in wanted for name in label_columns(each)]
    chosen: list[Mapping[str, str]] = []
    groups: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for cell in cells:
        if any(cell.get(name) for name in columns) and source in (None, cell.get("source")):
            groups.setdefault((cell.get("source", ""), cell.get("split", "")), []).append(cell)
    for (_, split), rows in sorted(groups.items()):
        count = {"train": amount.train, "val": amount.val}.get(split, 0)  # None: all of them
        chosen += sorted(rows, key=lambda cell: hashlib.sha256(f"{amount.seed} {cell['file']}".encode()).digest())[
            :count
        ]
    return chosen


def _write(
    folder: Path, data: Path, root: Path, rows: Sequence[Mapping[str, str]], wanted: Sequence[Attribute]
) -> Path:
    """Write some rows with the labels of some attributes only; the pictures stay where they are."""
    columns = [*KEPT, *(name for each in wanted for name in label_columns(each))]
    folder.mkdir(parents=True, exist_ok=True)
    if (data.parent / SIDECAR).is_file():
        shutil.copyfile(data.parent / SIDECAR, folder / SIDECAR)
    with (folder / "faces.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows({**row, "file": str((root / row["file"]).resolve())} for row in rows)
    return folder / "faces.csv"


def draw_torsos(folder: Path, amount: Amount, size: int = 224) -> Path:
    """Draw shirts (``shirts.py``) and cut out the torsos using the box of the drawn face."""
    portrait, random = shirts.read_portrait(), np.random.default_rng(amount.seed)
    train, val = amount.train or DRAWN[0], amount.val or DRAWN[1]
    recipe = CropRecipe(region="torso", margin=0.0, size=size)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with (folder / "faces.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "source", "split", "framing", SHIRT])
        for index in range(train + val):
            colour = list(shirts.COLOURS)[index % len(shirts.COLOURS)]
            picture, face = shirts.draw(portrait, colour, random)
            torso = cut_region(picture, face, None, recipe).image
            if torso is None:
                continue
            cv2.imwrite(str(folder / "images" / f"{index:05}.jpg"), torso)
            split = "train" if index < train else "val"
            writer.writerow([f"images/{index:05}.jpg", "drawn", split, "tight", colour])
    return folder / "faces.csv"


def guesses(cells: Sequence[Mapping[str, str]]) -> dict[str, float]:
    """The baseline: always guess the training rows' commonest class or range and median age on the val rows.

    Args:
        cells: rows of both splits.

    Returns:
        Figures by the names that evaluations give them.
    """
    found: dict[str, float] = {}

    def column(name: str, split: str, source: str | None) -> list[str]:
        return [
            cell[name]
            for cell in cells
            if cell.get(name) and cell.get("split") == split and source in (None, cell.get("source"))
        ]

    for name, metric, source in (
        ("gender", "gender.accuracy", "utkface"),
        ("gender", "gender.accuracy", "fairface"),
        ("age_lo", "age.range_hit", "fairface"),
        ("glasses", "glasses.accuracy", None),
        ("smile", "smile.accuracy", None),
        (SHIRT, f"{SHIRT}.accuracy", None),
    ):
        train, val = column(name, "train", source), column(name, "val", source)
        if train and val:
            common = max(sorted(set(train)), key=train.count)
            found[metric if source is None else f"{metric}/{source}"] = val.count(common) / len(val)
    train, val = column("age", "train", "utkface"), column("age", "val", "utkface")
    if train and val:
        off = np.array([float(each) for each in val]) - np.median([float(each) for each in train])
        found["age.mae/utkface"] = float(np.abs(off).mean())
    return found
