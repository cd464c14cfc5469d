"""What does each disagreement between TagBox's paper and its code change?  A factorial, with random steps as control.

    python studies/steering_switches.py --dry-run
    python studies/steering_switches.py --smoke

The paper: ascent, the residual, the mixture masked, the codebook frozen. The released code: descent, the residual, the
reconstruction masked, the codebook put on the clip and moved.
"""

from mss_core.study import Factor, Study, full_factorial, run
from mss_core.systems.tagbox import smoke, tagbox

study = Study(
    name="steering_switches",
    question="Which reading of TagBox separates, and does any beat random steps?",
    baseline=tagbox(targets=("vocals", "drums")),
    factors=[
        Factor(
            "direction",
            {"descent": {}, "ascent": {"steer.direction": "ascent"}, "random": {"steer.direction": "random"}},
        ),
        Factor("output", {"masked": {}, "residual": {"output": "residual"}}),
        Factor("mask reference", {"mixture": {}, "reconstruction": {"steer.mask_reference": "reconstruction"}}),
        Factor("codebook", {"frozen": {}, "clip": {"steer.codebook": "clip"}}),
    ],
    design=full_factorial,
    within=("output", "mask reference", "codebook"),
    seeds=range(3),
    seeded=("train_tagger.seed", "train_vqvae.seed", "steer.seed"),
    reference={"direction": "random"},
    metric="si_sdr_improvement",
    test="item_means",
    sections=({"kind": "steering"},),
    smoke=smoke,
)

if __name__ == "__main__":
    run(study)
