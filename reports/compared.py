"""mss compare A B [--store DIR] [--metric M] [--target T] [--out DIR]

A and B are studies: titles below <store>/studies/, or directories. Shown are the settings that differ, both tables side
by side, and a test of B against A for each variant that stands in both. A variant of which both hold the very same runs
is not tested: nothing differs but the name. Nothing of this was declared before the runs.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from reports import FORMATS, prose, study_tables
from reports.ablation import analyse
from reports.assembly import report
from reports.contract import Declaration, Study, Variant, check_metric, check_target
from reports.contract.flags import STORE, Flags, exit_status
from reports.contrasts import ABSENT, differing
from reports.document import Cell, Report, Section, Table
from reports.findings import Comparison, Findings
from reports.inputs.directory import Tables, study_directory
from reports.inputs.tables import Scores, select, without
from reports.text import count, listing

SIDES = ("A", "B")
DECLARED = (
    "metric",
    "target",
    "test",
    "alpha",
    "correction",
    "margin",
    "exclude",
    "seeds",
    "design",
    "higher_is_better",
)
"""Parts of a declaration that say how a study is judged."""
LONGEST = 28
"""Characters of a setting: two columns of them fit a terminal."""
MADE = ("commit", "dirty", "packages", "torch", "gpu", "kernels")
"""Parts of an environment that may tell results apart."""
NOTE = (
    "This comparison was not declared before the runs: a difference found by looking for one is a hint, to be tested "
    "in a study of its own."
)


@dataclass(frozen=True)
class Side:
    """One of the two studies, on the metric and target that are compared."""

    name: str
    tables: Tables
    scores: Scores
    study: Study
    main: Comparison

    @property
    def roots(self) -> dict[tuple[str, int], str]:
        """By variant and seed, the key of the stage that left the scores."""
        return {(t.variant, t.seed): [*t.stages.values()][-1] for t in self.study.trials if t.stages}

    def runs(self, variant: str) -> list[int]:
        """The seeds of a variant that have a score."""
        return sorted(next((row.runs for row in self.main.rows if row.variant == variant), {}))


@dataclass(frozen=True)
class Compared:
    """What `mss compare` shows.

    Attributes:
        settings: rows (what, in A, in B) of all that differs.
        tested: the findings of B against A; None where nothing can be tested.
        untested: why variants of both are not tested, one sentence each.
    """

    sides: tuple[Side, Side]
    settings: tuple[tuple[str, str, str], ...]
    tested: Findings | None
    untested: tuple[str, ...]


def compare(a: Tables, b: Tables, metric: str = "", target: str | None = None) -> Compared:
    """Two studies on one metric.

    Args:
        metric, target: by default those that A declares.

    Raises:
        ValueError: one of the studies does not have the metric or target.
    """
    metric = metric or a.study.declaration.metric or a.scores.metrics()[0]
    target = a.study.declaration.target if target is None else target
    sides = _side(SIDES[0], a, metric, target), _side(SIDES[1], b, metric, target)
    both = [row.variant for row in sides[0].main.rows if all(side.runs(row.variant) for side in sides)]
    untested = dict(_same_runs(sides, both))
    kept = [name for name in both if name not in untested]
    found = _tested(sides, kept, metric, target) if kept else None
    return Compared(sides, tuple(_settings(*sides)), found, tuple(untested.values()))


def _side(name: str, tables: Tables, metric: str, target: str) -> Side:
    study = tables.study
    scores = without(tables.scores, study.declaration.exclude)
    try:
        check_metric(metric, scores.metrics())
        rows = scores.frame[scores.frame["metric"] == metric]
        check_target(metric, target, set(rows["target"]))
    except ValueError as error:
        raise ValueError(f"{name}, {study.title}: {error}") from None
    alone = replace(study.declaration, metric=metric, target=target, metrics={}, until=None, exclude=(), controls=())
    plain = replace(study, declaration=alone, controls=())
    main = analyse(scores, plain, tables.predictions if metric == "roc_auc" else None, brief=True).main
    return Side(name, tables, scores, study, main)


def _same_runs(sides: tuple[Side, Side], names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The variants of which both studies hold the same runs, by their keys, with a sentence each."""
    a, b = sides
    for name in names:
        seeds = [s for s in a.runs(name) if s in b.runs(name) and a.roots.get((name, s)) == b.roots.get((name, s), "")]
        if seeds:
            every = len(seeds) == len(a.runs(name)) == len(b.runs(name))
            which = "all runs of both are" if every else f"{_seeds(seeds)} {'is' if len(seeds) == 1 else 'are'}"
            yield name, f"{name}: {which} the very same, so B is not tested against A."


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'' if len(seeds) == 1 else 's'} {listing([str(seed) for seed in seeds], 8)}"


def _tested(sides: tuple[Side, Side], names: Sequence[str], metric: str, target: str) -> Findings:
    """B against A for each of some variants, one family, by the statistics of any report."""
    called = {side.name: {name: f"{name} ({side.name})" for name in names} for side in sides}
    declared = [side.study.declaration for side in sides]
    same_test = declared[0].test if declared[0].test == declared[1].test else ""
    first, second = (called[side.name] for side in sides)
    own = {**declared[1].own_metrics, **declared[0].own_metrics}
    study = Study(
        title=f"{sides[1].study.title} against {sides[0].study.title}",
        name="compare",
        question=f"Does {sides[1].study.title} (B) differ from {sides[0].study.title} (A)?",
        smoke=any(side.study.smoke for side in sides),
        rehearsal=any(side.study.rehearsal for side in sides),
        declaration=Declaration(
            seeded=tuple(dict.fromkeys(path for each in declared for path in each.seeded)),
            reference=first[names[0]],
            references={first[n]: first[n] for n in names} | {second[n]: first[n] for n in names},
            within=("variant",),
            own_tracks=(),
            metric=metric,
            target=target,
            own_metrics=own,
            higher_is_better=declared[0].higher_is_better,
            test=same_test,
            alpha=declared[0].alpha,
            correction=declared[0].correction,
            margin=declared[0].margin if declared[0].margin == declared[1].margin else None,
        ),
        variants=tuple(
            Variant(called[side.name][name], {"variant": name, "study": side.name}, {}, side.study.variant(name).recipe)
            for name in names
            for side in sides
        ),
        trials=tuple(
            replace(trial, variant=called[side.name][trial.variant])
            for side in sides
            for trial in side.study.trials
            if trial.variant in called[side.name]
        ),
        stages={key: stage for side in sides for key, stage in side.study.stages.items()},
    )
    frames = [_renamed(side.scores.frame, called[side.name], metric) for side in sides]
    gone = [_renamed(side.scores.undefined, called[side.name], metric) for side in sides]
    if not all("group" in frame for frame in frames):
        frames, gone = ([frame.drop(columns="group", errors="ignore") for frame in each] for each in (frames, gone))
    scores = Scores(pd.concat(frames, ignore_index=True), pd.concat(gone, ignore_index=True))
    return analyse(scores, study, _predictions(sides, called) if metric == "roc_auc" else None)


COLUMNS = ["variant", "seed", "track", "group", "target", "metric", "aggregation", "score"]


def _renamed(frame: pd.DataFrame, called: Mapping[str, str], metric: str) -> pd.DataFrame:
    rows = frame[frame["variant"].isin(list(called)) & (frame["metric"] == metric)]
    return rows.assign(variant=rows["variant"].map(called))[[name for name in COLUMNS if name in rows]]


def _predictions(sides: tuple[Side, Side], called: Mapping[str, Mapping[str, str]]) -> pd.DataFrame | None:
    """The predictions of both; None where one has none, or they are of other clips."""
    found = []
    for side in sides:
        table = side.tables.predictions
        if table is None:
            return None
        rows = table[table["variant"].isin(list(called[side.name]))]
        found.append(rows.assign(variant=rows["variant"].map(called[side.name])))
    if {*found[0]["item"]} != {*found[1]["item"]}:
        return None
    columns = [name for name in found[0] if name in found[1]]
    return pd.concat([table[columns] for table in found], ignore_index=True)


# ---- what differs


def _settings(a: Side, b: Side) -> Iterator[tuple[str, str, str]]:
    """All that differs between two studies, one row each: of their baselines, declarations, environments, and of the
    recipes of variants that stand in both."""
    one, other = a.study.declaration, b.study.declaration
    baseline = differing(one.baseline, other.baseline)
    for change in baseline:
        yield change.path, _shown(change.reference), _shown(change.variant)
    known = {(change.path, str(change.reference), str(change.variant)) for change in baseline}
    seeded = {*one.seeded, *other.seeded}
    names = [v.name for v in a.study.variants if v.name in {w.name for w in b.study.variants}]
    found: dict[tuple[str, str, str], list[str]] = {}
    for name in names:
        for change in differing(a.study.variant(name).recipe, b.study.variant(name).recipe):
            row = change.path, str(change.reference), str(change.variant)
            if row not in known and change.path not in seeded:
                found.setdefault((change.path, _shown(change.reference), _shown(change.variant)), []).append(name)
    for (path, before, after), having in found.items():
        where = "" if len(having) == len(names) else f" ({listing(having, 4)})"
        yield path + where, before, after
    for name in DECLARED:
        before, after = getattr(one, name), getattr(other, name)
        if before != after:
            yield f"declared {name}", _shown(before), _shown(after)
    for name in ("smoke", "rehearsal"):
        if getattr(a.study, name) != getattr(b.study, name):
            yield name, _shown(getattr(a.study, name)), _shown(getattr(b.study, name))
    for name in MADE:
        before, after = a.study.environment.get(name, ""), b.study.environment.get(name, "")
        if before != after:
            yield name, _shown(before), _shown(after)


def _shown(value: Any) -> str:
    if value is ABSENT or value in ("", None, [], (), {}):
        return "(absent)" if value is ABSENT else "none"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


# ---- what is shown


def sections(found: Compared) -> tuple[Section, ...]:
    """The settings that differ, and both tables side by side."""
    told = () if found.settings else ("No setting differs.",)
    tables = (Table(("setting", "A", "B"), found.settings),) if found.settings else ()
    return (
        Section("Settings that differ", told, tables),
        Section("Side by side", tuple(_samples(found)), (_beside(found),), points=found.untested),
    )


def _beside(found: Compared) -> Table:
    """One row per variant of either study."""
    a, b = found.sides
    names = dict.fromkeys(row.variant for side in found.sides for row in side.main.rows)
    rows = []
    for name in names:
        cells: list[Cell | str] = [name]
        for side in found.sides:
            there = any(row.variant == name for row in side.main.rows)
            mean = side.main.row(name).mean if there else float("nan")
            cells += [Cell(prose.mean_se(side.main, name) if there else "–", mean), Cell(str(len(side.runs(name))))]
        cells.append(str(len({*a.runs(name)} & {*b.runs(name)})))
        rows.append(tuple(cells))
    style = a.main.style
    unit = f" in {style.unit}" if style.unit else ""
    caption = f"{style.label}{f' ({a.main.target})' if a.main.target else ''}{unit}: mean ± SE over runs of each study."
    return Table(("variant", "A", "runs", "B", "runs", "seeds in both"), tuple(rows), caption)


def _samples(found: Compared) -> Iterator[str]:
    """Which tracks the two have in common."""
    a, b = ({*select(side.scores, side.main.style.name, side.main.target)["track"]} - {""} for side in found.sides)
    if a or b:
        yield f"Tracks: {len(a)} in A, {len(b)} in B, {len(a & b)} in both, over which a test is taken."
    stands = [row.variant for row in found.sides[0].main.rows if all(side.runs(row.variant) for side in found.sides)]
    if not stands:
        yield "No variant stands in both, so nothing is tested."


def whole(found: Compared) -> Report:
    """The comparison as a report, for a page or a text file."""
    title = f"{found.sides[1].study.title} against {found.sides[0].study.title}"
    if found.tested is None:
        return Report(title, title, "Nothing is tested.", (NOTE,), sections(found))
    made = report(found.tested, Tables(None, Path()))
    return replace(made, title=title, warnings=(NOTE, *made.warnings), sections=(*sections(found), *made.sections))


def to_text(found: Compared) -> str:
    """What the command prints."""
    from reports.sections import result
    from reports.writers.terminal import to_text as text

    parts = [f"{side.name}  {side.study.title}: {side.study.question}" for side in found.sides]
    for section in sections(found):
        shown = replace(section, paragraphs=(*section.paragraphs, *section.points))
        parts += ["", section.title, text(shown).rstrip()]
    if found.tested is not None:
        many = count(len(found.tested.main.contrasts), "variant")
        parts += ["", f"B against A, {many}", text(result.summary(found.tested)), text(Section("", (NOTE,)))]
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparison; returns the exit status, 2 for a mistake."""
    parser = Flags("mss compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for side in SIDES:
        parser.add_argument(side.lower(), metavar=side, help="a study's title or its directory")
    parser.add_argument("--store", type=Path, default=STORE, help="where studies/ is (default: MSS_STORE or ./store)")
    parser.add_argument("--metric", default="", help="what is compared (default: as A declares)")
    parser.add_argument("--target", help="the target of it (default: as A declares)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write the comparison there as HTML and Markdown")
    given = parser.parse_args(arguments)
    return exit_status(lambda: carry_out(given))


def carry_out(given: argparse.Namespace) -> None:
    """Print and write the comparison. Raises ValueError for a mistake."""
    places = [study_directory(name, given.store) for name in (given.a, given.b)]
    if places[0].resolve() == places[1].resolve():
        raise ValueError(f"A and B are the same study: {places[0]}")
    found = compare(study_tables(places[0]), study_tables(places[1]), given.metric, given.target)
    print(to_text(found))
    if given.out is not None:
        for path in write(found, given.out):
            print(path)


def write(found: Compared, out: Path) -> list[Path]:
    """The comparison as a page and as Markdown below ``out``."""
    from reports.writers import html, markdown

    out.mkdir(parents=True, exist_ok=True)
    made, paths = whole(found), []
    for kind, text in (("html", html.to_html(made)), ("md", markdown.to_markdown(made))):
        paths.append(out / FORMATS[kind].replace("report", "compared"))
        paths[-1].write_text(text, encoding="utf-8")
    return paths
