"""The sections of reports, a module each.

A study declares them as `{"kind": name, **options}`; the name is one of `KINDS` (reports/contract/sections.py), or,
with a dot, a module of any package (`my_paper.report`). The module has

    OPTIONS = {"option": "what it holds"}, see reports/contract/sections.py; with it options are checked before a run
    section(findings, options, tables) -> Section | None

with `tables` (reports/inputs/directory.py), the study's scores, predictions, curves and searches, each read once, and
the store, below which an artefact's files lie in study.json's `directory`. None leaves the section out. Another package
imports from here what a section is made of (reports/document.py).
"""

from reports.document import Cell, Figure, Section, Table

__all__ = ["Cell", "Figure", "Section", "Table"]
