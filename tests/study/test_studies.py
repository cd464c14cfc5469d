"""The studies as they are declared: each contrast changes what the levels of its factors say, and nothing else."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from typing import Any

import pytest

from mss_core.graph import plain
from mss_core.recipe import flatten
from mss_core.study import Study
from mss_core.study.designs import Variant
from reports.contrasts import covers, differing
from tests.conftest import REPOSITORY

STUDIES = sorted(path.stem for path in (REPOSITORY / "studies").glob("*.py") if path.stem != "__init__")


def flat(study: Study, variant: Variant, smoke: bool) -> Mapping[str, Any]:
    return {path: plain(value) for path, value in flatten(study.recipe(variant, 0, smoke, {}, lambda r: r)).items()}


@pytest.mark.parametrize("smoke", [False, True], ids=["full", "smoke"])
@pytest.mark.parametrize("name", STUDIES)
def test_no_contrast_would_be_refused(name: str, smoke: bool) -> None:
    """Also at smoke size, where a recipe is cut down after its level has spoken."""
    study: Study = runpy.run_path(str(REPOSITORY / "studies" / f"{name}.py"))["study"]
    study = study.at_smoke_size() if smoke else study
    references = study.references()
    for variant in study.variants():
        reference = references[variant.name]
        declared = [
            path
            for factor in study.factors
            for label in (variant.levels.get(factor.name), reference.levels.get(factor.name))
            for path in factor.levels.get(str(label), {})
            if variant.levels.get(factor.name) != reference.levels.get(factor.name)
        ]
        changed = [each.path for each in differing(flat(study, reference, smoke), flat(study, variant, smoke))]
        assert [path for path in changed if not any(covers(known, path) for known in declared)] == []
