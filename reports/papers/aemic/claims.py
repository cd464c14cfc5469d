"""AE-MIC's claims recomputed from its printed tables."""

import itertools

from scipy import stats as scipy_stats

from reports.published import Claim, paper
from reports.statistics.auc import d_score, hanley_mcneil
from reports.text import listing, number, p_phrase


def aemic_t() -> dict[str, tuple[float, float, float]]:
    """Student and Welch t, df and p of AE-MIC's Table 4.1, and of the means and SDs its text
    prints.
    """
    found = paper("aemic")
    rows = found.table("Table 4.1").rows
    n = int(found.printed["songs"])
    inputs = {
        "table": [(rows[k]["mean SDR"].value, rows[k]["SD"].value) for k in ("raw", "post")],
        "text": [tuple(found.printed["text"][k]) for k in ("raw", "post")],
    }
    out = {}
    for name, ((m1, s1), (m2, s2)) in inputs.items():
        for test in ("Student", "Welch"):
            t, p = scipy_stats.ttest_ind_from_stats(m1, s1, n, m2, s2, n, equal_var=test == "Student")
            a, b = s1**2 / n, s2**2 / n
            df = 2.0 * n - 2 if test == "Student" else (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (n - 1))
            out[f"{name}, {test}"] = (float(t), df, float(p))
    return out


def rounding_range(half: float = 0.005) -> tuple[float, float]:
    """Smallest and largest Student t that Table 4.1's rounded figures allow."""
    rows = paper("aemic").table("Table 4.1").rows
    ts = []
    for signs in itertools.product((-half, half), repeat=4):
        m1, s1, m2, s2 = (
            figure.value + shift
            for figure, shift in zip(
                [rows[k][c] for k in ("raw", "post") for c in ("mean SDR", "SD")], signs, strict=True
            )
        )
        ts.append(float(scipy_stats.ttest_ind_from_stats(m1, s1, 50, m2, s2, 50).statistic))
    return min(ts), max(ts)


def aemic_d() -> list[tuple[str, str, float, float]]:
    """(instrument, arm, D as printed, D recomputed) for Table 4.2."""
    out = []
    for row, cells in paper("aemic").table("Table 4.2").rows.items():
        base = cells["base"]
        for arm in ("raw", "post"):
            d = d_score(cells[arm].value, base.value, base.spread, cells[arm].spread)
            out.append((row, arm, cells[f"D {arm}"].value, round(d, 3)))
    return out


def aemic_half_widths() -> list[tuple[str, str, float, float]]:
    """(instrument, arm, half-width as printed, Hanley-McNeil half-width of the inflated sample)
    for Table 4.2.

    Each label counts six times and the other labels, not segments, count as negatives.
    """
    found = paper("aemic")
    given = found.printed
    labels = given["inflation"] * given["labels"]
    out = []
    for row, positives in given["positives_inferred_from_the_half_widths"].items():
        n1 = given["inflation"] * positives
        for arm in ("base", "raw", "post"):
            cell = found.table("Table 4.2").rows[row][arm]
            half = given["half_width_in_se"] * hanley_mcneil(cell.value, n1, labels - n1)
            out.append((row, arm, cell.spread, round(half, 3)))
    return out


def claims() -> list[Claim]:
    """AE-MIC's t(98) = 2.69 and its D scores."""
    tests = aemic_t()
    t, df, p = tests["table, Student"]
    low, high = rounding_range()
    scores = aemic_d()
    widths = aemic_half_widths()
    fit = sum(abs(a - b) < 0.0011 for _, _, a, b in widths)
    agree = sum((a > 0) == (b > 0) for _, _, a, b in scores)
    off = [(row, arm, a, b) for row, arm, a, b in scores if abs(a - b) > 0.0015]
    named = listing([f"{row} {arm}: {number(a, 3)} printed, {number(b, 3)} recomputed" for row, arm, a, b in off])
    return [
        Claim(
            "AE-MIC",
            "Table 4.1: t(98) = 2.69, p = .008",
            f"t({df:.0f}) = {t:.3f}, {p_phrase(p)}; {low:.3f} to {high:.3f} within the rounding of the inputs",
            low <= 2.69 + 0.005 and 2.69 - 0.005 <= high,
            "only Table 4.1 with the equal-variance test gives it; the means and SDs of "
            "the text give t = "
            f"{tests['text, Student'][0]:.3f}. The songs are the same in both arms, so "
            "the design is paired, which "
            "no summary can show",
        ),
        Claim(
            "AE-MIC",
            f"Table 4.2: {len(scores)} D scores",
            f"{agree} of {len(scores)} signs agree, {len(scores) - len(off)} values within rounding",
            not off,
            f"does not match: {named}",
        ),
        Claim(
            "AE-MIC",
            f"Table 4.2: {len(widths)} half-widths",
            f"{fit} of {len(widths)} are Hanley-McNeil half-widths (within .001) if each label "
            "counts six times and other labels count as negatives",
            False,
            "so the sample is inflated sixfold: honest intervals are about 2.4 times as wide",
        ),
    ]
