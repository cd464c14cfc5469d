"""The table as LaTeX (booktabs), laid out as Table I of MSSPT: a row a variant, a column a
metric, stars and all.
"""

import math

from reports import prose
from reports.findings import Comparison, Findings
from reports.text import listing

SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "²": "$^2$",
    "×": r"$\times$",
    "<": "$<$",
    ">": "$>$",
    "∞": r"$\infty$",
    "\N{NO-BREAK SPACE}": "~",
    "…": r"\ldots{}",
}


def escape(text: str) -> str:
    r"""Text with LaTeX's special characters made literal.

    >>> escape("si_sdr 5 %")
    'si\\_sdr 5 \\%'
    """
    return "".join(SPECIAL.get(letter, letter) for letter in text)


def cell(comparison: Comparison, variant: str) -> str:
    """`\\textbf{91.85$\\pm$0.03*}`: bold where better than the reference, stars of the corrected
    p.
    """
    row, style = comparison.row(variant), comparison.style
    if math.isnan(row.mean):
        return "--"
    text = style.value(row.mean)
    if not math.isnan(row.se):
        text += "±" + style.value(row.se)
    text = escape(text)
    contrast = comparison.contrast(variant)
    if contrast is None or contrast.refused:
        return text
    text += f"$^{{{contrast.stars}}}$" if contrast.stars else ""
    gain = contrast.primary.difference * (1 if style.higher_is_better else -1)
    return rf"\textbf{{{text}}}" if gain > 0 else text


def caption(findings: Findings) -> str:
    """What the table shows, in one paragraph."""
    main = findings.main
    runs = sorted({len(row.runs) for row in main.rows if row.runs})
    each = f"{runs[0]}" if len(runs) == 1 else f"{runs[0]} to {runs[-1]}" if runs else "no"
    tests = sorted({comparison.test_label for comparison in findings.comparisons})
    return (
        f"{findings.study.question or findings.study.name} Mean ± standard error over "
        f"{each} runs. "
        f"Bold: better than {main.against}. "
        f"* / ** / ***: difference to {main.against} significant at .05 / .01 / .001 "
        f"({listing(tests)}; {prose.family_phrase(main)}, in each column)."
    )


def to_latex(findings: Findings, standalone: bool = False) -> str:
    """A table environment for \\input; with `standalone` a document that compiles by itself."""
    comparisons = findings.comparisons
    factors = findings.study.declaration.factors
    first = factors[0].name if len(factors) == 1 else "variant"
    heads = [c.style.label + (f" ({c.style.unit})" if c.style.unit == "dB" else "") for c in comparisons]
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{escape(caption(findings))}}}",
        rf"\label{{tab:{''.join(c if c.isalnum() else '-' for c in findings.study.title)}}}",
        rf"\begin{{tabular}}{{l{'c' * len(comparisons)}}}",
        r"\toprule",
        " & ".join([escape(first), *map(escape, heads)]) + r" \\",
        r"\midrule",
    ]
    for row in findings.main.rows:
        cells = [cell(c, row.variant) if any(r.variant == row.variant for r in c.rows) else "--" for c in comparisons]
        lines.append(" & ".join([escape(row.variant), *cells]) + r" \\")
        if row.is_reference and row is findings.main.rows[0]:
            lines.append(r"\midrule")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}", ""]
    body = "\n".join(lines)
    if not standalone:
        return body
    return "\n".join(
        [r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}", body, r"\end{document}", ""]
    )
