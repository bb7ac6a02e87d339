"""Pieces of Markdown: tables, nested settings and lists in a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """A table and the blank line after it.

    Args:
        header: texts of the first line.
        rows: texts of the others.
        right: columns that are set to the right.
    """
    aligned = set(right)
    ruled = ["---:" if number in aligned else "---" for number in range(len(header))]
    return [*("| " + " | ".join(_cell(text) for text in line) + " |" for line in (header, ruled, *rows)), ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def tree(content: dict[str, Any] | list[Any] | tuple[Any, ...], depth: int = 0) -> list[str]:
    """Nested settings as indented lines in the manner of YAML."""
    lines, pad = [], "  " * depth
    pairs = content.items() if isinstance(content, dict) else (("-", value) for value in content)
    for key, value in pairs:
        name = f"{pad}{key}:" if isinstance(content, dict) else f"{pad}-"
        nested = isinstance(value, dict) or (isinstance(value, list | tuple) and any(map(_is_nested, value)))
        if not nested or not value:
            lines.append(f"{name} {plain(value)}")
        elif isinstance(content, dict):
            lines += [name, *tree(value, depth + 1)]
        else:
            first, *rest = tree(value, depth + 1)
            lines += [f"{name} {first.lstrip()}", *rest]
    return lines


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list | tuple)


def plain(value: Any) -> str:
    """A setting as one word or line: numbers short, lists in brackets."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(plain(each) for each in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {plain(each)}" for key, each in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def listed(names: Iterable[str]) -> str:
    """Names in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    found = list(names)
    return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)
