"""museval's JSON, and museval itself: the reference that ours is checked against.

A file holds one track: {"targets": [{"name", "frames": [{"time", "duration", "metrics": {"SDR",
"SIR", "SAR", "ISR"}}]}], "museval_version"}. Scores have five decimals; one that is not finite is
NaN, which is no JSON by the book, but is what museval writes and Python reads.
"""

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

from mss_core.metrics.bss_eval import BssEval

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
