r"""Does steering frozen models separate better than no training at all?  TagBox, Table 1, with the controls it lacks.

    python studies/training_free.py --dry-run
    python studies/training_free.py --smoke
    python studies/training_free.py --data musdb18hq=PATH --data slakh2100=PATH --data jukebox=PATH \
        --data fcn_mtg_jamendo=PATH

Each stem is a block of its own, and every method is compared with the mixture made 60 dB quieter, which earns an SDR
improvement of minus the input's SDR and no improvement of the scale-invariant SDR. "TagBox" is Algorithm 1, whose
figures the paper prints; the same search read as the masked mixture and the released code's reading stand beside it.
Nothing of Algorithm 1 is random once the models are given, so the songs, not the seeds, are the sample. Table 1's rows
of Open-Unmix, Demucs and Cerberus are not repeated: supervised_ceilings.py has other networks in their place.
"""

from collections.abc import Sequence

from mss_core.study import Factor, Study, Variant, run, table_cells
from mss_core.systems.tagbox import AS_RELEASED, smoke, stem, tagbox

POSSIBLE = {"HPSS": ("MUSDB drums", "Slakh drums"), "REPET-SIM": ("MUSDB vocals",)}


def possible(factors: Sequence[Factor]) -> list[Variant]:
    """Every method on every stem that it can tell."""
    return [
        variant
        for variant in table_cells(factors)
        if variant.levels["stem"] in POSSIBLE.get(variant.levels["method"], (variant.levels["stem"],))
    ]


study = Study(
    name="training_free",
    question="Does steering frozen models separate, or does it only attenuate?",
    baseline=tagbox(),
    factors=[
        Factor(
            "stem",
            {
                **{f"MUSDB {name}": stem("musdb18hq", name) for name in ("vocals", "bass", "drums")},
                **{
                    f"Slakh {name}": stem("slakh2100", name) for name in ("bass", "drums", "guitar", "piano", "strings")
                },
            },
        ),
        Factor(
            "method",
            {
                "60 dB down": {"method": "attenuated"},
                "TagBox": {},
                "TagBox, masked mixture": {"output": "masked"},
                "TagBox, released code": AS_RELEASED,
                "HPSS": {"method": "hpss"},
                "REPET-SIM": {"method": "repet_sim"},
            },
        ),
    ],
    design=possible,
    within=("stem",),
    seeds=range(1),
    seeded=("train_tagger.seed", "train_vqvae.seed", "steer.seed"),
    reference={"method": "60 dB down"},
    metric="si_sdr_improvement",
    test="item_means",
    sections=({"kind": "steering", "table": "Table 1"},),
    smoke=smoke,
)

if __name__ == "__main__":
    run(study)
