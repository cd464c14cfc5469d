"""Does the classifier gain from being trained alone first (stage 2)?  MSSPT, Table II.

    python studies/backend_pretraining.py --dry-run                 what would run
    python studies/backend_pretraining.py --smoke                   all of it, tiny, on this machine
    ray submit ray_cluster.yaml studies/backend_pretraining.py      the study

The separator is of "other", the task MagnaTagATune's tags. Two of the four rows are cells of Table I: after
source_ablation.py, only the other two are trained.
"""

from mss_core.study import Factor, Study, run, table_cells
from mss_core.systems.msspt import AST, SOURCES, msspt_cnn, smoke

study = Study(
    name="backend_pretraining",
    question="Does the classifier gain from being trained alone before the joint training?",
    baseline=msspt_cnn(SOURCES["other"]),
    factors=[
        Factor("backend", {"CNN": {}, "AST": AST}),
        Factor("stage 2", {"without stage 2": {"joining.stage2": False}, "with stage 2": {}}),
    ],
    design=table_cells,
    seeds=range(5),
    seeded=("train_tail.seed", "finetune.seed"),
    reference={"stage 2": "without stage 2"},
    within=("backend",),
    metric="roc_auc",
    sections=[{"kind": "published_table", "rows": ["backend", "stage 2"], "columns": {}}],
    smoke=smoke,
    smoke_seeds=range(3),
)

if __name__ == "__main__":
    run(study)
