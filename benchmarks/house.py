"""Figures about the package: modules, lines, import cycles, the fullest folder, and the files a picture passes.

``python benchmarks/house.py`` prints them. A file counts as passed if one of its functions is called; being imported
does not count.
"""

from __future__ import annotations

import ast
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("core", "weights", "detector", "classifier", "pipeline")
PICTURE = ROOT / "examples" / "astronaut.jpg"


def modules() -> list[Path]:
    """The package's files, without any ``__init__.py`` that holds only a docstring."""
    files = [ROOT / "__init__.py", *(path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")))]
    return [path for path in files if path.name != "__init__.py" or len(ast.parse(path.read_text("utf-8")).body) > 1]


def lines() -> int:
    """Lines of the package."""
    return sum(len(path.read_text("utf-8").splitlines()) for path in modules())


def fullest_folder() -> tuple[str, int]:
    """The folder with the most modules, and their number."""
    ((folder, count),) = Counter(str(path.parent.relative_to(ROOT)) for path in modules()).most_common(1)
    return folder, count


def files_passed(call: Callable[[], Any]) -> list[str]:
    """The package's files with a function that is called while ``call`` runs, on any thread that it starts."""
    passed: set[str] = set()
    rooms = tuple(f"{ROOT / room}{os.sep}" for room in ROOMS)
    files: dict[str, str] = {}

    def file_of(code: CodeType) -> str:
        return files.setdefault(code.co_filename, os.path.realpath(code.co_filename))

    def importing(frame: FrameType | None) -> bool:
        while frame is not None:
            if frame.f_code.co_name == "<module>" and file_of(frame.f_code).startswith(rooms):
                return True
            frame = frame.f_back
        return False

    def profile(frame: FrameType, event: str, argument: object) -> None:
        if event != "call":
            return
        name = file_of(frame.f_code)
        if name.startswith(rooms) and name not in passed and not importing(frame):
            passed.add(name)

    before = sys.getprofile()
    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(before)
        threading.setprofile(None)
    return sorted(os.path.relpath(name, ROOT) for name in passed)


def passed_by_run() -> list[str]:
    """Files passed by ``Pipeline.run`` of one picture, with the models already open."""
    from facepipe import Pipeline

    with Pipeline() as pipeline:
        pipeline.run(PICTURE)
        return files_passed(lambda: pipeline.run(PICTURE))


def passed_by_detect() -> list[str]:
    """Files passed by ``facepipe detect photo.jpg``, from the command line to the table."""
    from contextlib import redirect_stdout, suppress
    from io import StringIO

    from facepipe.pipeline.cli import main

    def detect() -> None:
        with suppress(SystemExit), redirect_stdout(StringIO()):
            main(["detect", str(PICTURE)])

    return files_passed(detect)


def circles() -> list[list[str]]:
    """Import cycles, as ``tests/test_architecture.py`` finds them."""
    spec = spec_from_file_location("architecture", ROOT / "tests" / "test_architecture.py")
    assert spec is not None
    assert spec.loader is not None
    architecture = module_from_spec(spec)
    spec.loader.exec_module(architecture)
    found: list[list[str]] = architecture.circles(architecture.GRAPH)
    return found


def main() -> None:
    """Print the figures, and the files by name."""
    folder, count = fullest_folder()
    run, detect = passed_by_run(), passed_by_detect()
    print(f"modules                        {len(modules())}")
    print(f"lines without tests            {lines():,}")
    print(f"circles of imports             {len(circles())}")
    print(f"modules in the fullest folder  {count} ({folder})")
    print(f"files passed by Pipeline.run   {len(run)}\n  " + "\n  ".join(run))
    print(f"files passed by detect         {len(detect)}\n  " + "\n  ".join(detect))


if __name__ == "__main__":
    main()
