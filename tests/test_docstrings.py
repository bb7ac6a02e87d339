"""Public functions say what they take: ``Args`` from three parameters on, shapes of arrays, and what they raise.

Commands of typer are left out, for their options carry their own help; so are methods without a docstring, which
override those of a framework or of a class above.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("core", "weights", "detector", "classifier", "pipeline")
ERRORS = {
    node.name
    for node in ast.parse((ROOT / "core" / "errors.py").read_text("utf-8")).body
    if isinstance(node, ast.ClassDef)
}
SHAPE = re.compile(r"\((?:[\w ]+,|n\))|\bshape\b|\bas :(?:meth|func):")


@dataclass(frozen=True)
class Function:
    """A public function or method, and what describes it."""

    place: str
    node: ast.FunctionDef
    docstring: str

    @property
    def parameters(self) -> list[ast.arg]:
        arguments = self.node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        return [each for each in every if each.arg not in ("self", "cls")]

    @property
    def command(self) -> bool:
        """Whether it is one of typer's."""
        annotated = any("Annotated[" in ast.unparse(each.annotation) for each in self.parameters if each.annotation)
        return annotated or self.place.endswith(f"/cli/{self.node.name}.py: {self.node.name}")

    @property
    def raised(self) -> set[str]:
        """The package's errors that it raises itself."""
        found: set[str] = set()
        waiting: list[ast.AST] = list(self.node.body)
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
                continue
            if isinstance(node, ast.Raise) and node.exc is not None:
                raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
                if isinstance(raised, ast.Name) and raised.id in ERRORS:
                    found.add(raised.id)
            waiting.extend(ast.iter_child_nodes(node))
        return found


def functions(path: Path) -> Iterator[Function]:
    """The public functions of a module, and the public methods of its public classes, ``__init__`` among them."""
    name = str(path.relative_to(ROOT))
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield Function(f"{name}: {node.name}", node, ast.get_docstring(node) or "")
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            whole = ast.get_docstring(node) or ""
            for method in node.body:
                if isinstance(method, ast.FunctionDef):
                    own = ast.get_docstring(method) or ""
                    if method.name == "__init__":
                        yield Function(f"{name}: {node.name}", method, whole + own)
                    elif own and not method.name.startswith("_"):
                        yield Function(f"{name}: {node.name}.{method.name}", method, own)


FUNCTIONS = [
    each
    for room in ROOMS
    for path in sorted((ROOT / room).rglob("*.py"))
    for each in functions(path)
    if each.docstring and not each.command
]


def lacking(section: str, function: Function) -> bool:
    return re.search(rf"^ *{section}:$", function.docstring, re.M) is None


def test_there_are_functions() -> None:
    assert len(FUNCTIONS) > 500


@pytest.mark.parametrize("room", ROOMS)
def test_arguments_are_described(room: str) -> None:
    found = [each.place for each in FUNCTIONS if each.place.startswith(room)
             and len(each.parameters) >= 3 and lacking("Args", each)]  # fmt: skip
    assert found == []


@pytest.mark.parametrize("room", ROOMS)
def test_arrays_have_a_shape(room: str) -> None:
    found = [
        each.place
        for each in FUNCTIONS
        if each.place.startswith(room)
        and any("np.ndarray" in ast.unparse(one.annotation) for one in each.parameters if one.annotation)
        and SHAPE.search(each.docstring) is None
    ]
    assert found == []


@pytest.mark.parametrize("room", ROOMS)
def test_errors_are_announced(room: str) -> None:
    found = [
        f"{each.place} raises {', '.join(sorted(each.raised))}"
        for each in FUNCTIONS
        if each.place.startswith(room) and each.raised and lacking("Raises", each)
    ]
    assert found == []
