"""Which settings of the joint finetuning suit it best, and what do they gain over the published ones?

python studies/finetune_search.py --dry-run                 what would run
python studies/finetune_search.py --smoke                   all of it, tiny, on this machine
ray submit ray_cluster.yaml studies/finetune_search.py      the study
"""

from mss_core.study import Asha, Search, Study, run
from mss_core.systems.msspt import msspt_cnn, smoke
from search_spaces.finetune import finetune

study = Study(
    name="finetune_search",
    question="Do other settings of the joint finetuning tag better than the published ones?",
    baseline=msspt_cnn(),
    factors=[],
    seeds=range(5),
    seeded=("train_tail.seed", "finetune.seed"),  # the separator is trained once
    reference={},
    metric="roc_auc",
    smoke=smoke,
    search=Search({"finetune": finetune}, trials=60, scope="baseline", pruner=Asha(first=5, factor=3)),
)

if __name__ == "__main__":
    run(study)
