"""How good the separated stems are: Table 4.1 and Figures 4.2 to 4.4 of [Ligtenberg, AE-MIC], published beside ours.

Options: `factor`, the factor whose levels are `base`, `raw` and `post`; `metric`, the score of a song.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from reports import media
from reports.document import Figure, Section, Table, unpublished
from reports.drawing.panels import Line, Panel, panels
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.published import not_beside, paper
from reports.statistics.hypothesis_tests import Result, paired, student, welch
from reports.text import MISSING, number, p_value

OPTIONS = {"factor": "factor?", "metric": "metric?"}

STEMS = ("raw", "post")
RANGE = -80.0


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """None where no separated stem was scored."""
    factor, metric = options.get("factor", "stem"), options.get("metric", "spectrogram_sdr")
    frame = tables.scores.frame
    levels = {v.name: v.levels.get(factor, "") for v in findings.study.variants}
    songs = {stem: by_song(frame, levels, stem, metric) for stem in STEMS}
    if any(series.empty for series in songs.values()):
        return None
    mixture = by_song(frame, levels, "raw", f"{metric}_mixture")
    found = [table_4_1(songs), tests(songs)]
    figures = [per_song(songs, mixture), *losses(findings, tables), *spectra(findings, levels, tables)]
    table = training(findings, tables)
    shown = [*found, *([table] if table else [])]
    why = not_beside(findings.study, paper("aemic"))
    return Section(
        "Separated stems",
        (
            "SDR between amplitude spectrograms, the mean over a song's segments; it compares with no SDR of signals. "
            "The tests below sample songs: one separator, trained once, made all of these stems. Post is computed from "
            "raw, song by song, so the paired test is the one that fits the design; the thesis used the unpaired one.",
            *([why] if why else []),
        ),
        tuple(unpublished(table) if why else table for table in shown),
        tuple(figure for figure in figures if figure.svg or figure.image),
    )


def by_song(frame: pd.DataFrame, levels: Mapping[str, str], stem: str, metric: str) -> pd.Series:
    """Score of each song, averaged over runs. Index: track."""
    rows = frame[(frame["metric"] == metric) & (frame["track"] != "")]
    rows = rows[rows["variant"].map(levels) == stem]
    scores: pd.Series = rows.groupby("track")["score"].mean()
    return scores


def table_4_1(songs: Mapping[str, pd.Series]) -> Table:
    """Means and standard deviations over songs."""
    printed = paper("aemic").table("Table 4.1").rows
    rows = tuple(
        (
            stem,
            printed[stem]["mean SDR"].text,
            printed[stem]["SD"].text,
            number(float(series.mean())),
            number(float(series.std(ddof=1))),
            str(len(series)),
        )
        for stem, series in songs.items()
    )
    return Table(
        ("stem", "published mean", "published SD", "mean", "SD", "songs"),
        rows,
        "Table 4.1: spectrogram SDR in dB. Published: 50 songs of MUSDB18's test set.",
        (False, True, True, True, True, True),
    )


def tests(songs: Mapping[str, pd.Series]) -> Table:
    """Raw against post, unpaired as published and paired; the published figures tested in the same ways."""
    printed = paper("aemic").printed
    published = paper("aemic").table("Table 4.1").rows
    means = [published[stem]["mean SDR"].value for stem in STEMS]
    deviations = [published[stem]["SD"].value for stem in STEMS]
    n = printed["songs"]
    joined = pd.concat(songs, axis=1).dropna()
    both = [dict(enumerate(joined[stem])) for stem in STEMS]
    r = float(joined.corr().iloc[0, 1]) if len(joined) > 2 else math.nan
    raw, post = (list(scores.values()) for scores in both)
    ours: dict[str, Result] = {
        "Student": student(raw, post),
        "Welch": welch(raw, post),
        "paired": paired(both[0], both[1]),
    }
    recomputed = {
        name: scipy_stats.ttest_ind_from_stats(means[0], deviations[0], n, means[1], deviations[1], n, equal)
        for name, equal in (("Student", True), ("Welch", False))
    }
    rows = [("Student, as printed", f"t({printed['df']}) = {printed['t']}", p_value(printed["p"]), MISSING, MISSING)]
    for name, result in ours.items():
        told = (
            f"t({result.df:.1f}) = {number(result.statistic)}" if not math.isnan(result.p + result.df) else result.note
        )
        told = told if len(joined) > 1 else "needs two songs that both stems have"
        if name in recomputed:
            theirs = f"t = {number(float(recomputed[name].statistic))}", p_value(float(recomputed[name].pvalue))
        else:
            theirs = paired_published(means, deviations, n, r)
        rows.append((name, *theirs, told, p_value(result.p)))
    if math.isnan(r):
        caption = "Raw against post. The printed means and SDs do not tell the paired test."
    else:
        caption = (
            "Raw against post. The printed means and SDs do not tell the paired test: its published side is "
            f"what they would give with the correlation between raw and post of our songs, {number(r)}."
        )
    return Table(
        ("test", "published", "published p", "ours", "p"), tuple(rows), caption, (False, True, True, True, True)
    )


def paired_published(means: Sequence[float], deviations: Sequence[float], n: int, r: float) -> tuple[str, str]:
    """The paired t that means, deviations and a correlation give, and its p.

    >>> paired_published((9.33, 7.29), (4.29, 3.25), 50, 0.9)
    ('t(49) = 7.33', '< .0001')
    """
    if math.isnan(r):
        return MISSING, MISSING
    square = deviations[0] ** 2 + deviations[1] ** 2 - 2 * r * deviations[0] * deviations[1]
    t = (means[0] - means[1]) / math.sqrt(square / n)
    return f"t({n - 1}) = {number(t)}", p_value(float(2 * scipy_stats.t.sf(abs(t), n - 1)))


def per_song(songs: Mapping[str, pd.Series], mixture: pd.Series) -> Figure:
    """Figure 4.4: one point per song, ordered by the raw stem's score."""
    order = list(songs["raw"].sort_values().index)
    lines = [
        Line(
            tuple((float(place), float(series[name])) for place, name in enumerate(order, 1) if name in series),
            kind,
            what,
        )
        for what, kind, series in (
            ("raw", "s0", songs["raw"]),
            ("post", "s1", songs["post"]),
            ("mixture", "shared dashed", mixture),
        )
        if len(series)
    ]
    drawing = panels(
        [Panel("spectrogram SDR (dB)", tuple(lines))],
        "test song, by the raw stem's score",
        "SDR of each song",
        legend=[(line.kind, line.name) for line in lines],
    )
    return Figure(
        drawing,
        caption="Figure 4.4, ours: SDR of each test song, and of its mixture taken as the estimate. "
        "The thesis draws 50 songs and prints no figure for any.",
    )


def losses(findings: Findings, tables: Tables) -> list[Figure]:
    """Figure 4.2: the separator's loss by epoch."""
    curves = tables.curves
    rows = None if curves is None else curves[curves["stage"] == "train_autoencoder"]
    if rows is None or rows.empty:
        return []
    lines = {
        metric: [Line(by_epoch(run), kind, metric) for _, run in rows[rows["metric"] == metric].groupby("key")]
        for metric, kind in (("train_loss", "s0"), ("valid_mae", "s1"))
    }
    drawing = panels(
        [
            Panel("training and validation", tuple(lines["train_loss"] + lines["valid_mae"])),
            Panel("validation", tuple(lines["valid_mae"])),
        ],
        "epoch",
        "Loss of the separator",
        2,
        (("s0", "training loss, penalty included"), ("s1", "validation MAE")),
    )
    return [Figure(drawing, caption="Figure 4.2, ours: the separator's loss on values of dB / 150.")]


def by_epoch(run: pd.DataFrame) -> tuple[tuple[float, float], ...]:
    """(epoch from 1, value) of one training's curve."""
    ordered = run.sort_values("step")
    return tuple((float(epoch), float(value)) for epoch, value in enumerate(ordered["value"], 1))


def training(findings: Findings, tables: Tables) -> Table | None:
    """The separator's best epoch, published beside ours."""
    curves = tables.curves
    rows = None if curves is None else curves[curves["stage"] == "train_autoencoder"]
    if rows is None or rows.empty:
        return None
    printed = paper("aemic").printed["figure 4.2"]
    ours = []
    for _, run in rows.groupby("key", sort=False):
        wide = run.pivot(index="step", columns="metric", values="value")
        best = int(np.argmin(wide["valid_mae"]))
        ours.append(
            (
                str(best + 1),
                str(len(wide)),
                number(float(wide["train_loss"].iloc[best]), 5),
                number(float(wide["valid_mae"].iloc[best]), 5),
            )
        )
    return Table(
        ("separator", "best epoch", "of", "training loss", "validation MAE"),
        (
            (
                "published",
                str(printed["epoch"]),
                str(printed["epochs"]),
                str(printed["train_mae"]),
                str(printed["valid_mae"]),
            ),
            *(("ours", *row) for row in ours),
        ),
        "Figure 4.2 in numbers: the epoch of the lowest validation MAE. The published MAEs are not in the thesis: they "
        "are part of the file name of a released checkpoint, which names songs beyond MUSDB18. The published training "
        "figure is an MAE; ours holds the penalty.",
        (False, True, True, True, True),
    )


def spectra(findings: Findings, levels: Mapping[str, str], tables: Tables) -> list[Figure]:
    """Figure 4.3: mixture, raw, post and target of each example, side by side on one scale."""
    chosen: dict[str, dict[str, str]] = {}
    for example in findings.study.examples:
        if levels.get(example.variant) in STEMS:
            paths = chosen.setdefault(example.track, {})
            paths |= {
                "mixture": example.mixture,
                "target": example.reference,
                levels[example.variant]: example.estimate,
            }
    figures = []
    for track, paths in chosen.items():
        places = [tables.stored(paths[name]) for name in ("mixture", *STEMS, "target") if name in paths]
        sounds = [media.load(place) if place else None for place in places]
        if len(sounds) < 4 or any(sound is None for sound in sounds):
            continue
        found = [sound for sound in sounds if sound is not None]
        pictures = [media.magnitudes(sound) for sound in found]
        top = max(float(picture.max()) for picture in pictures) or 1.0
        shown: list[np.ndarray] = []
        for picture in pictures:
            shown += [20 * np.log10(np.maximum(picture, 1e-9) / top), np.zeros((len(picture), 3))]
        figures.append(
            Figure(
                image=media.png_uri(np.hstack(shown[:-1])),
                caption=f"Figure 4.3, ours: {track}; from the left mixture, raw, post, target. "
                f"0 to {found[0].rate / 2000:.3g} kHz, {-RANGE:.0f} dB.",
            )
        )
    return figures
