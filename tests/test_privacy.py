"""A whole run opens no socket but its own, and writes nothing outside of the folders that it was given."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ASTRONAUT = ROOT / "examples" / "astronaut.jpg"
OPENED = re.compile(r'open(?:at)?\((?:AT_FDCWD, )?"([^"]+)", [^)]*(?:O_WRONLY|O_RDWR|O_CREAT)[^)]*\)\s*= \d+')
OTHERS = ("/dev/null", "/dev/tty", "/dev/shm/", "/proc/self/", "/dev/nvidia", "/dev/urandom")
"""What a process may open for writing anywhere without leaving a trace."""


@pytest.fixture
def strace(tmp_path: Path) -> list[str]:
    program = shutil.which("strace")
    if program is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    command = [program, "-f", "-o", str(trace), "-e", "trace=network,open,openat,creat,mkdir,mkdirat", "-s", "500"]
    if subprocess.run([*command, "true"], capture_output=True).returncode != 0:
        pytest.skip("strace may not look at processes here")
    return command


@pytest.fixture
def surroundings(tmp_path: Path, tiny_weights: Path) -> Iterator[dict[str, str]]:
    """A home of its own, whose traces can be counted."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "ORT_"))}
    yield {**kept, "HOME": str(home), "TMPDIR": str(tmp_path / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}
    assert list(home.rglob("*")) == []


def traced(trace: Path, given: Path) -> tuple[list[str], list[str]]:
    """The sockets of a traced run other than those between its own processes, and the files outside of ``given``."""
    sockets, files = [], []
    for line in trace.read_text(errors="replace").splitlines():
        if re.search(r"\bsocket\(AF_(INET|INET6|PACKET|NETLINK)", line) or re.search(r"\bconnect\(", line):
            sockets.append(line)
        found = OPENED.search(line)
        if found and not found[1].startswith((str(given), *OTHERS)):
            files.append(line)
    return sockets, files


def test_detect_opens_no_socket_and_writes_only_where_it_was_told_to(
    strace: list[str], surroundings: dict[str, str], tmp_path: Path
) -> None:
    out, scratch = tmp_path / "out", tmp_path / "tmp"
    scratch.mkdir()
    options = ["--csv", str(out / "f.csv"), "--json", str(out / "f.jsonl"), "--save", str(out / "s"), "--workers", "2"]
    code = "import sys; from facepipe.pipeline.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "detect", str(ROOT / "examples"), *options]
    done = subprocess.run([*strace, *command], env=surroundings, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (out / "f.csv").exists()
    sockets, files = traced(tmp_path / "trace", tmp_path)
    assert sockets == []
    assert files == []
    assert list(scratch.iterdir()) == []


def test_serve_opens_its_own_socket_only(strace: list[str], surroundings: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    (tmp_path / "tmp").mkdir()
    code = "import sys; from facepipe.pipeline.cli import main; main(sys.argv[1:])"
    command = [*strace, sys.executable, "-c", code, "serve", "--port", "0"]
    with subprocess.Popen(
        command, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        try:
            address, said = None, []
            assert server.stdout is not None
            for line in server.stdout:
                said.append(line)
                if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                    address = found[0]
                    break
            assert address is not None, said
            request = urllib.request.Request(
                f"{address}/v1/detect", ASTRONAUT.read_bytes(), {"Content-Type": "image/jpeg"}
            )
            for _ in range(60):
                try:
                    with urllib.request.urlopen(request, timeout=60) as answer:
                        assert answer.status == 200
                    break
                except (ConnectionError, urllib.error.URLError):
                    time.sleep(0.5)
            else:
                pytest.fail("the server never answered")
        finally:
            inner = subprocess.run(["pgrep", "-P", str(server.pid)], capture_output=True, text=True).stdout.split()
            for child in inner:
                os.kill(int(child), 15)
            if not inner:
                server.terminate()
            server.wait(60)
    sockets, files = traced(tmp_path / "trace", tmp_path)
    own = re.compile(r"socket\(AF_INET6?, SOCK_STREAM")
    bound = [line for line in sockets if not own.search(line)]
    assert bound == [], "looks up no name and connects to nothing"
    assert len(sockets) <= 2
    assert files == []


@pytest.mark.parametrize("first", ["facepipe", "onnxruntime"])
def test_onnx_runtime_leaves_no_trace_of_its_import(first: str, surroundings: dict[str, str]) -> None:
    """Whichever module of facepipe comes first; of who imports ONNX Runtime before, only the events are off."""
    code = "import facepipe.weights.session" if first == "facepipe" else "import facepipe, onnxruntime"
    subprocess.run([sys.executable, "-c", code], env=surroundings, check=True, timeout=120)


def test_every_place_that_imports_onnx_runtime_says_so() -> None:
    assert "ORT_DISABLE_TELEMETRY=1" in (ROOT / "Dockerfile").read_text()
    assert "ONNX Runtime's telemetry" in (ROOT / "README.md").read_text()
    found = subprocess.run(
        [sys.executable, "-c", "import facepipe, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "1\n"
