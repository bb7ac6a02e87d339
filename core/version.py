"""The package version, defined only here (pyproject.toml reads it)."""

__version__ = "0.4.0"
