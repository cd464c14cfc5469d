"""Does separation pre-training help, whichever separator it gave?  MSSPT, Table I, with one separator per run.

    python studies/source_ablation_replicated.py --dry-run                 what would run
    python studies/source_ablation_replicated.py --smoke                   every row and column, tiny, on this machine
    ray submit ray_cluster.yaml studies/source_ablation_replicated.py      the study

As source_ablation.py, but each of the five runs pre-trains its own separators, 25 in all: what a source does is
told for other separators too. The finished tails of the other study are found in the store.
"""

from mss_core.study import Factor, Study, run, table_cells
from mss_core.systems.msspt import AST, SOURCES, msspt_cnn, smoke

study = Study(
    name="source_ablation_replicated",
    question="Does separation pre-training help music classification, whichever separator it gave?",
    baseline=msspt_cnn(),
    factors=[
        Factor("backend", {"CNN": {}, "AST": {**AST, "joining.stage2": False}}),
        Factor("task", {"tags": {}, "genre": {"task": "genre"}}),
        Factor("source", SOURCES),
    ],
    design=table_cells,
    seeds=range(5),
    seeded=("pretrain.seed", "train_tail.seed", "finetune.seed"),
    reference={"source": "no U-Net"},
    within=("backend", "task"),
    metric="roc_auc",
    metrics={"genre": "accuracy"},  # the paper's "weighted accuracy" is plain in its code
    sections=[
        {"kind": "published_table", "rows": ["source"], "columns": {"backend": "CNN", "task": "tags"}},
        {
            "kind": "tag_differences",
            "metric": "pr_auc",
            "factor": "source",
            "level": "vocals",
            "where": {"task": "tags"},
        },
    ],
    smoke=smoke,
)

if __name__ == "__main__":
    run(study)
