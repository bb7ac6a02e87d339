"""benchmarks/house.py: how many files a picture passes on its way stays bounded."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
BOUNDS = {"Pipeline.run": 13, "detect": 28}
"""Files that a picture passes at the most; 17 and 38 before the rooms."""


@pytest.fixture(scope="module")
def report() -> str:
    """What the script prints, from a process in which nothing is loaded yet."""
    script = str(ROOT / "benchmarks" / "house.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("way", BOUNDS)
def test_a_picture_passes_few_files(report: str, way: str) -> None:
    found = re.search(rf"^files passed by {re.escape(way)} +(\d+)\n((?:  .+\n)+)", report, re.M)
    assert found is not None
    files = found[2].split()
    assert len(files) == int(found[1])
    assert "pipeline/two_stage.py" in files
    assert all((ROOT / name).is_file() for name in files)
    assert len(files) <= BOUNDS[way], "\n".join(files)


def test_the_other_figures(report: str) -> None:
    figures = dict(re.findall(r"^(\S.+?)  +([\d,]+)", report, re.M))
    assert int(figures["circles of imports"]) == 0
    assert 1 < int(figures["modules in the fullest folder"]) <= 25
    assert int(figures["modules"]) > 100
    assert int(figures["lines without tests"].replace(",", "")) > 10_000
