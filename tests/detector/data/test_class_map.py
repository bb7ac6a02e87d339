"""What becomes of a source's classes."""

from __future__ import annotations

from pathlib import Path

import pytest
from facepipe.core.errors import DataError
from facepipe.detector.data.class_map import map_classes
from facepipe.detector.data.formats import Annotations, Box, Record


def source(*names: str, declared: tuple[str, ...] = ()) -> Annotations:
    """A source with one box of each name."""
    boxes = tuple(Box((0, 0, 9, 9), name, False, "a: line 1") for name in names)
    return Annotations("csv", Path("set"), (*declared, *names), (Record(Path("a.png"), boxes, "a"),))


def test_without_a_map_classes_keep_their_names_if_they_have_boxes() -> None:
    found = map_classes(source("face", "head", declared=("thing",)), {})
    assert found.classes == found.labelled == ("face", "head")
    assert found.names == {"face": "face", "head": "head"}


def test_renaming_and_joining() -> None:
    found = map_classes(source("face", "person_head", "head"), {"person_head": "head", "face": "face"})
    assert found.classes == ("head", "face")
    assert found.names == {"person_head": "head", "face": "face", "head": "head"}


def test_a_class_that_nothing_maps_is_named() -> None:
    with pytest.raises(DataError, match=r"not mapped: face \(1 boxes\), hat \(1 boxes\); use --map face=CLASS"):
        map_classes(source("face", "person_head", "hat"), {"person_head": "head"})
    found = map_classes(source("face", "person_head", "hat"), {"person_head": "head"}, drop_others=True)
    assert found.classes == ("head",)
    assert found.left_out == {"face": 1, "hat": 1}


def test_a_misspelt_map() -> None:
    with pytest.raises(DataError, match="no class person_hed to map; it has face, person_head"):
        map_classes(source("face", "person_head"), {"person_hed": "head"})


def test_the_set_decides_on_the_order() -> None:
    assert map_classes(source("head"), {}, classes=["face", "head"]).classes == ("face", "head")
    assert map_classes(source("head"), {}, existing=["face", "head"]).labelled == ("head",)
    with pytest.raises(DataError, match="--classes face has no head"):
        map_classes(source("head", "face"), {"head": "head"}, classes=["face"])
    with pytest.raises(DataError, match="--classes must begin with"):
        map_classes(source("head"), {}, classes=["head", "face"], existing=["face", "head"])


def test_a_set_is_extended_only_on_purpose() -> None:
    with pytest.raises(DataError, match="not mapped: hand"):
        map_classes(source("face", "hand"), {}, existing=["face", "head"])
    found = map_classes(source("face", "hand"), {"hand": "hand"}, existing=["face", "head"])
    assert found.classes == ("face", "head", "hand")
    assert found.labelled == ("face", "hand")


def test_labelled() -> None:
    assert map_classes(source("face"), {}, classes=["face", "head"], labelled=["head", "face"]).labelled == (
        "face",
        "head",
    )
    with pytest.raises(DataError, match="--labelled: no class hed; the set has face"):
        map_classes(source("face"), {}, labelled=["hed"])
    with pytest.raises(DataError, match="name the classes it was labelled for with --labelled"):
        map_classes(source(), {}, classes=["face"])
    assert map_classes(source(), {}, classes=["face"], labelled=["face"]).labelled == ("face",)
    found = map_classes(source("f", "h", "hat"), {"f": "face", "h": "head", "hat": "head"})
    assert found.labelled_in(("h",)) == ("head",)
    assert found.labelled_in(None) == ("face", "head")


@pytest.mark.parametrize("name", ["a,b", "a;b", "a\nb", "\ud800"])
def test_names_that_the_csv_or_the_yaml_could_not_hold(name: str) -> None:
    with pytest.raises(DataError, match="a class name may contain only printable characters"):
        map_classes(source(name), {})
