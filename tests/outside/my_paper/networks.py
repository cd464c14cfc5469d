from torch import Tensor, log10, nn


class Filter(nn.Conv1d):
    def __init__(self, taps: int = 15) -> None:
        super().__init__(1, 1, taps, padding="same", bias=False)

    def forward(self, mixtures: Tensor) -> Tensor:  # (batch, time) -> (batch, source, time)
        return super().forward(mixtures[:, None])


def log_energy(estimates: Tensor, references: Tensor) -> Tensor:
    return log10(1e-8 + (estimates - references).square().flatten(1).mean(1))
