"""HMSS's claims recomputed from its printed tables."""

from reports.published import Claim, paper
from reports.text import number


def hmss_improvements() -> list[tuple[str, str, float, float]]:
    """(row, level, improvement as printed, estimate − mixture) of Tables 6 and 7's cells whose
    printed figures do not give the printed improvement.
    """
    off = []
    for row, cells in paper("hmss").table("Tables 6 and 7").rows.items():
        for level in ("all", "level 3", "level 2", "level 1"):
            delta = round(cells[level].value - cells[f"{level} mix"].value, 1)
            if delta != cells[f"{level} Δ"].value:
                off.append((row, level, cells[f"{level} Δ"].value, delta))
    return off


def claims() -> list[Claim]:
    """HMSS: the improvements are estimate minus mixture; the averages of Table 8."""
    found = paper("hmss")
    checked = 4 * len(found.table("Tables 6 and 7").rows)
    off = hmss_improvements()
    named = [
        f"{row}, {level}: {number(printed, 1)} printed, {number(delta, 1)} recomputed"
        + (" (within the rounding of its parts)" if abs(printed - delta) < 0.151 else "")
        for row, level, printed, delta in off
    ]
    averages = []
    for row, cells in found.table("Table 8").rows.items():
        for kind in ("global", "framewise"):
            parts = [cells[f"{kind} {s}"].value for s in ("bass", "drums", "vocals", "other") if f"{kind} {s}" in cells]
            if parts:
                averages.append((row, abs(sum(parts) / 4 - cells[f"{kind} avg"].value) <= 0.0076))
    good = sum(fits for _, fits in averages)
    return [
        Claim(
            "HMSS",
            "Tables 6 and 7: improvement = estimate − mixture",
            f"{checked - len(off)} of {checked} agree",
            not off,
            f"differs: {'; '.join(named)}",
        ),
        Claim("HMSS", "Table 8: averages over four sources", f"{good} of {len(averages)} agree", good == len(averages)),
    ]
