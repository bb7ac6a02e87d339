"""``python -m facepipe``: the command ``facepipe``."""

from facepipe.pipeline.cli import main

main()
