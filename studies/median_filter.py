"""How long should the median filter on the activity be?  The sweep that IASS lacks, four sources of MUSDB18-HQ.

    python studies/median_filter.py --dry-run                 what would run
    python studies/median_filter.py --smoke                   all of it, tiny, on this machine
    ray submit ray_cluster.yaml studies/median_filter.py      the study

Twelve lengths times three gates (off, raw, median) are 36 combinations, of which 14 differ: a gate that is off or raw
has no length. The oracle, which keeps the frames in which the reference sounds, is the ceiling of them all. Every
setting starts from the masks and activities that a network left once: there are as many trainings as targets times
seeds, whatever is swept. The paper's own figure of it, Fig. 5, is of MM: activity_smoothing.py.
"""

from mss_core.study import Factor, Search, Study, Variant, full_factorial, run
from mss_core.systems.iass import iass_musdb, smoke
from search_spaces.train_target import train_target

LENGTHS = (3, 5, 7, 9, 11, 15, 21, 31, 41, 61, 81, 101)
GATES = ("off", "raw", "median", "oracle")


def settings(factors: list[Factor]) -> list[Variant]:
    """The combinations that differ: a median filter has a length, the other gates have none."""
    found = [v for v in full_factorial(factors) if (v.levels["gate"] == "median") == (v.levels["length"] != "none")]
    names = [" ".join(label for label in (v.levels["gate"], v.levels["length"]) if label != "none") for v in found]
    return [Variant(name, v.levels, v.departures) for name, v in zip(names, found, strict=True)]


study = Study(
    name="median_filter",
    question="How long should the median filter on the activity be, and does it help at all?",
    baseline=iass_musdb(),
    factors=[
        Factor("gate", {gate: {"gate.kind": gate} for gate in GATES}),
        Factor("length", {"none": {}, **{str(length): {"gate.median": length} for length in LENGTHS}}),
    ],
    design=settings,
    seeds=range(5),
    seeded=("train.seed",),
    reference={"gate": "raw", "length": "none"},
    metric="avg",
    test="paired_crossed",  # rows of one seed share their trainings
    smoke=smoke,
    search=Search({"train_target": train_target}, trials=20),  # with --search each_variant
    sections=(
        {"kind": "sweep", "factor": "length", "metrics": ["avg", "sdr", "sir", "sar"], "lines": GATES[:2] + GATES[3:]},
        {"kind": "dropped_frames"},
        {"kind": "masked_spectrograms", "variants": ["off", "raw", "median 21", "oracle"]},
    ),
)

if __name__ == "__main__":
    run(study)
