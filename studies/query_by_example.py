"""Does a network that is told by an example what to separate do as well as one made for that instrument?  HMSS.

python studies/query_by_example.py --dry-run                 what would run
python studies/query_by_example.py --smoke                   all of it, tiny, on this machine
ray submit ray_cluster.yaml studies/query_by_example.py      the study
"""

from mss_core.study import Factor, Study, only_listed, run
from mss_core.systems.hmss import hmss, mask_network, smoke

QUERY = {"query": True, "network": mask_network("query_mask_inference")}
LEAVES = ("clean_guitars", "effected_guitars", "acoustic_pianos", "electric_pianos", "organs", "bowed_strings")

study = Study(
    name="query_by_example",
    question="Does a network told by an example what to separate do as well as one made for that instrument?",
    baseline=hmss(),
    factors=[
        Factor(
            "model",
            {
                "one instrument": {},
                "query, one instrument": QUERY,
                "query, several instruments": {**QUERY, "leaves": LEAVES, "scored": LEAVES[:1]},
                "query, several instruments, constraint": {
                    **QUERY,
                    "leaves": LEAVES,
                    "scored": LEAVES[:1],
                    "constraint": "max",
                },
            },
        )
    ],
    design=only_listed,
    seeds=range(5),
    seeded=("train.seed",),
    reference={"model": "one instrument"},
    metric="si_sdr_improvement",
    smoke=smoke,
)

if __name__ == "__main__":
    run(study)
