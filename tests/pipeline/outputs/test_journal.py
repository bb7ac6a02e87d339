"""The journal by itself: what is read back is what was written, whatever became of its end."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facepipe.core.errors import FacepipeError
from facepipe.pipeline.outputs.journal import Journal, discard, refuse
from facepipe.pipeline.results import Box, DetectorUsed, Face, Models, Result
from hypothesis import given, settings
from hypothesis import strategies as st

USED = DetectorUsed(version="1.0.0", sha256="ab" * 32)
SETTINGS = {"facepipe": "1.0.0", "detector": {"version": "1.0.0", "sha256": "ab"}, "conf": None, "tiles": False}


def result(source: str, faces: int = 1, error: str | None = None, **fields: Any) -> Result:
    found = tuple(
        Face(box=Box(x1=n, y1=0.1, x2=9, y2=9), confidence=0.5, head=None, attributes=None, reason="", **fields)
        for n in range(faces)
    )
    models = Models(detector=USED, classifiers={})
    return Result(source=source, width=9, height=9, faces=found, heads=(), models=models, error=error)


def some(path: Path, names: list[str]) -> Journal:
    journal = Journal.begin(path, SETTINGS)
    for number, name in enumerate(names):
        journal.add(name, result(os.fsencode(name).decode("utf-8", "replace"), number), {"save": f"{number}.jpg"})
    return journal


ODD = "\udcff.jpg"
"""A name that is no Unicode, as Python has it."""
NAMES = ["a.jpg", 'b","result":{}.jpg', "größe 名\n.jpg", ODD]


def test_entries_are_what_was_added(tmp_path: Path) -> None:
    journal = some(tmp_path / "j", NAMES[:3])
    journal.add(ODD, result("?.jpg", 0, "no such file"), {})
    journal.close()
    journal = Journal.resume(tmp_path / "j", SETTINGS)
    entries = list(journal.entries())
    assert [entry.source for entry in entries] == list(journal.sources) == NAMES
    assert [entry.result for entry in entries[:3]] == [result(name, n) for n, name in enumerate(NAMES[:3])]
    assert [entry.json for entry in entries[:3]] == [
        result(name, n).model_dump_json().encode() for n, name in enumerate(NAMES[:3])
    ]
    assert [entry.files for entry in entries] == [{"save": f"{n}.jpg"} for n in range(3)] + [{}]
    assert (len(journal), journal.faces, journal.failures, journal.cut) == (4, 3, 1, 0)
    assert journal.failed(ODD)
    assert "c.jpg" not in journal
    journal.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_later_line_of_a_picture_holds_and_keeps_its_place(tmp_path: Path) -> None:
    journal = some(tmp_path / "j", ["a", "b"])
    journal.add("a", result("a", 7), {})
    assert (len(journal), journal.faces) == (2, 8)
    journal.close()
    journal = Journal.resume(tmp_path / "j", SETTINGS)
    assert [(entry.source, len(entry.result.faces)) for entry in journal.entries()] == [("a", 7), ("b", 1)]
    journal.close()


def test_features_come_back(tmp_path: Path) -> None:
    journal = Journal.begin(tmp_path / "j", SETTINGS)
    journal.add("a", result("a", 2, features={"face": (0.1, 2.0), "shirt": (3.0,)}), {})
    journal.add("b", result("b", 1), {})
    first, second = (entry.result for entry in journal.entries())
    journal.close()
    for face in first.faces:
        assert face.features is not None
        np.testing.assert_array_equal(face.features["face"], np.array([0.1, 2.0], np.float32))
        np.testing.assert_array_equal(face.features["shirt"], np.array([3.0], np.float32))
    assert second.faces[0].features is None


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 4000), noise=st.binary(max_size=20))
def test_any_torn_end_is_cut_and_what_stands_before_it_stays(
    tmp_path_factory: pytest.TempPathFactory, cut: int, noise: bytes
) -> None:
    path = tmp_path_factory.mktemp("torn") / "j"
    some(path, NAMES).close()
    content = path.read_bytes()
    whole = content[: max(len(content) - cut, 0)]
    lines = whole.splitlines(keepends=True)
    path.write_bytes(whole + noise)
    if not whole.count(b"\n"):
        # Not even a header: a whole line that is none is refused, a torn one begun anew.
        if b"\n" in whole + noise:
            with pytest.raises(FacepipeError, match="not a journal"):
                Journal.resume(path, SETTINGS)
            return
        journal = Journal.resume(path, SETTINGS)
        assert len(journal) == 0
    else:
        journal = Journal.resume(path, SETTINGS)
        kept = sum(line.endswith(b"\n") for line in lines) - 1
        assert [entry.source for entry in journal.entries()] == NAMES[:kept]
    journal.add("z", result("z"), {})
    journal.close()
    again = Journal.resume(path, SETTINGS)
    assert list(again.sources)[-1] == "z"
    assert again.cut == 0
    again.close()


def test_a_line_of_noughts_in_the_middle_cuts_there(tmp_path: Path) -> None:
    """As a power cut may leave: pages that never reached the disk."""
    path = tmp_path / "j"
    some(path, NAMES).close()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"\0" * 40 + b"\n", *lines[3:]]))
    journal = Journal.resume(path, SETTINGS)
    assert list(journal.sources) == NAMES[:1]
    assert journal.cut == 3
    journal.close()


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    some(tmp_path / "j", NAMES).close()
    content = (tmp_path / "j").read_bytes()
    other = {**SETTINGS, "conf": 0.5, "detector": {"version": "2.0.0", "sha256": "ab"}, "tiles": 640, "new": True}
    with pytest.raises(FacepipeError) as error:
        Journal.resume(tmp_path / "j", other)
    for said in (
        "detector version was 1.0.0 and is now 2.0.0",
        "conf was not given and is now 0.5",
        "tiles was off and is now 640",
        "new was not given and is now on",
        "--restart",
    ):
        assert said in str(error.value)
    assert "sha256" not in str(error.value)
    assert (tmp_path / "j").read_bytes() == content


@pytest.mark.parametrize(
    "content", ["{}\n", "source,face\n", "[1]\n", json.dumps({"journal": 99, "settings": {}}) + "\n"]
)
def test_what_is_no_journal_is_left_alone(content: str, tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_text(content)
    with pytest.raises(FacepipeError, match="not a journal"):
        Journal.resume(path, SETTINGS)
    assert path.read_text() == content
    with pytest.raises(FacepipeError, match="--restart starts over"):
        Journal.begin(path, SETTINGS)
    assert path.read_text() == content


def test_one_that_is_open_is_not_taken(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    journal = some(tmp_path / "j", ["a"])
    for attempt in (
        lambda: Journal.resume(tmp_path / "j", SETTINGS),
        lambda: discard(tmp_path / "j"),
        lambda: refuse(tmp_path / "j"),
    ):
        with pytest.raises(FacepipeError, match="another facepipe is writing it"):
            attempt()
    journal.close()
    with pytest.raises(FacepipeError, match="--resume continues it"):
        refuse(tmp_path / "j")
    discard(tmp_path / "j")
    assert list(tmp_path.iterdir()) == []


def test_no_place_for_it(tmp_path: Path) -> None:
    with pytest.raises(FacepipeError, match="cannot be written"):
        Journal.begin(tmp_path / "none" / "j", SETTINGS)
    with pytest.raises(FacepipeError, match="cannot be opened"):
        Journal.resume(tmp_path, SETTINGS)
