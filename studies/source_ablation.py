"""Does separation pre-training help tagging, and with which source?  MSSPT, Table I.

    python studies/source_ablation.py --dry-run                 what would run
    python studies/source_ablation.py --smoke                   all of it, tiny, on this machine
    ray submit ray_cluster.yaml studies/source_ablation.py      the study

The seventh row of the table, "multiple" (one separator for all four sources), waits for the study of both tables.
"""

from mss_core.study import Factor, Search, Study, only_listed, run
from mss_core.systems.msspt import LEARNING_RATES, msspt_cnn, smoke
from search_spaces.finetune import finetune
from search_spaces.tail import tail

study = Study(
    name="source_ablation",
    question="Does separation pre-training help tagging, and with which source?",
    baseline=msspt_cnn(),
    factors=[
        Factor("source", {
            "no U-Net": {"pretrain": None, "finetune": None},
            "random init": {"pretrain": None},
            **{source: {"sources": (source,), "pretrain.phases.0.lr": LEARNING_RATES[source]}
               for source in ("bass", "drums", "other", "vocals")},
        }),
    ],
    design=only_listed,
    seeds=range(3),
    seeded=("train_tail.seed", "finetune.seed"),  # each separator is trained once
    reference={"source": "no U-Net"},
    metric="roc_auc",
    smoke=smoke,
    search=Search({"train_tail": tail, "finetune": finetune}, trials=40),  # with --search each_variant
)

if __name__ == "__main__":
    run(study)
