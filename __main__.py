"""``python -m facepipe``: the command ``facepipe``."""

from .pipeline.cli import main

main()
