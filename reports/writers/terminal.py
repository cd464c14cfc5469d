"""The reports without layout: plain text, CSV and JSON, from Findings."""

import csv
import dataclasses
import io
import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from reports import prose
from reports.findings import Comparison, Findings
from reports.text import MISSING, count, p_value

WIDTH = 100


def summary(findings: Findings) -> str:
    """The table at the end of a run: one line a variant, at most 100 columns."""
    main = findings.main
    label = main.style.label + (f" ({main.target})" if main.target not in ("", "macro") else "")
    head = ["variant", label, "difference", f"{prose.confidence(main)} CI", "t", "p", "p corr.", ""]
    body = []
    for row in main.rows:
        contrast = main.contrast(row.variant)
        cells = [row.variant, prose.mean_se(main, row.variant)]
        if contrast is None or contrast.refused:
            cells += [prose.untested(contrast), "", "", "", "", ""]
        else:
            found = contrast.primary
            cells += [
                main.style.difference(found.difference),
                main.style.interval(found.low, found.high),
                MISSING if math.isnan(found.statistic) else f"{found.statistic:.2f}".replace("-", "−"),
                p_value(found.p),
                p_value(contrast.p_corrected),
                contrast.stars,
            ]
        body.append(cells)
    room = WIDTH - sum(max(len(r[i]) for r in [head, *body]) + 2 for i in range(1, len(head)))
    lines = _columns(head, [part for cells in body for part in _folded(cells, max(20, room))])
    unit = f" in {main.style.unit}" if main.style.unit else ""
    lines += [
        "",
        f"mean ± SE over runs{unit}; difference to {main.against}; {main.test_label}; {prose.family_phrase(main)}.",
    ]
    lines += [prose.headline(findings)]
    if findings.deviations or findings.cautions:
        lines.append(
            f"{count(len(findings.deviations), 'deviation')} and "
            f"{count(len(findings.cautions), 'caution')}: see the report."
        )
    return "\n".join(_wrapped(lines))


def _folded(cells: Sequence[str], room: int) -> list[Sequence[str]]:
    """A row as several, where its name is longer than `room`."""
    first, *more = textwrap.wrap(cells[0], room, subsequent_indent="  ", break_on_hyphens=False)
    return [[first, *cells[1:]], *([part, *[""] * (len(cells) - 1)] for part in more)]


def _columns(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in [head, *body]) for i in range(len(head))]
    lines = []
    for row in [head, ["─" * w for w in widths], *body]:
        cells = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines


def _wrapped(lines: Sequence[str]) -> list[str]:
    return [part for line in lines for part in (textwrap.wrap(line, WIDTH) if len(line) > WIDTH else [line])]


def table_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One dict a variant, numbers unrounded in the metric's own unit; None where there is none."""
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
        for key in ("difference", "ci_low", "ci_high", "t", "df", "p", "p_corrected"):
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
                "ci_low": found.low,
                "ci_high": found.high,
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


def to_csv(findings: Findings) -> str:
    """Every comparison's rows as CSV."""
    rows = [row for comparison in findings.comparisons for row in table_rows(comparison)]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows([{k: "" if v is None else v for k, v in row.items()} for row in rows])
    return stream.getvalue()


def contrast_objects(comparison: Comparison) -> list[dict[str, Any]]:
    """What `--json` prints, one object a contrast."""
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
                    "ci": [found.low, found.high],
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


def to_json(findings: Findings) -> str:
    """The whole of the findings as JSON; NaN and infinity become null."""
    document = {
        "title": findings.study.title,
        "headline": prose.headline(findings),
        "sentences": prose.sentences(findings),
        "contrasts": [c for comparison in findings.comparisons for c in contrast_objects(comparison)],
        "findings": _plain(findings),
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


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
