"""Which parts of a band-split network does separation need?

    cd examples
    python -m bandsplit.study --smoke --in-process       some minutes on a CPU, on embedded music in stereo at 44.1 kHz
    python -m bandsplit.study --dry-run                  what the full study would run
    python -m bandsplit.study --rehearse --data musdb18hq=PATH

A variant is one line of FACTORS. Factors of ``inference`` train nothing again.
"""

from dataclasses import replace

from mss_core.augment import Augment
from mss_core.data.config import TrackSet
from mss_core.models import model
from mss_core.study import Factor, Study, run
from mss_core.systems.separation import Separation, smoke
from mss_core.systems.separation.train import Mixtures
from mss_core.training import Phase, TrainConfig

BASELINE = Separation(
    separator=model("bandsplit.network:BandSplit"),
    data=TrackSet("musdb18hq", samplerate=44_100),
    sources=("vocals",),
    mixing=Mixtures(seconds=3.0, augment=Augment(gain=(0.5, 1.25), channel_swap=0.5)),
    loss={"name": "bandsplit.network:wave_and_spectrum", "wave": 1.0, "spectrum": 1.0},
    train=TrainConfig(
        (Phase("adamw", lr=1e-3, epochs=100, patience=10, warmup=500, cosine=0.02, eps=1e-8, clip_norm=5.0),),
        batch=4,
        accumulate=2,
        ema=0.999,
        epoch_steps=1000,
    ),
)
FACTORS = [
    Factor("bands", {"V7": {}, "equal": {"separator.bands": [[500, 22_000]]}}),
    Factor("along time", {"LSTM": {}, "attention": {"separator.time": "attention"}}),
    Factor("across bands", {"LSTM": {}, "nothing": {"separator.across": "none"}}),
    Factor("mask", {"complex": {}, "real": {"separator.mask": "real"}}),
    Factor("channels", {"apart": {}, "joint": {"separator.joint": True}}),
    Factor("loss", {"both": {}, "waveform": {"loss.spectrum": 0.0}, "spectrum": {"loss.wave": 0.0}}),
    Factor("weights", {"averaged": {}, "last step's": {"train.ema": None}}),
    Factor("overlap", {"a half": {}, "none": {"inference.overlap": 0.0}}),
]


def small(recipe: Separation) -> Separation:
    """A narrow network of one layer."""
    cut = smoke(recipe)
    return replace(cut, separator={**cut.separator, "features": 16, "layers": 1})


study = Study(
    name="bandsplit",
    question="Which parts of a band-split network does separation need?",
    baseline=BASELINE,
    factors=FACTORS,
    reference={factor.name: next(iter(factor.levels)) for factor in FACTORS},
    metric="usdr",
    target="vocals",
    seeds=range(5),
    seeded=("train.seed",),
    smoke=small,
    smoke_levels={factor.name: [next(iter(factor.levels))] for factor in FACTORS[:2] + FACTORS[4:7]},
    smoke_seeds=range(2),
)

if __name__ == "__main__":
    run(study)
