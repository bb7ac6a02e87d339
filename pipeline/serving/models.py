"""The models that a server holds, and what a request may choose among them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from ...classifier.inference.classifier import AttributeClassifier
from ...core.cpu import usable_cpus
from ...core.errors import FacepipeError, WeightsError
from ...detector.inference.detector import FaceDetector
from ...weights.manifest import Attribute
from ..classifiers import Classifiers
from ..inputs.image_reader import Frame
from ..pipeline import Pipeline
from ..results import ClassifierUsed, DetectorUsed, Models, Result
from .problems import Refusal

KEPT = 64
"""Pipelines that are kept, by choice and lane, for the next request; they share the models and weigh nothing."""


class Choice(NamedTuple):
    """What looks at a picture; pictures of one choice are analysed together.

    Attributes:
        detector: its version.
        classifiers: their labels (``1.0.0``, ``shirt@0.1.0``).
        confidence: least confidence of a face or a head; None takes the server's.
    """

    detector: str
    classifiers: tuple[str, ...]
    confidence: float | None


class ServedDetector(BaseModel):
    """A detector that requests may name."""

    model_config = ConfigDict(extra="forbid")

    version: str = Field(description="What the query's `detector` takes.")
    sha256: str = Field(description="Of the model file that runs.")
    used: bool = Field(description="Whether it is taken where a request names none.")
    classes: tuple[str, ...]
    confidence: float = Field(description="Least confidence of a face or a head where a request names none.")
    imgsz: int = Field(description="Pixels that a picture's longer side is scaled to.")
    in_results: DetectorUsed = Field(description="How results name it, where a request asks for no confidence.")


class ServedClassifier(BaseModel):
    """A classifier that requests may name."""

    model_config = ConfigDict(extra="forbid")

    version: str = Field(description="What the query's `classifier` takes: `1.0.0`, or `shirt@0.1.0`.")
    sha256: str = Field(description="Of the model file that runs.")
    used: bool = Field(description="Whether it is taken where a request names none.")
    attributes: tuple[Attribute, ...] = Field(description="What it reads of each face.")
    name: str = Field(description="What results call it: `face`, or `shirt`.")
    in_results: ClassifierUsed = Field(description="How results name it.")


class ServedModels(BaseModel):
    """The models of a server."""

    model_config = ConfigDict(extra="forbid")

    facepipe: str = Field(description="The version of facepipe.")
    detectors: tuple[ServedDetector, ...]
    classifiers: tuple[ServedClassifier, ...]


class Served:
    """Models, loaded once, and pipelines of those that a request names.

    On a CPU batches are analysed side by side, each in a lane of its own whose sessions have its share of the threads,
    so that no processor waits for the end of another's batch. A picture that is alone has all threads. On an
    accelerator there is one lane.

    Args:
        base: the pipeline that requests get which name nothing.
        detectors: further detectors that requests may name.
        classifiers: further classifiers.
        threads: as for ``Pipeline``.

    Attributes:
        lanes: how many callers :meth:`run` takes at a time.
    """

    def __init__(
        self,
        base: Pipeline,
        detectors: Sequence[FaceDetector] = (),
        classifiers: Sequence[AttributeClassifier] = (),
        threads: int | None = None,
    ):
        detector, used = base.parts()
        self.detectors = {each.release.label: each for each in (detector, *detectors)}
        self.classifiers = {each.release.label: each for each in (*used.by_name.values(), *classifiers)}
        self.default = Choice(detector.release.label, tuple(e.release.label for e in used.by_name.values()), None)
        self.lanes = base.workers if detector.device == "cpu" else 1
        self._lane_detectors, self._lane_classifiers = dict(self.detectors), dict(self.classifiers)
        if self.lanes > 1:
            share = max(1, (threads or usable_cpus()) // self.lanes)
            self._lane_detectors = {name: each.with_threads(share) for name, each in self.detectors.items()}
            self._lane_classifiers = {name: each.with_threads(share) for name, each in self.classifiers.items()}
        self._pipelines: OrderedDict[tuple[Choice, int | None], Pipeline] = OrderedDict()
        self._lock = threading.Lock()

    def choose(
        self, detector: str | None = None, classifiers: Sequence[str] = (), confidence: float | None = None
    ) -> Choice:
        """What a request asks for.

        Raises:
            Refusal: 400, a version that this server does not have, or classifiers that read the same attribute.
        """
        detector = detector or self.default.detector
        labels = tuple(classifiers) or self.default.classifiers
        _known("detector", detector, self.detectors)
        for label in labels:
            _known("classifier", label, self.classifiers)
        try:
            Classifiers([self.classifiers[label] for label in labels])
        except WeightsError as error:
            # The message names folders of this machine.
            raise Refusal(400, "classifier: those named read an attribute of the same name, or are the same") from error
        if confidence == self.detectors[detector].confidence:
            confidence = None
        return Choice(detector, labels, confidence)

    def models(self, choice: Choice) -> Models:
        """The models of a choice, as results name them."""
        return self._pipeline(choice, None).models

    def run(self, choice: Choice, frames: list[Frame], lane: int | None) -> tuple[list[Result], dict[str, float]]:
        """Analyse frames.

        Args:
            choice: by what.
            frames: BGR, uint8, (height, width, 3).
            lane: the caller's, from 0; None for the only one at work, which has all threads.

        Returns:
            Their results, and the seconds that each stage of the pipeline took.
        """
        pipeline = self._pipeline(choice, lane)
        before = dict(pipeline.stopwatch.seconds)
        results = pipeline.run(frames)
        spent = {stage: total - before.get(stage, 0.0) for stage, total in pipeline.stopwatch.seconds.items()}
        return results, {stage: seconds for stage, seconds in spent.items() if stage not in ("load", "read")}

    def _pipeline(self, choice: Choice, lane: int | None) -> Pipeline:
        """A lane's pipeline of a choice: finds what ``Pipeline(detector, classifiers, confidence=...)`` would."""
        with self._lock:
            pipeline = self._pipelines.pop((choice, lane), None) or self._make(choice, lane)
            self._pipelines[choice, lane] = pipeline  # the last used stands last
            if len(self._pipelines) > KEPT:
                self._pipelines.popitem(last=False)
        return pipeline

    def _make(self, choice: Choice, lane: int | None) -> Pipeline:
        detectors = self.detectors if lane is None else self._lane_detectors
        classifiers = self.classifiers if lane is None else self._lane_classifiers
        detector = detectors[choice.detector]
        if choice.confidence is not None:
            detector = detector.with_confidence(choice.confidence)
        return Pipeline(detector, [classifiers[label] for label in choice.classifiers], workers=self._workers)

    @property
    def _workers(self) -> int | None:
        """Of each pipeline: one, where lanes are what works side by side."""
        return 1 if self.lanes > 1 else None

    def describe(self) -> ServedModels:
        """What ``GET /v1/models`` tells."""
        from ...core.version import __version__

        return ServedModels(
            facepipe=__version__,
            detectors=tuple(self._describe_detector(label) for label in self.detectors),
            classifiers=tuple(self._describe_classifier(label) for label in self.classifiers),
        )

    def _describe_detector(self, label: str) -> ServedDetector:
        detector, used = self.detectors[label], self.models(self.default._replace(detector=label)).detector
        return ServedDetector(
            version=label,
            sha256=used.sha256,
            used=label == self.default.detector,
            classes=detector.classes,
            confidence=detector.confidence,
            imgsz=detector.imgsz,
            in_results=used,
        )

    def _describe_classifier(self, label: str) -> ServedClassifier:
        ((name, used),) = self.models(self.default._replace(classifiers=(label,))).classifiers.items()
        return ServedClassifier(
            version=label,
            sha256=used.sha256,
            used=label in self.default.classifiers,
            attributes=self.classifiers[label].attributes,
            name=name,
            in_results=used,
        )


def load(
    detector: str | None = None,
    classifiers: Sequence[str] = (),
    allowed: Sequence[str] = (),
    device: str = "cpu",
    threads: int | None = None,
    confidence: float | None = None,
    imgsz: int | None = None,
    precision: str = "auto",
) -> Served:
    """Load the models that a server holds.

    Args:
        detector, classifiers: what a request gets that names nothing, as for ``Pipeline``.
        allowed: further versions that requests may name: ``detector@0.1.0``, ``classifier@0.1.0``, ``shirt@0.1.0``.
        device, threads, confidence, imgsz, precision: as for ``Pipeline``, for all of them.

    Raises:
        FacepipeError: as ``Pipeline`` raises, or an allowed version that is not written like that.
    """
    options = {"device": device, "threads": threads, "confidence": confidence, "imgsz": imgsz, "precision": precision}
    base = Pipeline(detector, list(classifiers) or None, **options)  # type: ignore[arg-type]
    first = base.parts()
    at_hand = list(first[1].by_name.values())
    more_detectors: list[FaceDetector] = []
    more_classifiers: list[AttributeClassifier] = []
    for each in allowed:
        stage, _, version = each.partition("@")
        if not stage or not version:
            raise FacepipeError(
                f"--allow-version {each}: expected detector@VERSION, classifier@VERSION or NAME@VERSION"
            )
        if stage == "detector":
            more_detectors.append(Pipeline(version, at_hand, **options).parts()[0])  # type: ignore[arg-type]
        else:
            label = version if stage == "classifier" else each
            pipeline = Pipeline(first[0], label, **options)  # type: ignore[arg-type]
            more_classifiers += pipeline.parts()[1].by_name.values()
    return Served(base, more_detectors, more_classifiers, threads)


def _known(kind: str, label: str, served: Iterable[str]) -> None:
    if label not in served:
        raise Refusal(400, f"{kind}: not a version that is served; there are: {', '.join(served)}")
