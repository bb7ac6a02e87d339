"""The sentences that go with the tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from facepipe.pipeline.evaluation.metrics import Figures
from facepipe.pipeline.evaluation.tables import sentences

from .conftest import hand_made


def test_a_low_overlap_is_told(tmp_path: Path) -> None:
    seen = hand_made(tmp_path)
    assert not any("convention" in line for line in sentences(seen, Figures(seen)))
    seen.overlap[:] = np.where(np.isnan(seen.overlap), np.nan, 0.6)
    assert any("another convention" in line for line in sentences(seen, Figures(seen)))
