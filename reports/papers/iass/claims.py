"""IASS's claims recomputed from its printed tables."""

from reports.published import Claim, paper
from reports.text import listing, number


def iass_averages() -> list[tuple[str, float, float]]:
    """(row, Avg as printed, mean of SDR, SIR and SAR as printed) for Table 4."""
    return [
        (row, cells["Avg"].value, sum(cells[c].value for c in ("SDR", "SIR", "SAR")) / 3)
        for row, cells in paper("iass").table("Table 4").rows.items()
    ]


def claims() -> list[Claim]:
    """IASS Table 4: Avg is the mean of SDR, SIR and SAR; its last rows repeat Table 3."""
    found = paper("iass")
    rows = found.table("Table 4").rows
    wrong = [cell for cell in iass_averages() if abs(cell[1] - cell[2]) > 0.0101]
    off = [f"{row}: {number(printed)} printed, {number(mean, 3)} recomputed" for row, printed, mean in wrong]
    swapped = list(dict.fromkeys(row.split(",")[0] for row, _, _ in wrong))
    table3 = found.table("Table 3").rows
    differ = [
        f"{target} ({cells['IASS'].text} and {rows[f'{target}, train yes, test yes']['SDR'].text})"
        for target, cells in table3.items()
        if cells["IASS"].value != rows[f"{target}, train yes, test yes"]["SDR"].value
    ]
    return [
        Claim(
            "IASS",
            "Table 4: Avg is the mean of SDR, SIR and SAR",
            f"{len(rows) - len(off)} of {len(rows)} rows agree",
            not off,
            f"does not match: {'; '.join(off)}; of {listing(swapped)} the averages of two rows are swapped",
        ),
        Claim(
            "IASS",
            "Table 4: the last row of each target repeats Table 3",
            f"{len(table3) - len(differ)} of {len(table3)} agree",
            not differ,
            f"differs: {listing(differ)}",
        ),
    ]
