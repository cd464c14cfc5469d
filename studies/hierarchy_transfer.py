"""Do hierarchical masks work on recordings as on rendered music, and on four stems?  HMSS, Table 7.

    python studies/hierarchy_transfer.py --dry-run                 what would run
    python studies/hierarchy_transfer.py --smoke                   all of it, tiny, on this machine
    ray submit ray_cluster.yaml studies/hierarchy_transfer.py      the study

Scores of different music cannot be compared with one another: within each data set the mask styles are.
"""

from mss_core.study import Factor, Study, run, table_cells
from mss_core.systems.hmss import hmss, smoke

study = Study(
    name="hierarchy_transfer",
    question="Do hierarchical masks work on recordings as on rendered music, and on four stems?",
    baseline=hmss(),
    factors=[
        Factor(
            "music",
            {
                "Slakh2100, clean guitars": {},
                "MS21, electric guitar": {
                    "data.name": "ms21",
                    "data.split": "",
                    "hierarchy": "ms21",
                    "leaves": ("electric_guitar",),
                },
                "four stems, other": {
                    "data.name": "musdb18hq",
                    "data.split": "",
                    "hierarchy": "four_stems",
                    "leaves": ("other",),
                    "levels": 2,
                },
            },
        ),
        Factor(
            "mask",
            {
                "direct": {},
                "single level": {"joint": False},
                "mixed": {"mask": "mixed"},
                "sequential": {"mask": "sequential", "objective.loss": "mask_ratio"},
            },
        ),
    ],
    design=table_cells,
    seeds=range(5),
    seeded=("train.seed",),
    within=("music",),
    reference={"mask": "direct", "music": "Slakh2100, clean guitars"},
    metric="si_sdr_improvement",
    sections=({"kind": "published_columns"},),
    smoke=smoke,
)

if __name__ == "__main__":
    run(study)
