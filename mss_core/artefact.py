"""What a stage leaves in its artefact, beside what only its own system reads: scores.csv, notes.json and examples.json
for reports, and a trained model with best.json. One writer and one reader for each; docs/formats.md says what a report
makes of them.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mss_core import disk, models

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

COLUMNS = ["track", "target", "metric", "aggregation", "score"]
Score = tuple[str, str, str, str, float]
"""A row of scores.csv; ``track`` is empty for a score of a whole split, ``score`` is NaN where it is undefined."""


def write_json(out: Path, name: str, content: Any) -> None:
    """Write ``content`` as the JSON file ``name`` of an artefact."""
    disk.write(out / name, json.dumps(content).encode())


def read_json(directory: Path, name: str) -> Any:
    """What :func:`write_json` wrote."""
    return json.loads(disk.read(directory / name))


def table(rows: Iterable[Score]) -> pd.DataFrame:
    """Rows of scores with the columns of scores.csv."""
    import pandas as pd  # slow to import, and every process of a study imports this module

    return pd.DataFrame(list(rows), columns=COLUMNS)


def write_scores(out: Path, scores: Iterable[Score] | pd.DataFrame) -> None:
    """Write scores.csv, of rows or of a table that has COLUMNS."""
    import pandas as pd

    (scores[COLUMNS] if isinstance(scores, pd.DataFrame) else table(scores)).to_csv(out / "scores.csv", index=False)


def read_scores(directory: Path) -> pd.DataFrame:
    """The scores.csv of a stage or of a study, with all its columns: an empty score is NaN, an empty track or target
    stays text, and a track named 001 keeps its name."""
    import pandas as pd

    names = {"track": str, "target": str}
    return pd.read_csv(directory / "scores.csv", keep_default_na=False, na_values={"score": [""]}, dtype=names)


def read_last_scores(directory: Path) -> pd.DataFrame:
    """The scores.csv of anybody's last stage: COLUMNS first, of which all but metric and score are empty where the file
    does not have them."""
    found = read_scores(directory)
    absent = [name for name in ("track", "target", "aggregation") if name not in found]
    if not absent:
        return found
    return found.assign(**dict.fromkeys(absent, ""))[[*COLUMNS, *(name for name in found if name not in COLUMNS)]]


def read_score_rows(directory: Path) -> tuple[list[str], list[Score]]:
    """The columns of anybody's scores.csv, and its rows as far as they are COLUMNS: as :func:`read_last_scores`, in a
    tenth of the time where files are many and small."""
    with (directory / "scores.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, restval="")
        rows = list(reader)
    texts = ([row.get(name, "") for name in COLUMNS] for row in rows)
    return list(reader.fieldnames or ()), [
        (track, target, metric, aggregation, float(score) if score else math.nan)
        for track, target, metric, aggregation, score in texts
    ]


def note(kind: str, text: str, items: Sequence[str], count: int | None = None) -> dict[str, Any]:
    """Something that a report must say: ``kind`` groups equal cases, ``items`` names them, ``count`` says how many
    (by default as many as are named)."""
    return {"kind": kind, "text": text, "items": list(items), "count": len(items) if count is None else count}


def write_notes(out: Path, notes: Iterable[Mapping[str, Any]]) -> None:
    """Write notes.json. A note about no case at all is left out."""
    write_json(out, "notes.json", [told for told in notes if told["count"]])


def read_notes(directory: Path) -> list[dict[str, Any]]:
    """The notes of an artefact; none where its stage left no file."""
    return _listed(directory, "notes.json")


def write_groups(out: Path, groups: Mapping[str, str]) -> None:
    """Write groups.json: of each item the song, recording or artist that it shares with others; no file without any."""
    told = {item: group for item, group in groups.items() if group}
    if told:
        write_json(out, "groups.json", told)


def read_groups(directory: Path) -> dict[str, str]:
    """The groups of an artefact's items; empty where its stage left no file."""
    return dict(read_json(directory, "groups.json")) if (directory / "groups.json").exists() else {}


def example(
    out: Path, folder: str, track: str, target: str, sounds: Mapping[str, np.ndarray], rate: int, picture: bool = True
) -> dict[str, str]:
    """Write one example and return its line of examples.json.

    Args:
        folder: where below ``out`` the sounds go, as WAV files; the picture of their spectra lies beside it.
        sounds: ``mixture``, ``reference`` and ``estimate``, in the order of the picture, which shows their down-mix.
            Shape: (time,) or (channel, time).
        rate: samples per second.
    """
    from mss_core import audio
    from mss_core.pictures import spectrograms

    (out / folder).mkdir(parents=True, exist_ok=True)
    for name, waveform in sounds.items():
        audio.save(out / folder / f"{name}.wav", waveform, rate)
    if picture:
        down_mixes = {name: _down_mix(waveform) for name, waveform in sounds.items()}
        spectrograms((out / folder).with_suffix(".png"), down_mixes, rate)
    return {"track": track, "target": target, "folder": folder}


def add_example(
    examples: list[dict[str, str]],
    out: Path,
    track: str,
    target: str,
    sounds: Mapping[str, np.ndarray],
    rate: int,
    most: int = 2,
    picture: bool = True,
) -> None:
    """Add to ``examples`` the stretch of a track where the reference is loudest, unless ``most`` of the target are
    there already. See :func:`example` for the arguments."""
    from mss_core.pictures import loudest

    number = 1 + sum(earlier["target"] == target for earlier in examples)
    if number <= most:
        part = loudest(_down_mix(sounds["reference"]), rate)
        cut = {name: waveform[..., part] for name, waveform in sounds.items()}
        examples.append(example(out, f"examples/{number}/{target}", track, target, cut, rate, picture))


def _down_mix(waveform: np.ndarray) -> np.ndarray:
    return waveform if waveform.ndim == 1 else waveform.mean(0)


def write_examples(out: Path, examples: Sequence[Mapping[str, str]]) -> None:
    """Write examples.json."""
    write_json(out, "examples.json", examples)


def read_examples(directory: Path) -> list[dict[str, str]]:
    """The examples of an artefact; none where its stage left no file."""
    return _listed(directory, "examples.json")


def write_trained(
    out: Path, described: dict[str, Any], module: Any, best: Mapping[str, float], **facts: bool | int
) -> None:
    """Write model.json and weights.pt, and best.json: the metrics of the kept epoch, with ``facts`` of the training."""
    models.save(out, described, module)
    write_json(out, "best.json", {**best, **facts})


def read_trained(directory: Path, module: Any = None) -> Any:
    """The module that a training left, in evaluation mode, on the CPU: as its model.json says, or its weights in a
    ``module`` of the same tensors."""
    if module is None:
        return models.load(directory)
    models.take_all(module, models.state(directory), f"{directory.parent.name} {directory.name[:12]}")
    return module.eval()


def _listed(directory: Path, name: str) -> list[dict[str, Any]]:
    return list(read_json(directory, name)) if (directory / name).exists() else []
