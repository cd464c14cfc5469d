"""How well separators separate, beside what needs no separator."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from reports.contract import MACRO
from reports.text import Style, style

BASELINES = {"_silence": "silence", "_best_scalar": "best scalar", "_mixture": "mixture", "_wiener": "fixed filter"}
SEPARATION = ("l1", "sdr", "si_sdr", "usdr", "csdr", "sir", "sar", "isr")


@dataclass(frozen=True)
class Separation:
    """How well a separator separates one source, beside what needs no separator.

    Attributes:
        model: mean over runs (of the mean over tracks).
        baselines: the same score of `silence`, `best scalar`, `mixture`, where given.
        beats: whether the model beats every baseline given; None without any.
        aggregation: how frames became a score.
        equal: other variants with the same figures to the last bit.
        lost: tracks on which the model, over its runs, does not beat every baseline that the track has.
    """

    variant: str
    target: str
    style: Style
    model: float
    tracks: int
    baselines: Mapping[str, float]
    beats: bool | None
    aggregation: str = ""
    equal: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


def separation(frame: pd.DataFrame, primary: str) -> tuple[Separation, ...]:
    """One row for each variant, source and separation metric that has scores.

    The primary metric appears only if there are baselines to show beside it.
    """
    metrics = list(frame["metric"].unique())
    names = [
        m for m in metrics if any(m + suffix in metrics for suffix in BASELINES) or (m in SEPARATION and m != primary)
    ]
    found = []
    for metric in names:
        rows = frame[(frame["metric"] == metric) & ~frame["target"].isin(MACRO)]
        for (variant, target), group in rows.groupby(["variant", "target"], sort=False):
            baselines, by_track = {}, {}
            for suffix, label in BASELINES.items():
                beside = frame[
                    (frame["metric"] == metric + suffix) & (frame["variant"] == variant) & (frame["target"] == target)
                ]
                if not beside.empty:
                    baselines[label] = _mean_of_runs(beside)
                    by_track[label] = _of_tracks(beside)
            model = _mean_of_runs(group)
            printed = style(metric, None, [model, *baselines.values()])
            sign = 1.0 if printed.higher_is_better else -1.0
            beats = all(sign * model > sign * other for other in baselines.values()) if baselines else None
            scored = _of_tracks(group)
            tracks = len(scored)
            lost = [
                t for t in scored.index if any(sign * scored[t] <= sign * o[t] for o in by_track.values() if t in o)
            ]
            aggregation = next((a for a in group["aggregation"] if a), "")
            found.append(
                Separation(
                    str(variant), str(target), printed, model, tracks, baselines, beats, aggregation, lost=tuple(lost)
                )
            )
    return tuple(found)


def _of_tracks(rows: pd.DataFrame) -> pd.Series:
    """The mean over runs on each track."""
    means: pd.Series = rows[rows["track"] != ""].groupby("track")["score"].mean()
    return means


def _mean_of_runs(rows: pd.DataFrame) -> float:
    """Mean over runs of the score over all tracks where there is one, else of the mean over tracks."""
    whole = rows[rows["track"] == ""]
    rows = rows if whole.empty else whole
    return float(rows.groupby("seed")["score"].mean().mean())
