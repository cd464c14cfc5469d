"""Is the activity-aware U-Net better than Open-Unmix, and how far from ideal masks?  IASS, Tables 2 and 3.

    python studies/open_unmix_comparison.py --dry-run                 what would run
    python studies/open_unmix_comparison.py --smoke                   all of it, tiny, on this machine
    ray submit ray_cluster.yaml studies/open_unmix_comparison.py      the study

Table 3 is this study on MM, Table 2 the same on MUSDB18-HQ: one data set a factor level. Open-Unmix is trained with its
own settings and has no gate. Ideal masks and the mixture as the estimate need no training and no seed. The
binary mask is SiSEC's, as in the paper; the dominant one, 1 where the target is louder than all else, is 1.5 to 3 dB
better on real music and stands beside it.
"""

from mss_core.study import Factor, Study, run, table_cells
from mss_core.systems.iass import MUSDB, OPEN_UNMIX, iass_mm, smoke

METHODS = {
    "Open-Unmix": OPEN_UNMIX,
    "IASS": {},
    "ideal binary mask": {"method": "ibm", "gate.kind": "off"},
    "ideal binary mask, dominant": {"method": "ibm_dominant", "gate.kind": "off"},
    "ideal ratio mask": {"method": "irm", "gate.kind": "off"},
    "mixture": {"method": "mixture", "gate.kind": "off"},
}
PRINTED = {"Open-Unmix": "Open-Unmix", "IASS": "IASS", "ideal binary mask": "IBM", "mixture": "input-SDR"}

study = Study(
    name="open_unmix_comparison",
    question="Is the activity-aware U-Net better than Open-Unmix, and how far from ideal masks?",
    baseline=iass_mm(),
    factors=[Factor("data", {"MM": {}, "MUSDB18-HQ": MUSDB}), Factor("method", METHODS)],
    design=table_cells,
    within=("data",),
    seeds=range(5),
    seeded=("train.seed",),
    reference={"method": "Open-Unmix"},
    metric="sdr",
    smoke=smoke,
    sections=(
        {
            "kind": "by_target",
            "paper": "iass",
            "table": "Table 2",
            "metrics": ["sdr", "sir", "sar", "isr"],
            "within": {"data": "MUSDB18-HQ"},
            "by": "method",
            "printed": {method: [f"{{target}}, {method}", "{metric}"] for method in ("Open-Unmix", "IASS")},
        },
        {
            "kind": "by_target",
            "paper": "iass",
            "table": "Table 3",
            "metrics": ["sdr"],
            "within": {"data": "MM"},
            "by": "method",
            "printed": {method: ["{target}", column] for method, column in PRINTED.items()},
        },
        {"kind": "activity_detection"},
        {"kind": "dropped_frames"},
    ),
)

if __name__ == "__main__":
    run(study)
