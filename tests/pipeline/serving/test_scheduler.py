"""Requests of many clients in one batch, and a queue that has an end."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import numpy as np
import pytest
from facepipe import Pipeline
from facepipe.pipeline.serving.endpoint import Answer

from .conftest import Gated, Live, alike

JPEG = {"content-type": "image/jpeg"}


def until(true: Callable[[], bool]) -> None:
    """Wait for something that another thread does."""
    for _ in range(2000):
        if true():
            return
        time.sleep(0.005)
    raise AssertionError("it did not come")


def figure(live: Live, name: str) -> float:
    lines = httpx2.get(f"{live.url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_requests_are_joined(
    live: Callable[..., Live], gated: Gated, pipeline: Pipeline, photo: Callable[..., np.ndarray], encode: Any
) -> None:
    contents = [encode(".png", photo(seed, 100, 100 + seed)) for seed in range(9)]
    here = live(gated, batch=6)

    def ask(number: int) -> Any:
        conf = "?conf=0.3" if number == 8 else ""
        return httpx2.post(f"{here.url}/v1/detect{conf}", content=contents[number], headers=JPEG)

    with ThreadPoolExecutor(9) as clients:
        first = clients.submit(ask, 0)
        until(gated.entered.is_set)
        others = [clients.submit(ask, number) for number in range(1, 9)]
        until(lambda: figure(here, "facepipe_queue_pictures") == 8)
        gated.gate.set()
        answers = [each.result() for each in (first, *others)]
    expected = [pipeline.run(content) for content in contents]
    for number, (answer, result) in enumerate(zip(answers, expected, strict=True)):
        (got,) = Answer.model_validate_json(answer.content).results
        assert alike(got, result) == (number != 8)  # the last has a confidence of its own
    # One, then six together, then two; the one with another confidence is analysed by itself.
    assert sorted(gated.sizes) in ([1, 1, 1, 6], [1, 1, 2, 5])
    assert figure(here, "facepipe_batch_pictures_count") == 3
    assert figure(here, "facepipe_batch_pictures_sum") == 9
    assert figure(here, "facepipe_pictures_total") == 9
    for stage in ("queue", "decode", "detect", "classify"):
        assert figure(here, f'facepipe_stage_seconds_count{{stage="{stage}"}}') >= 1


@pytest.mark.parametrize(("window", "sizes"), [(5.0, [4]), (0.0, None)])
def test_a_picture_waits_for_others(
    live: Callable[..., Live], gated: Gated, encode: Any, window: float, sizes: list[int] | None
) -> None:
    gated.gate.set()
    here = live(gated, batch=4, window=window)
    with ThreadPoolExecutor(4) as clients:
        asked = [
            clients.submit(httpx2.post, f"{here.url}/v1/detect", content=encode(".jpg"), headers=JPEG) for _ in range(4)
        ]
        assert [each.result().status_code for each in asked] == [200] * 4
    assert sum(gated.sizes) == 4
    assert sizes in (None, gated.sizes)


def test_lanes_share_what_is_ready(live: Callable[..., Live], pipeline: Pipeline, photo: Any, encode: Any) -> None:
    models = Gated(pipeline, lanes=2)
    models.gate.set()
    here = live(models, batch=8, window=0.5)
    contents = [encode(".png", photo(seed)) for seed in range(6)]
    files = [("file", content) for content in contents]
    answer = Answer.model_validate_json(httpx2.post(f"{here.url}/v1/detect", files=files).content)
    assert models.sizes == [3, 3]
    expected = [pipeline.run(content) for content in contents]
    assert all(map(alike, answer.results, expected))


def test_a_full_queue(live: Callable[..., Live], gated: Gated, encode: Any) -> None:
    here = live(gated, queue=4, max_files=4, batch=1)

    def ask(count: int) -> Any:
        return httpx2.post(f"{here.url}/v1/detect", files=[("file", encode(".jpg"))] * count)

    with ThreadPoolExecutor(4) as clients:
        first = clients.submit(ask, 1)
        until(gated.entered.is_set)
        second = clients.submit(ask, 3)
        until(lambda: figure(here, "facepipe_queue_pictures") == 3)
        refused = ask(2)
        assert (refused.status_code, refused.json()["code"]) == (503, "queue-full")
        assert int(refused.headers["retry-after"]) >= 1
        third = clients.submit(ask, 1)
        until(lambda: figure(here, "facepipe_queue_pictures") == 4)
        assert ask(1).status_code == 503
        assert httpx2.get(f"{here.url}/readyz").status_code == 200
        gated.gate.set()
        assert [len(each.result().json()["results"]) for each in (first, second, third)] == [1, 3, 1]
    assert figure(here, 'facepipe_refused_total{code="queue-full"}') == 2
    assert ask(4).status_code == 200


def test_a_fault_takes_only_its_own_request_down(
    live: Callable[..., Live], gated: Gated, photo: Any, encode: Any
) -> None:
    gated.faulty = lambda frames: any(frame.shape[1] == 77 for frame in frames)
    here = live(gated, batch=4)

    def ask(width: int) -> int:
        content = encode(".png", photo(0, 80, width))
        return httpx2.post(f"{here.url}/v1/detect", content=content, headers=JPEG).status_code

    with ThreadPoolExecutor(4) as clients:
        first = clients.submit(ask, 80)
        until(gated.entered.is_set)
        others = [clients.submit(ask, width) for width in (81, 77, 82)]
        until(lambda: figure(here, "facepipe_queue_pictures") == 3)
        gated.gate.set()
        assert [each.result() for each in (first, *others)] == [200, 200, 500, 200]


def test_frames_of_large_pictures_are_not_decoded_ahead(
    live: Callable[..., Live], gated: Gated, encode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from facepipe.pipeline.serving import scheduler as batcher

    monkeypatch.setattr(batcher, "PIXELS", 20_000)  # a picture has 19,200
    here = live(gated, batch=8, decoders=1, window=0.0)
    with ThreadPoolExecutor(6) as clients:
        asked = [
            clients.submit(httpx2.post, f"{here.url}/v1/detect", content=encode(".jpg"), headers=JPEG) for _ in range(6)
        ]
        until(lambda: figure(here, "facepipe_queue_pictures") >= 4)
        time.sleep(0.05)
        assert figure(here, 'facepipe_stage_seconds_count{stage="decode"}') <= 2
        gated.gate.set()
        assert [each.result().status_code for each in asked] == [200] * 6
