"""What was declared before the run, and what each contrast changes at once."""

from collections.abc import Iterator, Mapping
from typing import Any

from reports import prose
from reports.document import Section
from reports.findings import Findings
from reports.inputs.directory import Tables

OPTIONS: dict[str, str] = {}


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section:
    """Bundles, then the declaration."""
    bundles = tuple(prose.bundle_sentences(findings.main))
    parts = [Section("What a contrast bundles", points=bundles)] if bundles else []
    return Section("Design", parts=(*parts, Section("Declared before the run", points=tuple(declared(findings)))))


def declared(findings: Findings) -> Iterator[str]:
    """The declaration, one line per thing declared."""
    study, main = findings.study, findings.main
    declaration = study.declaration
    factors = "; ".join(f"{factor.name}: {', '.join(factor.levels)}" for factor in declaration.factors)
    yield f"factors: {factors or 'not declared'}"
    if declaration.added:
        yield f"added on the command line (--factor): {'; '.join(declaration.added)}"
    yield f"design: {declaration.design or 'not declared'}"
    yield f"seeds: {', '.join(map(str, declaration.seeds)) or 'not declared'}"
    target = f" ({declaration.target})" if declaration.target else ""
    yield f"primary metric: {declaration.metric or 'not declared'}{target}"
    test = declaration.test or f"not declared: {main.test_label}"
    yield f"test: {test}, alpha {declaration.alpha}, {main.correction_label}"
    if declaration.exclude:
        yield f"exclusions: {'; '.join(declaration.exclude)}"
    if study.declared:
        match = "matches the declaration" if study.hash_matches else "does not match the declaration"
        yield f"hash: `{study.declared}` {match}"
