"""museval's JSON, and museval itself: the reference that ours is checked against.

A file holds one track: {"targets": [{"name", "frames": [{"time", "duration", "metrics": {"SDR",
"SIR", "SAR", "ISR"}}]}], "museval_version"}. Scores have five decimals; one that is not finite is
NaN, which is no JSON by the book, but is what museval writes and Python reads.
"""

import dataclasses
import functools
import importlib.util
import json
import math
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from mss_core.metrics.bss_eval import BssEval, bss_eval

ORDER = ("SDR", "SIR", "SAR", "ISR")


def museval_bss_eval(
    references: ArrayLike, estimates: ArrayLike, rate: float, window: float = 1.0, hop: float = 1.0
) -> BssEval:
    """What museval itself says: slow, and the judge of `bss_eval`. Arguments as there.

    `condition` is NaN. It raises whatever museval raises.
    """
    frames = [math.inf if math.isinf(x) else int(x * rate) for x in (window, hop)]
    module = _museval_metrics()
    scores = module.bss_eval(np.asarray(references), np.asarray(estimates), window=frames[0], hop=frames[1])[:4]
    start = np.arange(scores[0].shape[1]) * (0 if math.isinf(frames[1]) else frames[1] / rate)
    return BssEval(*scores, start, window, hop, math.nan)


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Ours beside museval's.

    Attributes:
        ours, theirs: the scores.
        same_frames: whether NaN are the same frames.
        difference: metric -> largest difference in dB where museval's is below 100 dB; above, it
            is rounding.
        sensitivity: metric -> how far museval's own scores move if the references are scaled by
            1 + 1e-9, which changes no ratio by more than 1e-7 dB by itself. Found only where the
            difference is above 1e-6 dB or the system ill-conditioned, and empty elsewhere.
    """

    ours: BssEval
    theirs: BssEval
    same_frames: bool
    difference: dict[str, float]
    sensitivity: dict[str, float]

    @property
    def verdict(self) -> str:
        """ "equal" to 1e-6 dB, "ill-conditioned" (museval does not agree with itself), or
        "different"."""
        if self.same_frames and max(self.difference.values()) <= 1e-6:
            return "equal"
        excused = self.ours.ill_conditioned or all(
            self.difference[m] <= 10 * self.sensitivity[m] for m in ("SIR", "SAR", "ISR")
        )
        return "ill-conditioned" if excused and self.same_frames else "different"

    def __str__(self) -> str:
        words = [f"{self.verdict}, condition {self.ours.condition:.1e}"]
        own = [f", museval's own sensitivity {v:.1e}" for v in self.sensitivity.values()]
        for m, sensitivity in zip(ORDER, own or [""] * len(ORDER), strict=True):
            ours, theirs = (np.nanmedian(getattr(x, m.lower())) for x in (self.ours, self.theirs))
            words.append(f"{m} {ours:.6f} museval {theirs:.6f} (difference {self.difference[m]:.1e}{sensitivity})")
        return "; ".join(words)


def compare(
    references: ArrayLike, estimates: ArrayLike, rate: float, window: float = 1.0, hop: float = 1.0
) -> Agreement:
    """Both implementations on the same track, and where that is telling museval on references
    scaled by 1 + 1e-9."""
    ours = bss_eval(references, estimates, rate, window, hop)
    theirs = museval_bss_eval(references, estimates, rate, window, hop)
    difference = _differences(ours, theirs)
    sensitivity = {}
    if ours.ill_conditioned or max(difference.values()) > 1e-6:
        scaled = np.asarray(references) * (1 + 1e-9)
        again = museval_bss_eval(scaled, estimates, rate, window, hop)
        sensitivity = _differences(again, theirs)
    same = all(np.array_equal(np.isnan(getattr(ours, m.lower())), np.isnan(getattr(theirs, m.lower()))) for m in ORDER)
    return Agreement(ours, theirs, same, difference, sensitivity)


def _differences(a: BssEval, b: BssEval) -> dict[str, float]:
    out = {}
    for m in ORDER:
        x, y = getattr(a, m.lower()), getattr(b, m.lower())
        low = np.isfinite(x) & np.isfinite(y) & (y < 100)
        sure = (y >= 100) & ~(x >= 99)  # beyond rounding there, but not here
        out[m] = math.inf if sure.any() else float(np.abs(x[low] - y[low]).max(initial=0.0))
    return out


@functools.cache
def _museval_metrics() -> ModuleType:
    """museval/metrics.py by its path: `import museval` fails without ffmpeg, needlessly."""
    package = importlib.util.find_spec("museval")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("museval is not installed: pip install 'museval>=0.4.1,<0.5'")
    path = Path(package.origin).with_name("metrics.py")
    spec = importlib.util.spec_from_file_location("museval_metrics", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        spec.loader.exec_module(module)
    return module


def to_json(scores: BssEval, targets: Sequence[str]) -> dict[str, Any]:
    """The scores of one track as museval's JSON object.

    Args:
        scores: of `bss_eval`.
        targets: names of its sources, in their order.
    """
    if len(targets) != len(scores.sdr):
        raise ValueError(f"{len(targets)} targets for scores of {len(scores.sdr)} sources")
    duration = scores.window if math.isfinite(scores.window) else None
    out = []
    for j, target in enumerate(targets):
        frames = []
        for t, time in enumerate(scores.start):
            metrics = {m: _rounded(getattr(scores, m.lower())[j, t]) for m in ORDER}
            frame = {"time": float(time), "duration": duration, "metrics": metrics}
            frames.append({k: v for k, v in frame.items() if v is not None})
        out.append({"name": target, "frames": frames})
    return {"targets": out, "museval_version": "0.4.1"}


def write(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write a JSON object so that a reader never sees half of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False, encoding="utf-8") as file:
        json.dump(content, file, indent=2)
    os.replace(file.name, path)


def read(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The frames in a file of museval's: track, target, metric, time, score.

    Raises:
        ValueError: the file is no museval file; the message names it and what is missing.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = [
            (path.stem, target["name"], metric, float(frame["time"]), float(score))
            for target in content["targets"]
            for frame in target["frames"]
            for metric, score in frame["metrics"].items()
        ]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no file of museval's: {error!r}") from None
    return pd.DataFrame(rows, columns=["track", "target", "metric", "time", "score"])


def _rounded(score: float) -> float:
    return round(float(score), 5) if math.isfinite(score) else math.nan
