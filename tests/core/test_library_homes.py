"""What libraries would write into the user's home goes into a folder that ends with the process."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import Mock

import pytest
from facepipe.core import library_homes
from facepipe.core.library_homes import HOMES, forget, keep_keras_downloads, keep_out_of_home

CODE = """
import os, sys
from facepipe.core.extras import require
require("json")
print("MPLCONFIGDIR" in os.environ)
for name in sys.argv[1:]:
    require(name)
print(os.environ["MPLCONFIGDIR"])
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, no variable set, and temporary files that the test can count."""
    (tmp_path / "home").mkdir()
    (tmp_path / "tmp").mkdir()
    for name in HOMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(library_homes, "_made", [])
    return tmp_path / "home"


def test_a_process_leaves_nothing_behind(home: Path, tmp_path: Path) -> None:
    if find_spec("matplotlib") is None or find_spec("supervision") is None:
        pytest.skip("needs matplotlib and supervision")
    surroundings = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    command = [sys.executable, "-c", CODE, "matplotlib.font_manager", "supervision"]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=True)
    before, folder = done.stdout.splitlines()
    assert before == "False", "other packages need no such folder"
    assert Path(folder).parent.parent == tmp_path / "tmp"
    assert [*home.iterdir(), *(tmp_path / "tmp").iterdir()] == []


def test_what_the_user_has_set_is_left_as_it_is(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "mine"))
    keep_out_of_home()
    keep_out_of_home()
    assert os.environ["MPLCONFIGDIR"] == str(tmp_path / "mine")
    (made,) = (tmp_path / "tmp").iterdir()
    assert {os.environ[name] for name in HOMES} == {str(tmp_path / "mine"), *map(str, made.iterdir())}
    forget()
    assert not made.exists()


def test_downloads_of_keras_are_kept_where_they_were_asked_for(home: Path) -> None:
    keep_out_of_home()
    assert list(home.iterdir()) == []
    keep_keras_downloads()
    (Path(os.environ["KERAS_HOME"]) / "models" / "weights.h5").write_bytes(b"weights")
    forget()
    assert [path for path in home.rglob("*") if path.is_file()] == [home / ".keras" / "models" / "weights.h5"]


@pytest.mark.parametrize("nowhere", ["file", "none"])
def test_downloads_of_keras_without_a_home(home: Path, monkeypatch: pytest.MonkeyPatch, nowhere: str) -> None:
    if nowhere == "file":
        monkeypatch.setenv("HOME", os.devnull)
    else:
        monkeypatch.delenv("HOME")
        monkeypatch.setattr("pwd.getpwuid", Mock(side_effect=KeyError("uid not found")))
    keep_out_of_home()
    keep_keras_downloads()
    models = Path(os.environ["KERAS_HOME"]) / "models"
    models.mkdir(exist_ok=True)  # as Keras does
    assert not models.is_symlink()


def test_a_keras_home_of_the_user_is_not_touched(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "models").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "mine"))
    keep_out_of_home()
    keep_keras_downloads()
    assert not (tmp_path / "elsewhere").exists()
    assert (tmp_path / "mine" / "models").is_symlink()
