"""Stage ``score_target``: the gated estimates of one instrument, made audible and scored by BSS Eval v4. CPU only.

BSS Eval leaves out every second in which a reference or an estimate is all zero, so a gate that closes a whole second
takes that second out of its own score. The stage counts such seconds, and gives two scores that leave nothing out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mss_core.artefact import Score, add_example, write_examples, write_scores
from mss_core.data.channels import open_sided
from mss_core.graph import Context
from mss_core.metrics.aggregate import aggregate
from mss_core.metrics.bss_eval import bss_eval
from mss_core.metrics.separation import best_scalar, sdr
from mss_core.systems.iass.masking import Masks, Transform, apply_mask

PANEL_FRAMES, PANEL_BANDS, PANEL_RANGE = 400, 128, 80.0


@dataclass(frozen=True)
class Scoring:
    """How estimates are scored.

    Attributes:
        window, hop: seconds of BSS Eval's frames.
        over_frames, over_tracks: ``"median"`` (the paper) or ``"mean"``.
    """

    window: float = 1.0
    hop: float = 1.0
    over_frames: str = "median"
    over_tracks: str = "median"

    def __post_init__(self) -> None:
        for what in (self.over_frames, self.over_tracks):
            aggregate([0.0], what)
        if self.window <= 0 or self.hop <= 0:
            raise ValueError(f"'window' and 'hop' are seconds above 0; got {self.window} and {self.hop}")


METRICS = ("sdr", "isr", "sir", "sar", "sdr_all", "usdr", "usdr_mixture", "usdr_silence", "usdr_best_scalar")


def score_target(
    *,
    data: Path,
    masks: Path,
    gate: Path | None,
    target: str,
    transform: Transform,
    wiener: int,
    remainder: str,
    window: float,
    hop: float,
    over_frames: str,
    version: int = 1,
    out: Path,
    ctx: Context,
) -> None:
    """Leaves scores.csv (one row per track and metric), frames.csv (how many seconds count), an example, a picture.

    References are the target and the rest of the mixture; estimates are the target's and, as ``remainder`` says,
    ``"difference"``, the mixture without it, or ``"mixture"``, for the mixture as the estimate of both.

    Metrics: ``sdr``, ``isr``, ``sir``, ``sar`` over the seconds that BSS Eval keeps; ``sdr_all`` over every second in
    which the target sounds (a silent estimate has 0 dB); ``usdr``, one ratio per track, beside that of silence, of the
    mixture and of the mixture times the best gain. Of two channels each score is over both at once, as museval's; a
    picture shows their down-mix.
    """
    packed, estimates = open_sided(data), Masks(masks)
    gates = {} if gate is None else dict(np.load(gate / "gates.npz"))
    tracks = [(number, track) for number, track in enumerate(packed.split("test")) if target not in track.silent]
    rows: list[Score] = []
    counts: list[tuple[str, int, int, int, int]] = []
    examples: list[dict[str, str]] = []
    half = (2.0, -1)
    framewise = f"{over_frames} over frames"
    for done, (number, track) in enumerate(tracks, start=1):
        mixture, reference = packed.read(track), packed.read(track, target)
        spectrum = transform.track(mixture, ctx.device)
        spectra = apply_mask(estimates.mask(track.name), gates.get(str(number)), spectrum, wiener)
        estimate = transform.waveform(spectra, track.length)
        references = np.stack([reference, mixture - reference])
        both = np.stack([estimate, mixture if remainder == "mixture" else mixture - estimate])
        last = [x.swapaxes(1, -1) if x.ndim == 3 else x for x in (references, both)]  # BSS Eval's: channels last
        found = bss_eval(*last, packed.samplerate, window, hop, silent="drop", track=track.name)
        rows += [
            (track.name, target, metric, framewise, aggregate(getattr(found, metric)[0], over_frames))
            for metric in ("sdr", "isr", "sir", "sar")
        ]
        starts = np.round(found.start * packed.samplerate).astype(int)
        size = min(int(window * packed.samplerate), track.length)
        every = aggregate(_sounding(reference, estimate, starts, size), over_frames)
        rows.append((track.name, target, "sdr_all", framewise, every))
        rows += [
            (track.name, target, metric, "", score) for metric, score in _whole(reference, estimate, mixture).items()
        ]
        counts.append((track.name, *_counts(references, both, np.isnan(found.sdr[0]), starts, size)))
        share = _sounding_share(transform.track(reference).abs())
        if abs(share - 0.5) < half[0]:
            half = (abs(share - 0.5), number)
        sounds = {"mixture": mixture, "reference": reference, "estimate": estimate}
        add_example(examples, out, track.name, target, sounds, packed.samplerate, most=1, picture=False)
        ctx.report(step=done, total=len(tracks))
    write_scores(out, rows)
    frames = pd.DataFrame(counts, columns=["track", "frames", "dropped", "silent_reference", "silent_estimate"])
    frames.insert(1, "target", target)
    frames.to_csv(out / "frames.csv", index=False)
    write_examples(out, examples)
    if half[1] >= 0:
        track = packed.split("test")[half[1]]
        _panel(
            out / "panel.npz",
            track.name,
            gates.get(str(half[1])),
            transform.track(packed.read(track, target)),
            apply_mask(
                estimates.mask(track.name), gates.get(str(half[1])), transform.track(packed.read(track)), wiener
            ),
        )


def _sounding(reference: np.ndarray, estimate: np.ndarray, starts: np.ndarray, size: int) -> np.ndarray:
    """SDR in dB of every frame in which the reference is not all zero. Shape: (..., time) -> (kept frame,)."""
    frames = [(reference[..., start : start + size], estimate[..., start : start + size]) for start in starts]
    return np.array([float(sdr(s, e, _axes(s))) for s, e in frames if s.any()])


def _axes(waveform: np.ndarray) -> int | tuple[int, int]:
    """What one score spans: time, and the channels where there are any."""
    return -1 if waveform.ndim == 1 else (-2, -1)


def _whole(reference: np.ndarray, estimate: np.ndarray, mixture: np.ndarray) -> dict[str, float]:
    gain = float(best_scalar(reference, mixture, _axes(reference)))
    others = {
        "usdr": estimate,
        "usdr_mixture": mixture,
        "usdr_silence": np.zeros_like(mixture),
        "usdr_best_scalar": gain * mixture.astype(np.float64),
    }
    return {metric: float(sdr(reference, other, _axes(reference))) for metric, other in others.items()}


def _counts(
    references: np.ndarray, estimates: np.ndarray, dropped: np.ndarray, starts: np.ndarray, size: int
) -> tuple[int, int, int, int]:
    """Frames; those left out; of these, where a reference is silent and where only an estimate is."""
    heard = references.any(1) if references.ndim == 3 else references
    silent = np.array([not heard[:, start : start + size].any(1).all() for start in starts])
    return len(starts), int(dropped.sum()), int((dropped & silent).sum()), int((dropped & ~silent).sum())


def _sounding_share(magnitude: torch.Tensor) -> float:
    """Share of frames within 40 dB of the loudest. Shape: (..., frame, bin)."""
    power = magnitude.square().sum(-1)
    power = power if power.ndim == 1 else power.sum(0)
    return float((power > 1e-4 * power.max()).float().mean())


def _panel(path: Path, track: str, gate: np.ndarray | None, reference: torch.Tensor, estimate: torch.Tensor) -> None:
    """A small picture of both spectra, levels 0 to 255 for the top 80 dB of the reference: the maximum over blocks."""
    reference, estimate = (x if x.ndim == 2 else x.mean(0) for x in (reference, estimate))
    top = float(reference.abs().max())

    def levels(spectrum: torch.Tensor) -> np.ndarray:
        magnitude = spectrum.abs().cpu()[None, None]
        size = min(PANEL_FRAMES, magnitude.shape[2]), min(PANEL_BANDS, magnitude.shape[3])
        pooled = torch.nn.functional.adaptive_max_pool2d(magnitude, size)[0, 0]
        decibels = 20 * torch.log10(pooled.clamp_min(1e-12) / max(top, 1e-12))
        return (255 * (1 + decibels / PANEL_RANGE)).clamp(0, 255).round().to(torch.uint8).numpy()

    np.savez_compressed(
        path,
        track=np.array(track),
        reference=levels(reference),
        estimate=levels(estimate),
        gate=np.ones(len(reference), np.uint8) if gate is None else gate,
    )
