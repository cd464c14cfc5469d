"""Does it separate, or is it only quieter?  A study whose truth is known, for the eye and the ear.

    python studies/demo.py --smoke          on the embedded music, in stereo, in minutes on this machine
    python studies/demo.py --dry-run        what the same would cost on MUSDB18-HQ

The attenuator hands out a quarter of the mixture as every source: its SDR is better than the mixture's, its SI-SDR is
not, and an ear at equal loudness hears the mixture. The ideal mask is made from the true sources and must be found to
be better than the model; the placebo is the model with other seeds and must be equivalent.
"""

from mss_core.study import Control, Factor, Study, run
from mss_core.systems.separation.masks import EPOCHS, masks, small

study = Study(
    name="demo",
    question="Does it separate, or is it only quieter?",
    baseline=masks(),
    factors=[
        Factor(
            "arm",
            {
                "model": {},
                "half of the training": {"train.phases.0.epochs": EPOCHS // 2},
                "attenuator": {"method": "attenuated"},
            },
        )
    ],
    reference={"arm": "model"},
    metric="si_sdr",
    seeds=range(5),
    seeded=("train.seed",),
    controls=[
        Control("ideal mask", "better", {"method": "ideal_mask"}, why="a mask made from the true sources"),
        Control(
            "placebo", "equivalent", fresh=True, times=2, margin=0.5, smoke_margin=2.0, why="the model with other seeds"
        ),
    ],
    sections=[{"kind": "attenuation", "metric": "usdr", "invariant": "si_sdr"}],
    smoke=small,
    smoke_seeds=range(3),
)

if __name__ == "__main__":
    run(study)
