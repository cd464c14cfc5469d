"""What steering does to the tagger that it follows, to one that it does not, and to the separation: per song, with
intervals over songs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from reports.document import Section, Table
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.text import MISSING, number

OPTIONS: dict[str, str] = {}
ALPHA = 0.05
DECIBEL = {"si_sdr_improvement": "SI-SDRi", "sdr_improvement": "SDRi", "sdr_improvement_best_scalar": "best scalar"}
JUDGES = {"steered_probability": "the steered tagger", "tag_probability": "a tagger that was not steered"}


@dataclass(frozen=True)
class Mean:
    """A mean over songs and its 95 % interval (t); NaN where there are too few songs."""

    value: float
    low: float
    high: float
    songs: int

    @property
    def sign(self) -> int:
        """1 or -1 where the interval leaves out zero on that side, else 0."""
        return int(self.low > 0) - int(self.high < 0)

    def text(self, digits: int) -> str:
        if not self.songs:
            return MISSING
        interval = f" [{number(self.low, digits, signed=True)}, {number(self.high, digits, signed=True)}]"
        return number(self.value, digits, signed=True) + ("" if math.isnan(self.low) else interval)


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """One row and one sentence per variant and target; None where nobody judged the estimates."""
    frame = tables.scores.frame
    frame = frame[(frame["track"] != "") & (frame["target"] != "macro")]
    present = [judge for judge in JUDGES if judge in set(frame["metric"])]
    if not present:
        return None
    songs = frame.groupby(["target", "variant", "metric", "track"], sort=False)["score"].mean().unstack("metric")
    rows, told = [], []
    for target, variant in dict.fromkeys((t, v) for t, v, _ in songs.index):
        values = songs.loc[(target, variant)]
        sound = {name: mean(values[name]) for name in DECIBEL if name in values}
        heard = {j: mean(100 * (values[j] - values[f"{j}_mixture"])) for j in present if j in values}
        itself = {j: mean(100 * (values[f"{j}_reference"] - values[f"{j}_mixture"])) for j in heard}
        rows.append(
            (
                str(target),
                str(variant),
                *(sound[name].text(2) if name in sound else MISSING for name in DECIBEL),
                *(
                    text
                    for j in present
                    for text in ((heard[j].text(1), itself[j].text(1)) if j in heard else (MISSING,) * 2)
                ),
                str(max((one.songs for one in (*sound.values(), *heard.values())), default=0)),
            )
        )
        name = variant if str(target) in str(variant).split(", ") else f"{variant}, {target}"
        told.append(f"{name}: {in_words(sound, heard, itself)}")
    head = ["target", "variant", *(f"{name}, dB" for name in DECIBEL.values())]
    for judge in present:
        head += [f"tags to {JUDGES[judge]}, points over the mixture", "the source itself"]
    caption = (
        "Mean over songs and its 95 % interval (t over songs; intervals one by one, not corrected for their number). "
        "Tags: mean probability of the tags that say the target, all sounds at the level of the mixture."
    )
    text = (
        "Steering can make a tagger say anything; separation is what SI-SDR shows, and a tagger that was not steered "
        "judges whether a change can be heard. A sentence claims only what its interval shows."
    )
    numeric = (False, False, *(True for _ in head[2:]), True)
    return Section(
        "What the taggers hear", (text,), (Table((*head, "songs"), tuple(rows), caption, numeric),), points=tuple(told)
    )


def mean(values: "pd.Series | Sequence[float]") -> Mean:
    """Mean and t interval of values of songs; a NaN is no song."""
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    if not len(known):
        return Mean(math.nan, math.nan, math.nan, 0)
    if len(known) < 2:
        return Mean(float(known[0]), math.nan, math.nan, 1)
    half = float(scipy_stats.t.ppf(1 - ALPHA / 2, len(known) - 1) * known.std(ddof=1) / math.sqrt(len(known)))
    return Mean(float(known.mean()), float(known.mean() - half), float(known.mean() + half), len(known))


def in_words(sound: Mapping[str, Mean], heard: Mapping[str, Mean], itself: Mapping[str, Mean]) -> str:
    """What the intervals of a row say, and no more. A tagger that is not shown to hear the tags more in the source
    ``itself`` than in the mixture cannot tell whether an estimate is that source."""
    quality = sound.get("si_sdr_improvement", Mean(math.nan, math.nan, math.nan, 0))
    words = {
        1: f"it separates (SI-SDR {quality.text(2)} dB)",
        -1: f"it is further from the source than the mixture is (SI-SDR {quality.text(2)} dB)",
        0: f"no separation is shown (SI-SDR {quality.text(2)} dB)",
    }[quality.sign]
    said = [
        {
            1: f"{JUDGES[judge]} hears more of the tags ({change.text(1)} points)",
            -1: f"{JUDGES[judge]} hears less of the tags ({change.text(1)} points)",
            0: f"to {JUDGES[judge]} no change is shown ({change.text(1)} points)",
        }[change.sign]
        + ("" if itself[judge].sign > 0 else ", and the source itself is not shown to have more of them either")
        for judge, change in heard.items()
    ]
    return "; ".join([words, *said]) + "."
