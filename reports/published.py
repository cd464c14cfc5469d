"""The tables of the five papers, as data files with their source, and their rows beside ours."""

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from reports.contract import PAPERS, Study, Variant, check_table, printed_paper
from reports.findings import Findings

CELL = re.compile(r"(-?\d+(?:\.\d+)?)(?:±(\d+(?:\.\d+)?))?(\*?)$")


OWN = ("stems", "clips", "synthetic")
"""Sets of the user's own music and of made music: no paper printed figures on those."""


def other_sets(study: Study, paper: "Paper") -> list[str]:
    """Data sets that some variant reads and the paper's tables are not of, by their part of the recipe; of a paper that
    does not name its sets, those of :data:`OWN`."""
    allowed = {**paper.sets, **paper.studies.get(study.name, {}).get("sets", {})}
    found = []
    for variant in study.variants:
        for path, value in variant.recipe.items():
            part, _, last = path.rpartition(".")
            if unread(variant.recipe, part):
                continue
            known = allowed.get(part)
            if last == "name" and (str(value) in OWN if known is None else value not in known):
                found.append(f"{part}: {value}")
    return sorted(set(found))


def unread(recipe: Mapping[str, Any], part: str) -> bool:
    """Whether no stage reads a data set of a recipe: its fingerprint is filled in where one does."""
    return not recipe.get(f"{part}.fingerprint", "a table made by hand has none")


def not_beside(study: Study, paper: "Paper") -> str:
    """Why the paper's figures are not shown beside those of a study; empty where they are."""
    if study.rehearsal:
        return f"Nothing published stands here: two training steps say nothing of what {paper.short} printed."
    if sets := other_sets(study, paper):
        return (
            f"Nothing published stands here: {paper.short} printed its figures on other data than this study reads "
            f"({', '.join(sets)})."
        )
    return ""


@dataclass(frozen=True)
class Printed:
    """One printed figure: value, spread (NaN without one) and whether it carries a star."""

    value: float
    spread: float
    star: bool
    text: str


@dataclass(frozen=True)
class Table:
    """One table of a paper: row -> column -> figure; cells the paper leaves empty are absent.

    Attributes:
        layout: what its columns hold, where they are of levels or stems: "columns" by metric of
            ours, where {target} is to be replaced by one of "targets", by target of ours.
        note: what the paper says wrongly of it, shown wherever it stands beside ours; empty for nothing.
    """

    name: str
    about: str
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, Printed]]
    layout: Mapping[str, Mapping[str, str]]
    note: str = ""


@dataclass(frozen=True)
class Paper:
    """One paper's tables and protocol.

    Attributes:
        targets, metrics: what the paper calls our targets and metrics.
        sets: part of a recipe -> names of the data sets that the tables are of; a study may have its own.
        studies: study name -> which table, columns by metric and rows by variant it repeats.
    """

    id: str
    short: str
    source: str
    runs: int
    protocol: Mapping[str, str]
    studies: Mapping[str, Any]
    printed: Mapping[str, Any]
    targets: Mapping[str, str]
    metrics: Mapping[str, str]
    tables: tuple[Table, ...]
    sets: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def table(self, name: str) -> Table:
        """The table of that name; ValueError where there is none."""
        check_table(self.id, [table.name for table in self.tables], name)
        return next(table for table in self.tables if table.name == name)


@dataclass(frozen=True)
class Claim:
    """One published claim.

    Attributes:
        paper: short name.
        claim: what is printed.
        recomputed: what the printed summaries give.
        reproduced: whether the two agree within rounding.
        why: what does not fit; empty if all does.
    """

    paper: str
    claim: str
    recomputed: str
    reproduced: bool
    why: str = ""


@dataclass(frozen=True)
class Beside:
    """One published figure beside ours: the mean over runs, and it as printed, in the unit of the print."""

    variant: str
    metric: str
    published: Printed
    mean: float
    ours: str


@dataclass(frozen=True)
class Comparison:
    """Published rows beside ours, and how the two protocols differ: (what, published, ours)."""

    paper: Paper
    table: str
    rows: tuple[Beside, ...]
    protocol: tuple[tuple[str, str, str], ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that have published figures."""
        return tuple(dict.fromkeys(row.metric for row in self.rows))

    def by_variant(self) -> list[tuple[str, dict[str, Beside]]]:
        """(variant, metric -> figures), in the order of the rows."""
        names = dict.fromkeys(row.variant for row in self.rows)
        return [(n, {r.metric: r for r in self.rows if r.variant == n}) for n in names]


def printed(text: str) -> Printed | None:
    """A printed figure; None for an empty cell.

    >>> printed("91.85±0.03*")
    Printed(value=91.85, spread=0.03, star=True, text='91.85±0.03*')
    """
    if not text:
        return None
    found = CELL.match(text)
    if found is None:
        raise ValueError(f"{text!r} is no printed figure; write e.g. '91.85±0.03*'")
    spread = float(found[2]) if found[2] else math.nan
    return Printed(float(found[1]), spread, bool(found[3]), text)


@cache
def paper(name: str) -> Paper:
    """A paper by its short id, one of `PAPERS`, or by the name of the package that holds its tables.json.

    Raises:
        ValueError: there is no such paper, or its package has no tables.json.
    """
    raw = printed_paper(name)
    tables = []
    for table in raw["tables"]:
        columns = tuple(table["columns"])
        rows = {}
        for row, cells in table["rows"].items():
            figures = {c: printed(text) for c, text in zip(columns, cells, strict=True)}
            rows[row] = {column: figure for column, figure in figures.items() if figure}
        layout, note = table.get("layout", {}), table.get("note", "")
        tables.append(Table(table["name"], table["about"], columns, rows, layout, note))
    return Paper(
        raw["id"],
        raw["short"],
        raw["source"],
        raw["runs"],
        raw["protocol"],
        raw["studies"],
        raw.get("printed", {}),
        raw.get("targets", {}),
        raw.get("metrics", {}),
        tuple(tables),
        raw.get("sets", {}),
    )


def beside(findings: Findings, papers: Sequence[str] = PAPERS) -> Comparison | None:
    """Published rows for a study that repeats a table of one of the papers; None for any other study."""
    for name in papers:
        found = paper(name)
        match = found.studies.get(findings.study.name)
        if match is None:
            continue
        table = found.table(match["table"])
        rows = []
        for comparison in findings.comparisons:
            if comparison.target not in ("", "macro"):
                continue
            for row in comparison.rows:
                place = row_and_column(match, findings.study.variant(row.variant), comparison.style.name)
                figure = table.rows.get(place[0], {}).get(place[1])
                if figure is not None:
                    style = comparison.style
                    ours = style.value(row.mean)
                    ours += "" if math.isnan(row.se) else f" ± {style.value(row.se)}"
                    rows.append(Beside(row.variant, style.label, figure, row.mean, ours))
        return Comparison(found, table.name, tuple(rows), _protocol(found, findings))
    return None


def row_and_column(match: Mapping[str, Any], variant: Variant, metric: str) -> tuple[str, str]:
    """The printed row and column that a variant and a metric of ours repeat; empty where there is none. A study names
    them for each variant and metric, or builds them of its levels ("row", "column", with "names" for what the print
    calls them and "defaults" for factors that a smaller run leaves out)."""
    if "row" not in match:
        return match.get("variants", {}).get(variant.name, ""), match.get("columns", {}).get(metric, "")
    names = match["names"]
    levels = {**match.get("defaults", {}), **variant.levels}
    words = defaultdict(str, {factor: names.get(level, level) for factor, level in levels.items()})
    return match["row"].format_map(words), match["column"].format_map(words | {"metric": names.get(metric, "")})


def _protocol(found: Paper, findings: Findings) -> tuple[tuple[str, str, str], ...]:
    """What differs between the published protocol and ours, as far as study.json tells."""
    main, study = findings.main, findings.study
    counts = sorted({len(row.runs) for row in main.rows if row.runs})
    runs = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    # A data set is a part of a recipe with a name and a split, or one called data.
    sets: dict[str, dict[str, None]] = {}
    for recipe in (variant.recipe for variant in study.variants):
        for root in dict.fromkeys(key.rsplit(".", 1)[0] for key in recipe if "." in key):
            named = f"{root}.name" in recipe and not unread(recipe, root)
            if named and (f"{root}.split_seed" in recipe or "data" in root):
                sets.setdefault(root, {})[str(recipe[f"{root}.name"])] = None
    data = [f"{root}: {' or '.join(names)}" for root, names in sets.items()]
    ours = {
        "runs": f"{runs} a row",
        "test": f"{main.test_label} against {main.against}, {main.correction_label}, family of {main.family}",
        "data": "; ".join(data) or "as the recipe says",
        "separators": study.declaration.shared or "trained anew by each seed",
    }
    if study.smoke:
        ours["data"] += " (tiny: a smoke run or a rehearsal)"
    return tuple((what, text, ours.get(what, "as the study's recipe says")) for what, text in found.protocol.items())
