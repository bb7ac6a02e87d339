"""Mutations of labels in every text format: each gives a result or an error of one line, soon and in little memory."""

from __future__ import annotations

import json
import os
import random
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from facepipe.core.errors import DataError
from facepipe.detector.data.dataset import read_description
from facepipe.detector.data.formats import read

from ..conftest import TRUTH, coco, voc_xml, wider_text, yolo_line

PIECES = {
    "yolo": ["0 ", "-1 ", "1e999", "nan", "\n", " 0.5 0.5", "\ufeff", "\x00", "٣"],
    "coco": ["[", "{", "}", '"id": 7', "1e999", "NaN", "null", '"../../a.png"', "-5", '"7.0"', "true", "\\ud800"],
    "voc": ["<object>", "</object>", "<!DOCTYPE a>", "&amp;", "&#0;", "<xmin>9</xmin>", "-1e9", "<a b='c'/>", "../"],
    "wider": ["0--Parade/a.png\n", "9999999999\n", "0 ", "-3", "\n", "../"],
    "csv": [",", '"', "\n", "../a.png", "1e999", "face", "C:\\a.png", "\x00"],
    "yaml": ["[", "{", "*a", "&a ", ": ", "\n", "- ", "..", "/", "images", "!!int ", "kpt_shape: [2, 2]\n", "~"],
}


class Target:
    """A small data set, one file of which is mutated, and what reads it."""

    def __init__(self, root: Path, kind: str, make_set: Callable[[Path, str], Path]):
        layout = {"yaml": "yolo"}.get(kind, kind)
        self.place = make_set(root / kind, layout)
        self.kind = kind
        self.file, text = {
            "yolo": (self.place / "labels/train/a.txt", "".join(yolo_line(n, b) for n, b, _ in TRUTH["a"])),
            "coco": (self.place / "annotations/instances_train2017.json", json.dumps(coco(["a", "b", "c"]))),
            "voc": (self.place / "Annotations/a.xml", voc_xml("a", TRUTH["a"])),
            "wider": (self.place / "wider_face_split/wider_face_train_bbx_gt.txt", wider_text(["a", "b", "c"])),
            "csv": (self.place / "boxes.csv", (self.place / "boxes.csv").read_text() if kind == "csv" else ""),
            "yaml": (self.place / "data.yaml", (self.place / "data.yaml").read_text() if kind == "yaml" else ""),
        }[kind]
        self.text = text

    def read(self, text: str) -> None:
        self.file.write_bytes(text.encode("utf-8", "surrogatepass"))
        read(self.place, {"yaml": "yolo"}.get(self.kind, self.kind))
        if self.kind in ("yaml", "yolo"):
            read_description(self.place / "data.yaml")


def mutated(draw: random.Random, text: str, pieces: list[str]) -> str:
    """The text with some places changed, doubled, exchanged or taken out."""
    for _ in range(draw.randint(1, 5)):
        at = draw.randrange(len(text) + 1)
        to = min(len(text), at + int(draw.expovariate(0.05)))
        piece = draw.choice(
            [draw.choice(pieces), "", text[at:to] * 2, chr(draw.randrange(1, 0x250)), str(draw.random())]
        )
        text = text[:at] + piece + text[draw.choice([at, to, to]) :]
    return text


def fuzz(target: Target, count: int, seed: int = 0) -> tuple[int, float]:
    """Read mutations.

    Returns:
        How many were errors, and the longest time in seconds.
    """
    draw, errors, longest = random.Random(seed), 0, 0.0
    for _ in range(count):
        text = mutated(draw, target.text, PIECES[target.kind])
        start = time.perf_counter()
        try:
            target.read(text)
        except DataError as error:
            errors += 1
            if "\n" in str(error):
                raise AssertionError(f"more than one line: {error}") from error
        longest = max(longest, time.perf_counter() - start)
    return errors, longest


@pytest.mark.parametrize("kind", PIECES)
def test_mutations(tmp_path: Path, make_set: Callable[[Path, str], Path], kind: str) -> None:
    """``FACEPIPE_FUZZ=20000`` tries more of them, and prints the longest."""
    count = int(os.environ.get("FACEPIPE_FUZZ", "200"))
    target = Target(tmp_path, kind, make_set)
    if count <= 1000:
        tracemalloc.start()
    try:
        errors, longest = fuzz(target, count)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    print(f"{kind}: {count} mutations, {errors} errors, longest {longest:.3f} s")
    assert count // 10 < errors < count
    assert peak < 300e6
