"""Do the controls of a study come out as declared? Its reference and its controls alone, with one set of seeds after
another, each judged as the study's report judges it.

    python benchmarks/controls.py [--study source_ablation] [--sets 20] [--slots 2] [--store store]

The same command goes on from what is in the store.
"""

from __future__ import annotations

import argparse
import runpy
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from mss_core.study import Study, run
from reports import read

STUDIES = Path(__file__).parents[1] / "studies"
APART = 10_000
"""Between the first seeds of two sets: a placebo draws some hundreds of thousands above its own."""


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--study", default="source_ablation")
    flags.add_argument("--sets", type=int, default=20)
    flags.add_argument("--slots", type=int, default=2, help="sets at a time")
    flags.add_argument("--store", type=Path, default=Path("store"))
    flags.add_argument("--number", type=int, help=argparse.SUPPRESS)
    given = flags.parse_args()
    if given.number is not None:
        study = with_seeds(given.study, given.number)
        arms = [study.at_smoke_size().reference_variant().name, *(control.name for control in study.controls)]
        run(study, ["--smoke", "--in-process", "--store", str(given.store), "--only", *arms])
        return
    came_out: Counter[str] = Counter()
    with ThreadPoolExecutor(given.slots) as pool:
        calls = [[sys.executable, __file__, *sys.argv[1:], "--number", str(number)] for number in range(given.sets)]
        ended = pool.map(lambda call: subprocess.run(call, capture_output=True, text=True, check=False), calls)
        for number, process in enumerate(ended):
            if process.returncode:
                pool.shutdown(cancel_futures=True)
                sys.exit(f"set {number}: {process.stderr or process.stdout}")
            controls = read(given.store / "studies" / f"{with_seeds(given.study, number).name}-smoke").controls
            assert controls is not None, given.study
            for control in controls.judged:
                came_out[control.name] += control.came_out
                print(f"set {number}: {'as declared' if control.came_out else 'NOT'}: {control.told}", flush=True)
    for name, times in came_out.items():
        print(f"{name}: as declared in {times} of {given.sets} sets")


def with_seeds(name: str, number: int) -> Study:
    """A study with the seeds of one of the sets, from 1."""
    study: Study = runpy.run_path(str(STUDIES / f"{name}.py"))["study"]
    first = (number + 1) * APART
    assert study.smoke_seeds is not None, name
    return replace(study, name=f"{name}_{number}", smoke_seeds=[first + seed for seed in study.smoke_seeds])


if __name__ == "__main__":
    main()
