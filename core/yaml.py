"""Safe reading of untrusted YAML: errors are one line long, and no file takes more than a moment to read.

The types are those of YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema), so ``yes``, ``no``, ``on``
and dates are text and ``1e-3`` is a number. PyYAML comes with the extra ``train``, not with facepipe itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import DataError, FacepipeError
from .extras import require

LARGEST = 2**20
"""Maximum size of a file in bytes."""
DEEPEST = 32
"""Maximum nesting depth of lists and tables."""
MOST_NODES = 100_000
"""Maximum number of values in a file; an alias counts as everything that it stands for."""
LONGEST_NUMBER = 100
"""Maximum characters of a number; anything longer is text."""
_TYPES = {
    "null": (r"~|null|Null|NULL|", "~nN\0"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (rf"[-+]?[0-9]{{1,{LONGEST_NUMBER}}}|0o[0-7]{{1,40}}|0x[0-9a-fA-F]{{1,40}}", "-+0123456789"),
    "float": (
        r"[-+]?(?=.?[0-9])(?:[0-9]{0,50}\.[0-9]{0,50}|[0-9]{1,50}(?=[eE]))(?:[eE][-+]?[0-9]{1,5})?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    "merge": (r"<<", "<"),
}
"""Plain scalars by type: the pattern, and the characters that one can begin with (NUL: none at all)."""
_CONSTRUCTED = {*(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map")), None}


def read_yaml(path: Path, error: type[FacepipeError] = DataError) -> Any:
    """Read a YAML file.

    Args:
        path: the file, in UTF-8 with or without a byte order mark.
        error: the class of the error to raise.

    Raises:
        FacepipeError: as ``error``: no such file, not YAML, or over a limit; it names file and line.
        MissingExtraError: PyYAML is not installed.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe may never end
            raise error(f"{path}: not a file")
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, ValueError) as cause:
        reason = "no such file" if isinstance(cause, FileNotFoundError) else getattr(cause, "strerror", None) or cause
        raise error(f"{path}: {reason}") from cause
    if len(content) > LARGEST:
        raise error(f"{path}: too large: a YAML file may have at most {LARGEST:,} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        line = content.count(b"\n", 0, cause.start) + 1
        raise error(f"{path}: line {line}: not UTF-8 text; save the file as UTF-8") from cause
    return parse_yaml(text, str(path), error)


def parse_yaml(text: str, where: str, error: type[FacepipeError] = DataError) -> Any:
    """Parse YAML text.

    Args:
        text: one document.
        where: prefix of error messages.
        error: the class of the error to raise.

    Raises:
        FacepipeError: as ``error``: not YAML, or over a limit; it names the line.
        MissingExtraError: PyYAML is not installed.
    """
    yaml = require("yaml")
    loader = _loader()
    try:
        _check_bounds(yaml, yaml.parse(text, Loader=loader))
        return yaml.load(text, Loader=loader)
    except yaml.YAMLError as cause:
        mark = getattr(cause, "problem_mark", None) or getattr(cause, "context_mark", None)
        line = text.count("\n", 0, getattr(cause, "position", 0)) if mark is None else mark.line
        reason = getattr(cause, "problem", None) or getattr(cause, "reason", None) or str(cause)
        number, content = _line(text, line)
        raise error(f"{where}: line {number}: not valid YAML: {' '.join(str(reason).split())}{content}") from cause
    except UnicodeError as cause:  # half of a surrogate pair
        raise error(f"{where}: not valid YAML: not Unicode text ({cause})") from cause


def dump_yaml(content: Any) -> str:
    """Dump content as YAML that YAML 1.1 and :func:`parse_yaml` read alike; keys keep their order.

    Raises:
        MissingExtraError: PyYAML is not installed.
    """
    yaml = require("yaml")
    return str(yaml.dump(content, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=120))


@cache
def _loader() -> Any:
    yaml = require("yaml")
    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    constructors = {tag: make for tag, make in base.yaml_constructors.items() if tag in _CONSTRUCTED}

    def construct_object(self: Any, node: Any, deep: bool = False) -> Any:
        try:
            return base.construct_object(self, node, deep)
        except (ValueError, LookupError) as cause:  # a tag on a value that does not fit it, such as !!int x
            raise yaml.MarkedYAMLError(problem=f"not of type {node.tag}", problem_mark=node.start_mark) from cause

    own = {"yaml_implicit_resolvers": {}, "yaml_constructors": constructors, "construct_object": construct_object}
    loader: Any = type("Loader", (base,), own)
    for name, (pattern, first) in _TYPES.items():
        letters = ["" if letter == "\0" else letter for letter in first]
        loader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(rf"(?:{pattern})\Z"), letters)
    loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
    return loader


@cache
def _dumper() -> Any:
    """PyYAML's dumper, which quotes text that YAML 1.1 would misread, extended to text that YAML 1.2 would misread."""
    yaml = require("yaml")
    dumper: Any = type("Dumper", (yaml.SafeDumper,), {})
    for name in ("int", "float"):
        pattern, first = _TYPES[name]
        dumper.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(rf"(?:{pattern})\Z"), list(first))
    return dumper


def _construct_int(loader: Any, node: Any) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


def _check_bounds(yaml: ModuleType, events: Iterable[Any]) -> None:
    """Walk through a document's events, and stop at the first that exceeds a limit.

    Raises:
        yaml.MarkedYAMLError: the document is nested too deeply, too large with its aliases, or refers to itself.
    """
    sizes: dict[str, int] = {}
    open_anchors: list[str | None] = []
    counts = [0]

    def add(event: Any, count: int) -> None:
        counts[-1] += count
        if counts[-1] > MOST_NODES:
            raise yaml.MarkedYAMLError(problem=f"more than {MOST_NODES:,} values", problem_mark=event.start_mark)

    for event in events:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in open_anchors:
                raise yaml.MarkedYAMLError(
                    problem="an alias inside the value it refers to", problem_mark=event.start_mark
                )
            add(event, sizes.get(event.anchor, 1))
        elif isinstance(event, yaml.ScalarEvent):
            add(event, 1)
            if event.anchor is not None:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_anchors.append(event.anchor)
            counts.append(1)
            if len(counts) > DEEPEST:
                raise yaml.MarkedYAMLError(
                    problem=f"nested more than {DEEPEST} levels deep", problem_mark=event.start_mark
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            count, anchor = counts.pop(), open_anchors.pop()
            if anchor is not None:
                sizes[anchor] = count
            add(event, count)


def _line(text: str, line: int) -> tuple[int, str]:
    """A line's number, counted from 1, and ``: `` with its text. The end of the file means its last line of text."""
    lines = text.rstrip().split("\n")
    line = min(line, len(lines) - 1)
    content = "".join(letter if letter.isprintable() else "?" for letter in " ".join(lines[line].split()))
    return line + 1, f": {content if len(content) <= 60 else content[:59] + '…'}" if content else ""
