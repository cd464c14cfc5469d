"""A hierarchical VQ-VAE of waveforms, as Jukebox has it [Dhariwal et al. 2020; the released "5b" set-up].

Three pairs of encoder and decoder that do not feed each other, each with a codebook of its own; the bottom level
(hop 8) is the one that audio is made with. Modules are named as in the released checkpoint, which holds of a codebook
its vectors alone (:func:`from_jukebox`).

Conventions: waveforms (batch, time), latents (batch, embedding, time / hop).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_core.audio import reflected


class Residual(nn.Module):
    """ReLU, dilated convolution, ReLU, 1x1 convolution, added to the input. Shape: (batch, width, time) kept."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.ReLU(),
            nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
            nn.Conv1d(width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.model(x)


class Stack(nn.Module):
    """``depth`` residual blocks with dilations 1, 3, 9, ..., or the reverse."""

    def __init__(self, width: int, depth: int, growth: int, reverse: bool = False) -> None:
        super().__init__()
        dilations = [growth**d for d in range(depth)]
        self.model = nn.Sequential(*[Residual(width, d) for d in (dilations[::-1] if reverse else dilations)])

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class _Part(nn.Module):
    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Encoder(nn.Module):
    """Groups of halvings, each closed by a convolution to the embedding.

    Shape: (batch, 1, time) -> (batch, e, time / hop).
    """

    def __init__(self, downs: Sequence[int], width: int, depth: int, embedding: int, growth: int) -> None:
        super().__init__()
        self.level_blocks = nn.ModuleList()
        for group, halvings in enumerate(downs):
            first = 1 if group == 0 else embedding
            layers = [
                nn.Sequential(nn.Conv1d(width if i else first, width, 4, 2, 1), Stack(width, depth, growth))
                for i in range(halvings)
            ]
            self.level_blocks.append(_Part([*layers, nn.Conv1d(width, embedding, 3, 1, 1)]))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.level_blocks:
            x = block(x)
        return x


class Decoder(nn.Module):
    """The mirror of :class:`Encoder`. Shape: (batch, e, time / hop) -> (batch, 1, time)."""

    def __init__(self, downs: Sequence[int], width: int, depth: int, embedding: int, growth: int) -> None:
        super().__init__()
        self.level_blocks = nn.ModuleList()
        for doublings in downs:
            layers: list[nn.Module] = [nn.Conv1d(embedding, width, 3, 1, 1)]
            for i in range(doublings):
                last = i == doublings - 1
                layers.append(
                    nn.Sequential(
                        Stack(width, depth, growth, reverse=True),
                        nn.ConvTranspose1d(width, embedding if last else width, 4, 2, 1),
                    )
                )
            self.level_blocks.append(_Part(layers))
        self.out = nn.Conv1d(embedding, 1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        for block in reversed(self.level_blocks):
            x = block(x)
        return self.out(x)


class Codebook(nn.Module):
    """``bins`` vectors of one level; a latent is replaced by the nearest.

    Learnt by exponential moving averages, not by gradient: ``k_sum`` and ``k_elem`` are the sums of the latents and
    their number that each vector last stood for. A vector that stands for less than one latent is put on a random
    latent of the batch.
    """

    def __init__(self, bins: int, embedding: int) -> None:
        super().__init__()
        self.register_buffer("k", torch.zeros(bins, embedding))
        self.register_buffer("k_sum", torch.zeros(bins, embedding))
        self.register_buffer("k_elem", torch.zeros(bins))

    def forward(self, latent: Tensor) -> Tensor:
        """The nearest vectors, with the gradient of the latent itself (straight through). Shape kept."""
        return latent + (quantise(latent, self.k) - latent).detach()

    @torch.no_grad()
    def update(self, latent: Tensor, decay: float) -> None:
        """Move the vectors towards the latents (batch, embedding, time) they stand for; draws from torch's
        generator."""
        rows = latent.detach().transpose(1, 2).reshape(-1, latent.shape[1]).float()
        self.k, self.k_sum, self.k_elem = moved(rows, self.k, self.k_sum, self.k_elem, decay)


def quantise(latent: Tensor, codebook: Tensor) -> Tensor:
    """Each latent's nearest vector. Shape: (batch, e, time) and (bins, e) or (batch, bins, e) -> (batch, e, time)."""
    rows = latent.detach().transpose(1, 2)
    books = codebook if codebook.dim() == 3 else codebook.expand(len(rows), *codebook.shape)
    found = torch.empty_like(rows)
    for item, (row, book) in enumerate(zip(rows, books, strict=True)):
        # |row - vector|^2 without |row|^2, in pieces of 4096 so that the distances fit.
        offset = book.square().sum(1)
        nearest = torch.cat([(offset - 2 * piece @ book.T).argmin(1) for piece in row.split(4096)])
        found[item] = book[nearest]
    return found.transpose(1, 2)


def moved(rows: Tensor, k: Tensor, k_sum: Tensor, k_elem: Tensor, decay: float) -> tuple[Tensor, Tensor, Tensor]:
    """A codebook after one update. Shape: (row, e), (bins, e), (bins, e), (bins,) -> the last three.

    An empty codebook (``k_elem`` all zero) is first put on random rows, as the released code does.
    """
    drawn = _drawn(rows, len(k))
    empty = ~k_elem.any()  # asked on the device: the host need not wait for it
    k, k_sum, k_elem = torch.where(empty, drawn, k), torch.where(empty, drawn, k_sum), torch.where(empty, 1.0, k_elem)
    nearest = torch.cat([(k.square().sum(1) - 2 * piece @ k.T).argmin(1) for piece in rows.split(4096)])
    sums = torch.zeros_like(k).index_add_(0, nearest, rows)
    counts = torch.zeros_like(k_elem).index_add_(0, nearest, torch.ones_like(nearest, dtype=k_elem.dtype))
    k_sum = decay * k_sum + (1 - decay) * sums
    k_elem = decay * k_elem + (1 - decay) * counts
    used = (k_elem >= 1.0)[:, None]
    return torch.where(used, k_sum / k_elem.clamp_min(1e-12)[:, None], drawn), k_sum, k_elem


def _drawn(rows: Tensor, bins: int) -> Tensor:
    """Random rows, one per vector, from torch's generator."""
    return rows[torch.randint(len(rows), (bins,), device=rows.device)]


def placed(rows: Tensor, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """A codebook put on random rows, before any update: ``k``, ``k_sum`` and ``k_elem``. Shape: (row, e)."""
    k = _drawn(rows, bins)
    return k, k.clone(), k.new_ones(bins)


def from_jukebox(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The checkpoint that OpenAI wrote, as this module's tensors.

    Of each codebook only ``k`` is in the file; sum and count of what its vectors stand for are k and 1 where they are
    not there, as the released code restores them (``restore_k`` of jukebox/vqvae/bottleneck.py). A leading ``module.``
    of every name is the mark of distributed training and is taken off.
    """
    found = {name.removeprefix("module."): value for name, value in state.items()}
    for name in [name for name in found if name.startswith("bottleneck.") and name.endswith(".k")]:
        found.setdefault(f"{name}_sum", found[name].clone())
        found.setdefault(f"{name}_elem", found[name].new_ones(len(found[name])))
    return found


class _Bottleneck(nn.Module):
    def __init__(self, levels: int, codes: int, embedding: int) -> None:
        super().__init__()
        self.level_blocks = nn.ModuleList(Codebook(codes, embedding) for _ in range(levels))


class VqVae(nn.Module):
    """The autoencoder.

    Args:
        downs: halvings of each level, in groups: ((3,), (3, 2), (3, 2, 2)) gives hops of 8, 32 and 128 samples.
        widths: channels of each level inside.
        depths: residual blocks after each halving.
        embedding, codes: length and number of each codebook's vectors.
        growth: of the dilations from block to block.
        commitment: weight of the distance between latents and their vectors in training.

    Raises ValueError where ``downs``, ``widths`` and ``depths`` have different lengths.
    """

    def __init__(
        self,
        downs: Sequence[Sequence[int]] = ((3,), (3, 2), (3, 2, 2)),
        widths: Sequence[int] = (64, 32, 32),
        depths: Sequence[int] = (8, 4, 4),
        embedding: int = 64,
        codes: int = 2048,
        growth: int = 3,
        commitment: float = 0.02,
    ) -> None:
        super().__init__()
        if not len(downs) == len(widths) == len(depths) >= 1:
            raise ValueError(
                f"a VQ-VAE needs as many 'downs' as 'widths' and 'depths'; got {len(downs)}, "
                f"{len(widths)} and {len(depths)}"
            )
        shapes = list(zip(downs, widths, depths, strict=True))
        self.commitment = commitment
        self.encoders = nn.ModuleList(Encoder(d, w, n, embedding, growth) for d, w, n in shapes)
        self.decoders = nn.ModuleList(Decoder(d, w, n, embedding, growth) for d, w, n in shapes)
        self.bottleneck = _Bottleneck(len(shapes), codes, embedding)
        self.hops = tuple(2 ** sum(d) for d in downs)

    def codebook(self, level: int = 0) -> Codebook:
        book = self.bottleneck.level_blocks[level]
        assert isinstance(book, Codebook)
        return book

    def encode(self, waveform: Tensor, level: int = 0) -> Tensor:
        """Latents before quantisation; ``time`` is a multiple of the level's hop."""
        return self.encoders[level](waveform[:, None])

    def decode(self, latent: Tensor, level: int = 0) -> Tensor:
        """The waveform of quantised latents."""
        return self.decoders[level](latent)[:, 0]

    def forward(self, waveform: Tensor, level: int = 0) -> Tensor:
        """Encode, quantise, decode. Shape: (batch, time) -> (batch, time)."""
        return self.decode(self.codebook(level)(self.encode(waveform, level)), level)

    def loss(self, waveform: Tensor, spectral: Tensor | None = None) -> Tensor:
        """What training minimises, a scalar: over levels, the mean squared error of the waveform, that of magnitudes
        at three resolutions, and the commitment [Dhariwal et al. 2020, Sec. 3]. In training mode the codebooks move.
        """
        total = waveform.new_zeros(())
        for level in range(len(self.encoders)):
            latent = self.encode(waveform, level)
            book = self.codebook(level)
            if self.training:
                book.update(latent, 0.99)
            vectors = quantise(latent, book.k)
            estimate = self.decode(latent + (vectors - latent).detach(), level)
            total = (
                total
                + functional.mse_loss(estimate, waveform)
                + spectral_distance(estimate, waveform)
                + self.commitment * functional.mse_loss(latent, vectors)
            )
        return total / len(self.encoders)


def spectral_distance(estimate: Tensor, reference: Tensor, sizes: Sequence[int] = (2048, 1024, 512)) -> Tensor:
    """Relative Frobenius distance of magnitude spectra, mean over FFT sizes; a scalar. Shape: (batch, time) twice."""
    total = estimate.new_zeros(())
    for size in sizes:
        window = torch.hann_window(size, device=estimate.device)
        a, b = (
            torch.stft(reflected(x, size // 2), size, size // 4, window=window, center=False, return_complex=True).abs()
            for x in (estimate.float(), reference.float())
        )
        total = total + ((a - b).square().sum((1, 2)) / b.square().sum((1, 2)).clamp_min(1e-6)).sqrt().mean()
    return total / len(sizes)
