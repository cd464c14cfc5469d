"""How much should the activity labels weigh in training?  IASS, eq. 1, whose alpha the paper calls "manually tuned".

    python studies/label_weight.py --dry-run                 what would run
    python studies/label_weight.py --smoke                   all of it, tiny, on this machine
    ray submit ray_cluster.yaml studies/label_weight.py      the study

The paper gives no value. The only one that its authors ever published is 2, in a training script of an LSTM forerunner
that they deleted from their repository; 1 is the default here. Without labels (0) there is no classifier to gate with,
so the separators are compared without a gate, and beside them the gated ones.
"""

from mss_core.study import Factor, Study, Variant, full_factorial, run
from mss_core.systems.iass import iass_mm, smoke


def possible(factors: list[Factor]) -> list[Variant]:
    """Every weight without a gate and, where a classifier was trained, with one."""
    found = [v for v in full_factorial(factors) if (v.levels["alpha"], v.levels["gate"]) != ("0", "median")]
    return [Variant(f"{v.levels['alpha']}, {v.levels['gate']}", v.levels, v.departures) for v in found]


study = Study(
    name="label_weight",
    question="How much should the activity labels weigh in training?",
    baseline=iass_mm(),
    factors=[
        Factor(
            "alpha", {"0": {"alpha": 0.0}, "0.5": {"alpha": 0.5}, "1": {}, "2": {"alpha": 2.0}, "4": {"alpha": 4.0}}
        ),
        Factor("gate", {"off": {"gate.kind": "off"}, "median": {}}),
    ],
    design=possible,
    seeds=range(5),
    seeded=("train.seed",),
    reference={"alpha": "1", "gate": "off"},
    metric="avg",
    smoke=smoke,
    sections=({"kind": "activity_detection"}, {"kind": "dropped_frames"}),
)

if __name__ == "__main__":
    run(study)
