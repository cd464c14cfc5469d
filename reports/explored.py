"""What a page needs so that its reader can take the primary comparison again with other choices (writers/explore).

The scores of every run stand in it once, with what of the declaration the tests need. A test that draws at random,
counts relabellings or needs the prediction for every clip is not made on a page: it says so, and the default test of
such scores stands in its place, under its own name.
"""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from reports import controls
from reports.comparison import own_tracks
from reports.contract import CORRECTIONS, MACRO, Metric, Study, known_metric
from reports.contract.names import OF_CLIPS
from reports.contrasts import compare, share_trainings
from reports.findings import Comparison, Findings
from reports.separation import BASELINES

COMPUTED = ("crossed", "half_pooled", "paired_crossed", "item_means", "welch", "student", "pooled", "paired")
"""The primary tests that a page makes."""
LARGEST = 1_500_000
"""Characters of the packed scores from which on a page does not hold them."""
WHY = {
    "mixed": "is fitted by iteration",
    "bootstrap": "draws at random",
    "permutation": "counts relabellings",
    "wilcoxon": "counts relabellings",
}


def refusal(findings: Findings) -> str:
    """Why a page cannot take the comparison again; empty where it can."""
    if findings.course is not None:
        return "What holds over several looks is not computed again on a page: each look had other seeds."
    if findings.scores is None or not _pairs(_of_main(findings)):
        return "There is no contrast to take again."
    return ""


def document(findings: Findings) -> dict[str, Any]:
    """The scores and the declaration, as the page's script reads them."""
    study, main = _of_main(findings), findings.main
    assert findings.scores is not None
    declaration = study.declaration
    names, against = [v.name for v in study.variants], _pairs(study)
    frame = findings.scores.frame
    frame = frame[frame["variant"].isin(names) & frame["metric"].isin(_metrics(frame, against, main))]
    metrics, rows = list(frame["metric"].unique()), {}
    values: dict[str, list] = {"variant": names, "metric": metrics}
    for column in ("seed", "track", "target"):
        found = frame[column].unique().tolist()
        values[column] = sorted(found) if column == "seed" else found
    for column, known in values.items():
        place = {name: k for k, name in enumerate(known)}
        rows[column] = [place[name] for name in frame[column].tolist()]
    differ = {name: base for name, base in against.items() if base != name}
    declared, instead = declaration.references or against, _instead(study, main)
    return {
        "variants": names,
        "against": [names.index(against[name]) for name in names],
        "refused": [
            compare(study, study.variant(name), study.variant(differ[name])).refusal if name in differ else ""
            for name in names
        ],
        "own": [own_tracks(study, name, against[name]) for name in names],
        "reference": main.against,
        "label": "" if instead["text"] else main.test_label,
        "alpha": main.alpha,
        "family": max(1, sum(other != name for name, other in declared.items())),
        "shared": share_trainings(study),
        "test": declaration.test if declaration.test in COMPUTED else "",
        "instead": instead,
        "declared": {"metric": main.style.name, "target": main.target, "correction": main.correction},
        "corrections": dict(CORRECTIONS),
        "metrics": [_metric(frame, name, study, main) for name in metrics],
        **{column + "s": values[column] for column in ("seed", "track", "target")},
        "groups": _groups(frame),
        "rows": {**rows, "score": frame["score"].tolist()},
    }


def packed(made: Mapping[str, Any]) -> str:
    """A document as base64 of its deflated JSON: letters, digits, and none that HTML knows."""
    text = json.dumps(made, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _of_main(findings: Findings) -> Study:
    """The study as its question has it; of one with several primary metrics, the variants that have the first."""
    study, main = controls.without(findings.study), findings.main
    if sum(each.primary for each in findings.comparisons) < 2:
        return study
    kept = tuple(study.variant(row.variant) for row in main.rows)
    return replace(study, variants=kept, declaration=replace(study.declaration, reference=main.reference))


def _pairs(study: Study) -> dict[str, str]:
    """By variant, the one it is compared with; empty where none is compared."""
    names = [v.name for v in study.variants]
    reference = study.declaration.reference or next(iter(names), "")
    against = {name: study.declaration.references.get(name, reference) for name in names}
    able = set(against.values()) <= set(names) and any(name != other for name, other in against.items())
    return against if able else {}


def _metrics(frame: pd.DataFrame, against: Mapping[str, str], main: Comparison) -> list[str]:
    """The primary metric, and those that some reference and a variant beside it have of a model's own estimates."""
    found = {main.style.name}
    for metric, rows in frame.groupby("metric", sort=False):
        having = set(rows["variant"].unique())
        if any({name, base} <= having for name, base in against.items() if name != base):
            found |= set() if str(metric).endswith(tuple(BASELINES)) else {str(metric)}
    return sorted(found)


def _metric(frame: pd.DataFrame, name: str, study: Study, main: Comparison) -> dict[str, Any]:
    known = known_metric(name, study.declaration.own_metrics) or Metric(name)
    higher = main.style.higher_is_better if name == main.style.name else known.higher_is_better
    targets: Sequence[str] = sorted(set(frame["target"][frame["metric"] == name]) - set(MACRO))
    return {
        "name": name,
        "label": known.label,
        "unit": known.unit,
        "digits": known.digits,
        "higher": higher,
        "targets": targets,
    }


def _groups(frame: pd.DataFrame) -> dict[str, str]:
    """track -> group."""
    if "group" not in frame:
        return {}
    pairs = frame[["track", "group"]].drop_duplicates("track")
    return dict(zip(pairs["track"].tolist(), pairs["group"].tolist(), strict=True))


def _instead(study: Study, main: Comparison) -> dict[str, str]:
    """That the declared test is not made on a page, and on which metric that holds: an empty one is any."""
    test = study.declaration.test
    if main.test in COMPUTED and test in ("", *COMPUTED):
        return {"text": "", "metric": ""}
    why = "needs the prediction for every clip" if main.test in OF_CLIPS else WHY.get(test or main.test, "is not made")
    text = f"The declared test ({main.test_label}) {why}, so this page does not make it."
    return {"text": text, "metric": "" if test else main.style.name}
