"""The documentation site: pages of docs/, the Python reference, and reports made by this version.

    python tools/docs.py [--store STORE] [--out site]

With a store, its studies are published beside the example report.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from pathlib import Path

import numpy as np

from reports.__main__ import main as report
from reports.contract.flags import Flags
from reports.overview.publish import publish

ROOT = Path(__file__).resolve().parents[1]
TRUE = {"base": 0.0, "wide": 0.5, "no skip": -0.1, "dropout": 0.05}
"""True differences to base of the example's methods, in dB."""


def example(path: Path) -> None:
    """Made-up SDRs of four methods, five runs each, on twenty songs."""
    rng = np.random.default_rng(3)
    rows, songs = [], rng.normal(6, 1.5, 20)
    for method, true in TRUE.items():
        for seed in range(5):
            run = rng.normal(0, 0.15)
            for number, song in enumerate(songs):
                score = round(song + true + run + rng.normal(0, 0.4), 3)
                rows.append([method, seed, f"song {number + 1:02d}", "vocals", "sdr", score])
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["variant", "seed", "track", "target", "metric", "score"], *rows])


def main(argv: list[str] | None = None) -> int:
    flags = Flags(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--store", type=Path)
    flags.add_argument("--out", type=Path, default=ROOT / "site")
    options = flags.parse_args(argv)
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--config-file", str(ROOT / "mkdocs.yml")]
    status = subprocess.run([*build, "--site-dir", str(options.out.resolve())], cwd=ROOT).returncode
    if status:
        return status
    shown = options.out / "gallery" / "example"
    shown.mkdir(parents=True)
    example(shown / "scores.csv")
    report(["--factor", "variant", "--reference", "base", "--out", str(shown), str(shown / "scores.csv")])
    if options.store:
        publish(options.store, options.out / "gallery" / "store")
    print(options.out / "index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
