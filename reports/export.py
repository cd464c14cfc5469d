"""The findings unrounded: rows for a table, and all of them as plain data."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from reports import cost, prose
from reports.findings import Comparison, Findings


def rows(findings: Findings) -> list[dict[str, Any]]:
    """Every comparison's `table_rows`; those of a rehearsal say so in a column of their own."""
    mark = {"rehearsal": "not a result"} if findings.study.rehearsal else {}
    return [{**mark, **row} for comparison in findings.comparisons for row in table_rows(comparison)]


def cost_rows(findings: Findings) -> list[dict[str, Any]]:
    """One dict per variant: how many runs ended; by each measure what one cost (mean and interval over them), what all
    took (each stage once), and the part of that which no other variant needs. Numbers are unrounded, None where there
    is none. Those of a rehearsal say so. Empty where no stage is known to have taken time."""
    costs = cost.of_variants(findings.study) if cost.is_known(findings.study) else ()
    mark = {"rehearsal": "not a result"} if findings.study.rehearsal else {}
    rows = []
    for each in costs:
        row: dict[str, Any] = {**mark, "variant": each.variant, "runs": len(each.runs)}
        for measure in cost.shown(costs):
            over = cost.over_runs([measure.of(run) for run in each.runs.values()], findings.main.alpha)
            row |= {
                f"{measure.name}_per_run": over.mean,
                f"{measure.name}_low": over.low,
                f"{measure.name}_high": over.high,
                f"{measure.name}_all": measure.of(each.whole),
                f"{measure.name}_own": measure.of(each.own),
            }
        rows.append(_plain(row))
    return rows


def table_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One dict per variant, numbers unrounded in the metric's own unit; None where there is none."""
    rows = []
    for row in comparison.rows:
        contrast = comparison.contrast(row.variant)
        out: dict[str, Any] = {
            "variant": row.variant,
            "metric": comparison.style.name,
            "target": comparison.target,
            "runs": len(row.runs),
            "planned": row.planned,
            "mean": row.mean,
            "se": row.se,
            "sd": row.sd,
            "reference": contrast.reference if contrast else row.variant,
        }
        for key in (
            "difference",
            "ci_low",
            "ci_high",
            "pointwise_low",
            "pointwise_high",
            "t",
            "df",
            "p",
            "p_corrected",
        ):
            out[key] = math.nan
        out |= {
            "correction": comparison.correction,
            "family": comparison.family,
            "stars": "",
            "test": "",
            "effect_size": math.nan,
            "naive_p": math.nan,
            "refused": "",
        }
        if contrast is not None:
            found = contrast.primary
            out |= {
                "difference": found.difference,
                "ci_low": contrast.simultaneous[0],
                "ci_high": contrast.simultaneous[1],
                "pointwise_low": found.low,
                "pointwise_high": found.high,
                "t": found.statistic,
                "df": found.df,
                "p": found.p,
                "p_corrected": contrast.p_corrected,
                "stars": contrast.stars,
                "test": found.test,
                "effect_size": contrast.effect.g,
                "refused": contrast.refused,
                "naive_p": contrast.naive.p if contrast.naive else math.nan,
            }
        rows.append({key: _plain(value) for key, value in out.items()})
    return rows


def contrast_objects(comparison: Comparison) -> list[dict[str, Any]]:
    """What `--json` prints, one object per contrast."""
    out = []
    for contrast in comparison.contrasts:
        found = contrast.primary
        out.append(
            _plain(
                {
                    "variant": contrast.variant,
                    "reference": contrast.reference,
                    "metric": comparison.style.name,
                    "target": comparison.target,
                    "difference": found.difference,
                    "ci": list(contrast.simultaneous),
                    "pointwise_ci": [found.low, found.high],
                    "confidence": 1 - comparison.alpha,
                    "t": found.statistic,
                    "df": found.df,
                    "p": found.p,
                    "p_corrected": contrast.p_corrected,
                    "correction": comparison.correction,
                    "family": comparison.family,
                    "effect_size": {"hedges_g": contrast.effect.g, "ci": [contrast.effect.low, contrast.effect.high]},
                    "n": list(found.n),
                    "items": found.items,
                    "test": found.test,
                    "naive_p": contrast.naive.p if contrast.naive else None,
                    "note": contrast.refused or found.note,
                }
            )
        )
    return out


def document(findings: Findings) -> dict[str, Any]:
    """The whole of the findings; None for NaN and infinity."""
    return {
        "title": findings.study.title,
        "headline": prose.headline(findings),
        "sentences": prose.sentences(findings),
        "contrasts": [c for comparison in findings.comparisons for c in contrast_objects(comparison)],
        "findings": _plain(findings),
        "costs": cost_rows(findings),
    }


def _plain(value: Any) -> Any:
    """Dataclasses, tuples and NaN as what JSON knows."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, (str, int, bool)) or value is None:
        return value
    return str(value)
