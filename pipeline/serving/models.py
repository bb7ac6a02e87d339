"""The models that a server holds, and which of them a request may choose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from ...classifier.inference.classifier import AttributeClassifier
from ...core.cpu import usable_cpus
from ...core.errors import FacepipeError, WeightsError
from ...core.version import __version__
from ...detector.inference.detector import FaceDetector
from ...weights.manifest import Attribute
from ..classifiers import Classifiers
from ..inputs.image_reader import DEFAULT_LIMITS, Limits
from ..pipeline import Pipeline
from ..results import ClassifierUsed, DetectorUsed
from ..stages import Parts, Stages, Stopwatch
from .problems import Refusal


class Choice(NamedTuple):
    """The models that analyse a picture. Crops from pictures with the same choice are classified together.

    Attributes:
        detector: its version.
        classifiers: their labels (``1.0.0``, ``shirt@0.1.0``).
        confidence: minimum confidence of a face or a head; None takes the server's.
    """

    detector: str
    classifiers: tuple[str, ...]
    confidence: float | None


class ServedDetector(BaseModel):
    """A detector that requests may name."""

    model_config = ConfigDict(extra="forbid")

    version: str = Field(description="Value for the query's `detector`.")
    sha256: str = Field(description="Of the model file that runs.")
    used: bool = Field(description="Whether it is used when a request names none.")
    classes: tuple[str, ...]
    confidence: float = Field(description="Minimum confidence of a face or head when a request gives none.")
    imgsz: int = Field(description="Pixels that a picture's longer side is scaled to.")
    in_results: DetectorUsed = Field(description="How results name it when a request gives no confidence.")


class ServedClassifier(BaseModel):
    """A classifier that requests may name."""

    model_config = ConfigDict(extra="forbid")

    version: str = Field(description="Value for the query's `classifier`: `1.0.0`, or `shirt@0.1.0`.")
    sha256: str = Field(description="Of the model file that runs.")
    used: bool = Field(description="Whether it is used when a request names none.")
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
    """The loaded models, and the stages that requests build from them.

    Args:
        base: the pipeline for requests that name no models.
        detectors: further detectors that requests may name.
        classifiers: further classifiers.
        threads: as for ``Pipeline``.
        check_faces: False ignores the face checks of the classifiers.

    Attributes:
        default: the choice for requests that name nothing.
    """

    def __init__(
        self,
        base: Pipeline,
        detectors: Sequence[FaceDetector] = (),
        classifiers: Sequence[AttributeClassifier] = (),
        threads: int | None = None,
        check_faces: bool = True,
    ):
        detector, used = base.parts()
        self.detectors = {each.release.label: each for each in (detector, *detectors)}
        self.classifiers = {each.release.label: each for each in (*used.by_name.values(), *classifiers)}
        self.default = Choice(detector.release.label, tuple(e.release.label for e in used.by_name.values()), None)
        self._workers, self._threads, self._check_faces = base.workers, threads, check_faces
        self._shared_detectors, self._shared_classifiers = self.detectors, self.classifiers
        if self._workers > 1 and detector.device == "cpu":
            share = max(1, (threads or usable_cpus()) // self._workers)
            self._shared_detectors = {name: each.with_threads(share) for name, each in self.detectors.items()}
            self._shared_classifiers = {name: each.with_threads(share) for name, each in self.classifiers.items()}

    def choose(
        self, detector: str | None = None, classifiers: Sequence[str] = (), confidence: float | None = None
    ) -> Choice:
        """Resolve what a request asks for.

        Args:
            detector: a version; None takes the server's.
            classifiers: versions; empty takes the server's.
            confidence: minimum confidence of a face or a head, 0 to 1; None takes the server's.

        Raises:
            Refusal: 400, a version that this server does not have, classifiers that read the same attribute, or a
                confidence below the server's own, which would yield blank pictures full of faces to classify.
        """
        detector = detector or self.default.detector
        labels = tuple(classifiers) or self.default.classifiers
        _known("detector", detector, self.detectors)
        for label in labels:
            _known("classifier", label, self.classifiers)
        try:
            Classifiers([self.classifiers[label] for label in labels])
        except WeightsError as error:
            # The error message names folders on this machine.
            raise Refusal(400, "classifier: two of them are the same, or read an attribute of the same name") from error
        least = self.detectors[detector].confidence
        if confidence is not None and confidence < least:
            raise Refusal(400, f"conf: must be at least {least:g}, this server's own minimum")
        if confidence == least:
            confidence = None
        return Choice(detector, labels, confidence)

    def stages(self, choice: Choice, limits: Limits = DEFAULT_LIMITS, stopwatch: Stopwatch | None = None) -> Stages:
        """The stages that ``Pipeline(detector, classifiers, confidence=...)`` would use. Cheap to create.

        Args:
            choice: the models and the confidence.
            limits: on the pictures to read.
            stopwatch: collects the timings.
        """
        return Stages(
            _parts(choice, self.detectors, self.classifiers, self._check_faces),
            workers=self._workers,
            threads=self._threads,
            limits=limits,
            stopwatch=stopwatch,
            shared=_parts(choice, self._shared_detectors, self._shared_classifiers, self._check_faces),
        )

    def describe(self) -> ServedModels:
        """The response of ``GET /v1/models``."""
        return ServedModels(
            facepipe=__version__,
            detectors=tuple(self._describe_detector(label) for label in self.detectors),
            classifiers=tuple(self._describe_classifier(label) for label in self.classifiers),
        )

    def _describe_detector(self, label: str) -> ServedDetector:
        detector, used = self.detectors[label], self.stages(self.default._replace(detector=label)).models.detector
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
        ((name, used),) = self.stages(self.default._replace(classifiers=(label,))).models.classifiers.items()
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
    face_check: bool = True,
) -> Served:
    """Load the models that a server holds.

    Args:
        detector, classifiers: the defaults for requests that name none, as for ``Pipeline``.
        allowed: further versions that requests may name: ``detector@0.1.0``, ``classifier@0.1.0``, ``shirt@0.1.0``.
        device, threads, confidence, imgsz, precision, face_check: as for ``Pipeline``, for all models.

    Raises:
        FacepipeError: as ``Pipeline`` raises, or an allowed version in another format.
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
    return Served(base, more_detectors, more_classifiers, threads, face_check)


def _parts(
    choice: Choice,
    detectors: Mapping[str, FaceDetector],
    classifiers: Mapping[str, AttributeClassifier],
    check_faces: bool,
) -> Parts:
    detector = detectors[choice.detector]
    if choice.confidence is not None:
        detector = detector.with_confidence(choice.confidence)
    return Parts(detector, Classifiers([classifiers[label] for label in choice.classifiers], check_faces=check_faces))


def _known(kind: str, label: str, served: Iterable[str]) -> None:
    if label not in served:
        raise Refusal(400, f"{kind}: not a version that is served; there are: {', '.join(served)}")
