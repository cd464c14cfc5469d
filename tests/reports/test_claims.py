"""Published claims from published summaries: what the papers' own figures give."""

import pytest

from reports import claims, published, stars


@pytest.mark.parametrize("name", published.PAPERS)
def test_data_files_read(name: str) -> None:
    found = published.paper(name)
    assert found.tables and all(table.rows for table in found.tables)
    assert found.source and found.protocol


LATE = ["other / CNN FMA WA", "multiple / AST MTAT ROC", "multiple / AST MTAT PR"]
SD_EXTRA = ["bass / AST FMA WA", "drums / CNN FMA WA", "other / CNN MTAT ROC", "other / AST MTAT PR"]
MULTIPLE, OTHER = "multiple / AST MTAT PR", "other / AST MTAT PR"


@pytest.mark.parametrize(
    "spread, test, sided, family, count, missing, extra",
    [
        ("SE", "Student", 2, 1, 6, ["multiple / AST MTAT PR"], []),
        ("SE", "Student", 2, 6, 1, None, []),
        ("SE", "Student", 1, 1, 7, [], ["other / AST MTAT PR"]),
        ("SE", "Student", 1, 2, 6, ["multiple / AST MTAT PR"], []),
        ("SE", "Student", 1, 5, 2, None, []),
        ("SE", "Welch", 2, 1, 4, LATE, []),
        ("SE", "Welch", 1, 2, 4, LATE, []),
        ("SE", "Welch", 1, 7, 1, None, []),
        ("SD", "Student", 2, 1, 7, [], SD_EXTRA),
        ("SD", "Student", 2, 10, 7, [], ["other / AST MTAT PR"]),
        ("SD", "Student", 2, 36, 6, ["multiple / AST MTAT PR"], ["other / AST MTAT PR"]),
        ("SD", "Welch", 2, 7, 7, [], ["bass / AST FMA WA", "other / AST MTAT PR"]),
        ("SD", "Welch", 2, 30, 5, ["other / CNN FMA WA", MULTIPLE], [OTHER]),
        ("SD", "Welch", 1, 30, 7, [], ["other / AST MTAT PR"]),
    ],
)
def test_msspt_stars(spread, test, sided, family, count, missing, extra) -> None:
    found = stars.msspt_stars(spread, test, sided, family)
    assert len(found.reproduced) == count and len(found.reproduced) + len(found.missing) == 7
    if missing is not None:
        assert list(found.missing) == missing
    assert list(found.extra) == extra


def test_no_setting_reproduces_the_stars() -> None:
    settings = stars.msspt_settings()
    assert len(settings) == 64 and all(s.missing or s.extra for s in settings)
    for method in ("holm", "bh"):
        assert max(len(stars.msspt_stars("SE", t, 2, 36, method).reproduced) for t in ("Student", "Welch")) <= 3


def test_aemic_t() -> None:
    tests = claims.aemic_t()
    assert tests["table, Student"] == pytest.approx((2.680, 98, 0.0086), abs=6e-4)
    assert tests["table, Welch"] == pytest.approx((2.680, 91.31, 0.0087), abs=6e-3)
    assert tests["text, Student"] == pytest.approx((2.450, 98, 0.0160), abs=6e-4)
    low, high = claims.rounding_range()
    assert (low, high) == pytest.approx((2.664, 2.697), abs=6e-4)


def test_aemic_d_scores() -> None:
    scores = claims.aemic_d()
    assert len(scores) == 24
    assert all((printed > 0) == (ours > 0) for _, _, printed, ours in scores)
    off = [(row, arm) for row, arm, printed, ours in scores if abs(printed - ours) > 0.0015]
    assert off == [("sax", "post")]
    assert sum(printed == ours for _, _, printed, ours in scores) == 15


def test_each_claim_says_what_does_not_fit() -> None:
    every = claims.all_claims()

    def found(paper: str, start: str) -> claims.Claim:
        (claim,) = (c for c in every if c.paper == paper and c.claim.startswith(start))
        return claim

    table = found("MSSPT", "Table I:")
    assert not table.reproduced and "none of 64 settings" in table.why
    assert found("AE-MIC", "Table 4.1").reproduced
    assert "sax post" in found("AE-MIC", "Table 4.2: 24 D scores").why
    assert claims.hmss_improvements() == [
        ("SQ_SSS(Guitar), 3 levels", "level 3", -2.0, -3.2),
        ("SSS(Guitar)-stft, 3 levels", "level 1", 5.0, 4.9),
    ]
    why = found("HMSS", "Tables 6 and 7").why
    assert "SQ_SSS(Guitar), 3 levels, level 3: −2.0 printed, −3.2 recomputed" in why
    assert "SSS(Guitar)-stft, 3 levels, level 1: 5.0 printed, 4.9 recomputed (within the rounding" in why
    text = claims.to_markdown()
    assert text.count("\n| S") == 64


def test_iass_averages_and_the_rows_whose_two_are_swapped() -> None:
    means = claims.iass_averages()
    assert len(means) == 18
    off = {row: (printed, ours) for row, printed, ours in means if abs(printed - ours) > 0.0101}
    assert off == {
        "Elecgtr, train no, test no": (2.46, pytest.approx((1.75 + 0.61 + 4.94) / 3)),
        "Elecgtr, train yes, test no": (2.43, pytest.approx((1.82 + 1.27 + 4.29) / 3)),
        "Piano, train no, test no": (2.31, pytest.approx((1.55 + 2.97 + 2.13) / 3)),
        "Piano, train yes, test no": (2.22, pytest.approx((1.70 + 3.16 + 2.06) / 3)),
    }
    for target in ("Elecgtr", "Piano"):  # each is the other's within rounding
        without, with_labels = (off[f"{target}, train {word}, test no"] for word in ("no", "yes"))
        assert without[0] == pytest.approx(with_labels[1], abs=0.0051)
        assert with_labels[0] == pytest.approx(without[1], abs=0.0051)
    cut = {row for row, printed, ours in means if 0.0051 < abs(printed - ours) <= 0.0101}
    assert cut == {"Bass, train no, test no", "Bass, train yes, test yes"}  # cut off, not rounded
    average, repeats = claims.iass()
    assert average.claim == "Table 4: Avg is the mean of SDR, SIR and SAR" and not average.reproduced
    assert average.recomputed == "14 of 18 rows agree"
    assert "of Elecgtr and Piano the averages of two rows are swapped" in average.why
    for row, printed, ours in means:
        assert (f"{row}: {printed:.2f} printed, {ours:.3f} recomputed" in average.why) == (row in off)
    assert repeats.claim == "Table 4: the last row of each target repeats Table 3"
    assert not repeats.reproduced and repeats.recomputed == "5 of 6 agree"
    assert repeats.why == "differs: Bass (5.26 and 4.34)"


def test_published_rows_stand_beside_ours(findings) -> None:
    beside = published.beside(findings)
    assert beside is not None and beside.table == "Table I"
    vocals = next(r for r in beside.rows if (r.variant, r.metric) == ("vocals", "ROC-AUC"))
    assert vocals.published.text == "91.85±0.03*"
    assert vocals.ours.startswith(findings.main.style.value(findings.main.row("vocals").mean))
    ours = {what: text for what, _, text in beside.protocol}
    assert ours["data"] == "data: synthetic (smoke run: tiny)" and ours["runs"] == "2 to 3 a row"
    assert "family of 6" in ours["test"]


def test_a_figure_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ValueError, match="'91,85' is no printed figure"):
        published.printed("91,85")


def test_aemic_half_widths_are_hanley_mcneil_of_an_inflated_sample() -> None:
    widths = claims.aemic_half_widths()
    assert len(widths) == 33
    assert all(abs(printed - ours) < 0.0011 for _, _, printed, ours in widths)
    assert sum(printed == ours for _, _, printed, ours in widths) == 31
