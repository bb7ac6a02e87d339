"""The models that a result names, exactly: found among those that are here, or said to be others."""

from __future__ import annotations

from ...classifier.inference.classifier import AttributeClassifier
from ...core.cpu import has_vnni, usable_cpus
from ...core.errors import WeightsError
from ...detector.inference.detector import FaceDetector
from ...weights.manifest import FileEntry, Stage
from ...weights.names import FACE, joined
from ...weights.store import Release, find
from ..pipeline import Pipeline
from ..results import Models, ModelUsed

SHORT = 12
"""Digits of a SHA-256 that are shown."""


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
    return Pipeline(detector, classifiers, threads=threads, allow_url=allow_url)


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
            "whether they were the same cannot be told"
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
        told
        for told, value in (
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
