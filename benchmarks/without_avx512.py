"""What a processor with AVX2 and nothing newer would do: a copy of ONNX Runtime without AVX-512, and its speed.

    python benchmarks/without_avx512.py avx2 [--turns 5]
    PYTHONPATH=avx2 facepipe evaluate-detector --data DATA.yaml --precision int8
    PYTHONPATH=avx2 facepipe evaluate-classifier --data FACES.csv --precision int8

ONNX Runtime asks the processor what it can do and has no setting that hides AVX-512. Its table of kernels
(``MLAS_PLATFORM`` in onnxruntime/core/mlas/lib/platform.cpp) is filled from AVX2 upwards: it tests the AVX512F bit of
CPUID leaf 7, then whether the system saves AVX-512's registers (bits 5 to 7 of XCR0), and jumps to the AVX-512 kernels.
In the copy that jump is gone; it is found by the pattern of the machine code. What remains are the kernels for Haswell
to Zen 3, which add 8-bit products up in pairs, in 16 bits that saturate. A processor with AVX-VNNI is refused, for ONNX
Runtime would use that.

Then both ONNX Runtimes read drawn pictures of ten faces with the int8 and the float16 files, in turn, each time in a
fresh process; printed are the medians of the rates.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from facepipe.core.errors import FacepipeError

JUMP = re.compile(
    rb"\xf7.\x00\x00\x01\x00"  # test of a register's bit 16, AVX512F
    rb"\x74."  # not there: on past the jump
    rb"[^\xf7]{3}\x48\xf7."  # the saved registers, inverted
    rb"\xa8\xe0"  # are bits 5 to 7 set
    rb"(\x0f\x84.{4})",  # then to the AVX-512 kernels
    re.DOTALL,
)
NOTHING = b"\x90" * 6
SECONDS, PICTURES, FACES = 6.0, 8, 10
RATE = """
import sys, time
from facepipe import Pipeline
precision, seconds, *files = sys.argv[1:]
pipeline = Pipeline(precision=precision)
list(pipeline.stream(files))
began, done = time.perf_counter(), 0
while time.perf_counter() - began < float(seconds):
    done += sum(1 for _ in pipeline.stream(files))
print(done / (time.perf_counter() - began))
"""


def without_jump(code: bytes) -> bytes:
    """Return a library's bytes without the jump to the AVX-512 kernels.

    Raises:
        FacepipeError: the pattern is not there exactly once.
    """
    found = list(JUMP.finditer(code))
    if len(found) != 1:
        raise FacepipeError(f"the test for AVX-512 was found {len(found)} times: another build of onnxruntime")
    start, end = found[0].span(1)
    return code[:start] + NOTHING + code[end:]


def copy_without_avx512(out: Path) -> None:
    """Copy the installed ONNX Runtime to ``out/onnxruntime``, without AVX-512.

    Raises:
        FacepipeError: this processor or this build does not allow it.
    """
    if " avx_vnni " in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
        raise FacepipeError("this processor has AVX-VNNI, which the copy would still use")
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        raise FacepipeError("onnxruntime is not installed")
    installed = Path(spec.origin).parent
    (library,) = (installed / "capi").glob("onnxruntime_pybind11_state*.so")
    changed = without_jump(library.read_bytes())  # before the copy, so that a refusal leaves none
    shutil.copytree(installed, out / "onnxruntime")
    (out / "onnxruntime" / "capi" / library.name).write_bytes(changed)


def rate(precision: str, files: list[str], first: Path | None) -> float:
    """Pictures per second of a fresh process; ``first`` has the ONNX Runtime to use."""
    environment = os.environ | ({} if first is None else {"PYTHONPATH": str(first)})
    command = [sys.executable, "-P", "-c", RATE, precision, str(SECONDS), *files]
    return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def main(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="Where the copy goes; put it first in PYTHONPATH.")],
    turns: Annotated[int, typer.Option(min=0, help="Turns of the comparison of speeds.")] = 5,
) -> None:
    """Make the copy, and compare speeds."""
    if not (out / "onnxruntime").exists():
        copy_without_avx512(out)
    print(f"{out / 'onnxruntime'}: without AVX-512; run with PYTHONPATH={out}")
    if not turns:
        return
    from study.pictures import draw_files

    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        drawn = draw_files(Path(folder), PICTURES, FACES, 1.0, lambda _: FACES)
        files = [str(path) for path in drawn.paths]
        for _ in range(turns):
            for name, first in (("AVX2", out.resolve()), ("as it is", None)):
                for precision in ("int8", "float16"):
                    found.setdefault(f"{name}, {precision}", []).append(rate(precision, files, first))
    for name, rates in found.items():
        print(f"{name}: {statistics.median(rates):.2f} pictures/s ({min(rates):.2f} to {max(rates):.2f})")
    for name in ("AVX2", "as it is"):
        ratios = [a / b for a, b in zip(found[f"{name}, int8"], found[f"{name}, float16"], strict=True)]
        print(f"{name}, int8 / float16: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    try:
        typer.run(main)
    except (FacepipeError, OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"error: {error}") from error
