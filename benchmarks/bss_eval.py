"""BSS Eval v4 against museval: python benchmarks/bss_eval.py [FOLDER OF STEMS]

One thread, both sides interleaved in one process: the ratio is what counts. Without a folder the
track is made up: 60 s, 4 stereo sources at 44.1 kHz. The agreement is asserted, not assumed.
Memory is the peak of a process that does nothing else, over what it held with the signals loaded.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from scipy.signal import lfilter
from threadpoolctl import threadpool_limits

from mss_core.metrics import museval_io
from mss_core.metrics.__main__ import load, stems
from mss_core.metrics.bss_eval import bss_eval, frame_sdr

SIDES = ("museval", "ours, cold", "ours, references cached", "ours, SDR alone")


def made_up(seconds: float, rate: int = 44100, sources: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Coloured, panned noise as a 16-bit file holds it, and estimates that leak.

    Shape: two arrays (source, time, channel), float64.
    """
    rng = np.random.default_rng(0)
    time = int(seconds * rate)
    references = np.empty((sources, time, 2))
    for j in range(sources):
        common = lfilter([1], [1, -0.9 + 0.2 * j], rng.standard_normal(time))
        for c in range(2):
            panned = lfilter(rng.standard_normal(8), [1], common)
            references[j, :, c] = 0.02 * (panned + 0.3 * rng.standard_normal(time))
    references = np.round(references * 32768).clip(-32768, 32767) / 32768
    return references, leaky(references)


def leaky(references: np.ndarray) -> np.ndarray:
    """Estimates: each source with a part of the mixture and noise."""
    rng = np.random.default_rng(1)
    noise = 0.1 * references.std() * rng.standard_normal(references.shape)
    return references + 0.1 * references.sum(0) + noise


def run(side: str, references: np.ndarray, estimates: np.ndarray, rate: int, cache: dict):
    if side == "museval":
        return museval_io.museval_bss_eval(references, estimates, rate)
    if side == "ours, SDR alone":
        return frame_sdr(references, estimates, rate)
    return bss_eval(references, estimates, rate, cache=cache if "cached" in side else None)


def signals(given: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, int]:
    if given.folder is None:
        return *made_up(given.seconds), 44100
    loaded, rate = load(list(stems(given.folder).values()))
    heard = [x for x in loaded.double().numpy()[:, : int(given.seconds * rate)] if x.any()]
    return np.stack(heard), leaky(np.stack(heard)), rate


def peak(side: str, given: argparse.Namespace) -> float:
    """Memory in MB that one evaluation takes beyond its signals, in a process of its own."""
    where = [str(given.folder)] if given.folder else []
    command = [sys.executable, __file__, *where, "--seconds", str(given.seconds), "--peak", side]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="stems of a real track")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--repeats", type=int, default=2, help="of museval; ours: 5 times as many")
    parser.add_argument("--peak", choices=SIDES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)
    references, estimates, rate = signals(given)
    cache: dict = {}
    if given.peak:
        short = slice(0, 2 * rate)  # loads the libraries
        run(given.peak, references[:, short], estimates[:, short], rate, cache)
        if "cached" in given.peak:
            run(given.peak, references, estimates, rate, cache)
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts over
        before = resident("VmRSS")
        run(given.peak, references, estimates, rate, cache)
        print(resident("VmHWM") - before)
        return
    bss_eval(references, estimates, rate, cache=cache)
    took: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
    results = {}
    for _ in range(given.repeats):
        for side in ("museval", *SIDES[1:] * 5):
            cpu, wall = time.process_time(), time.perf_counter()
            results[side] = run(side, references, estimates, rate, cache)
            took[side].append((time.process_time() - cpu, time.perf_counter() - wall))
    ours, theirs = results["ours, cold"], results["museval"]
    worst = {m: float(np.nanmax(abs(getattr(ours, m) - getattr(theirs, m)))) for m in ("sdr", "isr", "sir", "sar")}
    shape = "x".join(str(n) for n in references.shape)
    print(f"{shape} (source, time, channel), {rate} Hz, one thread; condition", end=" ")
    print(f"{ours.condition:.1e}")
    print("largest difference, dB:", *(f"{m.upper()} {v:.1e}" for m, v in worst.items()))
    assert max(worst.values()) <= 1e-6 or ours.ill_conditioned
    best = {side: np.min(values, axis=0) for side, values in took.items()}
    middle = {side: np.median(values, axis=0) for side, values in took.items()}
    print(f"{'':26}    cpu s   wall s  ratio of medians  of minima  peak MB")
    for side in SIDES:
        of_medians, of_minima = (x["museval"][0] / x[side][0] for x in (middle, best))
        print(
            f"{side:26} {middle[side][0]:8.3f} {middle[side][1]:8.3f} {of_medians:16.1f}x "
            f"{of_minima:9.1f}x {peak(side, given):8.0f}"
        )


def resident(what: str) -> float:
    """Resident memory (VmRSS) or its peak (VmHWM) in MB, of this process (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(what))


if __name__ == "__main__":
    main()
