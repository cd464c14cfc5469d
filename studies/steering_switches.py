"""What does each disagreement between TagBox's paper and its code change?  A factorial, with random steps as control.

    python studies/steering_switches.py --dry-run
    python studies/steering_switches.py --smoke

The paper (Algorithm 1): ascent, the residual, the mixture masked, the codebook fixed. The released code: descent, the
residual, the reconstruction masked, the codebook put on the clip and moved. Algorithm 1 as printed decodes the latent
without its codebook. Beside the factorial stand the settings that the paper mentions without figures (Sec. 6).
"""

from collections.abc import Sequence
from dataclasses import replace

from mss_core.study import Factor, Study, Variant, full_factorial, run
from mss_core.systems.tagbox import smoke, tagbox

SWITCHES = ("output", "mask reference", "codebook")


def switches_and_settings(factors: Sequence[Factor]) -> list[Variant]:
    """Every combination of the switches; each further setting in every direction, else with the paper's switches."""
    paper = {factor.name: next(iter(factor.levels)) for factor in factors}
    return [
        variant if variant.departures else replace(variant, name="Algorithm 1")
        for variant in full_factorial(factors)
        if variant.levels["setting"] == paper["setting"] or all(variant.levels[s] == paper[s] for s in SWITCHES)
    ]


study = Study(
    name="steering_switches",
    question="Which reading of TagBox separates, and does any beat random steps?",
    baseline=tagbox(targets=("vocals", "drums")),
    factors=[
        Factor(
            "direction",
            {"ascent": {}, "descent": {"steer.direction": "descent"}, "random": {"steer.direction": "random"}},
        ),
        Factor("output", {"residual": {}, "masked": {"output": "masked"}}),
        Factor("mask reference", {"mixture": {}, "reconstruction": {"steer.mask_reference": "reconstruction"}}),
        Factor("codebook", {"frozen": {}, "clip": {"steer.codebook": "clip"}, "none": {"steer.codebook": "none"}}),
        Factor(
            "setting",
            {
                "as in the paper": {},
                "three FFT sizes": {"steer.n_fft": (2048, 1024, 512)},
                "100 steps": {"steer.steps": 100},
                "rate 10": {"steer.lr": 10.0},
                "no mask": {"steer.mask": False, "output": "masked"},
            },
        ),
    ],
    design=switches_and_settings,
    within=("output", "mask reference", "codebook", "setting"),
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
