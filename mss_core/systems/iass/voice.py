"""Stage ``prepare_voice``: when a voice sounds, by silero-vad, a detector of speech [Silero team, MIT licence].

It was trained on speech, not on song: sung vowels, choirs and processed voices are not what it knows, and it is offered
as one more source of labels beside energy tracking and published confidences, not as a better one. The note of the
stage says how far it agrees with what it replaces.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_core import audio, models
from mss_core.artefact import write_notes
from mss_core.data import packaged, weights
from mss_core.data.activity import CONFIDENCES, THRESHOLD, window_of
from mss_core.data.channels import open_sided
from mss_core.data.config import WeightSet
from mss_core.graph import Context

RATE, CHUNK, CONTEXT, AFTER = 16_000, 512, 64, 64
VOICE = "vocals"


class SileroVad(nn.Module):
    """The detector of the package's ``silero_vad_16k.safetensors``: magnitudes of a learned transform, four
    convolutions per chunk of 32 ms, an LSTM over chunks. 309,633 parameters.

    Shape: (time,) at 16 kHz -> probability of speech (chunk,).
    """

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, 128, bias=False)
        self.conv1 = nn.Conv1d(129, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, 2, 1)
        self.conv3 = nn.Conv1d(64, 64, 3, 2, 1)
        self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
        self.lstm = nn.LSTM(128, 128)
        self.final_conv = nn.Conv1d(128, 1, 1)

    def forward(self, waveform: Tensor) -> Tensor:
        padded = functional.pad(waveform, (CONTEXT, -len(waveform) % CHUNK))  # silence comes before the first chunk
        chunks = padded.unfold(0, CONTEXT + CHUNK, CHUNK)  # each with the end of the one before
        found = []
        state = None
        for part in chunks.split(512):
            x = torch.cat([part, part[:, -AFTER - 1 : -1].flip(1)], 1)
            both = self.stft_conv(x[:, None])
            x = (both[:, :129].square() + both[:, 129:].square()).sqrt()
            for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
                x = functional.relu(layer(x))
            y, state = self.lstm(x[..., 0], state)
            found.append(torch.sigmoid(self.final_conv(functional.relu(y)[..., None]))[:, 0, 0])
        return torch.cat(found)


def load(path: Path, name: str) -> SileroVad:
    """The detector with the package's weights, whose LSTM is a cell; ValueError where they are another model's."""
    module = SileroVad()
    state = {
        f"lstm.{key.removeprefix('lstm_cell.')}_l0" if key.startswith("lstm_cell.") else key: value
        for key, value in weights.read(path).items()
    }
    models.take_all(module, state, f"weights {name!r} ({path.name})")
    return module.eval()


def prepare_voice(*, data: Path, activity: Path, voice: WeightSet, version: int = 1, out: Path, ctx: Context) -> None:
    """Leaves confidence.npz: the confidences of ``activity``, those of the vocals by the detector in their place.

    notes.json has licence and checksum of the weights and, over all frames of tracks with vocals, how far the two
    agree at a confidence of 0.5. A track whose vocals are silent throughout is left as it is.
    """
    packed = open_sided(data)
    path = packaged.files(voice.name, packaged.root(voice.name, ctx.data))[0]
    module = load(path, voice.name).to(ctx.device)
    with np.load(activity / CONFIDENCES) as arrays:
        values = {key: arrays[key] for key in arrays}
    before, after = [], []
    for number, item in enumerate(packed.items):
        key = f"{number} {VOICE}"
        if key in values:
            wave = audio.down_mix(packed.read(item, VOICE))
            heard = detected(module, wave, packed.samplerate, len(values[key]), ctx.device)
            before.append(values[key] >= THRESHOLD)
            after.append(heard >= THRESHOLD)
            values[key] = heard.astype(np.float32)
        ctx.report(step=number + 1, total=len(packed.items))
    np.savez(out / CONFIDENCES, **values)
    told = {"kind": "activity", "text": in_words(np.concatenate(before), np.concatenate(after)) if before else ""}
    told |= {"count": len(before), "items": []}
    write_notes(out, [packaged.note(voice.name, (path,)), told])


def detected(module: SileroVad, wave: np.ndarray, samplerate: int, frames: int, device: str) -> np.ndarray:
    """The detector's probability at the frames of energy tracking. Shape: (time,) -> (frames,)."""
    resampled = audio.resample(np.ascontiguousarray(wave, np.float32), samplerate, RATE)
    with torch.inference_mode():
        said = module(torch.from_numpy(resampled).to(device)).cpu().numpy()
    times = np.arange(frames) * (window_of(samplerate) // 2) / samplerate
    return np.interp(times, (np.arange(len(said)) + 0.5) * CHUNK / RATE, said)


def agreement(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """How far two sets of labels (frame,) agree: the share of frames, Cohen's kappa (NaN where chance says it all), and
    the share of active frames of either."""
    share, a, b = float((first == second).mean()), float(first.mean()), float(second.mean())
    chance = a * b + (1 - a) * (1 - b)
    kappa = (share - chance) / (1 - chance) if chance < 1 else float("nan")
    return {"share": share, "kappa": kappa, "first": a, "second": b}


def in_words(first: np.ndarray, second: np.ndarray) -> str:
    """The note on a detector that takes the place of other labels."""
    found = agreement(first, second)
    return (
        "tracks whose vocals are labelled by silero-vad, which was trained on speech and not on song: it agrees with "
        f"the labels it replaces in {100 * found['share']:.1f} % of {len(first)} frames (kappa {found['kappa']:.2f}), "
        f"and calls {100 * found['second']:.1f} % of them active, the other labels {100 * found['first']:.1f} %"
    )
