"""Does separation pre-training help music classification, and with which source?  MSSPT, Table I.

    python studies/source_ablation.py --dry-run                 what would run
    python studies/source_ablation.py --smoke                   the CNN on tags, tiny, on this machine
    ray submit ray_cluster.yaml studies/source_ablation.py      the study

The paper's protocol: each separator is trained once and shared by the five runs, so what a source does is told for
that one separator; source_ablation_replicated.py trains one a run.
"""

from mss_core.study import Control, Factor, Search, Study, run, table_cells
from mss_core.systems.msspt import AST, SOURCES, msspt_cnn, smoke
from search_spaces.finetune import finetune
from search_spaces.tail import tail

study = Study(
    name="source_ablation",
    question="Does separation pre-training help music classification, and with which source?",
    baseline=msspt_cnn(),
    factors=[
        Factor("backend", {"CNN": {}, "AST": {**AST, "joining.stage2": False}}),
        Factor("task", {"tags": {}, "genre": {"task": "genre"}}),
        Factor("source", SOURCES),
    ],
    design=table_cells,
    seeds=range(5),
    seeded=("train_tail.seed", "finetune.seed"),
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
    controls=[
        Control(
            "placebo",
            "equivalent",
            fresh=True,
            times=2,
            margin=0.005,
            smoke_margin=0.06,
            why="the reference with other seeds",
        ),
        Control(
            "planted loss",
            "worse",
            {"train_tail.phases.0.epochs": 1, "train_tail.max_epochs": 1},
            why="the reference trained for one epoch",
        ),
    ],
    smoke=smoke,
    smoke_levels={"backend": ["CNN"], "task": ["tags"]},
    smoke_seeds=range(3),
    search=Search({"train_tail": tail, "finetune": finetune}, trials=40),  # with --search each_variant
)

if __name__ == "__main__":
    run(study)
