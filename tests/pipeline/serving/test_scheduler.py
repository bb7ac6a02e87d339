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
from facepipe.pipeline import queues
from facepipe.pipeline.serving.endpoint import Answer
from facepipe.pipeline.serving.models import Served, load
from facepipe.pipeline.serving.scheduler import FaceBudget
from facepipe.pipeline.stream import UNREAD
from facepipe.weights.release import Release

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
    live: Callable[..., Live], pipeline: Pipeline, photo: Callable[..., np.ndarray], encode: Any
) -> None:
    """Where the detector takes several pictures; those with a confidence of their own are looked at by themselves."""
    gated = Gated(pipeline, together=True)
    contents = [encode(".png", photo(seed, 100, 100 + seed)) for seed in range(9)]
    here = live(gated, batch=6)

    def ask(number: int) -> Any:
        conf = "?conf=0.6" if number == 8 else ""
        return httpx2.post(f"{here.url}/v1/detect{conf}", content=contents[number], headers=JPEG)

    with ThreadPoolExecutor(9) as clients:
        first = clients.submit(ask, 0)
        until(gated.entered.is_set)
        others = [clients.submit(ask, number) for number in range(1, 9)]
        until(lambda: figure(here, 'facepipe_stage_seconds_count{stage="decode"}') == 9)
        gated.gate.set()
        answers = [each.result() for each in (first, *others)]
    expected = [pipeline.run(content) for content in contents]
    for number, (answer, result) in enumerate(zip(answers, expected, strict=True)):
        (got,) = Answer.model_validate_json(answer.content).results
        assert alike(got, result) == (number != 8)  # the last has a confidence of its own
    assert sorted(gated.sizes) == [1, 1, 1, 6]
    assert figure(here, "facepipe_batch_pictures_count") == 4
    assert figure(here, "facepipe_batch_pictures_sum") == 9
    assert figure(here, "facepipe_pictures_total") == 9
    for stage in ("queue", "decode", "detect", "classify"):
        assert figure(here, f'facepipe_stage_seconds_count{{stage="{stage}"}}') >= 1


def test_a_picture_that_is_alone_waits_for_no_other(live: Callable[..., Live], pipeline: Pipeline, encode: Any) -> None:
    gated = Gated(pipeline, together=True)
    gated.gate.set()
    here = live(gated, batch=4, window=30.0)
    assert httpx2.post(f"{here.url}/v1/detect", content=encode(".jpg"), headers=JPEG, timeout=20).status_code == 200
    assert gated.sizes == [1]


def test_the_servers_models_are_used_alone_and_together(
    live: Callable[..., Live], detector_release: Release, classifier_release: Release, photo: Any, encode: Any
) -> None:
    """Many requests at once, on two workers, each get what ``Pipeline.run`` gives."""
    folders = detector_release.folder, classifier_release.folder
    here = live(load(str(folders[0]), [str(folders[1])], threads=2))
    contents = [encode(".png", photo(seed, 80 + seed, 120)) for seed in range(24)]

    def ask(content: bytes) -> Any:
        return httpx2.post(f"{here.url}/v1/detect", content=content, headers=JPEG)

    with ThreadPoolExecutor(8) as clients, Pipeline(*folders) as pipeline:
        answers = [*clients.map(ask, contents), *map(ask, contents)]
        expected = 2 * [pipeline.run(content) for content in contents]
    got = [Answer.model_validate_json(answer.content).results[0] for answer in answers]
    assert all(map(alike, got, expected))
    assert sum(len(result.faces) for result in got) > 0


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
    monkeypatch.setattr(queues, "PIXELS", 40_000)  # a picture has 19,200
    here = live(gated, decoders=2)
    with ThreadPoolExecutor(6) as clients:
        asked = [
            clients.submit(httpx2.post, f"{here.url}/v1/detect", content=encode(".jpg"), headers=JPEG) for _ in range(6)
        ]
        until(lambda: figure(here, "facepipe_queue_pictures") == 5)
        time.sleep(0.05)
        assert figure(here, 'facepipe_stage_seconds_count{stage="decode"}') == 2
        gated.gate.set()
        assert [each.result().status_code for each in asked] == [200] * 6


def test_faces_are_bounded_by_picture_and_by_request() -> None:
    budget = FaceBudget(10, 25)
    assert [budget.take(wanted) for wanted in (4, 100, 9, 9, 3)] == [4, 10, 9, 2, 0]


def test_faces_beyond_the_bound_have_a_reason(
    live: Callable[..., Live], served: Served, photo: Any, encode: Any
) -> None:
    here, free = live(served, max_faces=1, max_request_faces=2), live(served)
    files = [("file", encode(".png", photo(0)))] * 3
    got, whole = (
        Answer.model_validate_json(httpx2.post(f"{each.url}/v1/detect", files=files).content).results
        for each in (here, free)
    )
    assert all(len(result.faces) > 1 for result in whole)
    for result, other in zip(got, whole, strict=True):
        assert [face.box for face in result.faces] == [face.box for face in other.faces]
    read = [[face.attributes is not None for face in result.faces] for result in got]
    assert sorted(map(sum, read)) == [0, 1, 1]
    assert all(each == sorted(each, reverse=True) for each in read), "the most confident ones"
    reasons = {face.reason for result in got for face in result.faces if face.attributes is None}
    assert reasons == {UNREAD}


def test_work_that_nobody_waits_for_ends_between_batches(live: Callable[..., Live], gated: Gated, encode: Any) -> None:
    here = live(gated)
    files = [("file", encode(".png"))] * 20
    with here.connect() as connection:
        request = httpx2.Request("POST", f"{here.url}/v1/detect", files=files)
        body = request.read()
        kind = request.headers["content-type"]
        head = f"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        until(gated.entered.is_set)
    until(lambda: here.app.state.detection.in_flight == 0)
    gated.gate.set()
    assert httpx2.post(f"{here.url}/v1/detect", content=encode(".jpg"), headers=JPEG).status_code == 200
    assert gated.sizes == [1, 1]
    assert figure(here, "facepipe_upload_bytes") == 0
