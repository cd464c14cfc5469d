"""MSSPT's claims recomputed from its printed tables."""

from reports.papers.msspt.stars import msspt_settings, msspt_stars, p_from_summary
from reports.published import Claim, paper
from reports.text import number, p_phrase


def claims() -> list[Claim]:
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


def below() -> list[str]:
    """The stars under every setting, as a Markdown table."""
    return [
        "",
        "| ± read as | test | sided | family | stars | missing | extra |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {s.spread} | {s.test} | {s.sided} | {s.family} | {len(s.reproduced)}/7 | "
            f"{', '.join(s.missing)} | {', '.join(s.extra)} |"
            for s in msspt_settings()
        ),
    ]
