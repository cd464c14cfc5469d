r"""How far above training-free separation are supervised separators?  TagBox, the upper rows of Table 1.

    python studies/supervised_ceilings.py --dry-run
    python studies/supervised_ceilings.py --data musdb18hq=PATH --data slakh2100=PATH \
        --data xumx=PATH --data hdemucs=PATH

The released weights of X-UMX (an Open-Unmix a source, joined) and of torchaudio's Hybrid Demucs must be on the machine.
Neither is the network of that row in the paper (Open-Unmix, Demucs), so no published figure stands beside them. What
attenuation earns is shared with training_free.py.
"""

from mss_core.study import Factor, Study, run, table_cells
from mss_core.systems.tagbox import smoke, stem, supervised, tagbox

study = Study(
    name="supervised_ceilings",
    question="How far above training-free separation are supervised separators?",
    baseline=tagbox(),
    factors=[
        Factor(
            "stem",
            {
                **{f"MUSDB {name}": stem("musdb18hq", name) for name in ("vocals", "bass", "drums")},
                **{f"Slakh {name}": stem("slakh2100", name) for name in ("bass", "drums")},
            },
        ),
        Factor(
            "method",
            {
                "60 dB down": {"method": "attenuated"},
                "X-UMX": supervised("xumx"),
                "Hybrid Demucs": supervised("hdemucs"),
            },
        ),
    ],
    design=table_cells,
    within=("stem",),
    seeds=range(1),
    seeded=("steer.seed",),
    reference={"method": "60 dB down"},
    metric="si_sdr_improvement",
    test="item_means",
    sections=({"kind": "steering", "table": "Table 1"},),
    smoke=smoke,
    smoke_levels={"method": ["60 dB down"]},
)

if __name__ == "__main__":
    run(study)
