r"""Does steering a real published tagger separate real songs, or does it only change what that tagger says?

    pip install --no-deps musicnn==0.1.0                              the tagger's weights (ISC licence), once
    python studies/real_tagger.py --dry-run
    python studies/real_tagger.py --data stems=PATH                   PATH/{train,test}/<song>/{mixture,drums,...}.wav
    python studies/real_tagger.py --smoke                             a small tagger trained on synthetic music

TagBox's search with musicnn as its authors published it, trained on MagnaTagATune, and with no VQ-VAE: the mask itself
is moved (``codec``). With Jukebox's weights ``--set codec=vqvae --set steer.mask=true --set steer.codebook=frozen
--set steer.lr=5.0 --data jukebox=PATH`` steers its latent instead. Six seconds of every song are steered, of all
splits, since nothing is trained on them. "Steered towards" is descent, where the masked mixture shall get the tags;
"steered away" is Algorithm 1's ascent, where they shall leave it and the residual is the estimate. Controls: random
steps of the same length, HPSS and REPET-SIM, and in every row silence and the best scalar. Bass has no tag in either
of the package's vocabularies, so no row.
The VGG of the same package, which nothing follows, judges whether an estimate sounds like its stem.
"""

from collections.abc import Sequence

from mss_core.study import Factor, Study, Variant, run, table_cells
from mss_core.systems.tagbox import real_tagger, smoke

POSSIBLE = {"HPSS": "drums", "REPET-SIM": "vocals"}


def possible(factors: Sequence[Factor]) -> list[Variant]:
    """Every method on every stem that it can tell."""
    return [
        variant
        for variant in table_cells(factors)
        if variant.levels["stem"] == POSSIBLE.get(variant.levels["method"], variant.levels["stem"])
    ]


study = Study(
    name="real_tagger",
    question="Does steering a published tagger separate real songs, or does it only change what the tagger says?",
    baseline=real_tagger(),
    factors=[
        Factor("stem", {name: {"targets": (name,)} for name in ("drums", "vocals")}),
        Factor(
            "method",
            {
                "random steps": {"steer.direction": "random"},
                "steered towards": {"steer.direction": "descent"},
                "steered away, residual": {"steer.direction": "ascent", "output": "residual"},
                "HPSS": {"method": "hpss"},
                "REPET-SIM": {"method": "repet_sim"},
            },
        ),
    ],
    design=possible,
    within=("stem",),
    seeds=range(1),
    seeded=("train_tagger.seed", "train_vqvae.seed", "steer.seed"),
    reference={"method": "random steps"},
    metric="si_sdr_improvement",
    test="item_means",
    sections=({"kind": "heard"},),
    smoke=smoke,
)

if __name__ == "__main__":
    run(study)
