"""How many frames each condition was scored on, and what scores that leave none out say.

BSS Eval leaves out a frame in which a reference or an estimate is all zero. A gate makes such estimates, so it changes
which frames its own score is made of; this table says by how much. It is read from the frames.csv (track, target,
frames, dropped, silent_reference, silent_estimate) that the last stage of a trial leaves.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports.contract import MACRO
from reports.document import Section, Table
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.text import MISSING, number, style

OPTIONS: dict[str, str] = {}

KINDS = ("frames", "dropped", "silent_reference", "silent_estimate")
SCORES = ("sdr", "sdr_all", "usdr")


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """The table; None where no trial left counts."""
    counts = frame_counts(findings, tables)
    if counts.empty:
        return None
    scores = tables.scores.frame
    split = scores[(scores["track"] == "") & ~scores["target"].isin(MACRO)]
    means = split.groupby(["target", "variant", "metric"])["score"].mean()
    shown = [m for m in SCORES if m in set(split["metric"])]
    lines = []
    for (target, variant), rows in counts.groupby(["target", "variant"], sort=False):
        runs = rows["seed"].nunique()
        total = rows[list(KINDS)].sum()
        lines.append(
            (
                str(target),
                str(variant),
                number(total["frames"] / runs, 0),
                *(number(total[kind] / runs, 1) for kind in KINDS[1:]),
                number(100 * total["dropped"] / total["frames"], 1),
                *(
                    style(m).value(float(means[target, variant, m])) if (target, variant, m) in means.index else MISSING
                    for m in shown
                ),
            )
        )
    head = (
        "target",
        "variant",
        "frames",
        "left out",
        "reference silent",
        "only estimate silent",
        "left out, %",
        *(style(m).label for m in shown),
    )
    by_gate = counts.groupby("variant", sort=False)[["silent_estimate", "frames"]].sum()
    share = 100 * by_gate["silent_estimate"] / by_gate["frames"]
    text = (
        "A frame in which a reference or an estimate is all zero has no BSS Eval score, and is left out of the median. "
        "Frames left out because the estimate alone is silent, in percent of all: "
        + ", ".join(f"{variant} {number(value, 1)}" for variant, value in share.items())
        + "."
    )
    more = (
        "Two scores that leave no such frame out stand beside: SDR over every frame in which the target sounds (a "
        "silent estimate has 0 dB), and uSDR, one ratio a track, which also counts what a gate rightly silences."
    )
    table = Table(
        head, tuple(lines), "Frames: mean over runs, summed over tracks.", (False, False, *(True for _ in head[2:]))
    )
    return Section("Frames left out of the scores", (text, more), (table,))


def frame_counts(findings: Findings, tables: Tables) -> pd.DataFrame:
    """Rows of every trial's frames.csv, with its variant and seed."""
    found = []
    for trial in findings.study.trials:
        for key in trial.stages.values():
            stage = findings.study.stages.get(key)
            path = tables.stored(f"{stage.directory}/frames.csv") if stage and stage.directory else None
            if path is not None and stage and stage.name.startswith("evaluate") and path.is_file():
                rows = pd.read_csv(path, dtype={"track": str, "target": str}, keep_default_na=False)
                found.append(rows.assign(variant=trial.variant, seed=trial.seed))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()
