"""Results made again: a sample of a file's pictures through the very models that it names, then and now compared."""

from __future__ import annotations

import os
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain, groupby
from pathlib import Path
from typing import Literal

from ...classifier.inference.classifier import AttributeClassifier
from ...core.cpu import has_vnni, usable_cpus
from ...core.errors import DataError, DeviceError, MissingExtraError, WeightsError
from ...core.version import __version__
from ...detector.inference.detector import FaceDetector
from ...weights.manifest import FileEntry, Stage
from ...weights.release import FACE, Release, joined
from ...weights.store import find
from ..inputs.sources import LIVE, VIDEO_SUFFIXES, is_url
from ..pipeline import Pipeline
from ..results import Models, ModelUsed, Result
from .compare import Difference, Tolerance, compare, tolerance_of
from .rows import Recorded, read_recorded

Verdict = Literal["identical", "within tolerance", "different", "changed", "missing", "not run"]
"""Of a picture: as it was; nearly, see ``compare``; not as it was; the picture is another one now (its SHA-256);
it is not there; or its models are not here."""
GOOD: tuple[Verdict, ...] = ("identical", "within tolerance")
VERDICTS: tuple[Verdict, ...] = (*GOOD, "different", "changed", "missing", "not run")
SAMPLE = 50
SHORT = 12
"""Digits of a SHA-256 that are shown."""
ARRAY, BUCKET, URL, VIDEO = (
    "without a path",
    "of a picture in a bucket",
    "of a picture with a URL (--allow-url fetches it)",
    "of a frame of a video",
)
"""Why a result is not made again. What is said of a face in a video comes from the frames before it, too."""


@dataclass(frozen=True)
class Checked:
    """One picture that was looked at again.

    Attributes:
        source: as the results name it.
        where: file and line or row.
        verdict: what came of it.
        told: why it was not run, or cannot be; empty otherwise.
        differences: from what was said then.
    """

    source: str
    where: str
    verdict: Verdict
    told: str = ""
    differences: tuple[Difference, ...] = ()


@dataclass
class Report:
    """What came of a file of results.

    Attributes:
        results: the file.
        facepipe: the version that looked again.
        pictures: in the file, those that can be made again; ``skipped`` counts the other results by the reason.
        seed: of the sample; None where all were looked at.
        checked: the sample, in the file's order.
        notes: what can be said of the models and versions as a whole.
        recipe_differs: a classifier of that name and file has another crop recipe here.
    """

    results: str
    facepipe: str = __version__
    pictures: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    seed: int | None = None
    checked: list[Checked] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    recipe_differs: bool = False

    @property
    def counts(self) -> dict[Verdict, int]:
        """Pictures by verdict."""
        return {verdict: sum(each.verdict == verdict for each in self.checked) for verdict in VERDICTS}

    @property
    def largest(self) -> dict[str, float]:
        """The largest difference in each measure (``px``, ``share``, ``range``), of all pictures that were run."""
        found = {"px": 0.0, "share": 0.0, "range": 0.0}
        for picture in self.checked:
            for each in picture.differences:
                if each.measure in found:
                    found[each.measure] = max(found[each.measure], each.amount)
        return found

    @property
    def differs(self) -> bool:
        """Whether something is not as it was."""
        return self.recipe_differs or any(each.verdict in ("different", "changed", "missing") for each in self.checked)


@dataclass(frozen=True)
class VerifyOptions:
    """How a file is verified.

    Attributes:
        sample: pictures at most; None for all.
        seed: the same one takes the same pictures.
        root: folder that relative paths begin in; None: the current one.
        device: where the models run; None: where they ran.
        threads: see ``Pipeline``.
        allow_url: fetch pictures again that came from URLs.
    """

    sample: int | None = SAMPLE
    seed: int = 0
    root: Path | None = None
    device: str | None = None
    threads: int | None = None
    allow_url: bool = False


def verify(
    path: Path, options: VerifyOptions, progress: Callable[[int, int], None] = lambda done, total: None
) -> Report:
    """Run a sample of a file's pictures again, and compare.

    The file is read twice: every line is checked, and then those of the sample are taken.

    Args:
        path: ``.jsonl``, ``.csv`` or ``.parquet`` as ``facepipe detect`` writes them.
        options: the options.
        progress: called with pictures done and their number.

    Raises:
        DataError: the file holds no results, or a damaged line, or nothing that can be run again.
        FacepipeError: it cannot be read.
        MissingExtraError: Parquet, and pyarrow is not installed.
    """
    report = Report(str(path))
    for each in read_recorded(path):
        reason = _passed_over(each, options)
        if reason is None:
            report.pictures += 1
        else:
            report.skipped[reason] = report.skipped.get(reason, 0) + 1
    if not report.pictures:
        skipped = ", ".join(f"{count:,} {reason}" for reason, count in report.skipped.items())
        raise DataError(f"{path}: holds no picture that can be run again: {skipped}")
    total = report.pictures if options.sample is None else min(options.sample, report.pictures)
    for _, alike in groupby(_sample(path, options, report), key=lambda each: each.models.model_dump_json()):
        for checked in _run(alike, options, report):
            report.checked.append(checked)
            progress(len(report.checked), total)
    return report


def _passed_over(recorded: Recorded, options: VerifyOptions) -> str | None:
    """Why a result is not made again, None where it can be."""
    source = recorded.source
    if source is None:
        return VIDEO if recorded.frame else ARRAY
    if recorded.frame or LIVE.match(source) or os.path.splitext(source)[1].lower() in VIDEO_SUFFIXES:
        return VIDEO
    if is_url(source):
        return None if options.allow_url else URL
    return BUCKET if "://" in source else None


def _sample(path: Path, options: VerifyOptions, report: Report) -> Iterator[Recorded]:
    """Some of the pictures, in the file's order, each with the same chance."""
    chosen = None
    if options.sample is not None and options.sample < report.pictures:
        report.seed = options.seed
        chosen = set(random.Random(options.seed).sample(range(report.pictures), options.sample))
    pictures = (each for each in read_recorded(path) if _passed_over(each, options) is None)
    for number, each in enumerate(pictures):
        if chosen is None or number in chosen:
            yield each


def _run(alike: Iterator[Recorded], options: VerifyOptions, report: Report) -> Iterator[Checked]:
    """The pictures that the same models saw, through those models; only a few are held at a time."""
    first = next(alike)
    models = first.models
    try:
        pipeline = open_named(models, options.device, options.threads, options.allow_url)
    except (WeightsError, DeviceError, MissingExtraError) as error:
        _note([str(error)], report)
        for each in chain([first], alike):
            yield Checked(each.source or "", each.where, "not run", str(error))
        return
    with pipeline:
        notes, recipe_differs = compared_with(models, pipeline.models)
        saturated = saturates(pipeline)
        _note([*notes, *([saturated] if saturated else [])], report)
        report.recipe_differs |= recipe_differs
        comparison = _Comparison(pipeline)
        waiting: deque[tuple[Recorded, str]] = deque()

        def paths() -> Iterator[str]:
            for each in chain([first], alike):
                waiting.append((each, _path(each.source or "", options.root)))
                yield waiting[-1][1]

        with closing(pipeline.stream(paths())) as stream:
            for now, _ in stream:
                yield comparison.check(*waiting.popleft(), now)


def _note(notes: Iterable[str], report: Report) -> None:
    report.notes += [note for note in notes if note not in report.notes]


class _Comparison:
    """What the pictures of one group are compared by."""

    def __init__(self, pipeline: Pipeline):
        detector, classifiers = pipeline.parts()
        self._detector = detector
        self._attributes = {name: each.attributes for name, each in classifiers.by_name.items()}
        entries = [detector.entry, *(each.entry for each in classifiers.by_name.values())]
        self._tolerance: Tolerance = tolerance_of([entry.precision for entry in entries])

    def check(self, recorded: Recorded, path: str, now: Result) -> Checked:
        """What came of one picture.

        Args:
            recorded: what the file says of it.
            path: of the picture.
            now: its result now.

        Raises:
            DataError: what the file says is no result of these models.
        """
        then, now = recorded.results(self._attributes, now)
        made = Checked(recorded.source or "", recorded.where, "identical")
        if now.error is not None and then.error is None and not is_url(path) and not os.path.exists(path):
            return replace(made, verdict="missing", told=now.error)
        if None not in (then.source_sha256, now.source_sha256) and then.source_sha256 != now.source_sha256:
            other = Difference("", "SHA-256", then.source_sha256, now.source_sha256, "name", 0.0, False)
            return replace(made, verdict="changed", differences=(other,))
        attributes = [each for found in self._attributes.values() for each in found]
        differences = compare(then, now, self._tolerance, self._detector.imgsz, self._detector.confidence, attributes)
        if not differences:
            return made
        within = all(each.within for each in differences)
        return replace(made, verdict="within tolerance" if within else "different", differences=tuple(differences))


def _path(source: str, root: Path | None) -> str:
    return source if root is None or is_url(source) else os.path.join(root, source)


def open_named(
    models: Models, device: str | None = None, threads: int | None = None, allow_url: bool = False
) -> Pipeline:
    """A pipeline of the versions and files that a result names, with the settings that it names.

    Args:
        models: of the result. Settings that it does not name are the release's own.
        device: in place of the one that it names.
        threads, allow_url: see ``Pipeline``.

    Raises:
        WeightsError: one of them is not here, or has other files; the message gives the command that brings it.
        DeviceError: the device is not here.
        MissingExtraError: tiles, and supervision is not installed.
    """
    used = models.detector
    cpus = threads if threads is not None else usable_cpus()
    release, entry = _find("detector", used.version, used)
    readers = []
    for name, each in models.classifiers.items():
        label = joined("" if name == FACE else name, each.version)
        readers.append((*_find("classifier", label, each), device or each.device or "cpu"))
    detector = FaceDetector(
        release=release,
        device=device or used.device or "cpu",
        threads=cpus,
        confidence=used.confidence,
        iou=used.iou,
        precision=entry.precision,
        imgsz=used.imgsz,
        tiles=used.tiles or False,
    )
    classifiers = [
        AttributeClassifier(release=found, device=where, threads=cpus, precision=file.precision)
        for found, file, where in readers
    ]
    return Pipeline(
        detector, classifiers, threads=threads, allow_url=allow_url, reduced_decode=used.reduced_to is not None
    )


def compared_with(then: Models, now: Models) -> tuple[list[str], bool]:
    """What to say of models that have the right files: what else differs, and what the results do not name.

    Returns:
        The notes; and whether a crop recipe differs.
    """
    notes = []
    if then.facepipe is not None and then.facepipe != now.facepipe:
        notes.append(f"made by facepipe {then.facepipe}; this is {now.facepipe}")
    differs = False
    for name, each in then.classifiers.items():
        here = now.classifiers[name]
        if each.crop_sha256 is not None and each.crop_sha256 != here.crop_sha256:
            differs = True
            notes.append(
                f"classifier {joined('' if name == FACE else name, each.version)} has another crop recipe here: "
                f"{each.crop_sha256[:SHORT]}… then, {(here.crop_sha256 or '')[:SHORT]}… now; its manifest was changed"
            )
        if each.device != here.device and each.device is not None:
            notes.append(f"classifier {name} ran on {each.device} then, on {here.device} now")
    if then.detector.device is not None and then.detector.device != now.detector.device:
        notes.append(f"the detector ran on {then.detector.device} then, on {now.detector.device} now")
    if unnamed := _unnamed(then):
        notes.append(
            f"written by an older facepipe, which did not name: {', '.join(unnamed)}; the releases' own are taken, and "
            "whether they were the same is not known"
        )
    return notes, differs


def saturates(pipeline: Pipeline) -> str | None:
    """What to say where int8 files run on a processor without instructions for them; None elsewhere.

    There ONNX Runtime adds products of 8 bits up in 16, which overflow and are cut off (its own guide to quantization,
    "U8S8 on AVX2"); where such instructions are (VNNI) it adds them up in 32. The same file then gives other numbers.
    """
    detector, classifiers = pipeline.parts()
    ran = [(detector.entry, detector.device), *((each.entry, each.device) for each in classifiers.by_name.values())]
    if has_vnni() is not False or not any(entry.precision == "int8" and device == "cpu" for entry, device in ran):
        return None
    return (
        "int8 files made these results, and this processor has no instructions for them (VNNI): their numbers differ "
        "here. Verify on a processor that has them, or make results with --precision float16 that hold on all"
    )


def _unnamed(models: Models) -> list[str]:
    """What results of an older facepipe lack."""
    return [
        name
        for name, value in (
            ("facepipe's version", models.facepipe),
            ("the crop recipe", next((each.crop_sha256 for each in models.classifiers.values()), "")),
            ("the least confidence", models.detector.confidence),
            ("the detector's input size and tiles", models.detector.imgsz),
        )
        if value is None
    ]


def _find(stage: Stage, label: str, used: ModelUsed) -> tuple[Release, FileEntry]:
    """The release, and its file that ran then."""
    pull = f"facepipe weights pull {stage}@{label}"
    try:
        release = find(stage, label)
    except WeightsError as error:
        raise WeightsError(f"{error}. Bring it: {pull} --from SOURCE") from error
    for entry in release.manifest.files:
        if entry.sha256 == used.sha256 and release.entry(entry.precision) == entry:
            return release, entry
    have = ", ".join(f"{entry.precision} {entry.sha256[:SHORT]}…" for entry in release.manifest.files)
    raise WeightsError(
        f"{stage} {label} here is not the one that made these results: they name the file {used.sha256[:SHORT]}…, "
        f"{release.folder} has {have}. Bring the other: {pull} --replace --from SOURCE"
    )
