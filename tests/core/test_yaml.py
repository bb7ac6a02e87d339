"""YAML within bounds: types of YAML 1.2, one line for whatever is wrong, and no file that takes long."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from facepipe.core.errors import DataError, TrainingError
from facepipe.core.yaml import DEEPEST, LARGEST, MOST_NODES, dump_yaml, parse_yaml, read_yaml

LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10))]
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[no, yes, on, off, No, y]", ["no", "yes", "on", "off", "No", "y"]),
        ("[true, False, ~, null, '', ]", [True, False, None, None, ""]),
        ("[1, -2, 010, 0x1f, 0o17, '3']", [1, -2, 10, 31, 15, "3"]),
        ("[1e-3, .5, 5., -1.5e+2, 1_0, 1:20, 2020-01-01]", [0.001, 0.5, 5.0, -150.0, "1_0", "1:20", "2020-01-01"]),
        ("names: {0: face, 1: no}", {"names": {0: "face", 1: "no"}}),
        ("a: &b {c: 1}\nd: {<<: *b, e: 2}", {"a": {"c": 1}, "d": {"c": 1, "e": 2}}),
        ("path:\n", {"path": None}),
        ("", None),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_types(text: str, value: Any) -> None:
    assert parse_yaml(text, "f.yaml") == value


def test_what_is_written_is_read_alike_by_yaml_1_1() -> None:
    content = {"names": ["no", "yes", "1e-3", "010", "0o7", "1:20", "face", "é", "~", "<<"], "a": [1e-5, 3, True, None]}
    text = dump_yaml(content)
    assert parse_yaml(text, "f.yaml") == content
    assert yaml.safe_load(text) == content


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: [c", r"f\.yaml: line 2: not valid YAML: did not find .*: b: \[c$"),
        ("a: 1\nb: c: d", r"f\.yaml: line 2: not valid YAML: mapping values .*: b: c: d$"),
        ("a: &x [*x]", "line 1: .*an alias inside the value it refers to"),
        ("a: *x", "line 1: .*undefined alias"),
        ("[" * 100_000, "line 1: .*nest"),
        ("- " * 5000, f"line 1: .*more than {DEEPEST} levels"),
        (LAUGHS, "line 6: .*more than 100,000 values"),
        ("[" + "x," * (MOST_NODES + 1) + "]", "more than 100,000 values"),
        ("a: 1\nb: \x00", r"line 2: not valid YAML: control characters are not allowed: b: \?$"),
        ("a: !!int x", "line 1: .*not of type"),
        ("a: !!timestamp x", "line 1: .*could not determine a constructor"),
        ("a: !!python/object:os.system x", "line 1: .*could not determine a constructor"),
        ("a: !!binary ä", "line 1: .*could not determine a constructor"),
        ("{[1]: 2}", "line 1: .*unhashable"),
        ("--- a\n--- b", "line 2: .*another document"),
        ("a: '\ud800'", "not Unicode text"),
    ],
)
def test_one_line_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message) as raised:
        parse_yaml(text, "f.yaml", TrainingError)
    assert "\n" not in str(raised.value)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: \xc3\xa9\r\nb: 1\r\n")
    assert read_yaml(path) == {"a": "é", "b": 1}
    path.write_bytes(b"a: 1\nb: \xe9\n")
    with pytest.raises(DataError, match=r"a\.yaml: line 2: not UTF-8"):
        read_yaml(path)
    path.write_bytes(b"#" * (LARGEST + 1))
    with pytest.raises(DataError, match="too large"):
        read_yaml(path)
    os.mkfifo(tmp_path / "pipe.yaml")
    for name, message in (("none.yaml", "no such file"), ("pipe.yaml", "not a file"), (".", "not a file")):
        with pytest.raises(DataError, match=message):
            read_yaml(tmp_path / name)
    with pytest.raises(DataError):
        read_yaml(tmp_path / "a\0.yaml")


SEEDS = (
    "path: .\ntrain: images/train\nval: [images/val, more]\nnames:\n  0: face\n  1: head\nkpt_shape: [5, 2]\n",
    "attributes:\n  - {name: beard, classes: [no, 'yes']}\n  - &a {name: \"h\\u00e9\", low: 1e-3}\n  - *a\n",
    "base: &b {x: [1, 2.5, ~, true], <<: {y: |\n  text\n  more\n}}\nother: !!str 3\n? [k]\n: v\n",
)


def mutated(draw: random.Random, text: str) -> str:
    """The text with a few random changes: letters, lines and pieces put in, taken out, doubled or exchanged."""
    pieces = ["[", "{", "*a", "&a ", "- ", ": ", "\n", "\t", "'", '"', "|", ">", "!!int ", "%", "0", "\x00", "\ud800"]
    for _ in range(draw.randint(1, 6)):
        at, to = sorted(draw.randrange(len(text) + 1) for _ in range(2))
        piece = draw.choice([draw.choice(pieces), text[at:to], "", text[at:to] * 3, chr(draw.randrange(0x3000))])
        text = text[:at] + piece + text[draw.choice([at, to]) :]
    return text


def fuzz(read: Callable[[str], object], seeds: tuple[str, ...], count: int, seed: int = 0) -> int:
    """Read mutations; each gives a result or an error of one line. How many were errors."""
    draw, errors = random.Random(seed), 0
    for _ in range(count):
        try:
            read(mutated(draw, draw.choice(seeds)))
        except DataError as error:
            errors += 1
            if "\n" in str(error):
                raise AssertionError(f"more than one line: {error}") from error
    return errors


def test_mutations() -> None:
    assert 100 < fuzz(lambda text: parse_yaml(text, "f.yaml"), SEEDS, 400) < 400
