"""The stars of MSSPT's Table I recomputed from its printed means and spreads, under every reading
of its text.
"""

import itertools
import math
from dataclasses import dataclass

from scipy import stats as scipy_stats

from reports.published import Printed, Table, paper
from reports.statistics.corrections import correct

FAMILIES = (1, 2, 5, 6, 7, 10, 30, 36)


@dataclass(frozen=True)
class Stars:
    """MSSPT's Table I stars under one reading of the text.

    Attributes:
        spread: `SE` or `SD`: what the printed ± is taken for.
        test: `Student` or `Welch`.
        sided: 1 or 2.
        family: contrasts the Bonferroni correction counts.
        reproduced, missing, extra: printed stars found again; not found; unprinted cells that
            would be starred.
    """

    spread: str
    test: str
    sided: int
    family: int
    reproduced: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]


def p_from_summary(a: Printed, b: Printed, runs: int, spread: str, test: str, sided: int) -> tuple[float, float]:
    """t and p of a - b from mean and spread over `runs` runs; one-sided p is for a > b."""
    scale = math.sqrt(runs) if spread == "SE" else 1.0
    t, p = scipy_stats.ttest_ind_from_stats(
        a.value,
        a.spread * scale,
        runs,
        b.value,
        b.spread * scale,
        runs,
        equal_var=test == "Student",
        alternative="greater" if sided == 1 else "two-sided",
    )
    return float(t), float(p)


def msspt_cells(table: Table) -> dict[str, tuple[Printed, Printed]]:
    """`vocals / CNN MTAT ROC` -> the cell and its column's tail row."""
    tail = table.rows["none (tail)"]
    return {
        f"{row} / {column}": (cells[column], tail[column])
        for row, cells in table.rows.items()
        if row != "none (tail)"
        for column in table.columns
    }


def msspt_stars(spread: str, test: str, sided: int, family: int, method: str = "bonferroni") -> Stars:
    """Table I's stars recomputed under one setting."""
    found = paper("msspt")
    cells = msspt_cells(found.table("Table I"))
    p = [p_from_summary(a, b, found.runs, spread, test, sided)[1] for a, b in cells.values()]
    # A family that is less than the table is that of one cell.
    parts = [p] if family >= len(p) else [[each] for each in p]
    corrected = [each for part in parts for each in correct(part, method, family)]
    clear = {name for name, each in zip(cells, corrected, strict=True) if each < 0.05}
    # Stars mark improvements only.
    clear = {name for name in clear if cells[name][0].value > cells[name][1].value}
    marked = [name for name, (cell, _) in cells.items() if cell.star]
    return Stars(
        spread,
        test,
        sided,
        family,
        tuple(name for name in marked if name in clear),
        tuple(name for name in marked if name not in clear),
        tuple(name for name in cells if name in clear and name not in marked),
    )


def msspt_settings() -> list[Stars]:
    """Every setting of recipes that was tried: spread, test, sidedness, family."""
    return [
        msspt_stars(spread, test, sided, family)
        for spread, sided, test, family in itertools.product(("SE", "SD"), (2, 1), ("Student", "Welch"), FAMILIES)
    ]
