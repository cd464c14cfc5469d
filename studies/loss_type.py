"""Is a loss better on the mask, on the masked magnitude or in the time domain, and for which masks?  HMSS, Table 6.

    python studies/loss_type.py --dry-run                 what would run
    python studies/loss_type.py --smoke                   all of it, tiny, on this machine
    ray submit ray_cluster.yaml studies/loss_type.py      the study

Every loss with every mask style, so that it can be told whether sequential masks fail by nature or by their loss; and
every loss with the U-Net of MSSPT in place of the LSTM, so that it can be told whether a loss depends on the network.
"""

from collections.abc import Sequence

from mss_core.study import Factor, Study, run, table_cells
from mss_core.study.designs import Variant
from mss_core.systems.hmss import hmss, mask_network, smoke

PRODUCT = {"objective.judged": "product"}


def all_masks_one_network(factors: Sequence[Factor]) -> list[Variant]:
    """Losses by masks with the LSTM, losses with direct masks and the U-Net; direct masks know no product."""
    return [
        variant
        for variant in table_cells(factors)
        if (variant.levels["network"] == "LSTM" or variant.levels["mask"] == "direct")
        and (variant.levels["mask"] != "direct" or "of the product" not in variant.levels["loss"])
    ]


study = Study(
    name="loss_type",
    question="Is a loss better on the mask, on the masked magnitude or in the time domain, and for which masks?",
    baseline=hmss(),
    factors=[
        Factor(
            "loss",
            {
                "mask": {},
                "mask ratio": {"objective.loss": "mask_ratio"},
                "mask ratio, unclipped": {"objective.loss": "mask_ratio_unclipped"},
                "mask of the product": PRODUCT,
                "signal": {"objective.loss": "signal_tpsa"},
                "signal of the product": {"objective.loss": "signal_tpsa", **PRODUCT},
                "magnitude L1": {"objective.loss": "magnitude_l1"},
                "magnitude MSE": {"objective.loss": "magnitude_mse"},
                "magnitude log L1": {"objective.loss": "magnitude_log_l1"},
                "magnitude log MSE": {"objective.loss": "magnitude_log_mse"},
                "waveform L1": {"objective.loss": "l1"},
                "waveform L1 of the product": {"objective.loss": "l1", **PRODUCT},
                "SI-SDR": {"objective.loss": "si_sdr"},
                "SI-SDR of the product": {"objective.loss": "si_sdr", **PRODUCT},
                "as released": {"objective.loss": "as_released"},
            },
        ),
        Factor("mask", {"direct": {}, "sequential": {"mask": "sequential"}}),
        Factor("network", {"LSTM": {}, "U-Net": {"network": mask_network("unet", bn_momentum=0.1)}}),
    ],
    design=all_masks_one_network,
    seeds=range(5),
    seeded=("train.seed",),
    reference={"loss": "mask", "mask": "direct", "network": "LSTM"},
    metric="si_sdr_improvement",
    sections=({"kind": "published_columns"},),
    smoke=smoke,
)

if __name__ == "__main__":
    run(study)
