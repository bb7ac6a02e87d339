"""No run replaces another picture's file, an input, or a file that it knows nothing of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe.core.errors import FacepipeError
from facepipe.pipeline.outputs.names import RECORD, FreeNames


def taken(folder: Path, *sources: str, stem: str = "x") -> list[str]:
    names = FreeNames(folder, ())
    try:
        given = []
        for source in sources:
            path = names.take(stem, ".jpg", source)
            path.write_bytes(source.encode())
            given.append(path.name)
        return given
    finally:
        names.close()


def test_the_same_picture_has_the_same_name_again_and_another_one_never(tmp_path: Path) -> None:
    assert taken(tmp_path, "a/x.png", "b/x.png") == ["x.jpg", "x-2.jpg"]
    assert taken(tmp_path, "b/x.png", "a/x.png") == ["x-2.jpg", "x.jpg"]
    assert taken(tmp_path, "c/x.png") == ["x-3.jpg"]
    assert taken(tmp_path, "a/x.png") == ["x.jpg"]
    assert (tmp_path / "x-2.jpg").read_bytes() == b"b/x.png"
    assert b"a/x.png" not in (tmp_path / RECORD).read_bytes(), "such folders are published"


def test_what_nothing_is_known_of_stays(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"mine")
    assert taken(tmp_path, "a/x.png") == ["x-2.jpg"]
    assert (tmp_path / "x.jpg").read_bytes() == b"mine"
    (tmp_path / RECORD).write_bytes((tmp_path / RECORD).read_bytes() + b'["torn')
    assert taken(tmp_path, "a/x.png") == ["x-2.jpg"]


def test_a_second_run_into_the_folder_is_refused_while_the_first_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    first = FreeNames(tmp_path, ())
    with pytest.raises(FacepipeError, match="another facepipe"):
        FreeNames(tmp_path, ())
    first.close()
    FreeNames(tmp_path, ()).close()


def test_two_runs_with_tables_of_their_own_and_one_folder(
    tiny_weights: Path, tmp_path: Path, photo: Callable[..., np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    from facepipe.pipeline.cli import main

    for number, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "x.png"), photo(number))
        out = tmp_path / "out"
        folders = ["--save", str(out), "--crops", str(tmp_path / "crops")]
        with pytest.raises(SystemExit) as ended:
            main(["detect", str(tmp_path / name), "--csv", str(tmp_path / f"{name}.csv"), *folders])
        assert not ended.value.code
    assert sorted(path.name for path in out.glob("*.jpg")) == ["x-faces-2.jpg", "x-faces.jpg"]
    assert len({path.read_bytes() for path in out.glob("*.jpg")}) == 2
    capsys.readouterr()
