"""A study: a question, a baseline recipe, factors, a design and seeds; a value, checked before it is planned."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from mss_core.errors import choose, nearest
from mss_core.graph import Stage, digest, walk
from mss_core.recipe import flatten, has, override, paths, paths_named
from mss_core.study import cover, mistakes
from mss_core.study.designs import Factor, Variant, check_kinds, check_names, check_stages, one_at_a_time
from mss_core.study.search.declare import Search
from mss_core.study.settings import check as check_settings
from mss_core.study.settings import left_out
from mss_core.study.until import Until
from reports import contract
from reports.contract import Control, Declaration, Metric

FRESH = 100_000
"""What is added to a replicate's seed for a control that draws anew; more than a study has replicates."""

SETTINGS = "settings"
"""The factor of a study that has no other: its recipe as given, and as its search left it."""


@dataclass(frozen=True)
class Trial:
    """A variant with a seed: one final model and its score table. In a long rehearsal it may show another variant's,
    whose name is ``shows`` and whose last stage is its ``root``."""

    variant: Variant
    seed: int
    recipe: Any
    root: Stage
    shows: str = ""

    @property
    def name(self) -> str:
        return f"{self.variant.name}/seed{self.seed}"


@dataclass(frozen=True)
class Study:
    """What is asked, what is varied, and how the answer will be judged; declared before anything runs.

    Attributes:
        name: short, as the file's.
        question: one sentence.
        baseline: the recipe all departures are from; it has a ``pipeline()`` that returns the root stage.
        factors, design: which variants there are.
        seeds: replicates of every variant; ``Until(...)`` for as many as it takes.
        seeded: dotted paths of the seeds that vary with the replicate, each in the recipe of the baseline or of some
            variant; a stage whose seed is not among them is trained once and shared, and the report says so.
        reference: levels of the variant that all others are compared with.
        within: factors that split the study into blocks: each variant is compared with the reference variant of its own
            block (equal levels of these factors); the correction counts the contrasts of all blocks.
        own_tracks: factors whose levels are scored on test tracks of their own.
        sections: what the report shows beside the usual, ``{"kind": a section of reports, or a dotted module,
            **options}``.
        metric, target: the primary score, e.g. ``"roc_auc"`` averaged over tags, ``"macro"``.
        metrics: by level of a factor, another primary metric for the variants at that level.
        own_metrics: metrics that ``reports.contract.METRICS`` does not hold, each a ``Metric`` with unit and direction.
        higher_is_better: direction of ``metric``; None for what is known of it.
        smoke: cuts a recipe down for ``--smoke``.
        smoke_levels, smoke_seeds: the levels (by factor) and seeds that a smoke run keeps; all where not named.
        rehearsal: whether ``smoke`` is the cut of a rehearsal.
        cut: what a smoke run left out, as a sentence.
        test, alpha, correction: the declared primary test; an empty one is the default of the report for such scores:
            seeds x tracks where there are tracks, seeds and clips where there are predictions.
        controls: arms whose truth is known in advance, made from the reference: they share its stages, stay out of the
            study's family of contrasts, and the verdict cites them.
        margin: differences smaller than this, in the unit of the scores, count as none: asks for equivalence tests.
        exclude: tracks, targets and trials (``"vocals/seed1"``) left out of the report by rule.
        search: hyperparameters searched before the trials are planned, where ``--search`` asks for it; a study
            without factors always does, and compares its recipe as given with its recipe as tuned.
        lends: whether variants that do nothing new show the scores of others, as in a long rehearsal.
        chosen, searched: filled in after the search: the winning values of each variant, and what was declared of it.
        added: the levels that a command line has added, as typed after ``--factor``.
    """

    name: str
    question: str
    baseline: Any
    factors: Sequence[Factor]
    reference: Mapping[str, str]
    metric: str
    smoke: Callable[[Any], Any]
    seeded: Sequence[str]
    seeds: Sequence[int] = range(5)
    within: Sequence[str] = ()
    own_tracks: Sequence[str] = ()
    sections: Sequence[Mapping[str, Any]] = ()
    target: str = "macro"
    metrics: Mapping[str, str] = field(default_factory=dict)
    smoke_levels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    smoke_seeds: Sequence[int] | None = None
    rehearsal: bool = False
    lends: bool = False
    cut: str = ""
    design: Callable[[Sequence[Factor]], list[Variant]] = one_at_a_time
    own_metrics: Mapping[str, Metric] = field(default_factory=dict)
    higher_is_better: bool | None = None
    test: str = ""
    alpha: float = 0.05
    correction: str = "bonferroni"
    margin: float | None = None
    controls: Sequence[Control] = ()
    exclude: Sequence[str] = ()
    search: Search | None = None
    chosen: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    searched: Mapping[str, Any] = field(default_factory=dict)
    added: Sequence[str] = ()

    def check(self) -> None:
        """Raise ValueError for whatever does not fit together: called by ``run`` before anything else."""
        check_kinds({each.name: getattr(self, each.name) for each in fields(self)})
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"'seeds' must be distinct and at least one; got {list(self.seeds)}")
        check_names(self.name, self.factors)
        if any(type(seed) is not int or not 0 <= seed < 2**32 for seed in self.seeds):
            raise ValueError(f"'seeds' are whole numbers from 0 to {2**32 - 1}; got {list(self.seeds)}")
        names = [factor.name for factor in self.factors]
        if not (names or self.search) or len(set(names)) < len(names):
            raise ValueError(f"factors need distinct names; got {names}")
        for level in self.metrics:
            choose("level in 'metrics'", level, [label for factor in self.factors for label in factor.levels])
        self.at_smoke_size().references()
        if self.search is not None:
            self.search.check(self.seeds)
        self.references()
        mistakes.check_plain(self.baseline)
        recipes, roots, departures = [self.baseline], {}, {}
        for variant in self.variants():
            with mistakes.of(f"variant {variant.name!r} of study {self.name!r}"):
                recipes.append(self._departed(variant))
                mistakes.check_plain(variant.departures)
                roots[variant.name] = mistakes.root(recipes[-1])
            departures[variant.name] = variant.departures
        mistakes.check_repeats(recipes[-1])
        mistakes.check_variants(self.name, roots, departures)
        mistakes.check_seeded(self.seeded, departures)
        for control in self.controls:
            with mistakes.of(f"control {control.name!r} of study {self.name!r}"):
                roots[control.name] = mistakes.root(self._sabotaged(control, False, {}, lambda recipe: recipe))
        mistakes.check_spelling(self.name, roots)
        check_stages(walk(roots.values()).values())
        for path in self.seeded:
            if not any(has(recipe, path) for recipe in recipes):
                known = dict.fromkeys(known for recipe in recipes for known in paths(recipe))
                raise ValueError(f"no seed {path!r} in the recipe of any variant; {nearest(path, known)}")
        self._check_declaration(list(roots.values()))

    def _check_declaration(self, roots: Sequence[Stage]) -> None:
        """Refuse, in the words of the report, what the report would refuse after all training."""
        declaration = contract.read_declaration(contract.to_json(self.declaration(self.seeds, False, {})))
        metrics, targets = scored(roots)
        if metrics is None:
            metrics = {*contract.METRICS, *self.own_metrics}
            metrics |= {m for m in (self.metric, *self.metrics.values()) if contract.known_metric(m, self.own_metrics)}
        contract.check(declaration, [variant.name for variant in self.variants()], metrics, targets)

    def at_smoke_size(self) -> Study:
        """What ``--smoke`` runs: the kept levels and seeds. A factor left with its baseline level alone is dropped."""
        by_name = {factor.name: factor for factor in self.factors}
        for name, labels in self.smoke_levels.items():
            choose("factor in 'smoke_levels'", name, by_name)
            for label in labels:
                choose(f"level of factor {name!r} in 'smoke_levels'", label, by_name[name].levels)
        factors, kept = [], []
        for factor in self.factors:
            labels = self.smoke_levels.get(factor.name, tuple(factor.levels))
            cut = replace(factor, levels={label: factor.levels[label] for label in labels})
            if len(labels) < len(factor.levels):
                kept.append(f"{', '.join(labels)} of {factor.name}")
            if list(cut.levels.values()) != [{}]:
                factors.append(cut)
        names = [factor.name for factor in factors]
        dropped = by_name.keys() - set(names)
        levels = [label for factor in factors for label in factor.levels]
        return replace(
            self,
            factors=factors,
            within=[name for name in self.within if name in names],
            own_tracks=[name for name in self.own_tracks if name in names],
            reference={name: label for name, label in self.reference.items() if name in names},
            sections=[section for section in self.sections if section.get("factor") not in dropped],
            metrics={level: metric for level, metric in self.metrics.items() if level in levels},
            seeds=self.seeds if self.smoke_seeds is None else self.smoke_seeds,
            controls=[replace(c, margin=c.smoke_margin or c.margin, smoke_margin=None) for c in self.controls],
            smoke_levels={},
            smoke_seeds=None,
            cut=f"A smoke run of this study keeps only {' and '.join(kept)}." if kept else "",
        )

    def variants(self) -> list[Variant]:
        """All variants of the design; ValueError where two have one name."""
        variants = self.design(self.factors)
        twice = [name for name, count in Counter(variant.name for variant in variants).items() if count > 1]
        if twice:
            raise ValueError(f"study {self.name!r} has several variants named {sorted(twice)[0]!r}")
        return variants

    def _departed(self, variant: Variant) -> Any:
        """The recipe of a variant before all else: made once."""
        if variant.name not in self._recipes:
            self._recipes[variant.name] = override(self.baseline, variant.departures)
        return self._recipes[variant.name]

    @functools.cached_property
    def _recipes(self) -> dict[str, Any]:
        return {}

    def references(self) -> dict[str, Variant]:
        """By variant name, the variant it is compared with (a reference with itself).

        Raises ValueError naming the nearest factor or level where the design has no such variant.
        """
        by_name = {factor.name: factor for factor in self.factors}
        for factor, label in self.reference.items():
            choose("factor in 'reference'", factor, by_name)
            choose(
                f"level of factor {factor!r} in 'reference'",
                label,
                (*by_name[factor].levels, by_name[factor].baseline_level),
            )
        for field_name in ("within", "own_tracks"):
            for factor in getattr(self, field_name):
                choose(f"factor in {field_name!r}", factor, by_name)
        common = {factor.name: factor.baseline_level for factor in self.factors} | dict(self.reference)
        variants = self.variants()
        by_levels = {tuple(sorted(variant.levels.items())): variant for variant in variants}
        found = {}
        for variant in variants:
            wanted = common | {factor: variant.levels[factor] for factor in self.within}
            reference = by_levels.get(tuple(sorted(wanted.items())))
            if reference is None:
                raise ValueError(f"study {self.name!r}: the design {self.design.__name__} has no variant {wanted}")
            found[variant.name] = reference
        return found

    def reference_variant(self) -> Variant:
        """The variant that the first one (of the first block) is compared with."""
        return next(iter(self.references().values()))

    def recipe(
        self, variant: Variant, seed: int, smoke: bool, settings: Mapping[str, Any], bind: Callable[[Any], Any]
    ) -> Any:
        """The resolved recipe of one trial: departures, then smoke size, ``--set`` values, the seed and the data."""
        return self._seeded(self._resolve(variant, smoke, settings, bind), [seed])[0]

    def _resolve(self, variant: Variant, smoke: bool, settings: Mapping[str, Any], bind: Callable[[Any], Any]) -> Any:
        recipe = self._departed(variant)
        if smoke:
            recipe = mistakes.cut(self.smoke, recipe)
        recipe = override(recipe, {path: value for path, value in settings.items() if not left_out(path, variant)})
        return bind(override(recipe, self.chosen.get(variant.name, {})))

    def _seeded(self, recipe: Any, seeds: Sequence[int]) -> list[Any]:
        having = [path for path in self.seeded if has(recipe, path)]  # a stage that is left out has no seed to set
        return [override(recipe, dict.fromkeys(having, seed)) for seed in seeds]

    def trials(
        self,
        seeds: Sequence[int],
        smoke: bool,
        settings: Mapping[str, Any],
        bind: Callable[[Any], Any],
        only: Collection[str] | None = None,
    ) -> list[Trial]:
        """Every variant and every control with every seed; those of some names alone where ``only`` is given."""
        if settings:
            recipes = [(variant, self._departed(variant)) for variant in self.variants()]
            cut = [(variant, mistakes.cut(self.smoke, recipe) if smoke else recipe) for variant, recipe in recipes]
            check_settings(settings, cut, self.factors, self.seeded)
            override(mistakes.cut(self.smoke, self.baseline) if smoke else self.baseline, settings)
        trials = []
        for variant in self.variants():
            if only is not None and variant.name not in only:
                continue
            resolved = self._resolve(variant, smoke, settings, bind)
            for seed, recipe in zip(seeds, self._seeded(resolved, seeds), strict=True):
                trials.append(Trial(variant, seed, recipe, recipe.pipeline()))
        if self.lends and only is None:
            trials = cover.lent(trials, {name: reference.name for name, reference in self.references().items()})
        for control, variant in zip(self.controls, self.control_variants(), strict=True):
            if only is not None and variant.name not in only:
                continue
            resolved = self._sabotaged(control, smoke, settings, bind)
            own = [seed + FRESH * time for time in range(control.times) for seed in seeds]
            drawn = [seed + FRESH for seed in own] if control.fresh else own
            for seed, recipe in zip(own, self._seeded(resolved, drawn), strict=True):
                trials.append(Trial(variant, seed, recipe, recipe.pipeline()))
        return trials

    def control_variants(self) -> list[Variant]:
        """The controls as variants, at the levels of the reference, with what they change of it."""
        return [Variant(control.name, self.reference_variant().levels, control.departures) for control in self.controls]

    def _sabotaged(self, control: Control, smoke: bool, settings: Mapping[str, Any], bind: Callable[[Any], Any]) -> Any:
        """A control's recipe: the reference's, as it runs, and then the change whose effect is known."""
        recipe = self._resolve(self.reference_variant(), smoke, settings, lambda unbound: unbound)
        return bind(override(recipe, control.departures))

    def shared(self) -> str:
        """What the seeds do not replicate, as a sentence; empty where they replicate everything.

        A stage that only some variants have is named with them, or with those that lack it where these are fewer.
        """
        variants = self.variants()
        holders: dict[str, list[str]] = {}
        for variant in variants:
            for path in paths_named("seed", self._departed(variant)):
                if "." in path and path not in self.seeded:
                    holders.setdefault(path.removesuffix(".seed"), []).append(variant.name)
        if not holders:
            return ""
        names = [variant.name for variant in variants]
        stages = ", ".join(stage + _where(names, having) for stage, having in holders.items())
        return (
            f"The seeds do not vary {stages}: each is trained once and shared by all seeds of a variant, so the "
            "intervals are conditional on that one training."
        )

    def declaration(self, seeds: Sequence[int], smoke: bool, settings: Mapping[str, Any]) -> Declaration:
        """All that was fixed before the run.

        A study repeats the fields of a declaration that a study file sets, and holds no ``Declaration``. What must be
        set here may be absent from the study.json of an older version, and defaults differ with that. A study takes any
        sequence, and a factor with its own kinds. A held declaration would be a second level in every study file and
        every ``replace``, or a constructor of ``**fields`` that type checkers and editors cannot see into.
        tests/study/test_contract.py holds the two together, name by name.
        """
        baseline = mistakes.cut(self.smoke, self.baseline) if smoke else self.baseline
        declared = {
            **{each.name: getattr(self, each.name) for each in fields(Declaration) if hasattr(self, each.name)},
            "factors": [contract.Factor(factor.name, factor.levels) for factor in self.factors],
            "design": self.design.__name__,
            "seeds": list(seeds),
            "shared": self.shared(),
            "reference": self.reference_variant().name,
            "references": {name: variant.name for name, variant in self.references().items()} if self.within else {},
            "higher_is_better": self.direction(),
            "correction": contract.SPELLINGS.get(self.correction, self.correction),
            "settings": settings,
            "baseline": flatten(override(baseline, settings)),
            "search": self.searched,
            "until": contract.Looks(self.seeds.looks, self.seeds.spending) if isinstance(self.seeds, Until) else None,
        }
        return Declaration(**declared)

    def direction(self) -> bool:
        """Whether more of the primary metric is better."""
        metric = contract.known_metric(self.metric, self.own_metrics)
        known = metric is None or metric.higher_is_better
        return known if self.higher_is_better is None else self.higher_is_better

    def title(self, smoke: bool, settings: Mapping[str, Any]) -> str:
        """The name results stand under: another baseline is another title, so nothing is overwritten."""
        tables = self.searched and [factor.name for factor in self.factors] not in ([], [SETTINGS])
        scope = [self.searched["scope"]] if tables else []
        size = ["rehearsal" if self.rehearsal else "smoke"] if smoke else []
        changed = {**settings, **({"--factor": list(self.added)} if self.added else {})}
        parts = [self.name, *size, *scope, *([digest(changed)[:8]] if changed else [])]
        return "-".join(parts)


def scored(roots: Sequence[Stage]) -> tuple[set[str] | None, set[str] | None]:
    """The metrics and the targets that trials are scored on, as far as their stages say; None for those that none says.

    A module that holds a stage may state ``METRICS``, the names of the metrics its stages write to scores.csv, and
    ``targets(arguments)``, which returns the targets of a call of its stage. What the last stage of a trial does not
    state is not known before it has run.
    """
    metrics: set[str] = set()
    targets: set[str] = set()
    for stage in walk(roots).values():
        module = stage.function.__globals__
        metrics.update(module.get("METRICS", ()))
        if "targets" in module:
            targets.update(module["targets"](stage.arguments))
    last = [root.function.__globals__ for root in roots]
    return (
        metrics if all("METRICS" in module for module in last) else None,
        targets if all("targets" in module for module in last) else None,
    )


def _where(names: Sequence[str], having: Sequence[str]) -> str:
    """Which of all variants have a stage, in brackets; empty where all do."""
    lacking = [name for name in names if name not in having]
    if not lacking:
        return ""
    word, few = ("not in", lacking) if len(lacking) < len(having) else ("in", having)
    return f" ({word} {'; '.join(few)})"
