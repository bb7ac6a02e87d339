"""Feed damaged pictures to the reader: no crash, no hang, at most a gigabyte, and no errors but facepipe's own.

For every kind at least 20,000 files are made from valid ones (see fuzz_files.py). Child processes read them one after
the other with the default limits, announcing each file before reading it. This process watches. It is a finding if a
child dies, takes more than 2 s of CPU time for a file (CPU time, so that other load does not matter; 20 s of wall
time), or uses more than 1 GB of memory. The file is kept, and another child continues with the next one. A returned
frame must be a valid frame. Finally, large pictures in few bytes are read and their outcomes printed.

    python benchmarks/fuzz_reader.py --count 20000
"""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import fuzz_bombs
import fuzz_files
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

SECONDS, PATIENCE, MEGABYTES = 2.0, 10, 1000
SPACE = 6 * 2**30
"""Address space of a child, in bytes, to stop runaway allocations."""


@dataclass
class Outcome:
    """The outcome for a kind's files.

    Attributes:
        read: files that gave a frame.
        refused: files that gave one of facepipe's errors.
        slowest: the longest CPU time of a file, over all threads, in ms.
        largest: the peak memory of a child, in MB, including its imports.
        findings: one line each, with the file that was kept.
    """

    read: int = 0
    refused: int = 0
    slowest: float = 0.0
    largest: float = 0.0
    findings: list[str] = field(default_factory=list)


def main(
    count: Annotated[int, typer.Option(min=1, help="Files of each kind.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Other files with another number.")] = 1,
    kind: Annotated[list[str] | None, typer.Option(help="Only this kind; may be repeated.")] = None,
    keep: Annotated[Path, typer.Option(help="Folder for the files of findings.")] = Path("fuzz-findings"),
    bombs: Annotated[bool, typer.Option(help="Large pictures in few bytes too.")] = True,
) -> None:
    """Read damaged pictures, and print what became of them. Exit code 1 if there was a finding."""
    if unknown := set(kind or ()) - set(fuzz_files.KINDS):
        raise typer.BadParameter(f"no kind {', '.join(sorted(unknown))}; there are {', '.join(fuzz_files.KINDS)}")
    kinds = tuple(kind or fuzz_files.KINDS)
    outcomes: dict[str, Outcome] = {}
    with Progress(console=Console(stderr=True)) as progress:
        for each in kinds:
            outcomes[each] = fuzz(each, count, seed, keep, progress)
    print_outcomes(outcomes, Console())
    findings = [finding for outcome in outcomes.values() for finding in outcome.findings]
    if bombs:
        findings += print_bombs(Console())
    for finding in findings:
        print(f"finding: {finding}")
    if findings:
        raise typer.Exit(1)


def fuzz(kind: str, count: int, seed: int, keep: Path, progress: Progress | None = None) -> Outcome:
    """Have children read all files of a kind."""
    outcome, start = Outcome(), 0
    task = None if progress is None else progress.add_task(kind, total=count)
    while start < count:
        watched = _Child(kind, seed, start, count)
        start = watched.watch(outcome, keep)
        if progress is not None and task is not None:
            progress.update(task, completed=start)
    return outcome


class _Child:
    """A child process and its output so far."""

    def __init__(self, kind: str, seed: int, start: int, count: int):
        self.kind, self.seed, self.count, self.index = kind, seed, count, start
        self.used = 0.0  # CPU seconds before the current file
        self.noise = tempfile.TemporaryFile()  # noqa: SIM115 - what the decoders' own C code prints
        command = [sys.executable, __file__, "child", kind, str(seed), str(start), str(count)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.noise)
        assert self.process.stdout is not None
        self.lines = self.process.stdout

    def watch(self, outcome: Outcome, keep: Path) -> int:
        """Read the child's output until it ends or must be killed; return the number of the next file."""
        began: float | None = None  # the child is still starting
        waiting, rest = selectors.DefaultSelector(), b""
        waiting.register(self.lines, selectors.EVENT_READ)
        try:
            while True:
                if not waiting.select(0.1):
                    if began is not None and self._too_long(time.monotonic() - began):
                        return self._found(outcome, keep, f"took more than {SECONDS:g} s")
                    continue
                chunk = os.read(self.lines.fileno(), 65536)
                if not chunk:
                    code = self.process.wait()
                    if self.index >= self.count and code == 0:
                        return self.count
                    return self._found(outcome, keep, f"the process ended with {code}: {self._last_words()}")
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    word, *values = line.decode().split(" ", 3)
                    if word == "begin":
                        self.index, self.used, began = int(values[0]), float(values[1]), time.monotonic()
                        continue
                    began = None
                    outcome.slowest = max(outcome.slowest, float(values[0]))
                    outcome.largest = max(outcome.largest, float(values[1]))
                    outcome.read += word == "read"
                    outcome.refused += word == "refused"
                    wrong = values[2] if word == "wrong" else ""
                    if float(values[0]) > 1000 * SECONDS:
                        wrong = f"took {float(values[0]):.0f} ms"
                    if float(values[1]) > MEGABYTES:
                        return self._found(outcome, keep, f"took {values[1]} MB")
                    if wrong:
                        self._keep(outcome, keep, wrong)
                    self.index += 1
        finally:
            waiting.close()
            self.process.kill()
            self.process.wait()
            self.lines.close()
            self.noise.close()

    def _too_long(self, waited: float) -> bool:
        if waited <= SECONDS:
            return False
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return used - self.used > SECONDS or waited > PATIENCE * SECONDS

    def _found(self, outcome: Outcome, keep: Path, wrong: str) -> int:
        self._keep(outcome, keep, wrong)
        return self.index + 1

    def _keep(self, outcome: Outcome, keep: Path, wrong: str) -> None:
        keep.mkdir(parents=True, exist_ok=True)
        path = keep / f"{self.kind.lower().replace(' ', '-')}-{self.seed}-{self.index}"
        path.write_bytes(fuzz_files.mutated(self.kind, fuzz_files.sound_files(self.kind), self.seed, self.index))
        outcome.findings.append(f"{path}: {wrong}")

    def _last_words(self) -> str:
        self.noise.seek(max(self.noise.seek(0, os.SEEK_END) - 2000, 0))
        return self.noise.read().decode("utf-8", "replace").strip().rpartition("\n")[2]


def child(kind: str, seed: int, start: int, count: int) -> None:
    """Read the files of a kind starting from a number; report each on stdout."""
    import resource

    import numpy as np
    from facepipe.core.errors import FacepipeError
    from facepipe.pipeline.inputs.image_reader import DEFAULT_LIMITS, read_frame

    files = fuzz_files.sound_files(kind)
    resource.setrlimit(resource.RLIMIT_AS, (SPACE, SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for index in range(start, count):
        content = fuzz_files.mutated(kind, files, seed, index)
        began, word, wrong = time.process_time(), "read", ""
        _send(f"begin {index} {began:.3f}")
        try:
            frame = read_frame(content)
            sound = frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3 and frame.flags.c_contiguous
            if not sound or not 0 < frame.shape[0] * frame.shape[1] <= DEFAULT_LIMITS.pixels:
                word, wrong = "wrong", f"no frame: {frame.dtype} {frame.shape}"
        except FacepipeError:
            word = "refused"
        except Exception as error:  # this is what we are looking for
            word, wrong = "wrong", f"{type(error).__name__}: {error}".replace("\n", " ")
        spent = 1000 * (time.process_time() - began)
        memory = fuzz_bombs.peak()
        _send(f"{word} {spent:.2f} {memory:.0f} {wrong}")
        del content


def _send(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def print_outcomes(outcomes: dict[str, Outcome], console: Console) -> None:
    table = Table()
    table.add_column("kind", no_wrap=True)
    for column in ("files", "read", "refused", "slowest ms", "largest MB", "findings"):
        table.add_column(column, justify="right")
    for kind, each in outcomes.items():
        counts = f"{each.read + each.refused + len(each.findings):,}", f"{each.read:,}", f"{each.refused:,}"
        table.add_row(kind, *counts, f"{each.slowest:.0f}", f"{each.largest:.0f}", str(len(each.findings)))
    console.print(table)


def print_bombs(console: Console) -> list[str]:
    """Read each large picture in its own process; return the findings."""
    table = Table()
    table.add_column("large picture in few bytes", no_wrap=True)
    for column in ("bytes", "ms", "MB"):
        table.add_column(column, justify="right")
    table.add_column("what became of it")
    findings = []
    with tempfile.TemporaryDirectory() as folder:
        for name in fuzz_bombs.BOMBS:
            path = Path(folder) / "bomb"
            for command in (["build", name, path], ["read", path]):
                arguments = [sys.executable, fuzz_bombs.__file__, *map(str, command)]
                done = subprocess.run(arguments, capture_output=True, text=True)
                if done.returncode:
                    break
            if done.returncode:
                findings.append(f"{name}: the process ended with {done.returncode}: {done.stderr[-300:]}")
                continue
            spent, memory, became = done.stdout.strip().split(" ", 2)
            table.add_row(name, f"{path.stat().st_size:,}", spent, memory, became)
            if float(memory) > MEGABYTES:
                findings.append(f"{name}: took {memory} MB")
    console.print(table)
    return findings


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2], *map(int, sys.argv[3:]))
    else:
        typer.run(main)
