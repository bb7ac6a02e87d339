"""A benchmark's findings, as written to JSON: raw seconds of every round, ratios, and targets."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median, quantiles
from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field

PIPELINE, BOUND, NOTEBOOK = "pipeline", "bound", "notebook way"
"""Names of the sides that are timed against each other."""


class Part(BaseModel):
    """A frozen part of a report. Computed figures are written to the JSON, and ignored when it is read."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Series(Part):
    """One side's rounds."""

    name: str
    what: str
    """How this side works, in words."""
    unit: Literal["pictures", "crops"]
    items: int
    """Pictures or crops in each round."""
    seconds: tuple[float, ...]
    """Wall time of each round, in order."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def rate(self) -> float:
        """Items per second in the median round."""
        return self.items / median(self.seconds)


class Ratio(Part):
    """How many times as fast one side is as another: the median over the rounds' own ratios."""

    name: str
    rounds: tuple[float, ...]
    """The ratio of each round: rate over rate, from two consecutive measurements."""
    wanted: float | None = None
    """The minimum target; None if the ratio is only reported."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def median(self) -> float:
        return median(self.rounds)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def spread(self) -> tuple[float, float]:
        """Lower and upper quartile of the rounds; minimum and maximum with fewer than four."""
        if len(self.rounds) < 4:
            return min(self.rounds), max(self.rounds)
        low, _, high = quantiles(self.rounds, n=4, method="inclusive")
        return low, high

    @computed_field  # type: ignore[prop-decorator]
    @property
    def reached(self) -> bool | None:
        return None if self.wanted is None else self.median >= self.wanted


class Limit(Part):
    """A figure that should stay below a limit: seconds of a start, megabytes of memory."""

    name: str
    unit: Literal["s", "MB"]
    values: tuple[float, ...]
    """One value per try."""
    wanted: float | None = None
    """The maximum target; None if the figure is only reported."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def median(self) -> float:
        return median(self.values)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def reached(self) -> bool | None:
        return None if self.wanted is None else self.median <= self.wanted


class Pictures(Part):
    """The pictures of a comparison."""

    label: str
    count: int
    faces: tuple[int, ...]
    """Number that the detector finds in each."""
    megapixels: float
    """Mean per picture."""
    megabytes: float
    """All files together (10^6 bytes)."""


class Comparison(Part):
    """Sides that did the same work in turn, round by round."""

    label: str
    pictures: Pictures | None
    """None if only crops are classified."""
    series: tuple[Series, ...]
    ratios: tuple[Ratio, ...]
    notes: tuple[str, ...] = ()

    def side(self, name: str) -> Series | None:
        """The rounds of one side; None if it took no part."""
        return next((each for each in self.series if each.name == name), None)


class Machine(Part):
    """The machine it ran on."""

    cpu: str
    cores: int
    features: tuple[str, ...]
    """Instruction sets that the models' arithmetic may use."""
    memory_gb: float | None
    system: str
    python: str
    packages: dict[str, str]
    """Versions of the packages that do the work."""
    load: float | None
    """Other load: the one-minute load average at the start. None if the system does not provide it."""


class Model(Part):
    """A model that ran."""

    version: str
    sha256: str
    precision: str


class Report(Part):
    """A benchmark's findings."""

    form: Literal[1] = 1
    """Format version of this file; another number means other fields."""
    facepipe: str
    command: str
    started: str
    """ISO 8601, UTC."""
    seconds: float
    machine: Machine
    models: dict[str, Model]
    """``detector``, and each classifier by its name."""
    comparisons: dict[str, tuple[Comparison, ...]]
    """By question: ``main``, ``notebook``, ``precision``, ``faces``, ``batch``, ``size``."""
    limits: tuple[Limit, ...]
    notes: tuple[str, ...]
    """What was left out, and why; how the pictures differ from what was requested."""


def paired(name: str, one: Series, other: Series, wanted: float | None = None) -> Ratio:
    """How many times as fast ``one`` is as ``other``, round by round.

    Raises:
        ValueError: the two have different numbers of rounds, or none.
    """
    return Ratio(
        name=name,
        rounds=tuple(
            (one.items / mine) / (other.items / its) for mine, its in zip(one.seconds, other.seconds, strict=True)
        ),
        wanted=wanted,
    )


def quickest(series: Sequence[Series]) -> Series:
    """The side with the highest rate, by the median round."""
    return max(series, key=lambda each: each.rate)
