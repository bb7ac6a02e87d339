"""Files are written whole, where links lead; a device or a pipe is written to and never replaced."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe.core.files import is_stream, replacing, write_whole


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "target.csv").write_text("old")
    (tmp_path / "middle.csv").symlink_to("deep/target.csv")
    (tmp_path / "latest.csv").symlink_to("middle.csv")
    write_whole(tmp_path / "latest.csv", b"new")
    assert (tmp_path / "deep" / "target.csv").read_text() == "new"
    assert (tmp_path / "latest.csv").is_symlink()
    assert (tmp_path / "middle.csv").is_symlink()
    (tmp_path / "dangling.csv").symlink_to("deep/later.csv")
    write_whole(tmp_path / "dangling.csv", b"first")
    assert (tmp_path / "deep" / "later.csv").read_text() == "first"
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["later.csv", "target.csv"]


def test_nothing_changes_where_something_fails(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")

    def fail() -> None:
        with replacing(tmp_path / "a") as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (tmp_path / "a").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no such devices")
def test_what_is_a_stream(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/dev/stdout")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    for path in ("-", "/dev/stdout", "/dev/null", "/proc/self/fd/1", tmp_path / "out", tmp_path / "pipe"):
        assert is_stream(path), path
    for path in (tmp_path / "file", tmp_path / "link", tmp_path / "none", tmp_path, "/dev/shm/x"):
        assert not is_stream(path), path


@pytest.mark.skipif(sys.platform == "win32", reason="no such devices")
@pytest.mark.parametrize("option", ["--csv", "--json"])
@pytest.mark.parametrize("target", ["/dev/stdout", "-", "a link"])
def test_standard_output_is_written_to_and_its_link_stays(
    option: str, target: str, tiny_weights: Path, tmp_path: Path, photo: Callable[..., np.ndarray]
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), photo(0))
    (tmp_path / "here").symlink_to("/dev/stdout")
    before = os.readlink("/dev/stdout")
    code = "import sys; from facepipe.pipeline.cli import main; main(sys.argv[1:])"
    place = str(tmp_path / "here") if target == "a link" else target
    command = [sys.executable, "-c", code, "detect", str(tmp_path / "a.png"), option, place]
    with (tmp_path / "f").open("wb") as file:
        subprocess.run(command, stdout=file, check=True, timeout=120)
    assert os.readlink("/dev/stdout") == before
    assert (tmp_path / "here").is_symlink()
    written = (tmp_path / "f").read_text()
    assert written.startswith("source,error,width" if option == "--csv" else '{"source":')
    assert len(written.splitlines()) >= (2 if option == "--csv" else 1)
