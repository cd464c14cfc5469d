"""Published claims recomputed from the published summaries alone: `python -m reports.claims`.

Each function takes the printed tables and returns what can be recomputed and whether it agrees. A
paired test can
never be recomputed from means and spreads: the correlation is missing.
"""

import itertools
from dataclasses import dataclass

from scipy import stats as scipy_stats

from reports.published import paper
from reports.stars import msspt_settings, msspt_stars, p_from_summary
from reports.statistics.auc import d_score, hanley_mcneil
from reports.text import listing, number, p_phrase


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


def msspt() -> list[Claim]:
    """MSSPT Table I (stars) and Table II (the CNN benefits significantly)."""
    settings = msspt_settings()
    exact = [s for s in settings if not s.missing and not s.extra]
    stated = msspt_stars("SE", "Student", 2, 6)
    uncorrected = msspt_stars("SE", "Student", 2, 1)
    total = len(stated.reproduced) + len(stated.missing)
    table = paper("msspt").table("Table II")
    row_yes, row_no = (table.rows[f"CNN, tail pre-trained: {word}"] for word in ("yes", "no"))
    tests = []
    for column in table.columns:
        t, p = p_from_summary(row_yes[column], row_no[column], 5, "SE", "Student", 2)
        tests.append((column, t, p))
    benefit = "; ".join(f"{column}: t = {number(t, 3)}, {p_phrase(p)}" for column, t, p in tests)
    return [
        Claim(
            "MSSPT",
            f"Table I: {total} stars, Bonferroni-corrected t-tests at .05",
            "as stated (± is SE, Student, two-sided, family of 6): "
            f"{len(stated.reproduced)} of {total} stars; "
            f"uncorrected: {len(uncorrected.reproduced)} of {total}",
            bool(exact),
            f"none of {len(settings)} settings (SE or SD, Student or Welch, one- or "
            "two-sided, families of 1 to 36) "
            "gives exactly the printed stars: AST PR-AUC 'other' is further from the "
            "tail than 'multiple' yet only "
            "'multiple' is starred",
        ),
        Claim(
            "MSSPT",
            "Table II: the CNN benefits significantly from tail pre-training",
            benefit,
            all(p < 0.05 for _, _, p in tests),
            "not supported at .05, two-sided, before any correction",
        ),
    ]


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


def aemic() -> list[Claim]:
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


def iass_averages() -> list[tuple[str, float, float]]:
    """(row, Avg as printed, mean of SDR, SIR and SAR as printed) for Table 4."""
    return [
        (row, cells["Avg"].value, sum(cells[c].value for c in ("SDR", "SIR", "SAR")) / 3)
        for row, cells in paper("iass").table("Table 4").rows.items()
    ]


def iass() -> list[Claim]:
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


def tagbox() -> list[Claim]:
    """TagBox: Table 1 is said to use the MTAT tagger."""
    found = paper("tagbox")
    ours = {c: v.value for c, v in found.table("Table 1").rows["TagBox"].items()}
    same = [row for row, cells in found.table("Table 2").rows.items() if {c: v.value for c, v in cells.items()} == ours]
    return [
        Claim(
            "TagBox",
            "Table 1 uses the MTAT FCN tagger",
            f"its figures are those of {listing(same)} in Table 2",
            same == ["MTAT, FCN"],
            "means only: no spread, so no difference can be tested",
        )
    ]


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


def hmss() -> list[Claim]:
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


def all_claims() -> list[Claim]:
    """Every claim of the five papers that their printed summaries allow to check."""
    return [*msspt(), *aemic(), *iass(), *tagbox(), *hmss()]


def to_markdown() -> str:
    """All claims as a Markdown table, then MSSPT's stars under every setting."""
    lines = ["| paper | claim | recomputed | reproduced | what does not fit |", "|---|---|---|---|---|"]
    for claim in all_claims():
        why = "" if claim.reproduced and claim.paper not in ("AE-MIC", "TagBox") else claim.why
        lines.append(
            f"| {claim.paper} | {claim.claim} | {claim.recomputed} | {'yes' if claim.reproduced else 'no'} | {why} |"
        )
    lines += ["", "| ± read as | test | sided | family | stars | missing | extra |", "|---|---|---|---|---|---|---|"]
    for s in msspt_settings():
        lines.append(
            f"| {s.spread} | {s.test} | {s.sided} | {s.family} | {len(s.reproduced)}/7 | "
            f"{', '.join(s.missing)} | {', '.join(s.extra)} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(to_markdown())
