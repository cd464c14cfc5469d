"""Does separation before instrument classification help, and does removing soft bins?  AE-MIC, Table 4.2.

    python studies/stem_quality.py --dry-run                    what would run
    python studies/stem_quality.py --smoke                      all of it, tiny, on this machine
    ray submit ray_cluster.yaml studies/stem_quality.py         the study

The published classifiers were stopped by the test set's AUC. Half of the rows repeat that, so that its effect is seen;
the other half are stopped on validation clips. Each row is compared with the base row of its own kind.
"""

from dataclasses import replace

from mss_core.study import Factor, Study, full_factorial, run
from mss_core.systems.aemic import aemic, smoke


def every_combination(factors):
    """The full factorial, each variant named by all of its levels."""
    return [replace(variant, name=", ".join(variant.levels.values())) for variant in full_factorial(factors)]


study = Study(
    name="stem_quality",
    question="Does separation before instrument classification help, and does removing soft bins?",
    baseline=aemic(),
    factors=[
        Factor("stem", {"base": {"stem": "base"}, "raw": {"stem": "raw"}, "post": {}}),
        Factor("regularisation", {"1e-6": {}, "1e-5": {"learning.regularisation.weight": 1e-5}}),
        Factor("stopped on", {"validation": {}, "test (published)": {"learning.select_on": "test"}}),
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
