"""At which threshold should the soft bins of separated stems be removed?  AE-MIC, section 3.3.2.

python studies/soft_bins.py --dry-run                       what would run: one separator, one classifier per threshold
python studies/soft_bins.py --smoke                         all of it, tiny, on this machine

Thresholds are re each segment's loudest bin. A threshold of -60 dB re full scale would be "off" by another name: real
segments end 80 dB below a loudest bin of 30 to 46 dB, so nothing lies under it.
"""

from mss_core.study import Factor, Search, Study, only_listed, run
from mss_core.systems.aemic import aemic, smoke
from search_spaces.train_classifier import train_classifier

study = Study(
    name="soft_bins",
    question="At which threshold should the soft bins of separated stems be removed?",
    baseline=aemic(),
    factors=[
        Factor(
            "removal",
            {
                "off": {"stem": "raw"},
                **{f"{threshold} dB": {"removal.threshold_db": float(threshold)} for threshold in range(-75, -25, 5)},
                "expander": {"removal.rule": "expander"},
            },
        )
    ],
    design=only_listed,
    reference={"removal": "off"},
    seeds=range(5),
    seeded=("train_classifier.seed",),
    metric="roc_auc",
    smoke=smoke,
    search=Search({"train_classifier": train_classifier}, trials=20),  # with --search each_variant
)

if __name__ == "__main__":
    run(study)
