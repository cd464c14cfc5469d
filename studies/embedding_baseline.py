r"""How far do frozen embeddings of a published tagger get beside a tail that is trained?  Probe: layer by pooling.

    pip install --no-deps musicnn==0.1.0                          the tagger's weights (ISC licence), once
    python studies/embedding_baseline.py --dry-run
    python studies/embedding_baseline.py --smoke                  the CNN on tags, tiny, on this machine

The reference is "no U-Net" of source_ablation, MSSPT's CNN tail alone. musicnn was trained on MagnaTagATune, so that
its rows on tags are no transfer: its training clips may be among this study's test clips. Genre is another data set.
A probe has nothing random in it: its runs are one. The rows stand in a study of their own because a family of tests
must not depend on what is installed.
"""

from mss_core.study import Factor, Study, run, table_cells
from mss_core.systems.msspt import EMBEDDINGS, SOURCES, msspt_cnn, smoke

study = Study(
    name="embedding_baseline",
    question="How far do frozen embeddings of a published tagger get beside a tail that is trained?",
    baseline=msspt_cnn(),
    factors=[
        Factor("task", {"tags": {}, "genre": {"task": "genre"}}),
        Factor("classifier", {"CNN tail": SOURCES["no U-Net"], **EMBEDDINGS}),
    ],
    design=table_cells,
    seeds=range(5),
    seeded=("train_tail.seed",),
    reference={"classifier": "CNN tail"},
    within=("task",),
    metric="roc_auc",
    metrics={"genre": "accuracy"},
    smoke=smoke,
    smoke_levels={"task": ["tags"]},
    smoke_seeds=range(3),
)

if __name__ == "__main__":
    run(study)
