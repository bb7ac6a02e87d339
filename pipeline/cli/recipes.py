"""``facepipe recipes …``: which recipes there are for ``train-classifier``, and what one says."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Recipes of train-classifier: list, show.", rich_markup_mode=None)


def register(parent: typer.Typer) -> None:
    """Add the commands to the app."""
    parent.add_typer(app, name="recipes")


@app.command("list")
def list_recipes() -> None:
    """List the recipes that come with facepipe: backbone, input size and attributes of each."""
    from rich.table import Table
    from rich.text import Text

    from ...classifier.config.recipe import read_recipe, recipe_path, shipped_recipes
    from ...classifier.config.schema import find_schema, read_schema
    from ..table import console

    table = Table()
    for heading in ("recipe", "backbone", "px", "attributes", "what it is"):
        table.add_column(heading, justify="right" if heading == "px" else "left", no_wrap=heading == "recipe")
    for name in shipped_recipes():
        recipe = read_recipe(name)
        attributes = read_schema(find_schema(recipe.schema_file, recipe_path(name).parent))
        cells = (
            name,
            recipe.backbone,
            str(recipe.size),
            ", ".join(each.name for each in attributes),
            recipe.description,
        )
        table.add_row(*map(Text, cells))
    console().print(table)


@app.command()
def show(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe, or a YAML file.", show_default=False)],
    whole: Annotated[
        bool, typer.Option("--whole", help="Every field, those of its base and the defaults included.")
    ] = False,
) -> None:
    """Print a recipe as YAML, to start one of your own from."""
    from ...classifier.config.recipe import read_recipe, recipe_path
    from ...core.optional_yaml import require_yaml

    found = read_recipe(recipe)
    if not whole:
        print(recipe_path(recipe).read_text(encoding="utf-8"), end="")
        return
    yaml = require_yaml()
    content = found.model_dump(mode="json", by_alias=True)
    print(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100), end="")
