"""Direct, sequential or mixed masks, or one model per level?  HMSS, Table 6.

    python studies/mask_style.py --dry-run                 what would run
    python studies/mask_style.py --smoke                   all of it, tiny, on this machine
    ray submit ray_cluster.yaml studies/mask_style.py      the study

The first four rows are those of the table. The others separate what the thesis could not: sequential masks with the
losses of direct ones, sequential masks on top of direct ones, and the hierarchical constraint.
"""

from mss_core.study import Factor, Search, Study, only_listed, run
from mss_core.systems.hmss import hmss, smoke
from search_spaces.train_levels import train_levels

SEQUENTIAL = {"mask": "sequential", "objective.loss": "mask_ratio"}

study = Study(
    name="mask_style",
    question="Do sequential masks separate a hierarchy better than direct ones, and is one model per level worse?",
    baseline=hmss(),
    factors=[
        Factor(
            "mask",
            {
                "direct": {},
                "single level": {"joint": False},
                "sequential": SEQUENTIAL,
                "direct, signal loss": {"objective.loss": "signal_tpsa"},
                "sequential, phase in the target": {"mask": "sequential"},
                "sequential, signal loss": {
                    "mask": "sequential",
                    "objective.loss": "signal_tpsa",
                    "objective.judged": "product",
                },
                "mixed": {"mask": "mixed"},
                "mixed, signal loss": {"mask": "mixed", "objective.loss": "signal_tpsa", "objective.judged": "product"},
                "direct, constraint": {"constraint": "max"},
                "direct, constraint as released": {"constraint": "max_as_released"},
            },
        )
    ],
    design=only_listed,
    seeds=range(5),
    seeded=("train.seed",),
    reference={"mask": "direct"},
    metric="si_sdr_improvement",
    sections=({"kind": "published_columns"},),
    smoke=smoke,
    search=Search({"train_levels": train_levels}, trials=20),  # with --search each_variant
)

if __name__ == "__main__":
    run(study)
