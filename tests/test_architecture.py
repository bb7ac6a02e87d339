"""The rooms: which module may import which, how many lie in a folder, and that the package lists all of them.

Read with ``ast`` from the source, so that imports inside functions and those for type checkers count as well.
"""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("core", "weights", "detector", "classifier", "pipeline")
MAY_IMPORT = {
    "core": {"core"},
    "weights": {"core", "weights"},
    "detector": {"core", "weights", "detector"},
    "classifier": {"core", "weights", "classifier"},
    "pipeline": set(ROOMS),
}
LARGEST_FOLDER = 25


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name below ``facepipe``; a package is named as its folder."""
    found = {}
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imported(name: str, path: Path) -> set[str]:
    """The modules of the package that a module imports, wherever in it the import stands."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "facepipe" for alias in node.names), f"{name}: absolute import"
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level == 0:
            assert (node.module or "").split(".")[0] != "facepipe", f"{name}: absolute import"
            continue
        assert node.level <= len(package) + 1, f"{name}: imports from outside of the package"
        base = [*package[: len(package) + 1 - node.level], *(node.module or "").split(".")]
        base = [part for part in base if part]
        for alias in node.names:
            whole = ".".join([*base, alias.name])
            target = whole if whole in MODULES else ".".join(base)
            found.add(target)
    return found - {name}


GRAPH = {name: imported(name, path) for name, path in MODULES.items()}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The sets of modules that import each other in a circle (Tarjan's strongly connected components)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        stack.append(name)
        for other in sorted(graph.get(name, ())):
            if other not in number:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], number[other])
        if lowest[name] == number[name]:
            part = []
            while True:
                part.append(stack.pop())
                if part[-1] == name:
                    break
            if len(part) > 1:
                found.append(sorted(part))

    for name in sorted(graph):
        if name not in number:
            visit(name)
    return found


def test_the_search_for_circles_finds_one() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(GRAPH) == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_rooms_below_it(room: str) -> None:
    up = [
        f"{name} imports {other or 'facepipe itself'}"
        for name, others in GRAPH.items()
        if name.split(".")[0] == room
        for other in sorted(others)
        if other.split(".")[0] not in MAY_IMPORT[room]
    ]
    assert up == []


def test_no_folder_is_too_full_to_survey() -> None:
    folders: dict[str, int] = {}
    for path in MODULES.values():
        if path.name != "__init__.py":
            folders[str(path.parent.relative_to(ROOT))] = folders.get(str(path.parent.relative_to(ROOT)), 0) + 1
    assert {folder: count for folder, count in folders.items() if count > LARGEST_FOLDER} == {}


def test_pyproject_lists_every_package() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    folders = {f"facepipe.{'.'.join(path.parent.relative_to(ROOT).parts)}" for path in MODULES.values()}
    assert set(listed) == folders | {"facepipe"}
    assert len(listed) == len(set(listed))
    without = [folder for folder in folders if not (ROOT / Path(*folder.split(".")[1:]) / "__init__.py").is_file()]
    assert without == []
