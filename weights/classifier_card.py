"""What the card of a classifier says beyond its figures: calibration, and what its answers are not."""

from __future__ import annotations

from typing import Any

from .card_tables import listed, table
from .manifest import ClassesBase, Manifest, NumericAttribute, PointsAttribute

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
