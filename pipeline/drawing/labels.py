"""The text of face labels: complete, short, or the number alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...classifier.inference.attributes import AttributeValue, ClassValue, NumericValue
from ..result_data import Face

POSITIVE, NEGATIVE = ("yes", "true", "1"), ("no", "false", "0", "none")
"""Names of classes that mean that an attribute is present, or absent."""


def label(index: int, face: Face, fields: Sequence[str] | None = None) -> list[str]:
    """The lines of a face's label: its number and confidence, then one line per attribute that can be put in words.

    For a tracked person in a video, the first line is only the person's number, which does not flicker.

    Args:
        index: the face's index in the result.
        face: the face.
        fields: the attributes to name, without the number line; None names all.
    """
    lines = []
    if fields is None:
        lines = [f"face {index}  {face.confidence:.2f}" if face.track is None else f"person {face.track}"]
    lines += [f"{name}: {text}" for name, value in _chosen(face, fields) if (text := in_words(value))]
    return lines + ([face.reason] if face.reason and fields is None else [])


def short_label(face: Face, fields: Sequence[str] | None = None) -> str:
    """``F 31 · smile``: initials and numbers, then what a face has; "" if there is nothing to say.

    Args:
        face: the face.
        fields: the attributes to name; None names all.
    """
    initials: list[str] = []
    numbers: list[str] = []
    marks: list[str] = []
    for name, value in _chosen(face, fields):
        if isinstance(value, NumericValue):
            numbers.append(f"{value.value:.0f}")
        elif isinstance(value, ClassValue) and value.value is not None:
            known = str(value.value).lower()
            if known in POSITIVE:
                marks.append(name)
            elif known not in NEGATIVE:
                classes = list(value.probabilities)
                distinct = len({each[:1].lower() for each in classes}) == len(classes) == 2
                (initials if distinct else marks).append(known[:1].upper() if distinct else known)
    return " · ".join(filter(None, (" ".join([*initials, *numbers]), *marks)))


def number_label(index: int, face: Face) -> str:
    """The face's number in the result, or the person's number in a video."""
    return str(index if face.track is None else face.track)


def in_words(value: AttributeValue) -> str:
    """``male 0.98``, ``34 years (28-41)``, ``?`` if the classifier is unsure; "" for points, which are drawn."""
    if isinstance(value, ClassValue):
        return "?" if value.value is None else f"{value.value} {value.probability:.2f}"
    if isinstance(value, NumericValue):
        return f"{value.value:.0f} {value.unit} ({value.interval[0]:.0f}-{value.interval[1]:.0f})"
    return ""


def _chosen(face: Face, fields: Sequence[str] | None) -> Iterator[tuple[str, AttributeValue]]:
    attributes = face.attributes or {}
    for name in attributes if fields is None else fields:
        if name in attributes:
            yield name, attributes[name]
