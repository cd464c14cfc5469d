"""The report as Markdown, from Findings."""

from collections.abc import Sequence

from reports import prose, published, record
from reports.findings import Comparison, Findings
from reports.sections import Section
from reports.text import MISSING, p_value


def to_markdown(findings: Findings, extra: Sequence[Section] = ()) -> str:
    """The report as Markdown: findings, tables, cautions, environment, commands."""
    study = findings.study
    parts = [f"# {study.title}", study.question, prose.headline(findings)]
    naive = prose.naive_sentence(findings)
    parts += [naive] if naive else []
    for comparison in findings.comparisons:
        parts += _comparison(comparison)
    parts += ["## Findings in words", _bullets(prose.sentences(findings))]
    bundles = prose.bundle_sentences(findings.main)
    if bundles:
        parts += ["### What a contrast bundles", _bullets(bundles)]
    parts += [prose.generalisation(findings), prose.power_sentence(findings)]
    if findings.separation:
        names = list(dict.fromkeys(name for row in findings.separation for name in row.baselines))
        parts += [
            "## Separation",
            table(
                ["variant", "source", "metric", "model", *names, "beats all"],
                [
                    [
                        s.variant,
                        s.target,
                        s.style.label,
                        s.style.value(s.model),
                        *[s.style.value(s.baselines[n]) if n in s.baselines else MISSING for n in names],
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
            table(
                ["variant", "metric", "published", "ours"],
                [[r.variant, r.metric, r.published.text.replace("*", r"\*"), r.ours] for r in beside.rows],
            ),
            table(["protocol", "published", "ours"], [list(row) for row in beside.protocol]),
        ]
    for section in extra:
        parts += blocks(section)
    if findings.deviations:
        parts += ["## Deviations from the declaration", _bullets(findings.deviations)]
    if findings.cautions:
        parts += ["## Cautions", _bullets(findings.cautions)]
    if study.notes:
        parts += ["## Notes of the run", _bullets([record.note_text(n.text, n.count, n.items) for n in study.notes])]
    parts += ["## Environment", _bullets([f"{k}: {v}" for k, v in record.environment(findings)])]
    if any(trial.command for trial in study.trials):
        parts += ["## Reproduce", _bullets(record.commands(findings))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _comparison(comparison: Comparison) -> list[str]:
    style = comparison.style
    rows = []
    for row in comparison.rows:
        contrast = comparison.contrast(row.variant)
        cells = [row.variant, f"{len(row.runs)}/{row.planned}", prose.mean_se(comparison, row.variant)]
        if contrast is None or contrast.refused:
            cells += [prose.untested(contrast), "", "", "", "", ""]
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
        f", {style.unit} = {style.scale:g} x score" if style.scale != 1 else f", in {style.unit}" if style.unit else ""
    )
    return [
        f"## {style.label} ({kind})",
        table(
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


def blocks(section: Section) -> list[str]:
    """A section's blocks; an empty one is a caption that a table lacks."""
    parts = [f"## {section.title}", *section.paragraphs]
    for each in section.tables:
        parts += [each.caption, table(each.head, each.rows)]
    return parts + [f"(Figure in the HTML report: {figure.caption})" for figure in section.figures if figure.caption]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as Markdown; bars within cells are escaped."""

    def escape(cell: str) -> str:
        return cell.replace("|", r"\|")

    lines = ["| " + " | ".join(map(escape, head)) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(escape, row)) + " |" for row in rows])


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
