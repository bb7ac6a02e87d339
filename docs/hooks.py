"""What mkdocs does beside its plugins: finds the package, fits its docstrings, mends links that leave docs/."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import griffe
from mkdocs.plugins import event_priority

ROOT = Path(__file__).parents[1]
_FOLDER = tempfile.TemporaryDirectory()
_EXAMPLE = re.compile(r"(?:^ *>>> .*\n?(?:^(?! *>>> ) *\S.*\n?)*)+", re.M)
_SHARED = re.compile(r"^( +)([a-z_]\w*(?:, [a-z_]\w*)+): (.*)$", re.M)
_LINK = re.compile(r"\]\(((?:\.\./)+)([^)#\s]+)")


@event_priority(100)  # before mkdocstrings reads its settings
def on_config(config: Any) -> Any:
    """Show mkdocstrings the repository's root under the package's name."""
    link = Path(_FOLDER.name, "facepipe")
    if not link.exists():
        link.symlink_to(ROOT, target_is_directory=True)
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [_FOLDER.name]
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turn ``../README.md`` into an address: the site holds only what is in docs/."""
    depth = page.file.src_uri.count("/") + 1

    def address(found: re.Match[str]) -> str:
        if found[1].count("../") != depth:
            return found[0]
        kind = "tree" if (ROOT / found[2]).is_dir() else "blob"
        return f"]({config.repo_url}/{kind}/main/{found[2]}"

    return _LINK.sub(address, markdown)


class Docstrings(griffe.Extension):
    """Fits this repository's docstrings to Markdown and to griffe.

    Examples become code, for ``>>>`` alone is a quotation. Arguments that share a line, ``width, height: in pixels``,
    get one each.
    """

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            text = _EXAMPLE.sub(lambda found: f"\n```pycon\n{found[0].rstrip()}\n```\n", obj.docstring.value)
            obj.docstring.value = _SHARED.sub(
                lambda found: "\n".join(f"{found[1]}{name}: {found[3]}" for name in found[2].split(", ")), text
            )
