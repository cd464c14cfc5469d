"""Which settings of the separation pre-training separate best, and does the gain carry over to tagging?

    python studies/separator_search.py --dry-run                 what would run
    python studies/separator_search.py --smoke                   all of it, tiny, on this machine
    ray submit ray_cluster.yaml studies/separator_search.py      the study

The primary score is the separator's on whole test songs; the tagger's are beside it.
"""

from mss_core.study import Asha, Search, Study, run
from mss_core.systems.msspt import msspt_cnn, smoke
from search_spaces.separator import separator

study = Study(
    name="separator_search",
    question="Do other settings of the pre-training separate better than the published ones?",
    baseline=msspt_cnn(),
    factors=[],
    seeds=range(5),
    seeded=("pretrain.seed", "finetune.seed"),
    reference={},
    metric="si_sdr_improvement",
    target="vocals",
    smoke=smoke,
    search=Search({"pretrain": separator}, trials=60, scope="baseline", pruner=Asha(first=10, factor=3)),
)

if __name__ == "__main__":
    run(study)
