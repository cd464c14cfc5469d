"""Which frozen tagger steers best, and is it separation?  TagBox, Table 2.

    python studies/tagger_ablation.py --dry-run
    python studies/tagger_ablation.py --smoke            small models trained on synthetic music
    python studies/tagger_ablation.py --data musdb18hq=PATH --data jukebox=PATH --data fcn_mtat=PATH ...

Vocals and drums are the targets that both vocabularies can name. Nothing in it is random once the models are given,
so the songs, not the seeds, are the sample.
"""

from mss_core.study import Factor, Study, one_at_a_time, run
from mss_core.systems.tagbox import listening, smoke, tagbox

NAMES = {"fcn": "FCN", "harmonic_cnn": "HCNN", "short_chunk_cnn": "ShortChunkCNN", "musicnn": "musicnn"}
DATA = {"mtg_jamendo": "MTG", "mtat": "MTAT"}

study = Study(
    name="tagger_ablation",
    question="Which tagger steers a frozen VQ-VAE best, and does that separate?",
    baseline=tagbox(targets=("vocals", "drums")),
    factors=[
        Factor("tagger", {
            **{f"{DATA[vocabulary]}, {NAMES[name]}": listening(vocabulary, name)
               for vocabulary in DATA for name in NAMES},
            "MTG, FCN + HCNN + musicnn": listening("mtg_jamendo", "fcn", "harmonic_cnn", "musicnn"),
            "none (mixture 60 dB down)": {"method": "attenuated"},
        }),
    ],
    design=one_at_a_time,
    seeds=range(3),
    seeded=("train_tagger.seed", "train_vqvae.seed", "steer.seed"),
    reference={"tagger": "MTG, FCN"},
    metric="si_sdr_improvement",
    test="item_means",
    sections=({"kind": "steering", "table": "Table 2"},),
    smoke=smoke,
)

if __name__ == "__main__":
    run(study)
