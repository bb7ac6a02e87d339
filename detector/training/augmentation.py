"""Augmentation recipes: the random changes of training pictures, as strict records read from YAML.

A step is on if it is named and off otherwise. This includes ultralytics' own steps, listed under ``ultralytics``. The
order is fixed: ultralytics' mosaic and affine step (or ``view`` in its place), ``rotation`` and ``zoom``, ultralytics'
mixup, cutmix and colour, ``exposure``, the flips, and finally ``rotation`` within boxes, ``blur`` and ``noise``. Ignore
regions move with the picture (see ``transforms.Warp``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from ...core.errors import FacepipeError, TrainingError
from ...core.yaml import read_yaml
from ...weights.records import Record
from .overrides import check_keys

FOLDER = Path(__file__).parent / "augmentations"
DEFAULT = "ultralytics"
"""The default recipe."""
OFF: dict[str, Any] = {
    "hsv_h": 0.0,
    "hsv_s": 0.0,
    "hsv_v": 0.0,
    "degrees": 0.0,
    "translate": 0.0,
    "scale": 0.0,
    "shear": 0.0,
    "perspective": 0.0,
    "flipud": 0.0,
    "fliplr": 0.0,
    "bgr": 0.0,
    "mosaic": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
    "multi_scale": 0.0,
    "close_mosaic": 0,
    "augmentations": None,
}
"""Ultralytics' settings that change training pictures with boxes, each at its value for off."""
AFFINE = ("degrees", "translate", "scale", "shear", "perspective")
JOINING = ("mosaic", "mixup", "cutmix")
"""Steps that join pictures. These must have one shape, so nothing is joined with ``rect``."""

Where = Literal["picture", "boxes"]


class Step(Record):
    """A step and its probability."""

    probability: float = Field(default=1.0, ge=0, le=1)
    """Per picture, or per box if the step works within boxes."""


class Flip(Step):
    """Flip left and right."""

    probability: float = Field(default=0.5, ge=0, le=1)


class Zoom(Step):
    """Enlarge a part of the picture, at a uniformly random position, to the same canvas."""

    least: float = Field(default=0.0, ge=0, lt=1)
    most: float = Field(default=0.3, ge=0, le=0.9)
    """Share of both sides that is cut away; uniform between the two."""

    @model_validator(mode="after")
    def _ordered(self) -> Zoom:
        if self.least > self.most:
            raise ValueError(f"least ({self.least}) must not be above most ({self.most})")
        return self


class Exposure(Step):
    """Multiply every pixel value by a factor, uniform from ``1 - change`` to ``1 + change``."""

    change: float = Field(default=0.16, ge=0, lt=1)


class Placed(Step):
    """A step on the whole picture, or only within its boxes (see ``transforms.PlacedStep``)."""

    where: Where = "picture"


class Blur(Placed):
    """Gaussian blur with a sigma uniform from 0 to ``sigma`` pixels of the training picture."""

    sigma: float = Field(default=1.5, gt=0, le=20)


class Noise(Placed):
    """Turn pixels black or white, and add Gaussian noise to every value."""

    pixels: float = Field(default=0.01, ge=0, le=0.5)
    """Largest share of pixels that turn black or white; the share is uniform from 0."""
    deviation: float = Field(default=0.0, ge=0, le=100)
    """Largest standard deviation of the Gaussian noise in grey levels; uniform from 0."""


class Rotation(Placed):
    """Rotate about the centre by a uniform angle in either direction; within boxes, the boxes stay as they are."""

    degrees: float = Field(default=15.0, gt=0, le=180)


class View(Record):
    """Random views instead of ultralytics' affine step (see ``transforms.RandomView``)."""

    canvas: float = Field(default=0.8, gt=0, le=2)
    """Side of the view relative to that of the picture at the training size."""
    scale: tuple[float, float] = Field(default=(0.6, 2.0), strict=False)
    """Smallest and largest enlargement relative to the training size, log-uniform; objects are never enlarged beyond
    the canvas."""
    rotation: float = Field(default=0.0, ge=0, le=45)
    """Largest rotation in degrees, in either direction."""
    turned: float = Field(default=0.0, ge=0, le=1)
    """Share of views rotated by any angle instead: people lie down, and cameras are held sideways."""
    towards_objects: float = Field(default=0.5, ge=0, le=1)
    """Share of views placed to contain a randomly drawn object; the others lie anywhere."""
    least_visible: float = Field(default=0.35, ge=0, le=1)
    """An object with a smaller visible share becomes an ignore region."""
    least_side: float = Field(default=4.0, ge=0)
    """An object whose longer side in the view has fewer pixels becomes an ignore region."""

    @field_validator("scale")
    @classmethod
    def _ordered(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f"scale goes from the least to the largest enlargement, both above 0; got {scale}")
        return scale


def _switch(value: Any) -> Any:
    """Convert ``true`` to a step with default settings and ``false`` to none."""
    return {} if value is True else None if value is False else value


def _several(value: Any) -> Any:
    """Accept a single step without a list."""
    value = _switch(value)
    return () if value is None else value if isinstance(value, list | tuple) else (value,)


class Recipe(Record):
    """How training pictures are augmented."""

    name: str = ""
    flip: Annotated[Flip | None, BeforeValidator(_switch)] = None
    zoom: Annotated[Zoom | None, BeforeValidator(_switch)] = None
    exposure: Annotated[Exposure | None, BeforeValidator(_switch)] = None
    rotation: Annotated[tuple[Rotation, ...], BeforeValidator(_several), Field(strict=False)] = ()
    blur: Annotated[tuple[Blur, ...], BeforeValidator(_several), Field(strict=False)] = ()
    noise: Annotated[tuple[Noise, ...], BeforeValidator(_several), Field(strict=False)] = ()
    view: Annotated[View | None, BeforeValidator(_switch)] = None
    ultralytics: dict[str, Any] = Field(default={})

    @model_validator(mode="before")
    @classmethod
    def _reject_null(cls, content: Any) -> Any:
        if isinstance(content, dict) and (empty := [key for key, value in content.items() if value is None]):
            raise ValueError(f"{empty[0]}: write true, false, or its settings")
        return content

    @field_validator("ultralytics")
    @classmethod
    def _known(cls, settings: dict[str, Any]) -> dict[str, Any]:
        try:
            check_keys(settings, OFF)
        except FacepipeError as error:
            raise ValueError(str(error)) from error
        return settings

    @model_validator(mode="after")
    def _agrees(self) -> Recipe:
        if self.flip is not None and "fliplr" in self.ultralytics:
            raise ValueError("flip and ultralytics' fliplr are the same step; name one of them")
        if self.view is not None and (idle := [key for key in AFFINE if self.ultralytics.get(key)]):
            raise ValueError(f"view replaces ultralytics' {', '.join(idle)}; name one or the other")
        if sum(step.where == "picture" for step in self.rotation) > 1:
            raise ValueError("one rotation of the picture is enough")
        return self

    def resolved(self, overrides: Mapping[str, Any], rect: bool = False) -> Recipe:
        """The recipe as a run uses it: overrides take precedence, and ``rect`` turns off joining.

        Raises:
            TrainingError: an override contradicts the recipe or ``rect``.
        """
        given = {key: value for key, value in overrides.items() if key in OFF}
        if rect and (joined := [key for key in JOINING if given.get(key)]):
            raise TrainingError(f"--set {joined[0]} joins pictures, which --rect does not allow; leave one of them out")
        ultralytics = {**self.ultralytics, **given, **(dict.fromkeys(JOINING, 0.0) if rect else {})}
        if not any(ultralytics.get(key) for key in JOINING):
            ultralytics.pop("close_mosaic", None)
        ultralytics = {key: value for key, value in ultralytics.items() if value != OFF[key]}
        content = self.to_dict()
        if "fliplr" in given:
            content.pop("flip", None)
        return _validated({**content, "ultralytics": ultralytics}, "augmentation")

    def arguments(self) -> dict[str, Any]:
        """All of ultralytics' settings for this recipe, including those that are off."""
        flip = {} if self.flip is None else {"fliplr": self.flip.probability}
        return {**OFF, **self.ultralytics, **flip}

    def to_dict(self) -> dict[str, Any]:
        """The active steps with all their settings, for YAML and JSON."""
        content = self.model_dump(mode="json")
        return {key: value for key, value in content.items() if value not in (None, [], {}, "")}


def shipped() -> tuple[str, ...]:
    """Names of the recipes included in facepipe."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.yaml")))


def read_recipe(name: str) -> Recipe:
    """Read a recipe.

    Args:
        name: one of :func:`shipped`, or the path of a YAML file.

    Raises:
        TrainingError: there is no such recipe, or the file is not a valid one.
    """
    path = FOLDER / f"{name}.yaml" if name in shipped() else Path(name)
    if not path.exists():
        known = ", ".join(shipped())
        raise TrainingError(f"{name}: no such augmentation; one of {known}, or the path of a YAML file")
    content = read_yaml(path, TrainingError)
    if content is not None and not isinstance(content, dict):
        raise TrainingError(f"{path}: a recipe names steps and their settings, got {type(content).__name__}")
    return _validated({"name": path.stem, **(content or {})}, str(path))


def as_recipe(content: Mapping[str, Any]) -> Recipe:
    """Build a recipe from the output of :meth:`Recipe.to_dict`.

    Raises:
        TrainingError: the content is not a valid recipe.
    """
    return _validated(content, "augmentation")


def _validated(content: Mapping[str, Any], where: str) -> Recipe:
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise TrainingError(f"{where}: {place + ': ' if place else ''}{first['msg']}") from error
