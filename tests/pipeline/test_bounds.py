"""Numbers that would take all memory are refused in one line, in Python as on the command line."""

from __future__ import annotations

import math
from typing import Any

import pytest
from facepipe import Pipeline
from facepipe.core.errors import FacepipeError
from facepipe.pipeline.video.options import VideoOptions


@pytest.mark.usefixtures("tiny_weights")
@pytest.mark.parametrize(
    "options",
    [
        {"imgsz": 100_000},
        {"tiles": 100_000},
        {"threads": 100_000},
        {"threads": 0},
        {"workers": 100_000},
        {"workers": 0},
    ],
)
def test_a_pipeline(options: dict[str, Any]) -> None:
    with pytest.raises(FacepipeError) as raised:
        Pipeline(**options)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("seconds", [math.inf, math.nan, 0.0, -1.0])
def test_a_videos_seconds(seconds: float) -> None:
    with pytest.raises(FacepipeError, match="seconds"):
        VideoOptions(seconds=seconds)
