"""The scripts of benchmarks/ import their plain modules as a script does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
