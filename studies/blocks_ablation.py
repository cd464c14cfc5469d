"""Are three residual blocks enough?  IASS, Table 1, four sources of MUSDB18-HQ.

    python studies/blocks_ablation.py --dry-run                 what would run
    python studies/blocks_ablation.py --smoke                   all of it, tiny, on this machine
    ray submit ray_cluster.yaml studies/blocks_ablation.py      the study

The released code has three blocks only; the fourth continues the series of widths.
"""

from mss_core.study import Factor, Study, run
from mss_core.systems.iass import iass_musdb, smoke

study = Study(
    name="blocks_ablation",
    question="Does a fourth residual block improve separation?",
    baseline=iass_musdb(),
    factors=[Factor("blocks", {"3": {}, "4": {"separator.widths": (16, 32, 48, 64)}})],
    seeds=range(5),
    seeded=("train.seed",),
    reference={"blocks": "3"},
    metric="sdr",
    smoke=smoke,
    sections=(
        {
            "kind": "by_target",
            "paper": "iass",
            "table": "Table 1",
            "metrics": ["sdr"],
            "printed": {"3": ["3", "{target}"], "4": ["4", "{target}"]},
        },
        {"kind": "activity_detection"},
        {"kind": "dropped_frames"},
    ),
)

if __name__ == "__main__":
    run(study)
