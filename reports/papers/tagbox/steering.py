"""Steered separation beside what attenuation alone earns.

Options: `table`, a table of the TagBox paper whose figures stand beside ours.
"""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports import published
from reports.contract import Study
from reports.document import Section, Table, unpublished
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.text import MISSING, number

OPTIONS = {"table": "table of tagbox?"}

COLUMNS = {
    "sdr_improvement": "SDRi",
    "sdr_improvement_best_scalar": "SDRi of the best scalar",
    "sdr_improvement_silence": "SDRi 60 dB down",
    "si_sdr_improvement": "SI-SDRi",
    "mixture_sdr": "SDR of the mixture",
}
LEAST = 0.1
"""Improvements below this many dB are taken for none."""


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """One row per variant and target, and a sentence for each improvement that attenuation explains."""
    study, name = findings.study, str(options.get("table", ""))
    frame = tables.scores.frame
    frame = frame[frame["metric"].isin(list(COLUMNS)) & (frame["target"] != "macro")]
    if frame.empty:
        return None
    by_run = frame.groupby(["variant", "target", "metric", "seed"], sort=False)["score"].mean()
    means = by_run.groupby(level=["variant", "target", "metric"], sort=False).mean().unstack()
    rise = _rise(study, tables)
    rows, told = [], []
    for (variant, target), line in means.iterrows():
        values = {metric: float(line.get(metric, float("nan"))) for metric in COLUMNS}
        print_ = _published(study, name, str(variant), str(target))
        before, after = rise.get((str(variant), str(target)), (float("nan"), float("nan")))
        rows.append(
            (
                str(variant),
                str(target),
                *(number(v, 2, signed=True) for v in values.values()),
                print_ or MISSING,
                MISSING if before != before else f"{before:.2f} → {after:.2f}",
            )
        )
        told.append(f"{variant}, {target}: {verdict(values)}")
    trained = sorted({s.name for s in study.stages.values()} & {"train_vqvae", "train_tail"})
    names = {"train_vqvae": "the VQ-VAE", "train_tail": "the taggers"}
    note = (
        f"Not the released models: {' and '.join(names[name] for name in trained)} were trained in this study."
        if trained
        else "VQ-VAE and taggers are the released ones (see the notes for their checksums)."
    )
    elsewhere = published.not_beside(study, published.paper("tagbox")) if name else ""
    notes = (note, *([elsewhere] if elsewhere else _beside(study, name) if name else ()))
    head = ("variant", "target", *COLUMNS.values(), "published SDRi", "probability of the tags")
    caption = (
        "dB, mean over tracks, then over seeds. An SDR improvement that the best scalar times the mixture also "
        "earns is no separation; a scaled mixture gains nothing in SI-SDR."
    )
    table = Table(head, tuple(rows), caption, (False, False) + (True,) * (len(head) - 2))
    table = unpublished(table) if elsewhere else table
    return Section("Separation or attenuation", (*notes, *told), (table,))


def verdict(values: Mapping[str, float]) -> str:
    """What an SDR improvement is worth, in words."""
    gain, invariant = values["sdr_improvement"], values["si_sdr_improvement"]
    scalar = values["sdr_improvement_best_scalar"]
    both = f"SDR {number(gain, 2, signed=True)} dB, SI-SDR {number(invariant, 2, signed=True)} dB"
    if gain != gain:
        return "no score."
    if gain < LEAST:
        return f"no improvement ({both})."
    if invariant != invariant or invariant < LEAST:
        return (
            f"the improvement is explained by attenuation ({both}; the best scalar earns "
            f"{number(scalar, 2, signed=True)} dB of SDR)."
        )
    if gain <= scalar:
        return (
            f"some separation, but attenuation alone would earn as much SDR ({both}; the best "
            f"scalar {number(scalar, 2, signed=True)} dB)."
        )
    return f"separation beyond attenuation ({both}; the best scalar {number(scalar, 2, signed=True)} dB)."


def _beside(study: Study, name: str) -> list[str]:
    """What must be said where the figures of a printed table stand beside ours."""
    found = published.paper("tagbox").table(name)
    levels = {word for variant in study.variants for word in (variant.name, *variant.levels.values())}
    absent = [row for row in found.rows if row not in levels]
    return [
        text
        for text in (
            f"{name}: {found.note}" if found.note else "",
            f"Printed rows of {name} that no variant repeats: {'; '.join(absent)}." if absent else "",
            "Ours are of a smoke run on other, tiny data and say nothing about the printed figures."
            if study.smoke
            else "",
        )
        if text
    ]


def _published(study: Study, table: str, variant: str, target: str) -> str:
    if not table:
        return ""
    found = published.paper("tagbox").table(table)
    chosen = study.variant(variant)
    if chosen.recipe.get("output", "residual") != "residual":
        return ""  # the paper's estimate is the residual, and no other stands beside its figures
    words = [variant, *chosen.levels.values()]
    row = next((word for word in words if word in found.rows), "")
    places = [*words, f"MUSDB {target}"]
    column = next((place for place in places if place in found.columns), "")
    figure = found.rows.get(row, {}).get(column)
    return figure.text if figure else ""


def _rise(study: Study, tables: Tables) -> dict[tuple[str, str], tuple[float, float]]:
    """Mean probability of the wanted tags at the first and the last decode, by variant and target."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for trial in study.trials:
        for name, key in trial.stages.items():
            stage = study.stages.get(key)
            if stage is None or not name.startswith("infer_steered"):
                continue
            folder = tables.stored(stage.directory)
            if folder is None or not (folder / "steps.csv").exists():
                continue
            target = json.loads((folder / "estimates.json").read_text(encoding="utf-8"))["target"]
            steps = pd.read_csv(folder / "steps.csv")["probability"]
            if len(steps):
                pair = (float(steps.iloc[0]), float(steps.iloc[-1]))
                found.setdefault((trial.variant, target), []).append(pair)
    return {
        key: (sum(a for a, _ in pairs) / len(pairs), sum(b for _, b in pairs) / len(pairs))
        for key, pairs in found.items()
    }
