"""The chaos tests' study: two widths with three seeds each, two shared trainings and six of their own."""

from mss_core.study import Factor, Study, run
from reports.contract import Metric
from tests.chaos.work import Small

study = Study(
    name="chaos",
    question="Does killing change a number?",
    baseline=Small(),
    factors=[Factor("width", {"narrow": {}, "wide": {"width": 16}})],
    seeds=range(3),
    seeded=("finetune.seed",),
    reference={"width": "narrow"},
    metric="error",
    own_metrics={"error": Metric("error", higher_is_better=False)},
    smoke=lambda recipe: recipe,
)

if __name__ == "__main__":
    run(study)
