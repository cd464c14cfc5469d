"""Does separation before instrument classification help, and does removing soft bins?  AE-MIC, Table 4.2.

    python studies/stem_quality.py --dry-run                    what would run
    python studies/stem_quality.py --smoke                      all of it, tiny, on this machine
    ray submit ray_cluster.yaml studies/stem_quality.py         the study

The published classifiers were trained on all 8,006 excerpts and stopped by the test set's AUC, and their "post" stems
came from the released expander; the thesis writes of a gate at -60 dB and of 20 % of the excerpts held out. Rows "test
(published)" repeat the first. "validation" holds whole recordings out; with the thesis's split, a third kind of row,
96.6 % of the validation excerpts have another excerpt of their recording in training. Each row is compared with the
base row of its own kind.
"""

from dataclasses import replace

from mss_core.study import Factor, Study, full_factorial, run
from mss_core.systems.aemic import aemic, smoke

HONEST = "validation"


def every_combination(factors):
    """The full factorial but for the gate, which stands beside the expander once; variants have all levels as names."""
    found = [v for v in full_factorial(factors) if v.levels["stem"] != "post, gate" or v.levels["stopped on"] == HONEST]
    return [replace(variant, name=", ".join(variant.levels.values())) for variant in found]


study = Study(
    name="stem_quality",
    question="Does separation before instrument classification help, and does removing soft bins?",
    baseline=aemic(),
    factors=[
        Factor(
            "stem",
            {
                "base": {"stem": "base"},
                "raw": {"stem": "raw"},
                "post": {"removal.rule": "expander"},
                "post, gate": {"removal.rule": "gate"},
            },
        ),
        Factor("regularisation", {"1e-6": {}, "1e-5": {"learning.regularisation.weight": 1e-5}}),
        Factor(
            "stopped on",
            {
                HONEST: {},
                "validation by excerpt (thesis)": {"tagging.split": "thesis"},
                "test (published)": {"learning.select_on": "test", "tagging.split": "part1_valid"},
            },
        ),
    ],
    design=every_combination,
    within=("regularisation", "stopped on"),
    reference={"stem": "base"},
    seeds=range(5),
    seeded=("train_classifier.seed",),  # one separator for all
    metric="roc_auc",
    sections=[{"kind": "separated_stems"}, {"kind": "instruments"}],
    smoke=smoke,
)

if __name__ == "__main__":
    run(study)
