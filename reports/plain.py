"""The reports without layout: plain text, Markdown, CSV and JSON, from Findings."""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from . import prose, published
from .findings import Comparison, Findings
from .sections import Section, markdown
from .text import MISSING, count, duration, p_value

WIDTH = 100


def summary(findings: Findings) -> str:
    """The table at the end of a run: one line a variant, at most 100 columns."""
    main = findings.main
    label = main.style.label + (f" ({main.target})" if main.target not in ("", "macro") else "")
    head = [
        "variant",
        label,
        "difference",
        f"{prose.confidence(main)} CI",
        "t",
        "p",
        "p corr.",
        "",
    ]
    body = []
    for row in main.rows:
        contrast = main.contrast(row.variant)
        cells = [row.variant, prose.mean_se(main, row.variant)]
        if contrast is None:
            cells += ["reference", "", "", "", "", ""]
        elif contrast.refused:
            cells += ["refused", "", "", "", "", ""]
        else:
            found = contrast.primary
            cells += [
                main.style.difference(found.difference),
                main.style.interval(found.low, found.high),
                MISSING
                if math.isnan(found.statistic)
                else f"{found.statistic:.2f}".replace("-", "−"),
                p_value(found.p),
                p_value(contrast.p_corrected),
                contrast.stars,
            ]
        body.append(cells)
    room = WIDTH - sum(max(len(r[i]) for r in [head, *body]) + 2 for i in range(1, len(head)))
    for cells in [head, *body]:
        cells[0] = cells[0] if len(cells[0]) <= room else cells[0][: max(8, room) - 1] + "…"
    lines = _columns(head, body)
    unit = f" in {main.style.unit}" if main.style.unit else ""
    lines += [
        "",
        f"mean ± SE over runs{unit}; difference to {main.against}; {main.test_label}; "
        f"{prose.family_phrase(main)}.",
    ]
    lines += [prose.headline(findings)]
    if findings.deviations or findings.cautions:
        lines.append(
            f"{count(len(findings.deviations), 'deviation')} and "
            f"{count(len(findings.cautions), 'caution')}: see the report."
        )
    return "\n".join(_wrapped(lines))


def _columns(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in [head, *body]) for i in range(len(head))]
    lines = []
    for row in [head, ["─" * w for w in widths], *body]:
        cells = [
            c.ljust(w) if i == 0 else c.rjust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _wrapped(lines: Sequence[str]) -> list[str]:
    import textwrap

    return [
        part
        for line in lines
        for part in (textwrap.wrap(line, WIDTH) if len(line) > WIDTH else [line])
    ]


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
                    "effect_size": {
                        "hedges_g": contrast.effect.g,
                        "ci": [contrast.effect.low, contrast.effect.high],
                    },
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
        "contrasts": [
            c for comparison in findings.comparisons for c in contrast_objects(comparison)
        ],
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


def to_markdown(findings: Findings, extra: Sequence[Section] = ()) -> str:
    """The report as Markdown: findings, tables, cautions, environment, commands."""
    study = findings.study
    parts = [f"# {study.title}", study.question, prose.headline(findings)]
    naive = prose.naive_sentence(findings)
    parts += [naive] if naive else []
    for comparison in findings.comparisons:
        parts += _markdown_comparison(comparison)
    parts += ["## Findings in words", _bullets(prose.sentences(findings))]
    bundles = prose.bundle_sentences(findings.main)
    if bundles:
        parts += ["### What a contrast bundles", _bullets(bundles)]
    parts += [prose.generalisation(findings), prose.power_sentence(findings)]
    if findings.separation:
        names = list(dict.fromkeys(name for row in findings.separation for name in row.baselines))
        parts += [
            "## Separation",
            _table(
                ["variant", "source", "metric", "model", *names, "beats all"],
                [
                    [
                        s.variant,
                        s.target,
                        s.style.label,
                        s.style.value(s.model),
                        *[
                            s.style.value(s.baselines[n]) if n in s.baselines else MISSING
                            for n in names
                        ],
                        MISSING if s.beats is None else "yes" if s.beats else "no",
                    ]
                    for s in findings.separation
                ],
            ),
        ]
    beside = published.beside(findings)
    if beside:
        parts += [
            f"## Published beside ours ({beside.paper.short}, {beside.table})",
            _table(
                ["variant", "metric", "published", "ours"],
                [
                    [r.variant, r.metric, r.published.text.replace("*", r"\*"), r.ours]
                    for r in beside.rows
                ],
            ),
            _table(["protocol", "published", "ours"], [list(row) for row in beside.protocol]),
        ]
    for section in extra:
        parts += markdown(section)
    if findings.deviations:
        parts += ["## Deviations from the declaration", _bullets(findings.deviations)]
    if findings.cautions:
        parts += ["## Cautions", _bullets(findings.cautions)]
    if study.notes:
        parts += [
            "## Notes of the run",
            _bullets([note_text(n.text, n.count, n.items) for n in study.notes]),
        ]
    parts += ["## Environment", _bullets([f"{k}: {v}" for k, v in environment(findings)])]
    if any(trial.command for trial in study.trials):
        parts += ["## Reproduce", _bullets(commands(findings))]
    return "\n\n".join(part for part in parts if part) + "\n"


def commands(findings: Findings) -> list[str]:
    """What to type for each trial; trials of one command are named together."""
    groups: dict[str, list[str]] = {}
    for trial in findings.study.trials:
        if trial.command:
            state = "" if trial.status == "done" else f" ({trial.status})"
            groups.setdefault(trial.command, []).append(trial.name + state)
    return [f"{', '.join(names)}: `{command}`" for command, names in groups.items()]


def _markdown_comparison(comparison: Comparison) -> list[str]:
    style = comparison.style
    rows = []
    for row in comparison.rows:
        contrast = comparison.contrast(row.variant)
        cells = [
            row.variant,
            f"{len(row.runs)}/{row.planned}",
            prose.mean_se(comparison, row.variant),
        ]
        if contrast is None:
            cells += ["reference", "", "", "", "", ""]
        elif contrast.refused:
            cells += ["refused", "", "", "", "", ""]
        else:
            found = contrast.primary
            cells += [
                style.difference(found.difference),
                style.interval(found.low, found.high),
                prose.statistic(found) or MISSING,
                p_value(found.p),
                p_value(contrast.p_corrected) + (f" {contrast.stars}".replace("*", r"\*")),
                f"{contrast.effect.g:.2f}".replace("nan", MISSING).replace("-", "−"),
            ]
        rows.append([cell.strip() for cell in cells])
    kind = "primary" if comparison.primary else "secondary, a family of its own"
    unit = (
        f", {style.unit} = {style.scale:g} x score"
        if style.scale != 1
        else f", in {style.unit}"
        if style.unit
        else ""
    )
    return [
        f"## {style.label} ({kind})",
        _table(
            [
                "variant",
                "runs",
                "mean ± SE",
                "difference",
                f"{prose.confidence(comparison)} CI",
                "test",
                "p",
                "p corrected",
                "Hedges g",
            ],
            rows,
        ),
        f"Mean ± standard error over runs{unit}; difference to {comparison.against}; "
        f"{comparison.test_label}; "
        f"{prose.family_phrase(comparison)}. Stars: corrected p below .05, .01, .001.",
    ]


def note_text(text: str, number: int, items: Sequence[str]) -> str:
    """A note with its count and the names it is about."""
    names = ", ".join(items[:20]) + (f" and {len(items) - 20} more" if len(items) > 20 else "")
    counted = f" ({number:,})" if number and str(number) not in text else ""
    return f"{text}{counted}" + (f": {names}" if names else "")


def environment(findings: Findings) -> list[tuple[str, str]]:
    """Commit, versions, hardware and hours, for print."""
    given = dict(findings.study.environment)
    rows = []
    if "commit" in given:
        rows.append(
            (
                "commit",
                str(given.pop("commit"))
                + (" (with uncommitted changes)" if given.get("dirty") else ""),
            )
        )
    given.pop("dirty", None)
    hours = given.pop("hours", None)
    rows += [(name, str(value)) for name, value in given.items() if value not in (None, "")]
    if hours is not None:
        rows.append(("time spent", duration(float(hours) * 3600)))
    stages = findings.study.stages.values()
    if stages:
        spent = sum(s.seconds for s in stages)
        cached = sum(s.cached for s in stages)
        rows.append(
            (
                "stages",
                f"{len(stages)}, {duration(spent)} of computing in all"
                + (f"; {cached} found in the store" if cached else ""),
            )
        )
        devices = sorted(
            {
                f"{s.device} ({s.device_name})" if s.device_name else s.device
                for s in stages
                if s.device
            }
        )
        rows.append(("devices", ", ".join(devices)))
    return rows


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def escape(cell: str) -> str:
        return cell.replace("|", r"\|")

    lines = ["| " + " | ".join(map(escape, head)) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(escape, row)) + " |" for row in rows])


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
