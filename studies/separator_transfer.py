"""Does a four-stem separator hold on songs mixed in another way than those it was trained on?  HMSS, Table 8.

    python studies/separator_transfer.py --dry-run                 what would run
    python studies/separator_transfer.py --smoke                   all of it, tiny, on this machine
    ray submit ray_cluster.yaml studies/separator_transfer.py      the study

X-UMX is trained here. Other separators, with weights that lie on disk (nothing is downloaded):

    --set separator=unet                                                    MSSPT's U-Net, trained here
    --set released=true --data xumx=FOLDER                                  X-UMX as released
    --set separator=hdemucs --set released=true --data hdemucs=FOLDER       torchaudio's Hybrid Demucs

The thesis explains the difference by the loudness to which MS21's stems are brought. The second row does that to
MUSDB18's: pitched stems at -25 LUFS, drums at a peak of -1 dB, the mixture their sum, which is then no mastered one.

Table 8's figures are over all songs of each set. The contrast of MS21 with MUSDB18 is over the songs that both test
sets have: by the author's list 33 of 50, the same recordings mixed in two ways. Where a split has none in common, songs
are two samples, and scores differ by their songs as well: those of the mixture itself and of an ideal ratio mask stand
beside the separator's. MDXDB21, the third set of the table, was never published.
"""

from mss_core.study import Factor, Search, Study, only_listed, run
from mss_core.systems.transfer import smoke, transfer
from search_spaces.train_stems import train_stems

study = Study(
    name="separator_transfer",
    question="Does a four-stem separator hold on songs mixed in another way than those it was trained on?",
    baseline=transfer(),
    factors=[
        Factor(
            "songs",
            {
                "MUSDB18": {},
                "MUSDB18 at MS21's levels": {"test.mixture": "ms21"},
                "MS21": {"test.name": "ms21", "test.sources": ("bass", "percussion", "vocals", "other")},
            },
        )
    ],
    design=only_listed,
    seeds=range(5),
    seeded=("train.seed",),
    reference={"songs": "MUSDB18"},
    own_tracks=("songs",),
    metric="global_sdr",
    sections=({"kind": "published_columns"},),
    smoke=smoke,
    search=Search({"train_stems": train_stems}, trials=20),  # with --search each_variant
)

if __name__ == "__main__":
    run(study)
