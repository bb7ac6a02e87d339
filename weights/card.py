"""``MODEL_CARD.md``: what a release is, how good it is, how it was made and what it is not for.

It is generated from the manifest alone, so every figure in it comes from a measurement, and the same manifest gives the
same card. Its sections follow Mitchell et al., "Model Cards for Model Reporting" (2019). The text is in
``templates/model_card.md.j2``; the values for it are computed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..core.extras import require
from .card_tables import by_group, count_text, listed, metrics_tables, table, tree, value_text
from .manifest import ClassesBase, FileEntry, Manifest, Metric, NumericAttribute, PointsAttribute
from .metrics import BY_SIZE, EVERYTHING, LOWER_IS_BETTER, comparable, measure_and_subject
from .records import is_version
from .release import FEW, joined, label, losses, metrics_of, values_of

CARD = "MODEL_CARD.md"
TEMPLATE = "model_card.md.j2"
SEVERAL = 3
"""The worst figure of a measure is pointed out if the measure has at least this many figures."""
ASIDE = ("before calibration", "after calibration", "training rows")
"""Subjects that are only other views of the same rows."""
PLOT_TITLES = {
    "pr": "Precision and recall",
    "calibration": "Confidence against the share that is right",
    "thresholds": "Precision and recall by confidence threshold",
    "reliability": "Probability against the share that is right",
    "confusion": "Confusions",
    "coverage": "Accuracy by coverage",
    "intervals": "Intervals: how often they hold the label",
    "bands": "Errors by band of the label",
    "groups": "By group, with 95 % intervals",
    "curves": "Training curves",
}
"""Titles of plots by file stem; no other picture goes into a release (``publish``)."""
SENSITIVE = (
    *("race", "ethnicity", "ethnic_group", "skin_colour", "skin_color"),
    *("emotion", "emotions", "mood", "feeling"),
)
"""Names of attributes that facepipe's own classifiers never predict."""
_APART = ("history", "after", "command")
"""Keys of ``Manifest.training`` that the card shows elsewhere."""


def model_card(manifest: Manifest, plots: Sequence[str] = (), most_loss: float | None = None) -> str:
    """The card in Markdown, with one trailing newline.

    Args:
        manifest: of the release, metrics included.
        plots: names of the pictures in the release's folder, such as ``card/pr.png``.
        most_loss: the limit on the loss from int8, if one was set (``release.losses``).

    Raises:
        WeightsError: the release's files cannot be compared.
        MissingExtraError: Jinja2 is not installed.
    """
    jinja = require("jinja2")
    environment = jinja.Environment(
        loader=jinja.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # it is Markdown
    )
    environment.filters["listed"] = listed
    environment.globals["table"] = lambda *given: "\n".join(table(*given))
    shown = [{"name": plot, "title": PLOT_TITLES.get(_stem(plot), _stem(plot))} for plot in plots]
    card: str = environment.get_template(TEMPLATE).render(
        m=manifest,
        label=label(manifest),
        newest=joined(manifest.name, "newest"),
        region=manifest.crop.region if manifest.crop is not None else "face",
        names=[attribute.name for attribute in manifest.reported],
        facts=_facts(manifest),
        files=_files(manifest),
        figures=_figures(manifest),
        plots=[plot for plot in shown if _stem(plot["name"]) != "curves"],
        curves=[plot for plot in shown if _stem(plot["name"]) == "curves"],
        beside=_beside(manifest),
        losses=_losses(manifest, most_loss),
        sources=[[data.name, f"{data.count:,}", data.terms] for data in manifest.data],
        source_names=[data.name for data in manifest.data],
        labels=", ".join(dict.fromkeys(f"`{data.labels_sha256}`" for data in manifest.data)),
        runs=[_run(run) for run in training_runs(manifest)],
        limits=_limits(manifest),
        few=FEW,
        commands=_commands(manifest),
        **_answers(manifest),
    )
    return card.rstrip() + "\n"


def _facts(manifest: Manifest) -> list[list[str]]:
    spec = manifest.input
    other = ", or any other multiples of 32" if spec.dynamic else ""
    facts = [
        ["architecture", manifest.architecture],
        ["input", f"{spec.size} x {spec.size} pixels{other}, {spec.colour}"],
    ]
    if manifest.crop is not None:
        crop = manifest.crop
        facts.append(["crop", f"the {crop.region}, {crop.margin:g} of its box's longer side around it"])
    if manifest.thresholds is not None:
        limits = manifest.thresholds
        default = f"confidence {limits.confidence:g}, NMS IoU {limits.iou:g}, at most {limits.max_detections} boxes"
        facts.append(["by default", default])
    return [*facts, ["released", f"{manifest.date}, by facepipe {manifest.facepipe}"]]


def _files(manifest: Manifest) -> list[list[str]]:
    return [
        [
            entry.name,
            entry.precision + ("" if number else " (default)"),
            f"{entry.bytes / 1e6:.1f}",
            f"`{entry.sha256}`",
        ]
        for number, entry in enumerate(manifest.files)
    ]


def _figures(manifest: Manifest) -> list[dict[str, Any]]:
    """The measurements of each file: a protocol where it changes, and tables; groups only for the default file.

    Figures by face size come first.
    """
    found, last = [], ""
    for number, entry in enumerate(manifest.files):
        parts: list[str] = []
        measured = sorted(metrics_of(manifest, entry), key=lambda each: not each.protocol.startswith(BY_SIZE))
        for metrics in measured:
            values = tuple(metric for metric in metrics.values if number == 0 or not by_group(metric))
            if not values:
                continue
            if metrics.protocol != last:
                parts.append(f"{metrics.protocol}.\n")
                last = metrics.protocol
            parts += ["\n".join(metrics_tables(metrics.model_copy(update={"values": values})))]
        found.append({"title": _file(entry), "measured": bool(measured), "parts": parts})
    return found


def _losses(manifest: Manifest, most_loss: float | None) -> list[list[str]]:
    """What the smaller files lose; empty if there is only one file."""
    if len(manifest.files) < 2:
        return []
    return [
        [
            loss.name,
            f"{loss.exact.precision} {loss.exact_value:.4f}",
            f"{loss.small.precision} {loss.small_value:.4f}",
            f"{loss.loss:.4f}",
            loss.limit,
        ]
        for loss in losses(manifest, most_loss)
    ]


def _beside(manifest: Manifest) -> dict[str, Any]:
    """A table of the figures that other models share with the default file."""
    default = manifest.files[0]
    columns = {f"{manifest.stage} {label(manifest)} ({default.precision})": values_of(manifest, default)}
    for other in manifest.beside:
        name = f"{manifest.stage} {other.name}" if is_version(other.name) else other.name
        columns.setdefault(name, {}).update({metric.name: metric for metric in other.metrics.values})
    common = [{comparable(name): metric for name, metric in column.items()} for column in columns.values()]
    names = [name for name in common[0] if any(name in column for column in common[1:])]
    rows = [[name, *(value_text(column[name]) if name in column else "" for column in common)] for name in names]
    return {"header": ["", *columns], "rows": rows, "right": range(1, len(columns) + 1)}


def _run(run: dict[str, Any]) -> dict[str, Any]:
    """A training run's settings as YAML, and the length and last line of its history."""
    settings = {key: value for key, value in run.items() if key not in _APART and value not in (None, [], {}, "")}
    history = run.get("history") or []
    shown = None
    if len(history) > 1:
        names, last = (str(line).split(",") for line in (history[0], history[-1]))
        figures = [f"{name.strip()} {value.strip()}" for name, value in zip(names, last, strict=False)]
        shown = {"lines": len(history) - 1, "last": ", ".join(text for text in figures if not text.startswith("lr/"))}
    return {"settings": "\n".join(tree(settings)), "history": shown}


def training_runs(manifest: Manifest) -> list[dict[str, Any]]:
    """The runs that made a release, oldest first: ``Manifest.training`` and those nested under ``after``."""
    runs: list[dict[str, Any]] = []
    run: Any = manifest.training
    while isinstance(run, dict):
        runs.insert(0, run)
        run = run.get("after")
    return runs


def _limits(manifest: Manifest) -> dict[str, Any]:
    """Weaknesses that the figures show, and what was not measured at all."""
    measured = metrics_of(manifest, manifest.files[0])
    own = {data.labels_sha256 for data in manifest.data}
    figures = [metric for metrics in measured for metric in metrics.values]
    rough = dict.fromkeys(
        f"{_subject(metric)} (n {metric.count})"
        for metric in figures
        if 0 < (metric.count or 0) < FEW and metric.interval is None and _subject(metric) not in ASIDE
    )
    subjects = " ".join(measure_and_subject(metric.name)[1] for metric in figures)
    return {
        "other_labels": any(each.labels_sha256 is not None and each.labels_sha256 not in own for each in measured),
        "worst": _worst(figures),
        "rough": list(rough),
        "missing": [metric.name for metric in figures if metric.value is None],
        "unnamed": [data.name for data in manifest.data if data.name not in subjects],
    }


def _worst(figures: Sequence[Metric]) -> list[dict[str, str]]:
    """The worst figure of each measure that has several."""
    by_measure: dict[str, list[Metric]] = {}
    for metric in figures:
        measure, subject = measure_and_subject(metric.name)
        if metric.value is not None and subject not in ASIDE:
            by_measure.setdefault(measure, []).append(metric)
    found = []
    for measure, metrics in by_measure.items():
        if len(metrics) >= SEVERAL:
            lower = any(word in measure.lower() for word in LOWER_IS_BETTER)
            worst = (max if lower else min)(metrics, key=lambda metric: metric.value or 0.0)
            subject = measure_and_subject(worst.name)[1]
            found.append(
                {"measure": measure, "value": value_text(worst), "subject": subject, "count": count_text(worst)}
            )
    return found


def _subject(metric: Metric) -> str:
    """What a figure is about; for a classifier's figures over all rows, the attribute."""
    measure, subject = measure_and_subject(metric.name)
    return measure.partition(".")[0] if subject == EVERYTHING and "." in measure else subject


def _commands(manifest: Manifest) -> list[str]:
    """The commands that made and measured the release, as far as the manifest records them."""
    commands = [str(run["command"]) for run in training_runs(manifest) if run.get("command")]
    commands.append(f"facepipe weights publish RUN --version {label(manifest)}")
    measured = (*manifest.metrics, *(other.metrics for other in manifest.beside))
    commands += [metrics.command for metrics in measured if metrics.command]
    commands.append(f"facepipe weights verify {manifest.stage} {label(manifest)}")
    return list(dict.fromkeys(commands))


def _answers(manifest: Manifest) -> dict[str, Any]:
    """What a classifier's answers are based on, and what the card says about race and emotion; empty for a detector."""
    rows = []
    for attribute in manifest.reported:
        if isinstance(attribute, PointsAttribute):
            continue
        below = interval = ""
        if isinstance(attribute, ClassesBase):
            below = f"{attribute.abstain_below:g}" if attribute.abstain_below else "never"
        if isinstance(attribute, NumericAttribute):
            ends = f"{attribute.widen:+g} {attribute.unit} at both ends" if attribute.widen else "as it is"
            interval = f"{100 * attribute.interval:g} %, {ends}"
        rows.append([attribute.name, f"{attribute.temperature:g}", below, interval])
    fitted: Any = manifest.training.get("calibration")
    names = {attribute.name for attribute in manifest.reported}
    torso = manifest.crop is not None and manifest.crop.region == "torso"
    used = []
    recipe: Any = manifest.training.get("recipe")
    balance = recipe.get("balance") if isinstance(recipe, dict) else None
    if isinstance(balance, dict) and "race" in (balance.get("by") or ()):
        used.append("to balance the training")
    if any("race=" in metric.name for metrics in manifest.metrics for metric in metrics.values):
        used.append("to report the figures by group")
    classifier = manifest.stage == "classifier"
    return {
        "calibration": rows if classifier else [],
        "fitted": fitted if isinstance(fitted, dict) and {"rows", "file", "rule"} <= fitted.keys() else None,
        "answers": classifier and (names & {"gender", "age"} or not torso or manifest.features is not None),
        "predicted": [name for name in SENSITIVE if name in names],
        "race_used": used,
        "check": manifest.face_check,
        "banded": any(attribute.bands for attribute in manifest.attributes),
        "least": [f"{each.name} from {each.min_side:g} px" for each in manifest.reported if each.min_side is not None],
    }


def _file(entry: FileEntry) -> str:
    return f"{entry.precision}, {entry.bytes / 1e6:.1f} MB"


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
