"""Do activity labels help a separator, in training or as a gate?  IASS, Table 4, six instruments of MM.

    python studies/activity_ablation.py --dry-run                 what would run
    python studies/activity_ablation.py --smoke                   all of it, tiny, on this machine
    ray submit ray_cluster.yaml studies/activity_ablation.py      the study

Two trainings a target and seed, without and with labels, give every row. To the paper's three rows come the raw gate
and the oracle, from which activity_smoothing.py draws Fig. 5. "no, yes" cannot be: without labels in training there is
no classifier to gate with.
"""

from mss_core.study import Factor, Search, Study, Variant, run
from mss_core.systems.iass import iass_mm, smoke
from search_spaces.train_target import train_target

ROWS = {  # as in the paper: labels in training, labels at test
    "no, no": {"alpha": 0.0, "gate.kind": "off"},
    "yes, no": {"gate.kind": "off"},
    "yes, raw": {"gate.kind": "raw"},
    "yes, yes": {},
    "yes, oracle": {"gate.kind": "oracle"},
}
PRINTED = {
    row: [f"{{target}}, train {row.split(', ')[0]}, test {row.split(', ')[1]}", "{metric}"]
    for row in ("no, no", "yes, no", "yes, yes")
}


def rows(factors: list[Factor]) -> list[Variant]:
    """One variant a row."""
    (factor,) = factors
    return [Variant(label, {factor.name: label}, departures) for label, departures in factor.levels.items()]


study = Study(
    name="activity_ablation",
    question="Do activity labels help a separator, in training or as a gate?",
    baseline=iass_mm(),
    factors=[Factor("labels in training, at test", ROWS)],
    design=rows,
    seeds=range(5),
    seeded=("train.seed",),
    reference={"labels in training, at test": "yes, no"},
    metric="avg",
    test="paired_crossed",  # rows of one seed share their trainings
    smoke=smoke,
    search=Search({"train_target": train_target}, trials=20),  # with --search each_variant
    sections=(
        {
            "kind": "by_target",
            "paper": "iass",
            "table": "Table 4",
            "metrics": ["sdr", "sir", "sar", "avg"],
            "printed": PRINTED,
        },
        {"kind": "activity_detection"},
        {"kind": "dropped_frames"},
        {"kind": "masked_spectrograms", "variants": ["yes, no", "yes, raw", "yes, yes", "yes, oracle"]},
    ),
)

if __name__ == "__main__":
    run(study)
