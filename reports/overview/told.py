"""What is read of report.json: the parts of the findings that a card shows, with the types that they must have."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from reports.text import Style


@dataclass(frozen=True)
class Difference:
    """The primary test's difference and pointwise interval, in the metric's own unit; NaN where there is none."""

    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Contrast:
    """One variant against its reference; `simultaneous` is the interval of the corrected p."""

    variant: str
    reference: str = ""
    primary: Difference = field(default_factory=Difference)
    p_corrected: float = math.nan
    simultaneous: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Compared:
    """One metric's contrasts."""

    style: Style
    alpha: float
    target: str = ""
    primary: bool = False
    reference: str = ""
    within: tuple[str, ...] = ()
    contrasts: tuple[Contrast, ...] = ()

    def clear(self, contrast: Contrast) -> bool:
        """Whether the corrected p is below alpha; False for NaN."""
        return contrast.p_corrected < self.alpha

    @property
    def tested(self) -> tuple[Contrast, ...]:
        """The contrasts with a p."""
        return tuple(each for each in self.contrasts if not math.isnan(each.p_corrected))


@dataclass(frozen=True)
class Judged:
    """One control."""

    came_out: bool


@dataclass(frozen=True)
class Controls:
    """All controls."""

    judged: tuple[Judged, ...] = ()


@dataclass(frozen=True)
class Trial:
    """One trial as the report knew it; `stages` are keys by label."""

    name: str
    status: str = ""
    stages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reported:
    """The study as the report knew it."""

    declared: str = ""
    trials: tuple[Trial, ...] = ()


@dataclass(frozen=True)
class Findings:
    """What was found."""

    study: Reported
    comparisons: tuple[Compared, ...]
    controls: Controls | None = None

    @property
    def a_control_failed(self) -> bool:
        """Whether a control did not come out as declared."""
        return self.controls is not None and not all(each.came_out for each in self.controls.judged)


@dataclass(frozen=True)
class Told:
    """report.json."""

    headline: str
    findings: Findings
