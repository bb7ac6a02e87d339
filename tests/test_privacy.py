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

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
ASTRONAUT = ROOT / "examples" / "astronaut.jpg"
OPENED = re.compile(r'open(?:at)?\((?:AT_FDCWD, )?"([^"]+)", [^)]*(?:O_WRONLY|O_RDWR|O_CREAT)[^)]*\)\s*= \d+')
MADE = re.compile(r'mkdir(?:at)?\((?:AT_FDCWD, )?"([^"]+)", \w+\)\s*= 0')
SPOKEN = re.compile(r"\b(connect|sendto|sendmsg|sendmmsg)\(.*AF_INET|\bsocket\(AF_(PACKET|NETLINK)")
"""What goes to another machine, or asks for the network's state."""
CODE = "import sys; from facepipe.pipeline.cli import main; main(sys.argv[1:])"
TINY_RECIPE = """
backbone: resnet14
schema: gender
start: none
batch: 8
recalibration: 2
stages:
  - {name: all, size: 32, epochs: 1, learning_rate: 1.0e-3}
"""
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
    own = ("XDG_", "ORT_", "KERAS_HOME", "MPL", "YOLO_", "TORCH", "TF_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(own)}
    yield {**kept, "HOME": str(home), "TMPDIR": str(tmp_path / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}
    assert list(home.rglob("*")) == []


def traced(trace: Path, given: Path) -> tuple[list[str], list[str]]:
    """The sockets of a traced run other than those between its own processes, and what it wrote or made outside of
    ``given``, where it stands."""
    sockets, files = [], []
    for line in trace.read_text(errors="replace").splitlines():
        if re.search(r"\bsocket\(AF_(INET|INET6|PACKET|NETLINK)", line) or re.search(r"\bconnect\(", line):
            sockets.append(line)
        found = OPENED.search(line) or MADE.search(line)
        if found and found[1].startswith("/") and not found[1].startswith((str(given), *OTHERS)):
            files.append(line)
    return sockets, files


def test_detect_opens_no_socket_and_writes_only_where_it_was_told_to(
    strace: list[str], surroundings: dict[str, str], tmp_path: Path
) -> None:
    out, scratch = tmp_path / "out", tmp_path / "tmp"
    scratch.mkdir()
    options = ["--csv", str(out / "f.csv"), "--json", str(out / "f.jsonl"), "--save", str(out / "s"), "--workers", "2"]
    command = [sys.executable, "-c", CODE, "detect", str(ROOT / "examples"), *options]
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
    command = [*strace, sys.executable, "-c", CODE, "serve", "--port", "0"]
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


def write_training_data(folder: Path) -> None:
    """Pictures with a bright disc each, labelled for a detector, and crops of two colours for a classifier."""
    random = np.random.default_rng(5)

    def write(path: Path, side: int, colour: tuple[int, int, int]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        frame = random.integers(0, 60, (side, side, 3)).astype(np.uint8)
        cv2.imwrite(str(path), cv2.circle(frame, (side // 2, side // 2), side // 3, colour, -1))

    for split, count in (("train", 6), ("val", 3)):
        (folder / "boxes" / "labels" / split).mkdir(parents=True)
        for number in range(count):
            write(folder / "boxes" / "images" / split / f"{number}.png", 96, (150, 180, 230))
            (folder / "boxes" / "labels" / split / f"{number}.txt").write_text("0 0.5 0.5 0.67 0.67\n")
    (folder / "boxes" / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [face]\n")
    for label, colour in (("female", (0, 0, 255)), ("male", (255, 0, 0))):
        for number in range(20):
            write(folder / "crops" / label / f"{number}.png", 48, colour)
    (folder / "tiny.yaml").write_text(TINY_RECIPE)


TRAININGS = {
    "detector": [
        "train-detector --data boxes/data.yaml --epochs 1 --imgsz 64 --batch 4 --device cpu --name tiny "
        "--export float32",
        "evaluate-detector --data boxes/data.yaml --detector runs/detector/tiny/export --out report",
        "data check boxes/data.yaml",
    ],
    "classifier": [
        "train-classifier --data gender:crops --recipe tiny.yaml --name tiny --export float32",
        "evaluate-classifier --data gender:crops --classifier runs/classifier/tiny/export --out report",
        "compare tiny --no-timing --out curves.png",
    ],
}


@pytest.mark.train
@pytest.mark.parametrize("stage", TRAININGS)
def test_a_training_speaks_to_nobody_and_writes_only_where_it_stands(
    strace: list[str], surroundings: dict[str, str], tmp_path: Path, stage: str
) -> None:
    """Keras' gRPC looks whether there is an IPv6 loopback, ultralytics what the network card is called: neither sends
    a byte."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    write_training_data(tmp_path)
    for line in TRAININGS[stage]:
        command = [*strace, sys.executable, "-c", CODE, *line.split()]
        done = subprocess.run(
            command, cwd=tmp_path, env=surroundings, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, (line, done.stderr)
        _, files = traced(tmp_path / "trace", tmp_path)
        assert files == [], line
        assert SPOKEN.findall((tmp_path / "trace").read_text(errors="replace")) == [], line
        assert list(scratch.iterdir()) == [], line


@pytest.mark.train
@pytest.mark.parametrize("stage", TRAININGS)
def test_a_training_needs_no_home(surroundings: dict[str, str], tmp_path: Path, stage: str) -> None:
    """Where HOME is no folder, a run is trained; a version that could not be kept is refused before the work."""
    (tmp_path / "tmp").mkdir()
    write_training_data(tmp_path)
    nowhere = {**surroundings, "HOME": f"{os.devnull}/home"}
    del nowhere["FACEPIPE_WEIGHTS"]

    def call(line: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", CODE, *line.split()]
        return subprocess.run(
            command, cwd=tmp_path, env=nowhere, capture_output=True, text=True, timeout=600, check=False
        )

    refused = call(f"{TRAININGS[stage][0]} --version 9.0.0")
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert "cannot be written; name another folder of weights with FACEPIPE_WEIGHTS" in line
    assert not (tmp_path / "runs").exists()
    done = call(TRAININGS[stage][0])
    assert done.returncode == 0, done.stderr
    assert "not writable" not in done.stderr
    assert (tmp_path / "runs" / stage / "tiny" / "export" / "manifest.json").is_file()


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
