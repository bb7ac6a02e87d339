"""Servers of random models: within the process, and listening on a port."""

from __future__ import annotations

import copy
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from facepipe import Pipeline
from facepipe.classifier.inference.attributes import PointsValue
from facepipe.detector.inference.boxes import Detections
from facepipe.pipeline.inputs.image_reader import DEFAULT_LIMITS, Frame, Limits
from facepipe.pipeline.results import Result
from facepipe.pipeline.serving.app import create_app
from facepipe.pipeline.serving.models import Choice, Served, load
from facepipe.pipeline.serving.server import Server, listen
from facepipe.pipeline.serving.settings import Settings
from facepipe.pipeline.stages import Parts, Stages, Stopwatch
from facepipe.weights.release import Release
from starlette.testclient import TestClient

NO_PAGE = Path("no-page")
NEAR = {False: 1e-4, True: 0.0101}
"""How far attributes may lie apart, and points."""


class Gated(Served):
    """Models that begin to look at pictures only when ``gate`` is open, and note how many were in each call.

    Args:
        base: its models.
        together: have the detector take several pictures in a call, as on an accelerator.
    """

    def __init__(self, base: Pipeline, together: bool = False):
        super().__init__(base)
        self.together = together
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.sizes: list[int] = []
        self.faulty: Callable[[Sequence[Frame]], bool] = lambda frames: False

    def stages(self, choice: Choice, limits: Limits = DEFAULT_LIMITS, stopwatch: Stopwatch | None = None) -> Stages:
        made = super().stages(choice, limits, stopwatch)
        parts = [self._behind_the_gate(each) for each in (made.parts(), made.shared_parts()) if each is not None]
        stages = Stages(parts[0], workers=made.workers, limits=limits, stopwatch=stopwatch, shared=parts[-1])
        stages.models = made.models
        return stages

    def _behind_the_gate(self, parts: Parts) -> Parts:
        detector = copy.copy(parts.detector)
        detector.device = "cuda" if self.together else detector.device
        real = parts.detector.detect

        def detect(frames: Sequence[Frame]) -> list[Detections]:
            self.entered.set()
            assert self.gate.wait(20)
            self.sizes.append(len(frames))
            if self.faulty(frames):
                raise RuntimeError("a fault of the model's")
            return real(frames)

        detector.detect = detect  # type: ignore[method-assign]
        return Parts(detector, parts.classifiers)


class Live:
    """A server that listens on a port of its own, in a thread.

    Attributes:
        url: ``http://127.0.0.1:port``.
        server: the server.
        served: its models.
    """

    def __init__(self, served: Served, settings: Settings, page: Path = NO_PAGE):
        self.served = served
        self.socket = listen("127.0.0.1", 0)
        self.address: tuple[str, int] = self.socket.getsockname()
        self.url = "http://{}:{}".format(*self.address)
        self.app = create_app(served, settings, page)
        self.server = Server(self.app, settings)
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],))

    def connect(self, timeout: float = 10) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(self.address, timeout)


def alike(got: Result, expected: Result) -> bool:
    """The same faces and heads to the last digit, and attributes but for it: their crops were in other batches.

    Points are rounded to a hundredth of a pixel, so one that lies between two of them may go to either.
    """

    def bare(result: Result) -> Any:
        return result.model_dump(exclude={"source": True, "faces": {"__all__": {"attributes"}}})

    def values(result: Result, points: bool) -> dict[str, Any]:
        return {
            f"{number} {name} {place}": value
            for number, face in enumerate(result.faces)
            for name, attribute in (face.attributes or {}).items()
            for place, value in _flat(attribute.model_dump()).items()
            if isinstance(attribute, PointsValue) == points
        }

    near = [values(got, points) == pytest.approx(values(expected, points), abs=least) for points, least in NEAR.items()]
    return bool(bare(got) == bare(expected) and all(near))


def _flat(value: Any, place: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, tuple):
        items = dict(enumerate(value)).items()
    else:
        return {place: value}
    return {name: each for key, part in items for name, each in _flat(part, f"{place}.{key}").items()}


@contextmanager
def running(served: Served, settings: Settings, page: Path = NO_PAGE) -> Iterator[Live]:
    live = Live(served, settings, page)
    live.thread.start()
    try:
        while not live.server.started:
            assert live.thread.is_alive()
        yield live
    finally:
        if isinstance(served, Gated):
            served.gate.set()
        live.server.stop()
        live.thread.join(20)
        assert not live.thread.is_alive()


@pytest.fixture(scope="session")
def pipeline(detector_release: Release, classifier_release: Release) -> Pipeline:
    """A pipeline of the random models, with one worker."""
    return Pipeline(detector_release.folder, classifier_release.folder, threads=2, workers=1)


@pytest.fixture(scope="session")
def served(detector_release: Release, classifier_release: Release) -> Served:
    """The random models."""
    return load(str(detector_release.folder), [str(classifier_release.folder)], threads=2)


@pytest.fixture
def gated(pipeline: Pipeline) -> Iterator[Gated]:
    """The random models behind a gate, which is closed; one picture at a time."""
    models = Gated(pipeline)
    yield models
    models.gate.set()


@pytest.fixture
def client(served: Served) -> Iterator[Callable[..., TestClient]]:
    """``client(max_files=2)``: a client of a server with such settings, within this process."""
    with ExitStack() as stack:

        def make(models: Served = served, page: Path = NO_PAGE, **settings: Any) -> TestClient:
            app = create_app(models, Settings(**settings), page)
            return stack.enter_context(TestClient(app, raise_server_exceptions=False))

        yield make


@pytest.fixture
def live(served: Served) -> Iterator[Callable[..., Live]]:
    """``live(header_timeout=1)``: a server with such settings, listening."""
    with ExitStack() as stack:
        yield lambda models=served, **settings: stack.enter_context(running(models, Settings(**settings)))
