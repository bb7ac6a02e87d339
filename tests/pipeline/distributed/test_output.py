"""The folder of results: parts, the record of settings, folders of others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from facepipe.core.errors import FacepipeError, RemoteError
from facepipe.pipeline.distributed.listing import Stores
from facepipe.pipeline.distributed.output import (
    RECORD,
    SUCCESS,
    Counts,
    ResultsFolder,
    begin_or_resume,
    read_success,
    write_success,
)

SETTINGS = {"detector": "1.0.0", "--confidence": None, "--tiles": False}


PART = "part-000000-0123456789ab.parquet"


@pytest.mark.parametrize("form", ["{}/results.parquet", "file://{}/results.parquet", "{}/deep/results.parquet/"])
def test_a_folder_on_a_disk(tmp_path: Path, form: str) -> None:
    folder = ResultsFolder(form.format(tmp_path))
    assert folder.names() == set()
    folder.write("b", b"1")
    folder.write("b", b"2")
    folder.write("a", b"3")
    assert folder.names() == {"a", "b"}
    assert folder.read("b") == b"2"
    with folder.open("a") as file:
        assert file.read() == b"3"
    folder.remove("a")
    assert folder.names() == {"b"}
    with pytest.raises(FacepipeError, match=r"results\.parquet/a: cannot be read"):
        folder.read("a")


def test_a_store_that_renames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose put is not one step, such as sftp; here a disk through fsspec."""
    folder = ResultsFolder(f"file://{tmp_path}/results.parquet")
    folder._system, folder._path = Stores().open(f"file://{tmp_path}/results.parquet")
    folder._local, folder._flat = None, False
    assert folder.names() == set()
    folder.write("a", b"whole")
    assert folder.names() == {"a"}

    def torn(path: str, content: bytes) -> None:
        Path(path).write_bytes(content[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder._system, "pipe_file", torn)
    with pytest.raises(RemoteError, match="No space left"):
        folder.write("b", b"whole")
    assert "b" not in folder.names()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "results.parquet").write_bytes(b"")
    with pytest.raises(FacepipeError, match="is a file; --out creates a folder"):
        ResultsFolder(str(tmp_path / "results.parquet")).names()
    with pytest.raises(FacepipeError, match=r"ends in \.parquet"):
        ResultsFolder("s3://bucket/results")


def test_a_run_is_taken_up_with_the_same_settings_only(tmp_path: Path) -> None:
    folder = ResultsFolder(str(tmp_path / "results.parquet"))
    assert begin_or_resume(folder, SETTINGS, None, 25, False) == 25
    assert begin_or_resume(folder, {**SETTINGS, "--tiles": True}, 7, 25, False) == 7  # nothing was done yet
    folder.write(PART, b"")
    assert begin_or_resume(folder, {**SETTINGS, "--tiles": True}, None, 99, False) == 7
    with pytest.raises(FacepipeError, match=r"started with --block 7; .*--restart"):
        begin_or_resume(folder, {**SETTINGS, "--tiles": True}, 8, 25, False)
    with pytest.raises(
        FacepipeError, match=r"--confidence was not given and is now 0\.5; --tiles was on and is now off\..*--restart"
    ):
        begin_or_resume(folder, {**SETTINGS, "--confidence": 0.5}, None, 25, False)
    write_success(folder, Counts(3, 2, 1), 1)
    assert read_success(folder) == Counts(3, 2, 1)
    assert begin_or_resume(folder, SETTINGS, None, 25, True) == 25
    assert folder.names() == {RECORD}


@pytest.mark.parametrize("content", [b"", b"{}", b'{"form": 2, "block": 1, "settings": {}}', b"[1]"])
def test_a_record_of_another_making(tmp_path: Path, content: bytes) -> None:
    folder = ResultsFolder(str(tmp_path / "results.parquet"))
    folder.write(RECORD, content)
    folder.write(PART, b"")
    with pytest.raises(FacepipeError, match=r"_facepipe\.json: cannot be read by this version"):
        begin_or_resume(folder, SETTINGS, None, 25, False)


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    folder = ResultsFolder(str(tmp_path / "results.parquet"))
    folder.write("mine.parquet", b"mine")
    for restart in (False, True):
        with pytest.raises(FacepipeError, match="is not empty"):
            begin_or_resume(folder, SETTINGS, None, 25, restart)
    assert folder.read("mine.parquet") == b"mine"
    folder.write(RECORD, json.dumps({"form": 1, "block": 1, "settings": SETTINGS}).encode())
    folder.write(SUCCESS, b"")
    begin_or_resume(folder, SETTINGS, None, 25, True)
    assert folder.names() == {RECORD, "mine.parquet"}
