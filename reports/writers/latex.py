"""A table as LaTeX (booktabs)."""

from reports.document import Cell, Table
from reports.text import visible

SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "|": r"\textbar{}",
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
    r"""Text with LaTeX's special characters made literal, in one line: an empty one would end a caption.

    >>> escape("si_sdr 5 %")
    'si\\_sdr 5 \\%'
    """
    return "".join(SPECIAL.get(letter, letter) for letter in visible(text))


def cell(shown: Cell) -> str:
    """`\\textbf{91.85$\\pm$0.03$^{*}$}`: bold for `better`, stars raised."""
    text = escape(shown.text.replace(" ± ", "±").rstrip("* "))
    stars = "*" * shown.text.count("*")
    text += f"$^{{{stars}}}$" if stars else ""
    return rf"\textbf{{{text}}}" if shown.kind == "better" else text


def to_latex(table: Table, label: str) -> str:
    """A table environment for \\input, with a rule below the first row where that is the reference."""
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{escape(table.caption)}}}",
        rf"\label{{tab:{''.join(c if c.isalnum() else '-' for c in label)}}}",
        rf"\begin{{tabular}}{{l{'c' * (len(table.head) - 1)}}}",
        r"\toprule",
        " & ".join(map(escape, table.head)) + r" \\",
        r"\midrule",
    ]
    for k, (name, *others) in enumerate(table.cells):
        first = escape(name.text)  # behind \\ and \midrule a [ would be read as a length, a * as a form of the command
        first = "{}" + first if first.startswith(("[", "*")) else first
        lines.append(" & ".join([first, *map(cell, others)]) + r" \\")
        if k == 0 and name.kind == "reference":
            lines.append(r"\midrule")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])
