"""MSSPT's stars under every reading of its text."""

import pytest

from reports.papers.msspt import stars

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
