"""Do the thesis as described and the code as it was run agree on what separation does?  AE-MIC, Table 4.2, twice.

    python studies/aemic_readings.py --dry-run                    what would run
    python studies/aemic_readings.py --smoke                      all of it, tiny, on this machine
    ray submit ray_cluster.yaml studies/aemic_readings.py         the study

The text and the released code differ in both networks, the augmentation, the penalties, the removal of soft bins, what
is held out and what chose the epoch (docs/papers.md). Each reading is a row group of its own, with its own separator.
"""

from mss_core.study import Factor, Study, run, table_cells
from mss_core.systems.aemic import AS_DESCRIBED, AS_RUN, aemic, smoke

study = Study(
    name="aemic_readings",
    question="Do the thesis as described and the code as it was run agree on what separation does?",
    baseline=aemic(),
    factors=[
        Factor("reading", {"as described": AS_DESCRIBED, "as run": AS_RUN}),
        Factor("stem", {"base": {"stem": "base"}, "raw": {"stem": "raw"}, "post": {}}),
    ],
    design=table_cells,
    within=("reading",),
    reference={"stem": "base"},
    seeds=range(5),
    seeded=("train_classifier.seed",),  # one separator for each reading
    metric="roc_auc",
    smoke=smoke,
)

if __name__ == "__main__":
    run(study)
