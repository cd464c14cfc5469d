"""Separation by steering a frozen VQ-VAE with frozen taggers [Manilow, O'Reilly, Seetharaman and Pardo 2022].

The latent of a clip is moved by gradient steps until taggers say of the masked mixture what they should say of the
wanted source; no weight changes. Where paper and released code disagree there is a switch (:class:`SteerConfig`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_core import audio
from mss_core.apply import inputs
from mss_core.errors import choose
from mss_core.systems.tagbox.vqvae import VqVae, moved, placed, quantise

EPSILON = 1e-8
TAGGER_RATE = 16_000


@dataclass(frozen=True)
class SteerConfig:
    """How a latent is steered; the defaults are the paper's.

    Attributes:
        steps: decodes; the last comes before the last update, so that ``steps - 1`` updates take effect.
        lr: of Adam, on the latent (the paper's 5; the released notebook's 10).
        n_fft: sizes of the spectra that are masked; the loss is their mean and the result is the last one's.
        direction: ``"ascent"`` on the cross-entropy towards the wanted tags (paper: what is wanted leaves the masked
            mixture), ``"descent"`` (released code), or ``"random"``: steps as long as descent's from where the latent
            is, in a direction drawn anew each time, a control.
        mask_reference: what is masked, and what the residual is taken from: the ``"mixture"`` (paper) or its
            ``"reconstruction"`` by the VQ-VAE (released code).
        codebook: ``"frozen"`` as trained; ``"clip"``: put on random latents of the clip at the first step and moved
            by averages after (as the released code ran); or ``"none"``: latents are decoded as they are, which is what
            Algorithm 1 prints (line 4), though its decoder was made for quantised ones.
        mask: whether taggers hear the masked mixture or, without it, the decoded audio itself (style transfer).
        segment_seconds: length of the clips a track is cut into.
        clips: how many are steered at a time.
        seed: of random directions and clip codebooks.
    """

    steps: int = 10
    lr: float = 5.0
    n_fft: tuple[int, ...] = (1024,)
    direction: str = "ascent"
    mask_reference: str = "mixture"
    codebook: str = "frozen"
    mask: bool = True
    segment_seconds: float = 20.0
    clips: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        choose("direction", self.direction, ("descent", "ascent", "random"))
        choose("mask reference", self.mask_reference, ("mixture", "reconstruction"))
        choose("codebook", self.codebook, ("frozen", "clip", "none"))
        if self.steps < 1 or self.clips < 1 or self.lr <= 0 or self.segment_seconds <= 0:
            raise ValueError(f"'steps', 'clips', 'lr' and 'segment_seconds' must be positive; got {self}")
        if not self.n_fft or any(size < 64 or size % 2 for size in self.n_fft):
            raise ValueError(f"'n_fft' needs even FFT sizes of at least 64, e.g. (1024,); got {self.n_fft}")

    def effective(self) -> SteerConfig:
        """The same with the seed at 0 where nothing is drawn: equal settings then share one result."""
        drawn = self.direction == "random" or self.codebook == "clip"
        return self if drawn else replace(self, seed=0)


@dataclass(frozen=True)
class Steered:
    """What steering gives, in the input's own level.

    Attributes:
        masked: the masked reference (the decoded audio where there is no mask), (clip, time).
        reference: what was masked, (clip, time); the other reading of the method is ``reference - masked``.
        loss: of each decode, (step, clip).
        probability: mean probability of the wanted tags at each decode, over taggers, (step, clip).
    """

    masked: Tensor
    reference: Tensor
    loss: Tensor
    probability: Tensor


@dataclass(frozen=True)
class Wanted:
    """A tagger (with its ``seconds``, the length it was made for) and what it should report, 0 or 1 a class."""

    tagger: nn.Module
    target: Tensor


def steer(
    vqvae: VqVae,
    wanted: Sequence[Wanted],
    mixture: Tensor,
    samplerate: int,
    config: SteerConfig,
    first: int = 0,
    listen: Callable[[int], None] = lambda step: None,
) -> Steered:
    """Steer a batch of clips; each comes out as it would alone, but for rounding.

    With the paper's codebook and descent that is 1e-7 of full scale. Ascent saturates the taggers, several FFT sizes
    and the clip's own codebook choose among near-equals, and ten steps multiply what rounding differs in: measured up
    to 7e-3 after four.

    Args:
        mixture: (clip, time), any level: each clip is brought to peak 1 inside, and back.
        first: number of the first clip, from which its random numbers follow.
        listen: called with the number of decodes done.

    Raises ValueError where a clip is silent or taggers are missing.
    """
    if not wanted:
        raise ValueError("steering needs at least one tagger")
    peak = mixture.abs().amax(1, keepdim=True)
    if (peak == 0).any():
        raise ValueError(f"clip {first + int((peak[:, 0] == 0).nonzero()[0])} is silent: there is nothing to steer")
    length, hop = mixture.shape[1], vqvae.hops[0]
    x = functional.pad(mixture / peak, (0, -length % hop))
    frozen = [p for module in (vqvae, *(w.tagger for w in wanted)) for p in module.parameters()]
    needed = [p.requires_grad for p in frozen]
    try:
        for parameter in frozen:
            parameter.requires_grad_(False)
        masked, reference, losses, probabilities = _optimise(vqvae, wanted, x, samplerate, config, first, listen)
    finally:
        for parameter, need in zip(frozen, needed, strict=True):
            parameter.requires_grad_(need)
    return Steered(masked[:, :length] * peak, reference[:, :length] * peak, losses, probabilities)


def _optimise(
    vqvae: VqVae,
    wanted: Sequence[Wanted],
    x: Tensor,
    samplerate: int,
    config: SteerConfig,
    first: int,
    listen: Callable[[int], None],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generators = [torch.Generator().manual_seed(_seed(config.seed, first + clip)) for clip in range(len(x))]
    with torch.no_grad():
        start = vqvae.encode(x)
        book = vqvae.codebook().k
        reference = x if config.mask_reference == "mixture" else vqvae.decode(quantise(start, book))
        spectra = {size: _stft(reference, size) for size in config.n_fft}
    books = _ClipBooks(start, len(book), generators) if config.codebook == "clip" else None
    latent = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([latent], lr=config.lr)
    losses, probabilities = [], []
    estimate = reference
    for step in range(config.steps):
        if config.codebook == "none":
            decoded = vqvae.decode(latent)
        else:
            vectors = quantise(latent, book) if books is None else books.step(latent)
            decoded = vqvae.decode(latent + (vectors - latent).detach())
        loss, probability = decoded.new_zeros(len(x)), decoded.new_zeros(len(x))
        for size in config.n_fft if config.mask else config.n_fft[:1]:
            estimate = masked(decoded, spectra[size], size) if config.mask else decoded
            for one in wanted:
                value, said = _heard(one, estimate, samplerate)
                loss, probability = loss + value, probability + said
        count = len(wanted) * (len(config.n_fft) if config.mask else 1)
        losses.append((loss / count).detach())
        probabilities.append((probability / count).detach())
        listen(step + 1)
        if step == config.steps - 1:
            break  # an update now would not be heard
        (gradient,) = torch.autograd.grad(loss.sum() / count, latent)
        latent.grad = -gradient if config.direction == "ascent" else gradient
        before = latent.detach().clone()
        optimizer.step()
        if config.direction == "random":
            noise = torch.stack([torch.randn(latent.shape[1:], generator=g) for g in generators]).to(latent.device)
            with torch.no_grad():  # after Adam, which makes fresh noise move less than a gradient of its norm
                latent.copy_(before + noise * (_norm(latent - before) / _norm(noise).clamp_min(1e-30)))
    return estimate.detach(), reference, torch.stack(losses).cpu(), torch.stack(probabilities).cpu()


class _ClipBooks:
    """A codebook a clip, put on random latents of the clip and moved by averages at every step."""

    def __init__(self, latent: Tensor, bins: int, generators: Sequence[torch.Generator]) -> None:
        shape = (len(latent), bins, latent.shape[1])
        self.k, self.k_sum = latent.new_zeros(shape), latent.new_zeros(shape)
        self.k_elem = latent.new_zeros(shape[:2])
        self.generators, self.empty = generators, True

    def step(self, latent: Tensor) -> Tensor:
        """Vectors of a latent, looked up before the codebook moves, as the released code does."""
        rows = latent.detach().transpose(1, 2)
        if self.empty:
            self.empty = False
            for clip, own in enumerate(rows):
                with self._chance(clip, own.device):
                    self.k[clip], self.k_sum[clip], self.k_elem[clip] = placed(own, self.k.shape[1])
        vectors = quantise(latent, self.k)
        for clip, own in enumerate(rows):
            with self._chance(clip, own.device):
                self.k[clip], self.k_sum[clip], self.k_elem[clip] = moved(
                    own, self.k[clip], self.k_sum[clip], self.k_elem[clip], 0.99
                )
        return vectors

    @contextlib.contextmanager
    def _chance(self, clip: int, device: torch.device) -> Iterator[None]:
        """While this lasts, torch's generator follows the clip's own."""
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(int(torch.randint(2**31, (), generator=self.generators[clip])))
            yield


def masked(decoded: Tensor, spectrum: Tensor, size: int) -> Tensor:
    """The reference through the mask |J| / (max(|J|, |X|) + 1e-8) of decoded audio [eq. 1].

    Shape: (clip, time) kept.
    """
    magnitude = _stft(decoded, size).abs()
    mask = magnitude / (torch.maximum(magnitude, spectrum.abs()) + EPSILON)
    return torch.istft(mask * spectrum, size, size // 2, window=_window(size, decoded.device), length=decoded.shape[-1])


def _stft(waveform: Tensor, size: int) -> Tensor:
    padded, window = audio.reflected(waveform.float(), size // 2), _window(size, waveform.device)
    return torch.stft(padded, size, size // 2, window=window, center=False, return_complex=True)


def _window(size: int, device: torch.device) -> Tensor:
    return torch.hann_window(size, periodic=True, device=device).sqrt()


def _heard(wanted: Wanted, estimate: Tensor, samplerate: int) -> tuple[Tensor, Tensor]:
    """Cross-entropy over all tags, and mean probability of the wanted ones, of each clip."""
    said = score(wanted.tagger, audio.resample_tensor(estimate, samplerate, TAGGER_RATE))
    target = wanted.target.to(said)
    with torch.autocast(said.device.type, enabled=False):  # refuses this loss, of probabilities that are float32 here
        loss = functional.binary_cross_entropy(said.clamp(1e-7, 1 - 1e-7), target.expand_as(said), reduction="none")
    return loss.mean(1), (said.detach() * target).sum(1) / target.sum()


def score(tagger: nn.Module, waveform: Tensor) -> Tensor:
    """Probabilities of a waveform at 16 kHz: pieces of the tagger's length, the last filled with silence, averaged.

    Shape: (clip, time) -> (clip, class).
    """
    piece = round(float(tagger.seconds) * TAGGER_RATE)
    padded = functional.pad(waveform, (0, -waveform.shape[1] % piece))
    pieces = padded.unflatten(1, (-1, piece)).flatten(0, 1)
    return torch.sigmoid(tagger(inputs(tagger, pieces)).float()).unflatten(0, (len(waveform), -1)).mean(1)


def _norm(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1)[:, None, None]


def _seed(seed: int, clip: int) -> int:
    return (seed * 1_000_003 + clip) % 2**31
