"""Importing Keras: what its libraries write is dropped, what else is written is not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from facepipe.classifier.training.keras_backend import CHATTER, without_chatter


@pytest.mark.parametrize(
    ("line", "dropped"),
    [
        ("WARNING: All log messages before absl::InitializeLog() is called are written to STDERR", True),
        ("I0000 00:00:1796023847.528148   13144 port.cc:153] oneDNN custom operations are on.", True),
        ("E0000 00:00:1796024151.408858   17221 cuda_platform.cc:52] failed call to cuInit: INTERNAL", True),
        ("2026-11-30 07:02:11.123456: I tensorflow/core/util/port.cc:153] oneDNN", True),
        ("To enable the following instructions: AVX2 AVX512F, rebuild TensorFlow", True),
        ("Traceback (most recent call last):", False),
        ("warning: the disk is full", False),
    ],
)
def test_only_the_libraries_own_lines_are_chatter(line: str, dropped: bool) -> None:
    assert bool(CHATTER.match(line.encode())) is dropped


def test_what_is_not_chatter_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with without_chatter():
        os.write(2, b"I0000 00:00:1796023847.5 1 port.cc:153] oneDNN\nthe disk is full\n")
        sys.stderr.write("from Python\n")
    assert set(capfd.readouterr().err.splitlines()) == {"the disk is full", "from Python"}
    with pytest.raises(ValueError, match="kept"), without_chatter():
        raise ValueError("kept")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n", "standard error is put back"


@pytest.mark.slow
def test_a_fresh_process_writes_nothing() -> None:
    code = "from facepipe.classifier.training.keras_backend import import_keras; import_keras(); import keras"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
