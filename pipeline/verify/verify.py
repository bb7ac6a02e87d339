"""Reproduce a sample of a file's results with the very models it names, and compare then with now."""

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
"""Outcome for a picture: same as before; nearly the same, see ``compare``; not the same; the picture itself has changed
(its SHA-256); it is missing; or its models are not available."""
GOOD: tuple[Verdict, ...] = ("identical", "within tolerance")
VERDICTS: tuple[Verdict, ...] = (*GOOD, "different", "changed", "missing", "not run")
SAMPLE = 50
SHORT = 12
"""Number of SHA-256 digits shown."""
ARRAY, BUCKET, URL, VIDEO = (
    "without a path",
    "of a picture in a bucket",
    "of a picture with a URL (--allow-url fetches it)",
    "of a frame of a video",
)
"""Why a result cannot be reproduced. For a video, what is known of a face also depends on earlier frames."""


@dataclass(frozen=True)
class Checked:
    """One picture that was checked.

    Attributes:
        source: as the results name it.
        where: file and line or row.
        verdict: the outcome.
        problem: why it was not or could not be run; otherwise empty.
        differences: from the recorded result.
    """

    source: str
    where: str
    verdict: Verdict
    problem: str = ""
    differences: tuple[Difference, ...] = ()


@dataclass
class Report:
    """The outcome for a file of results.

    Attributes:
        results: the file.
        facepipe: the version that did the check.
        pictures: those in the file that can be reproduced; ``skipped`` counts the other results by reason.
        seed: of the sample; None if all were checked.
        checked: the sample, in file order.
        notes: remarks about the models and versions as a whole.
        recipe_differs: a classifier of that name and file has a different crop recipe here.
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
        """Number of pictures by verdict."""
        return {verdict: sum(each.verdict == verdict for each in self.checked) for verdict in VERDICTS}

    @property
    def largest(self) -> dict[str, float]:
        """The largest difference in each measure (``px``, ``share``, ``range``), over all pictures that were run."""
        found = {"px": 0.0, "share": 0.0, "range": 0.0}
        for picture in self.checked:
            for each in picture.differences:
                if each.measure in found:
                    found[each.measure] = max(found[each.measure], each.amount)
        return found

    @property
    def differs(self) -> bool:
        """Whether anything is not as it was."""
        return self.recipe_differs or any(each.verdict in ("different", "changed", "missing") for each in self.checked)


@dataclass(frozen=True)
class VerifyOptions:
    """How to verify a file.

    Attributes:
        sample: maximum number of pictures; None for all.
        seed: the same seed takes the same pictures.
        root: folder that relative paths start from; None for the current one.
        device: where to run the models; None for where they ran before.
        threads: see ``Pipeline``.
        allow_url: fetch pictures that came from URLs again.
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
    """Rerun a sample of a file's pictures and compare the results.

    The file is read twice: first to check every line, then to read the sample.

    Args:
        path: ``.jsonl``, ``.csv`` or ``.parquet`` as ``facepipe detect`` writes them.
        options: the options.
        progress: called with the pictures done and their total.

    Raises:
        DataError: the file holds no results, a damaged line, or nothing that can be rerun.
        FacepipeError: it cannot be read.
        MissingExtraError: the file is Parquet, and pyarrow is not installed.
    """
    report = Report(str(path))
    for each in read_recorded(path):
        reason = _skip_reason(each, options)
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


def _skip_reason(recorded: Recorded, options: VerifyOptions) -> str | None:
    """Why a result cannot be reproduced; None if it can."""
    source = recorded.source
    if source is None:
        return VIDEO if recorded.frame else ARRAY
    if recorded.frame or LIVE.match(source) or os.path.splitext(source)[1].lower() in VIDEO_SUFFIXES:
        return VIDEO
    if is_url(source):
        return None if options.allow_url else URL
    return BUCKET if "://" in source else None


def _sample(path: Path, options: VerifyOptions, report: Report) -> Iterator[Recorded]:
    """A uniform random sample of the pictures, in file order."""
    chosen = None
    if options.sample is not None and options.sample < report.pictures:
        report.seed = options.seed
        chosen = set(random.Random(options.seed).sample(range(report.pictures), options.sample))
    pictures = (each for each in read_recorded(path) if _skip_reason(each, options) is None)
    for number, each in enumerate(pictures):
        if chosen is None or number in chosen:
            yield each


def _run(alike: Iterator[Recorded], options: VerifyOptions, report: Report) -> Iterator[Checked]:
    """Rerun the pictures that used the same models, holding only a few in memory."""
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
    """Compares the pictures of one group, which share their models."""

    def __init__(self, pipeline: Pipeline):
        detector, classifiers = pipeline.parts()
        self._detector = detector
        self._attributes = {name: each.attributes for name, each in classifiers.by_name.items()}
        entries = [detector.entry, *(each.entry for each in classifiers.by_name.values())]
        self._tolerance: Tolerance = tolerance_of([entry.precision for entry in entries])

    def check(self, recorded: Recorded, path: str, now: Result) -> Checked:
        """Compare one picture.

        Args:
            recorded: what the file says about it.
            path: of the picture.
            now: its result now.

        Raises:
            DataError: the recorded result is not one of these models.
        """
        then, now = recorded.results(self._attributes, now)
        made = Checked(recorded.source or "", recorded.where, "identical")
        if now.error is not None and then.error is None and not is_url(path) and not os.path.exists(path):
            return replace(made, verdict="missing", problem=now.error)
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
    """Open a pipeline with the versions, files and settings that a result names.

    Args:
        models: of the result. Settings that it does not name are the release's own.
        device: overrides the recorded one.
        threads, allow_url: see ``Pipeline``.

    Raises:
        WeightsError: a model is missing or has other files; the message gives the command to install it.
        DeviceError: the device is not available.
        MissingExtraError: the models use tiles, and supervision is not installed.
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
        detector,
        classifiers,
        threads=threads,
        allow_url=allow_url,
        reduced_decode=used.reduced_to is not None,
        face_check=any(each.face_check is not None for each in models.classifiers.values()),
    )


def compared_with(then: Models, now: Models) -> tuple[list[str], bool]:
    """Describe what else differs between models with the right files, and what the results do not name.

    Returns:
        The notes, and whether a crop recipe differs.
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
                f"classifier {joined('' if name == FACE else name, each.version)} has a different crop recipe here: "
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
    """A warning if int8 files without reduced range run on a CPU without instructions for them; otherwise None.

    There ONNX Runtime adds 8-bit products up in 16 bits, which saturate (its own quantization guide, "U8S8 on AVX2").
    With such instructions (VNNI) it adds up in 32 bits, so the same file gives different numbers.
    """
    detector, classifiers = pipeline.parts()
    ran = [(detector.entry, detector.device), *((each.entry, each.device) for each in classifiers.by_name.values())]
    if has_vnni() is not False or not any(
        entry.precision == "int8" and not entry.reduced_range and device == "cpu" for entry, device in ran
    ):
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
    """The release, and its file that was used."""
    pull = f"facepipe weights pull {stage}@{label}"
    try:
        release = find(stage, label)
    except WeightsError as error:
        raise WeightsError(f"{error}. To get it: {pull} --from SOURCE") from error
    for entry in release.manifest.files:
        if entry.sha256 == used.sha256 and release.entry(entry.precision) == entry:
            return release, entry
    have = ", ".join(f"{entry.precision} {entry.sha256[:SHORT]}…" for entry in release.manifest.files)
    raise WeightsError(
        f"{stage} {label} here is not the one that made these results: they name the file {used.sha256[:SHORT]}…, "
        f"{release.folder} has {have}. To get the other: {pull} --replace --from SOURCE"
    )
