"""What a report says, as frozen values. Numbers and prose are both made from these and from
nothing else.

Scores, differences and intervals are in the metric's own unit (an AUC in 0..1, an SDR in dB);
only text.Style scales them for print.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from reports.contract import Study
from reports.contrasts import Comparability
from reports.inputs.tables import Scores
from reports.separation import Separation
from reports.statistics import factorial
from reports.statistics.calibration import Calibration
from reports.statistics.effects import FactorVariance, TargetEffect
from reports.statistics.hypothesis_tests import Effect, Equivalence, Result
from reports.statistics.improvement import Improvement
from reports.statistics.systems import Systems
from reports.statistics.tagging import TagArea
from reports.text import Style


@dataclass(frozen=True)
class Convention:
    """One way to score, of several of one kind.

    Attributes:
        over: "mean" or "median": how tracks became a score of a run.
        differences: variant -> difference to its reference, in the metric's unit.
    """

    style: Style
    over: str
    differences: Mapping[str, float]

    @property
    def name(self) -> str:
        """For print."""
        return f"{self.style.label} ({self.over} over tracks)"

    def sign(self, variant: str) -> int:
        """1 where the variant is better than its reference, -1 where it is worse, else 0."""
        value = self.differences.get(variant, 0.0) * (1 if self.style.higher_is_better else -1)
        return (value > 0) - (value < 0)


@dataclass(frozen=True)
class Row:
    """One variant in one comparison.

    Attributes:
        runs: score by seed; of a variant over what it has in common with its reference, of a
            reference over what all of its runs have.
        planned: how many seeds were declared.
        mean, sd, se: over runs; NaN where they need more runs. The latter two are NaN also where
            the runs have no target and track in common, so that their spread is not theirs alone.
    """

    variant: str
    is_reference: bool
    runs: Mapping[int, float]
    planned: int
    mean: float
    sd: float
    se: float


@dataclass(frozen=True)
class Contrast:
    """One variant against the reference.

    Attributes:
        primary: the primary test; its p is uncorrected.
        p_corrected: p over the family; NaN where there is no p.
        stars: of p_corrected.
        simultaneous: the interval that belongs to `p_corrected`: it leaves out zero where this is
            below alpha. Under Bonferroni all of a family hold together.
        effect: Hedges g on runs.
        naive: the field's pooled test where there are items to pool, else None.
        tests: every test that applies, the primary first.
        devices: kinds of device that set the two arms apart; empty where they ran alike.
        left_out: arm -> "target", "track" or "score" -> names that not every run of this arm has,
            and that the contrast is therefore not taken over.
        reference_mean: of the reference over what the contrast is taken over.
        own_tracks: whether each arm is taken over tracks of its own.
        improvement: how often a run of the variant is better on an item; None where it was not computed.
    """

    variant: str
    reference: str
    comparability: Comparability
    primary: Result
    p_corrected: float
    stars: str
    simultaneous: tuple[float, float]
    effect: Effect
    equivalence: Equivalence
    naive: Result | None
    tests: tuple[Result, ...]
    devices: tuple[str, ...]
    left_out: Mapping[str, Mapping[str, tuple[str, ...]]]
    reference_mean: float
    own_tracks: bool
    improvement: Improvement | None = None

    @property
    def refused(self) -> str:
        """Why nothing was computed; empty if it was."""
        return self.comparability.refusal


@dataclass(frozen=True)
class Comparison:
    """All variants on one metric and target.

    Attributes:
        test: short name of the primary test; `test_label` is for print.
        family: how many contrasts the correction counts.
        item: what is crossed with seeds (`track`), or empty.
        noun: what one of the targets is called: `tag`, `source` or `target`.
        items: how many of them, at most, a contrast is taken over.
        groups: of how many groups (songs, albums, artists) the tracks are, where these are the sample; 0 where each
            track counts as independent.
        balanced: variant -> seed -> score over what all compared variants of a block have in every
            run, for what compares them all at once.
        computed: contrasts with a p value.
        repeated: whether p and intervals of the contrasts hold over all looks at them.
    """

    style: Style
    target: str
    primary: bool
    reference: str
    within: tuple[str, ...]
    test: str
    test_label: str
    alpha: float
    correction: str
    correction_label: str
    family: int
    item: str
    items: int
    groups: int
    balanced: Mapping[str, Mapping[int, float]]
    rows: tuple[Row, ...]
    contrasts: tuple[Contrast, ...]
    repeated: bool = False
    noun: str = "target"

    @property
    def against(self) -> str:
        """What variants are compared with, for print."""
        if not self.within:
            return self.reference
        return f"the reference of the same {' and '.join(self.within)}"

    @property
    def references(self) -> tuple[str, ...]:
        """The reference variants, one a block."""
        return tuple(row.variant for row in self.rows if row.is_reference)

    def row(self, variant: str) -> Row:
        """The row of a variant."""
        return next(row for row in self.rows if row.variant == variant)

    def contrast(self, variant: str) -> Contrast | None:
        """The contrast of a variant with the reference; None for the reference itself."""
        return next((c for c in self.contrasts if c.variant == variant), None)


@dataclass(frozen=True)
class Power:
    """What the design could have shown, and what the next one needs.

    Attributes:
        counts: what more of would help: `run` (per arm), or the items (`track`) that are the sample.
        runs: how many of them the figures assume.
        sd: run-to-run standard deviation, pooled over variants; where items are the sample, that of a
            difference over items.
        alpha: level of one test after the correction.
        detectable: the difference found with 80 % power with these runs; NaN if none is.
        needed: (difference, runs an arm or items for 80 % power) pairs; 0 where no number of them
            suffices.
        reference_runs: runs of the reference that would give every contrast more power at the same
            total; 0 where there is nothing to gain.
    """

    counts: str
    runs: int
    sd: float
    alpha: float
    detectable: float
    needed: tuple[tuple[float, int], ...]
    reference_runs: int = 0


@dataclass(frozen=True)
class Look:
    """One contrast at one look.

    Attributes:
        seeds: of the variant; the reference has as many.
        level: of p, below which the contrast is significant; low, high: the repeated confidence interval.
        decision: see `reports.statistics.sequential`; empty where the contrast goes on.
    """

    seeds: int
    result: Result
    level: float
    low: float
    high: float
    decision: str


@dataclass(frozen=True)
class Path:
    """One contrast over the looks it was taken through, the last of which decided it, if it is decided.

    Attributes:
        estimate: the difference, adjusted for the looks (median-unbiased); NaN before the first look.
        p: over all looks and the family.
        needed: seeds per arm for 80 % power if the true difference is the one seen; infinite for none.
        items: tracks (or clips) that the largest look needs for that power; infinite for none.
    """

    variant: str
    reference: str
    looks: tuple[Look, ...]
    estimate: float
    p: float
    needed: float
    items: float

    @property
    def decision(self) -> str:
        """Of the last look; empty for a contrast that goes on, or before the first."""
        return self.looks[-1].decision if self.looks else ""


@dataclass(frozen=True)
class Course:
    """What a study decided at its looks, from its scores alone.

    Attributes:
        looks: seeds at each look, those taken before the study was declared sequential (`counted`) included.
        level: of one contrast, over all looks.
        wanted: variant -> seeds that the next look takes, or the last one took.
    """

    looks: tuple[int, ...]
    counted: tuple[int, ...]
    spending: str
    level: float
    paths: tuple[Path, ...]
    wanted: Mapping[str, int]

    @property
    def over(self) -> bool:
        """Whether every contrast is decided."""
        return all(path.decision for path in self.paths)

    @property
    def trainings(self) -> int:
        """Trials that were asked for."""
        return sum(self.wanted.values())

    @property
    def fixed(self) -> int:
        """Trials of a study that takes all its seeds."""
        return len(self.wanted) * self.looks[-1]

    def path(self, variant: str) -> Path:
        """Of a variant."""
        return next(path for path in self.paths if path.variant == variant)


@dataclass(frozen=True)
class Control:
    """An arm whose truth is known: what it was declared to come out as, whether it did, and that as a clause."""

    name: str
    expected: str
    came_out: bool
    told: str


@dataclass(frozen=True)
class Controls:
    """All controls, and their comparison with the study's reference, a family of its own; None without a score."""

    comparison: Comparison | None
    judged: tuple[Control, ...]

    @property
    def failed(self) -> tuple[Control, ...]:
        """Those that did not come out as declared."""
        return tuple(control for control in self.judged if not control.came_out)


@dataclass(frozen=True)
class Findings:
    """Everything a report says.

    Attributes:
        comparisons: the primary one first.
        deviations: how the run differs from the declaration, one sentence each.
        cautions: what limits the conclusions, one sentence each.
        by_tag, by_track: variant -> its effects, largest gain first.
        systems: all pairs, where many models are compared as given; None elsewhere.
        effects: main effects and interactions of a full factorial; empty for other designs.
        calibration: what the primary test does in simulated studies of this design; None where it
            is not simulated.
        course: what was decided at each look; None where the number of seeds was fixed.
        conventions: differences by each way to compute the primary metric's kind of score, the primary one first; empty
            where there is one alone.
        controls: arms whose truth is known; None where none was declared.
        tag_areas: variant -> AUC of each tag beside the reference's; empty without predictions.
        scores: the table that all this was taken from, without what was declared to be left out.
    """

    study: Study
    comparisons: tuple[Comparison, ...]
    deviations: tuple[str, ...]
    cautions: tuple[str, ...]
    by_tag: Mapping[str, tuple[TargetEffect, ...]]
    by_track: Mapping[str, tuple[TargetEffect, ...]]
    tag_areas: Mapping[str, tuple[TagArea, ...]]
    separation: tuple[Separation, ...]
    power: Power | None
    variance: tuple[FactorVariance, ...]
    calibration: Calibration | None = None
    course: Course | None = None
    systems: Systems | None = None
    effects: tuple[factorial.Effect, ...] = ()
    controls: Controls | None = None
    conventions: tuple[Convention, ...] = ()
    scores: Scores | None = None

    @property
    def main(self) -> Comparison:
        """The primary comparison."""
        return self.comparisons[0]
