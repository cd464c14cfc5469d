"""Estimates of one track under several gates, as pictures [Hung and Lerch 2020, Fig. 3].

Options: `variants`, in order. The last stage of a trial leaves panels/<target>.npz: `track`, uint8 pictures `reference`
and `estimate` (frame, band; 0 to 255 for the top 80 dB of the reference) and `gate` (frame,). The first seed is shown.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from reports.document import Figure, Section
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.media import FLOOR, png_uri

OPTIONS = {"variants": "variants"}


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """One row of pictures a target; None where no trial left any."""
    figures = []
    panels = {variant: _panels(findings, variant, tables) for variant in options["variants"]}
    for target in dict.fromkeys(name for found in panels.values() for name in found):
        shown = {variant: found[target] for variant, found in panels.items() if target in found}
        track = str(next(iter(shown.values()))["track"])
        pictures = [("reference", next(iter(shown.values()))["reference"])]
        pictures += [(variant, panel["estimate"]) for variant, panel in shown.items()]
        closed = {variant: 1.0 - float(panel["gate"].mean()) for variant, panel in shown.items()}
        told = ", ".join(
            f"{variant} closes {100 * share:.0f} % of the frames" for variant, share in closed.items() if share > 0
        )
        order = ", ".join(name for name, _ in pictures)
        figures.append(
            Figure(
                image=_beside([picture for _, picture in pictures]),
                caption=f"{target} of {track}; top to bottom: {order}. {told}.",
            )
        )
    if not figures:
        return None
    text = (
        "Magnitude spectra of the estimates, and of the reference above them, on one scale of 80 dB; time to the "
        "right, frequency up. The track is the one whose target sounds closest to half of the time."
    )
    return Section("What the gates leave", (text,), (), tuple(figures))


def _panels(findings: Findings, variant: str, tables: Tables) -> dict[str, dict[str, np.ndarray]]:
    """By target, the pictures of a variant's first finished trial."""
    for trial in findings.study.trials:
        if trial.variant != variant or trial.status != "done":
            continue
        for key in trial.stages.values():
            stage = findings.study.stages.get(key)
            folder = tables.stored(f"{stage.directory}/panels") if stage and stage.directory else None
            if folder is not None and folder.is_dir():
                return {path.stem: dict(np.load(path)) for path in sorted(folder.glob("*.npz"))}
    return {}


def _beside(pictures: list[np.ndarray]) -> str:
    """PNG data URI of pictures (frame, band) one under the other, with a white line between."""
    line = np.full((2, pictures[0].shape[0]), 255, np.uint8)
    parts: list[np.ndarray] = []
    for picture in pictures:
        parts += [picture.T[::-1], line]
    joined = np.concatenate(parts[:-1])
    return png_uri(FLOOR * (1 - joined[::-1].astype(float) / 255))
