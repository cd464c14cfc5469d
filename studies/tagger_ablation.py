r"""Which frozen tagger steers best, and is it separation?  TagBox, Table 2.

    python studies/tagger_ablation.py --dry-run
    python studies/tagger_ablation.py --smoke            small models trained on synthetic music
    python studies/tagger_ablation.py --data musdb18hq=PATH --data slakh2100=PATH --data jukebox=PATH \
        --data fcn_mtat=PATH ...

Each stem (a column of the table) is a block of its own. All rows are Algorithm 1 (ascent, the residual is the
estimate). The published ShortChunkCNN weights are those with residual blocks, which is told from the file. MTAT has no
tag for bass. Nothing in it is random once the
models are given, so the songs, not the seeds, are the sample.
"""

from collections.abc import Sequence

from mss_core.study import Factor, Study, Variant, run, table_cells
from mss_core.systems.tagbox import listening, smoke, stem, tagbox

NAMES = {"fcn": "FCN", "harmonic_cnn": "HCNN", "short_chunk_cnn": "ShortChunkCNN", "musicnn": "musicnn"}
DATA = {"mtg_jamendo": "MTG", "mtat": "MTAT"}


def possible(factors: Sequence[Factor]) -> list[Variant]:
    """Every tagger on every stem that its vocabulary names."""
    return [
        variant
        for variant in table_cells(factors)
        if not (variant.levels["stem"].endswith("bass") and variant.levels["tagger"].startswith(DATA["mtat"]))
    ]


study = Study(
    name="tagger_ablation",
    question="Which tagger steers a frozen VQ-VAE best, and does that separate?",
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
            "tagger",
            {
                **{
                    f"{DATA[vocabulary]}, {NAMES[name]}": listening(vocabulary, name)
                    for vocabulary in DATA
                    for name in NAMES
                },
                "MTG, FCN + HCNN + musicnn": listening("mtg_jamendo", "fcn", "harmonic_cnn", "musicnn"),
                "none (mixture 60 dB down)": {"method": "attenuated"},
            },
        ),
    ],
    design=possible,
    within=("stem",),
    seeds=range(1),
    seeded=("train_tagger.seed", "train_vqvae.seed", "steer.seed"),
    reference={"tagger": "MTG, FCN"},
    metric="si_sdr_improvement",
    test="item_means",
    sections=({"kind": "steering", "table": "Table 2"},),
    smoke=smoke,
    smoke_levels={"stem": ["MUSDB vocals", "MUSDB drums"]},
)

if __name__ == "__main__":
    run(study)
