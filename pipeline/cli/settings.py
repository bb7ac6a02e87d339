"""Settings of facepipe.toml and FACEPIPE_* variables: defaults for the options of the commands that run the models.

Imported only where there are some, for pydantic-settings takes a moment.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from ...core.errors import FacepipeError, did_you_mean

LARGEST_FILE = 2**20


class Settings(BaseSettings):
    """What may be set; the names are those of the options, ``-`` written ``_``."""

    model_config = SettingsConfigDict(env_prefix="FACEPIPE_", extra="forbid")

    detector: str | None = None
    classifier: Annotated[list[str] | None, NoDecode] = None
    device: str | None = None
    threads: Annotated[int | None, Field(ge=1)] = None
    workers: Annotated[int | None, Field(ge=1)] = None
    conf: Annotated[float | None, Field(ge=0, le=1)] = None
    imgsz: Annotated[int | None, Field(ge=32)] = None
    precision: Literal["auto", "int8", "float16", "float32"] | None = None
    log_level: Literal["debug", "info", "warning", "error"] | None = None

    @field_validator("classifier", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """``A,B`` of a variable, and a single name of a file."""
        return [each.strip() for each in value.split(",")] if isinstance(value, str) else value


def read_settings(files: Sequence[Path]) -> dict[str, Any]:
    """What is set, by name. A variable overrides a file, a later file an earlier one.

    Args:
        files: that are there, in TOML.

    Raises:
        FacepipeError: a file cannot be read or is no TOML, or a name or value is not one that may be set.
    """
    for path in files:
        _check(path)

    class Found(Settings):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_: Any, **sources: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return sources["env_settings"], TomlConfigSettingsSource(settings_cls, list(files))

    where = " and ".join([*map(str, files), "FACEPIPE_* variables"])
    try:
        return Found().model_dump(exclude_none=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise FacepipeError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except SettingsError as error:
        raise FacepipeError(f"{where}: {error}") from error


def _check(path: Path) -> None:
    """Refuse a file that is no TOML, or that sets something unknown, by its name."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise FacepipeError(f"{path}: is too large for a settings file")
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FacepipeError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FacepipeError(f"{path}: not TOML: {error}") from error
    known = list(Settings.model_fields)
    for name in content:
        if name not in known:
            hint = did_you_mean(name, known) or f"; one of {', '.join(known)}"
            raise FacepipeError(f"{path}: there is no setting {name!r}{hint}")
