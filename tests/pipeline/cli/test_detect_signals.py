"""Ctrl-C and then SIGTERM, in any order and as quickly as one likes: the exit code of a signal, and a whole journal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.usefixtures("tiny_weights")
@pytest.mark.parametrize("order", [BOTH, BOTH[::-1], (signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)])
@pytest.mark.parametrize("gap", [0.0, 0.02])
def test_two_signals(
    order: tuple[signal.Signals, ...], gap: float, tmp_path: Path, encode: Callable[..., bytes]
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(1500):
        (pictures / f"{number}.jpg").write_bytes(encode(".jpg"))
    journal = tmp_path / "faces.jsonl.partial.jsonl"
    command = [sys.executable, "-m", "facepipe", "detect", str(pictures), "--json", str(tmp_path / "faces.jsonl")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while not (journal.exists() and journal.read_bytes().count(b"\n") > 3):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.005)
        for number in order:
            process.send_signal(number)
            time.sleep(gap)
        said = process.communicate(timeout=60)[1]
    assert process.returncode in (130, 143)
    assert "Traceback" not in said
    assert "terminate called" not in said
    *whole, last = journal.read_bytes().split(b"\n")
    assert len(whole) > 3
    for line in whole:
        json.loads(line)
    assert last == b""
