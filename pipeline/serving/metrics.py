"""The server's counters and timings, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Upper bounds of the time histograms."""


class Metrics:
    """The metrics of one server, in their own registry.

    Attributes:
        requests: by path, method and status. Unknown paths are counted as ``other``.
        request_seconds: from a request's headers to its response, by path.
        pictures: by outcome: ``done``, ``unreadable``.
        faces: faces found.
        stage_seconds: by stage: ``queue`` and ``decode`` per picture, the pipeline's own stages per batch.
        batch: pictures per batch.
        refused: refused requests, by problem code.
    """

    def __init__(self, batch: int):
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "facepipe_requests", "Requests answered.", ["path", "method", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "facepipe_request_seconds", "Time to answer.", ["path"], buckets=SECONDS, registry=self.registry
        )
        self.pictures = Counter("facepipe_pictures", "Pictures looked at.", ["outcome"], registry=self.registry)
        self.faces = Counter("facepipe_faces", "Faces found.", registry=self.registry)
        self.stage_seconds = Histogram(
            "facepipe_stage_seconds", "Time in a stage.", ["stage"], buckets=SECONDS, registry=self.registry
        )
        sizes = [size for size in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128) if size < batch]
        self.batch = Histogram(
            "facepipe_batch_pictures", "Pictures in a batch.", buckets=[*sizes, batch], registry=self.registry
        )
        self.refused = Counter("facepipe_refused", "Requests refused.", ["code"], registry=self.registry)

    def watch(self, name: str, text: str, value: Callable[[], int]) -> None:
        """Add a gauge that is read each time the metrics are collected.

        Args:
            name: of the gauge.
            text: its description.
            value: returns the current value.
        """
        Gauge(name, text, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
