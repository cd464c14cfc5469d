"""From where should the joint model start: from the trained tail exactly, or with random adapters?  MSSPT, Table I.

    python studies/joint_start.py --dry-run                 what would run
    python studies/joint_start.py --smoke                   all of it, tiny, on this machine
    ray submit ray_cluster.yaml studies/joint_start.py      the study

"Random init", the second row of the table, lies below the tail in the paper. Here a joint CNN with zero adapters and
zero estimate kernels begins as the tail itself, whatever its U-Net; with Glorot's, as in Keras, it does not. The paper
says nothing of either. Rows that start as the tail are cells of Table I: after source_ablation.py only the others are
trained.
"""

from dataclasses import replace

from mss_core.study import Factor, Study, Variant, full_factorial, run
from mss_core.systems.msspt import SOURCES, STARTS, msspt_cnn, smoke

ALONE = "no U-Net"


def joined(factors: list[Factor]) -> list[Variant]:
    """Every combination named by its levels; the tail alone, which joins nothing, once."""
    found = [v for v in full_factorial(factors) if v.levels["source"] != ALONE or v.levels["start"] == "the tail"]
    return [replace(v, name=", ".join(v.levels.values()) if v.levels["source"] != ALONE else ALONE) for v in found]


study = Study(
    name="joint_start",
    question="From where should the joint model start: from the trained tail exactly, or with random adapters?",
    baseline=msspt_cnn(),
    factors=[
        Factor("source", {source: SOURCES[source] for source in (ALONE, "random init", "vocals")}),
        Factor("start", STARTS),
    ],
    design=joined,
    seeds=range(5),
    seeded=("train_tail.seed", "finetune.seed"),
    reference={"source": ALONE, "start": "the tail"},
    metric="roc_auc",
    smoke=smoke,
)

if __name__ == "__main__":
    run(study)
