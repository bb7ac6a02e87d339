"""``MODEL_CARD.md``: what a release is, how good it is, how it was made and what it is not for.

It is written from the manifest alone, so that every figure in it is one of a measurement's, and the same manifest gives
the same card. Its sections follow Mitchell et al., "Model Cards for Model Reporting" (2019). Both stages are written by
the same code.

What the card of a classifier says beyond its figures: calibration, and what its answers are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .card_tables import by_group, count_text, listed, metrics_tables, table, tree, value_text
from .manifest import (
    ClassesBase,
    FileEntry,
    Manifest,
    Metric,
    Metrics,
    NumericAttribute,
    PointsAttribute,
    is_version,
)
from .metrics import (
    BY_SIZE,
    EVERYTHING,
    FEW,
    LOWER_IS_BETTER,
    comparable,
    losses,
    measure_and_subject,
    metrics_of,
    values_of,
)
from .release import joined, label

CARD = "MODEL_CARD.md"
SEVERAL = 3
"""The worst figure of a measure is pointed out where it has at least so many."""
ASIDE = ("before calibration", "after calibration", "training rows")
"""Subjects that are no subjects of their own, but other ways to look at the same rows."""
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
"""Titles of plots by the stem of their files; no other picture goes into a release (``weights/publishing.py``)."""
_APART = ("history", "after", "command")
"""Keys of ``Manifest.training`` that have places of their own in the card."""


def model_card(manifest: Manifest, plots: Sequence[str] = (), most_loss: float | None = None) -> str:
    """The card in Markdown, with one trailing newline.

    Args:
        manifest: of the release, metrics included.
        plots: names of the pictures in the release's folder, such as ``card/pr.png``.
        most_loss: the limit on the loss by int8, where it was set (``figures.losses``).

    Raises:
        WeightsError: the release's files cannot be compared.
    """
    sections = (
        _head(manifest),
        _usage(manifest),
        _figures(manifest, plots),
        *classifier_sections(manifest),
        _beside(manifest),
        _comparison(manifest, most_loss),
        _data(manifest),
        _training(manifest, [plot for plot in plots if _stem(plot) == "curves"]),
        _limits(manifest),
        ["## Notes", "", manifest.notes.strip(), ""] if manifest.notes.strip() else [],
        _again(manifest),
        ["## Licence", "", manifest.licence, ""],
    )
    return "\n".join(line for section in sections for line in section).rstrip() + "\n"


def _head(manifest: Manifest) -> list[str]:
    if manifest.stage == "detector":
        what = f"Finds {listed(manifest.classes)} boxes in photos, with a confidence each."
    else:
        region = manifest.crop.region if manifest.crop is not None else "face"
        what = f"Reads {listed(attribute.name for attribute in manifest.attributes)} of a cut-out {region}."
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
        told = f"confidence {limits.confidence:g}, NMS IoU {limits.iou:g}, at most {limits.max_detections} boxes"
        facts.append(["by default", told])
    facts.append(["released", f"{manifest.date}, by facepipe {manifest.facepipe}"])
    files = [
        [
            entry.name,
            entry.precision + ("" if number else " (default)"),
            f"{entry.bytes / 1e6:.1f}",
            f"`{entry.sha256}`",
        ]
        for number, entry in enumerate(manifest.files)
    ]
    return [
        f"# facepipe {manifest.stage} {label(manifest)}",
        "",
        what,
        "",
        *table(["", ""], facts),
        *table(["file", "precision", "MB", "SHA-256"], files, right=(2,)),
    ]


def _usage(manifest: Manifest) -> list[str]:
    stage, version = manifest.stage, label(manifest)
    return [
        "## Use",
        "",
        "```sh",
        f"facepipe detect photo.jpg --{stage} {version}",
        f"facepipe weights use {stage} {version}    # from now on, where no version is named",
        f"facepipe weights use {stage} {joined(manifest.name, 'newest')}    # and back",
        "```",
        "",
        "```python",
        "from facepipe import Pipeline",
        "",
        f'with Pipeline({stage}="{version}") as pipeline:',
        '    result = pipeline.run("photo.jpg")',
        "```",
        "",
    ]


def _figures(manifest: Manifest, plots: Sequence[str]) -> list[str]:
    """A table for each measurement of each file; the plots, which are the default file's, under the first."""
    lines, told = ["## How good it is", ""], ""
    shown = [plot for plot in plots if _stem(plot) != "curves"]
    for number, entry in enumerate(manifest.files):
        lines += [f"### {_file(entry)}", ""]
        measured = sorted(metrics_of(manifest, entry), key=lambda each: not each.protocol.startswith(BY_SIZE))
        if not measured:
            lines += ["Not measured.", ""]
        for metrics in measured:
            metrics = metrics if number == 0 else _without_groups(metrics)
            if not metrics.values:
                continue
            if metrics.protocol != told:
                lines += [f"{metrics.protocol}.", ""]
                told = metrics.protocol
            lines += metrics_tables(metrics)
        if number == 0:
            for plot in shown:
                lines += [f"![{PLOT_TITLES.get(_stem(plot), _stem(plot))}]({plot})", ""]
    return lines


def _without_groups(metrics: Metrics) -> Metrics:
    """The figures but those by group, which the card gives of the default file alone; the manifest has all."""
    values = tuple(metric for metric in metrics.values if not by_group(metric))
    return metrics.model_copy(update={"values": values})


def _comparison(manifest: Manifest, most_loss: float | None) -> list[str]:
    if len(manifest.files) < 2:
        entry = manifest.files[0]
        if entry.precision == "float32":
            return []
        return [
            "## What compression costs",
            "",
            f"Not known: {entry.name} was measured alone, with no more exact file beside it.",
            "",
        ]
    found = losses(manifest, most_loss)
    rows = [
        [
            loss.name,
            f"{loss.exact.precision} {loss.exact_value:.4f}",
            f"{loss.small.precision} {loss.small_value:.4f}",
            f"{loss.loss:.4f}",
            loss.limit,
        ]
        for loss in found
    ]
    return [
        "## What compression costs",
        "",
        "The smaller file against the most exact one, on the same pictures; a loss below zero is a gain.",
        "",
        *table(["", "exact", "smaller", "loss", "limit"], rows, right=(1, 2, 3, 4)),
    ]


def _beside(manifest: Manifest) -> list[str]:
    """The figures that other models have in common with the default file."""
    if not manifest.beside:
        return []
    default = manifest.files[0]
    columns = {f"{manifest.stage} {label(manifest)} ({default.precision})": values_of(manifest, default)}
    for other in manifest.beside:
        name = f"{manifest.stage} {other.name}" if is_version(other.name) else other.name
        columns.setdefault(name, {}).update({metric.name: metric for metric in other.metrics.values})
    common = [{comparable(name): metric for name, metric in column.items()} for column in columns.values()]
    names = [name for name in common[0] if any(name in column for column in common[1:])]
    rows = [[name, *(value_text(column[name]) if name in column else "" for column in common)] for name in names]
    lines = ["## Beside other models", "", *table(["", *columns], rows, right=range(1, len(columns) + 1))]
    for other in manifest.beside:
        lines.append(f"- {other.name}: {other.metrics.protocol}. SHA-256 `{other.metrics.file_sha256}`.")
    return [*lines, ""]


def _data(manifest: Manifest) -> list[str]:
    rows = [[data.name, f"{data.count:,}", data.terms] for data in manifest.data]
    labels = ", ".join(dict.fromkeys(f"`{data.labels_sha256}`" for data in manifest.data))
    return [
        "## What it was trained on",
        "",
        *table(["source", "pictures", "terms"], rows, right=(1,)),
        *([f"SHA-256 of the labels: {labels}.", ""] if labels else []),
    ]


def _training(manifest: Manifest, curves: Sequence[str]) -> list[str]:
    runs = training_runs(manifest)
    lines = ["## How it was trained", ""]
    for number, run in enumerate(runs, 1):
        if len(runs) > 1:
            started = "" if number == 1 else ", started from the weights of the one before"
            lines += [f"### Run {number} of {len(runs)}{started}", ""]
        told = {key: value for key, value in run.items() if key not in _APART and value not in (None, [], {}, "")}
        lines += ["```yaml", *tree(told), "```", ""]
        history = run.get("history") or []
        if len(history) > 1:
            names, last = (str(line).split(",") for line in (history[0], history[-1]))
            figures = [f"{name.strip()} {value.strip()}" for name, value in zip(names, last, strict=False)]
            shown = ", ".join(text for text in figures if not text.startswith("lr/"))
            lines += [f"Lines of its history: {len(history) - 1}. The last: {shown}.", ""]
    for plot in curves:
        lines += [f"![{PLOT_TITLES['curves']}]({plot})", ""]
    return lines


def training_runs(manifest: Manifest) -> list[dict[str, Any]]:
    """The runs that made a release, oldest first: ``Manifest.training`` and what stands under its ``after``."""
    runs: list[dict[str, Any]] = []
    run: Any = manifest.training
    while isinstance(run, dict):
        runs.insert(0, run)
        run = run.get("after")
    return runs


def _limits(manifest: Manifest) -> list[str]:
    """What the figures themselves say against the model, and what was not measured at all."""
    sources = [data.name for data in manifest.data]
    lines = [
        f"- Trained on {listed(sources) or 'data that the manifest does not name'}. Pictures of other kinds (other "
        "cameras, light, places, people) were not measured unless a table says so: expect less of it there."
    ]
    default = manifest.files[0]
    measured = metrics_of(manifest, default)
    own = {data.labels_sha256 for data in manifest.data}
    if any(metrics.labels_sha256 is not None and metrics.labels_sha256 not in own for metrics in measured):
        lines.append("- Some figures are of another data set than the one it was trained on; their protocols name it.")
    figures = [metric for metrics in measured for metric in metrics.values]
    by_measure: dict[str, list[Metric]] = {}
    for metric in figures:
        measure, subject = measure_and_subject(metric.name)
        if metric.value is not None and subject not in ASIDE:
            by_measure.setdefault(measure, []).append(metric)
    for measure, metrics_here in by_measure.items():
        if len(metrics_here) >= SEVERAL:
            lower = any(word in measure.lower() for word in LOWER_IS_BETTER)
            worst = (max if lower else min)(metrics_here, key=lambda metric: metric.value or 0.0)
            subject = measure_and_subject(worst.name)[1]
            lines.append(f"- Worst {measure}: {value_text(worst)}, of {subject} (n {count_text(worst) or 'not told'}).")
    rough = dict.fromkeys(
        f"{_subject(metric)} (n {metric.count})"
        for metric in figures
        if 0 < (metric.count or 0) < FEW and metric.interval is None and _subject(metric) not in ASIDE
    )
    if rough:
        lines.append(f"- Rough, being of fewer than {FEW}: {listed(rough)}.")
    if missing := [metric.name for metric in figures if metric.value is None]:
        lines.append(f"- Not measured, for want of rows: {listed(missing)}.")
    subjects = " ".join(measure_and_subject(metric.name)[1] for metric in figures)
    if unmeasured := [source for source in sources if source not in subjects]:
        lines.append(f"- Sources that no table names: {listed(unmeasured)}.")
    return ["## Limits", "", *lines, ""]


def _subject(metric: Metric) -> str:
    """What a figure is of; of a classifier's figures over all rows the attribute."""
    measure, subject = measure_and_subject(metric.name)
    return measure.partition(".")[0] if subject == EVERYTHING and "." in measure else subject


def _again(manifest: Manifest) -> list[str]:
    """The commands that made and measured the release, as far as the manifest tells them."""
    commands = [str(run["command"]) for run in training_runs(manifest) if run.get("command")]
    commands.append(f"facepipe weights publish RUN --version {label(manifest)}")
    measured = (*manifest.metrics, *(other.metrics for other in manifest.beside))
    commands += [metrics.command for metrics in measured if metrics.command]
    commands.append(f"facepipe weights verify {manifest.stage} {label(manifest)}")
    return ["## Make and measure it again", "", "```sh", *dict.fromkeys(commands), "```", ""]


def _file(entry: FileEntry) -> str:
    return f"{entry.precision}, {entry.bytes / 1e6:.1f} MB"


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].rsplit(".", 1)[0]


SENSITIVE = {
    "race": ("race", "ethnicity", "ethnic_group", "skin_colour", "skin_color"),
    "emotion": ("emotion", "emotions", "mood", "feeling"),
}
"""Names that attributes have which facepipe's own classifiers never predict."""


def classifier_sections(manifest: Manifest) -> list[list[str]]:
    """Sections of Markdown lines; none for a detector."""
    if manifest.stage != "classifier":
        return []
    return [_calibration(manifest), _answers(manifest)]


def _calibration(manifest: Manifest) -> list[str]:
    """How outputs become probabilities, values and intervals."""
    rows = []
    for attribute in manifest.attributes:
        if isinstance(attribute, PointsAttribute):
            continue
        below = interval = ""
        if isinstance(attribute, ClassesBase):
            below = f"{attribute.abstain_below:g}" if attribute.abstain_below else "never"
        if isinstance(attribute, NumericAttribute):
            ends = f"{attribute.widen:+g} {attribute.unit} at both ends" if attribute.widen else "as it is"
            interval = f"{100 * attribute.interval:g} %, {ends}"
        rows.append([attribute.name, f"{attribute.temperature:g}", below, interval])
    if not rows:
        return []
    told: Any = manifest.training.get("calibration")
    lines = [
        "## Calibration",
        "",
        "Logits are divided by the temperature before they become probabilities. Where the likeliest class is less "
        "probable than the limit, the value is `null` and the probabilities stay. A number's interval is meant to hold "
        "the truth as often as it says.",
        "",
        *table(["attribute", "temperature", "no value below", "interval"], rows, right=(1, 2)),
    ]
    if isinstance(told, dict) and {"rows", "file", "rule"} <= told.keys():
        lines += [
            f"Fitted with the {told['file']} file on {told['rows']:,} validation rows, which are not among those on "
            f"which the figures before and after calibration were measured; all other figures are of all validation "
            f"rows. The limit is {told['rule']}.",
            "",
        ]
    else:
        lines += ["Not fitted: these are the schema's own.", ""]
    return lines


def _answers(manifest: Manifest) -> list[str]:
    """What the answers are, and what is not answered on purpose."""
    names = {attribute.name for attribute in manifest.attributes}
    lines = []
    if "gender" in names:
        lines.append(
            "- Gender is what annotators saw in a picture, as one of two words. It is not how a person lives or "
            "identifies."
        )
    if "age" in names:
        lines.append("- Age is how old a face looks. It proves nobody's age.")
    if manifest.crop is None or manifest.crop.region != "torso":
        lines += _sensitive(manifest, names)
    if manifest.features is not None:
        lines.append(
            f"- The output `features` ({manifest.features:,} numbers) is no identity embedding: nothing was done to "
            "make two pictures of one person alike or of two persons different. It is not fit to recognise anybody."
        )
    return ["## What the answers are not", "", *lines, ""] if lines else []


def _sensitive(manifest: Manifest, names: set[str]) -> list[str]:
    """On race and emotion, by what the schema has and what the labels of race were used for."""
    found = {what: sorted(names & set(words)) for what, words in SENSITIVE.items()}
    predicted = [name for each in found.values() for name in each]
    if predicted:
        return [
            f"- It predicts {listed(predicted)}, which facepipe's own classifiers never do: appearance does not tell "
            "what group a person belongs to or what somebody feels, and such answers invite sorting people by them."
        ]
    used = []
    recipe: Any = manifest.training.get("recipe")
    balance = recipe.get("balance") if isinstance(recipe, dict) else None
    if isinstance(balance, dict) and "race" in (balance.get("by") or ()):
        used.append("to balance the training")
    if any("race=" in metric.name for metrics in manifest.metrics for metric in metrics.values):
        used.append("to report the figures by group")
    serves = f"Labels of race serve {listed(used)}; race" if used else "Race"
    return [
        f"- {serves} is never predicted, and neither is emotion: no head for either ships. A label of race is an "
        "annotator's guess about a stranger, and a machine that repeats it would serve to sort people. An expression "
        "does not tell what somebody feels (Barrett et al., Psychological Science in the Public Interest 2019); an "
        "attribute such as `smile` says what a mouth does."
    ]
