"""Is the activity-aware U-Net better than Open-Unmix where both hear two channels?  IASS, Table 2, in stereo.

    python studies/open_unmix_stereo.py --dry-run                 what would run
    python studies/open_unmix_stereo.py --smoke                   all of it, tiny, on this machine
    ray submit ray_cluster.yaml studies/open_unmix_stereo.py      the study

The paper separates the down-mix of MUSDB18-HQ. The released Open-Unmix hears both channels, and its published scores
are of both. Here either network does, with gains and an exchange of channels in training as Open-Unmix has them, and
each channel has its own mask. Scores are over both channels, so they are not those of the down-mix. Open-Unmix as
released adds a multichannel Wiener filter, which is no part of this.
"""

from mss_core.study import Factor, Study, run
from mss_core.systems.iass import OPEN_UNMIX, iass_musdb_stereo, smoke

study = Study(
    name="open_unmix_stereo",
    question="Is the activity-aware U-Net better than Open-Unmix where both hear two channels?",
    baseline=iass_musdb_stereo(),
    factors=[
        Factor(
            "method",
            {
                "Open-Unmix": OPEN_UNMIX,
                "IASS": {},
                "ideal binary mask": {"method": "ibm", "gate.kind": "off"},
                "ideal ratio mask": {"method": "irm", "gate.kind": "off"},
                "mixture": {"method": "mixture", "gate.kind": "off"},
            },
        )
    ],
    seeds=range(5),
    seeded=("train.seed",),
    reference={"method": "Open-Unmix"},
    metric="sdr",
    smoke=smoke,
    sections=({"kind": "activity_detection"}, {"kind": "dropped_frames"}),
)

if __name__ == "__main__":
    run(study)
