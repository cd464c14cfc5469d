"""Does smoothing the predicted activity help, and what would knowing it add?  IASS, Fig. 5, six instruments of MM.

    python studies/activity_smoothing.py --dry-run                 what would run
    python studies/activity_smoothing.py --smoke                   all of it, tiny, on this machine
    ray submit ray_cluster.yaml studies/activity_smoothing.py      the study

The figure's two bars are the two contrasts: the score with the median filter minus that with the raw decision, and the
score with the true labels minus that with the median filter. Every stage up to the masks is that of
activity_ablation.py, which trains for both; median_filter.py sweeps the filter's length on MUSDB18-HQ.
"""

from mss_core.study import Factor, Study, only_listed, run
from mss_core.systems.iass import iass_mm, smoke

study = Study(
    name="activity_smoothing",
    question="Does smoothing the predicted activity help, and what would knowing it add?",
    baseline=iass_mm(),
    factors=[Factor("gate", {"raw": {"gate.kind": "raw"}, "median": {}, "oracle": {"gate.kind": "oracle"}})],
    design=only_listed,
    seeds=range(5),
    seeded=("train.seed",),
    reference={"gate": "median"},
    metric="avg",
    test="paired_crossed",  # rows of one seed share their trainings
    smoke=smoke,
    sections=({"kind": "gate_gains", "steps": [["raw", "median"], ["median", "oracle"]]}, {"kind": "dropped_frames"}),
)

if __name__ == "__main__":
    run(study)
