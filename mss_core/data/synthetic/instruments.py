"""Sounds of the synthetic data set: numpy arrays in float64, computed from pitch and length.

Conventions: a pitch is a MIDI note number; a sound is mono, `(time,)`, has no DC and a peak of
about 1; every random choice comes from the Generator passed in. Sums of partials are read from
one-period tables, which costs one look-up for all partials and keeps everything below Nyquist.
"""

import numpy as np

_SIZE = 2048  # samples in a one-period table

# First five formants of a man singing (Hz); a woman's lie higher, see `sing`.
VOWELS = {
    "a": (730, 1090, 2440, 3400, 4500),
    "e": (530, 1840, 2480, 3500, 4600),
    "i": (290, 2250, 3000, 3600, 4700),
    "o": (540, 860, 2410, 3300, 4400),
    "u": (320, 800, 2240, 3250, 4300),
}
_BANDWIDTHS = np.array([80.0, 95.0, 130.0, 220.0, 300.0])
# Noise bands of consonants (Hz), their length in seconds and their level.
_CONSONANTS = {
    "s": (3800, 7400, 0.10, 0.30),
    "sh": (2000, 5200, 0.10, 0.32),
    "f": (1200, 7000, 0.07, 0.14),
    "k": (1400, 3200, 0.035, 0.5),
    "t": (2600, 6800, 0.025, 0.5),
}


def hertz(pitch):
    """Frequency in Hz of a MIDI pitch."""
    return 440.0 * 2.0 ** ((np.asarray(pitch, dtype=np.float64) - 69.0) / 12.0)


def _noise(rng, length):
    return (rng.random(length) - 0.5) * 3.4641016151377544  # uniform, variance 1


def _band(sound, low, high, samplerate):
    """`sound` between two frequencies, either of which may be None."""
    from scipy.signal import butter, sosfilt  # slow to import, and every process of a study imports this module

    top = 0.49 * samplerate
    low = None if low is None else min(low, 0.8 * top)
    if high is None or high >= top:
        return sosfilt(butter(2, low, "highpass", fs=samplerate, output="sos"), sound)
    if low is None:
        return sosfilt(butter(2, high, "lowpass", fs=samplerate, output="sos"), sound)
    return sosfilt(butter(2, (low, high), "bandpass", fs=samplerate, output="sos"), sound)


def _partials(frequency, samplerate, highest=7600.0):
    """Numbers of the partials of `frequency` that may sound: 1, 2, 3, ..."""
    count = int(min(highest, 0.47 * samplerate) / frequency)
    return np.arange(1, max(1, min(count, _SIZE // 2 - 1)) + 1)


def _table(amplitudes, seed=0):
    """One period of a sum of partials with fixed scattered phases, of RMS 0.35."""
    number = np.arange(1, len(amplitudes) + 1)
    spectrum = np.zeros(_SIZE // 2 + 1, dtype=np.complex128)
    # Golden-ratio phases: as flat as random ones, without a generator.
    angle = 2 * np.pi * ((number * number * 0.6180339887498949 + 0.37 * seed) % 1.0)
    spectrum[1 : len(amplitudes) + 1] = amplitudes * np.exp(1j * angle)
    period = np.fft.irfft(spectrum, _SIZE)
    period *= 0.35 / np.sqrt(np.mean(period * period))
    return np.append(period, period[0])


def _read(table, phase):
    """`table` at `phase` (in periods), by linear interpolation."""
    place = (phase - np.floor(phase)) * _SIZE
    left = place.astype(np.intp)
    np.minimum(left, _SIZE - 1, out=left)
    value = table[left]
    return value + (place - left) * (table[left + 1] - value)


def _clock(seconds, samplerate):
    return np.arange(max(1, int(seconds * samplerate))) / samplerate


def _swell(time, seconds, attack, release):
    """Envelope from 0 to 1 and back to 0 over `seconds` (half-cosine edges)."""
    envelope = np.ones(len(time))
    rise, fall = np.searchsorted(time, (attack, seconds - release))
    envelope[:rise] = 0.5 - 0.5 * np.cos(np.pi / attack * time[:rise])
    left = np.maximum(seconds - time[fall:], 0.0)
    envelope[fall:] *= 0.5 - 0.5 * np.cos(np.pi / release * left)
    return envelope


# ---- harmonic instruments: (pitch, seconds, samplerate, rng) -> sound -------------------------


def guitar(pitch, seconds, samplerate, rng):
    """A plucked string [Karplus and Strong 1983], resampled to its exact pitch."""
    frequency = float(hertz(pitch))
    ring = min(seconds + 0.25, 2.5)
    # The averaging below is by the sample, so the string has its own rate, the same for all.
    size = max(8, int(min(16000, samplerate) / frequency))
    periods = int(ring * frequency) + 2
    pluck = _noise(rng, size)
    pluck = 0.6 * pluck + 0.4 * np.roll(pluck, 1)
    pluck -= 0.8 * np.roll(pluck, max(1, size // 7))  # the comb of a pick near the bridge
    rows = np.empty((periods, size))
    rows[0] = pluck - pluck.mean()
    loss = 0.5 * 0.5 ** (1.0 / (0.9 * frequency))
    for before, row in zip(rows, rows[1:], strict=False):
        np.add(before[1:], before[:-1], out=row[1:])
        row[0] = before[0] + before[-1]
        row *= loss
    time = _clock(ring, samplerate)
    place = time * (frequency * size)
    left = place.astype(np.intp)
    flat = rows.reshape(-1)
    value = flat[left] + (place - left) * (flat[left + 1] - flat[left])
    return 0.4 * value * _swell(time, ring, 0.002, min(0.12, 0.5 * ring))


def piano(pitch, seconds, samplerate, rng):
    """Two slightly detuned strings: bright partials die first; a felt knock starts them."""
    frequency = float(hertz(pitch))
    ring = min(seconds + 0.12, 3.0)
    time = _clock(ring, samplerate)
    number = _partials(frequency, samplerate)
    hammer = np.abs(np.sin(np.pi * number / 8.3)) + 0.08
    bright = _table(hammer * number**-0.7 * np.exp(-number * frequency / 4000.0), 1)
    dark = _table(hammer * number**-1.8, 2)
    life = 1.4 * (440.0 / frequency) ** 0.5
    sound = 0.7 * np.exp(-time * (5.0 / life)) * _read(bright, time * frequency)
    sound += np.exp(-time * (1.2 / life)) * _read(dark, time * (frequency * 1.0011))
    knock = min(len(time), int(0.03 * samplerate))
    sound[:knock] += 0.10 * _noise(rng, knock) * np.linspace(1.0, 0.0, knock) ** 2
    return sound * _swell(time, ring, 0.003, min(0.08, 0.5 * ring))


def organ(pitch, seconds, samplerate, rng):
    """Drawbars through a rotating speaker: steady, with tremolo and a key click."""
    frequency = float(hertz(pitch))
    time = _clock(seconds, samplerate)
    bars = {1: 1.0, 2: 0.8, 3: 0.7, 4: 0.5, 6: 0.35, 8: 0.4, 10: 0.15, 12: 0.15, 16: 0.12}
    number = _partials(frequency, samplerate)
    table = _table(np.array([bars.get(int(n), 0.01) for n in number]), 3)
    spin = np.sin(2 * np.pi * (6.3 * time + rng.random()))
    sound = _read(table, time * frequency + 0.0006 * frequency / 6.3 * spin)
    click = min(len(time), int(0.006 * samplerate))
    sound[:click] += 0.12 * _noise(rng, click)
    return sound * (1.0 + 0.22 * spin) * _swell(time, seconds, 0.006, 0.02)


def strings(pitch, seconds, samplerate, rng):
    """Three players bowing one note: detuned, each with a vibrato of its own."""
    frequency = float(hertz(pitch))
    ring = seconds + 0.15
    time = _clock(ring, samplerate)
    number = _partials(frequency, samplerate)
    partial = number * frequency
    body = 1.0 + 1.5 * np.exp(-(((partial - 520) / 220) ** 2))
    body += 1.2 * np.exp(-(((partial - 2700) / 900) ** 2))
    table = _table(body / number * np.exp(-partial / 6000.0), 4)
    sound = np.zeros(len(time))
    for cents in (-7.0, 1.0, 8.0):
        rate, turn = 4.8 + 1.4 * rng.random(), rng.random()
        own = frequency * 2.0 ** (cents / 1200.0)
        wobble = 0.006 * own / (2 * np.pi * rate) * np.sin(2 * np.pi * (rate * time + turn))
        sound += _read(table, own * time + wobble + turn)
    return 0.65 * sound * _swell(time, ring, min(0.16, 0.4 * ring), min(0.22, 0.4 * ring))


# ---- basses ------------------------------------------------------------------------------------


def _thump(sound, time, seconds, samplerate):
    """A bass note with its edges, free of the slow push that a short low note would have."""
    sound = sound * _swell(time, seconds, 0.005, min(0.03, 0.5 * seconds))
    sound = _band(sound, 25, None, samplerate)
    return (sound - sound.mean()) * _swell(time, seconds, 0.005, min(0.03, 0.5 * seconds))


def electric_bass(pitch, seconds, samplerate, rng):
    """A plucked bass: bright partials die first, mildly overdriven."""
    frequency = float(hertz(pitch))
    time = _clock(seconds, samplerate)
    number = _partials(frequency, samplerate, 3000.0)
    bright = _table(np.abs(np.sin(number * 0.55)) * number**-0.6, 5)
    dark = _table(number**-2.0, 6)
    sound = np.exp(-time * 9.0) * _read(bright, time * frequency)
    sound += 1.6 * np.exp(-time * 1.5) * _read(dark, time * frequency)
    return _thump(np.tanh(1.2 * sound), time, seconds, samplerate)


def synth_bass(pitch, seconds, samplerate, rng):
    """A saw wave under a closing filter."""
    frequency = float(hertz(pitch))
    time = _clock(seconds, samplerate)
    number = _partials(frequency, samplerate, 4500.0)
    bright, dark = _table(1.0 / number, 7), _table(number**-2.4, 7)
    opening = np.exp(-time * 8.0)
    phase = time * frequency
    sound = opening * _read(bright, phase) + (1.2 - 0.6 * opening) * _read(dark, phase)
    return _thump(sound, time, seconds, samplerate)


def double_bass(pitch, seconds, samplerate, rng):
    """A soft plucked bass with a finger noise."""
    frequency = float(hertz(pitch))
    time = _clock(seconds, samplerate)
    number = _partials(frequency, samplerate, 1800.0)
    sound = np.exp(-time * 2.6) * _read(_table(number**-1.7, 8), time * frequency)
    tap = min(len(time), int(0.025 * samplerate))
    sound[:tap] += 0.2 * _noise(rng, tap) * np.linspace(1.0, 0.0, tap) ** 2
    return _thump(sound, time, seconds, samplerate)


# ---- drums: (samplerate, rng) -> one stroke ----------------------------------------------------


def _membrane(time, start, end, drop, decay):
    """A sine gliding from one frequency to another under a decaying envelope."""
    phase = end * time + (start - end) * drop * (1.0 - np.exp(-time / drop))
    return np.sin(2 * np.pi * phase) * np.exp(-time / decay)


def kick(samplerate, rng):
    """A bass drum."""
    time = _clock(0.4, samplerate)
    low = 44.0 + 18.0 * rng.random()
    sound = _membrane(time, low * 4.5, low, 0.022, 0.10 + 0.05 * rng.random())
    sound += 0.25 * _band(_noise(rng, len(time)), 800, 5000, samplerate) * np.exp(-time / 0.006)
    return _band(sound, 25, None, samplerate) * _swell(time, 0.4, 0.001, 0.1)


def snare(samplerate, rng):
    """A snare drum: two modes of the head and rattling wires."""
    time = _clock(0.32, samplerate)
    low = 170.0 + 60.0 * rng.random()
    sound = 0.5 * _membrane(time, low * 1.4, low, 0.015, 0.06)
    sound += 0.3 * _membrane(time, low * 2.2, low * 1.75, 0.015, 0.045)
    wires = _band(_noise(rng, len(time)), 700, 7500, samplerate)
    return sound + 0.33 * wires * np.exp(-time / (0.05 + 0.05 * rng.random()))


def clap(samplerate, rng):
    """A hand clap: four bursts of noise."""
    time = _clock(0.28, samplerate)
    shape = 0.5 * np.exp(-time / 0.06)
    for start in (0.0, 0.011, 0.022, 0.03):
        shape += (time >= start) * np.exp(-np.maximum(time - start, 0.0) / 0.006)
    return 0.4 * shape * _band(_noise(rng, len(time)), 900, 3500, samplerate)


def _metal(samplerate, rng, seconds, decay, low):
    time = _clock(seconds, samplerate)
    ring = np.zeros(len(time))
    for ratio in (2.0, 3.0, 4.16, 5.43, 6.79, 8.21):
        frequency = ratio * (620.0 + 60.0 * rng.random())
        if frequency < 0.45 * samplerate:
            ring += np.sin(2 * np.pi * frequency * time)
    sound = _band(0.12 * ring + 0.5 * _noise(rng, len(time)), low, None, samplerate)
    return 0.8 * sound * np.exp(-time / decay) * _swell(time, seconds, 0.001, 0.3 * seconds)


def closed_hat(samplerate, rng):
    """A closed hi-hat."""
    return _metal(samplerate, rng, 0.12, 0.03, 3500)


def open_hat(samplerate, rng):
    """An open hi-hat."""
    return _metal(samplerate, rng, 0.4, 0.14, 3000)


def cymbal(samplerate, rng):
    """A crash cymbal: long and broad."""
    return _metal(samplerate, rng, 1.6, 0.5, 900)


def shaker(samplerate, rng):
    """A shaker."""
    time = _clock(0.11, samplerate)
    noise = _band(_noise(rng, len(time)), 2500, 7000, samplerate)
    return 0.6 * noise * _swell(time, 0.11, 0.03, 0.07)


def tom(samplerate, rng, frequency=120.0):
    """A tuned tom-tom."""
    time = _clock(0.5, samplerate)
    sound = _membrane(time, 1.5 * frequency, frequency, 0.04, 0.16)
    sound += 0.35 * _membrane(time, 2.4 * frequency, 1.6 * frequency, 0.04, 0.09)
    stick = _band(_noise(rng, len(time)), 500, 4000, samplerate) * np.exp(-time / 0.012)
    return (0.8 * sound + 0.2 * stick) * _swell(time, 0.5, 0.001, 0.12)


# ---- phrases: notes [(start, seconds, pitch)] -> sound, pitch gliding from note to note --------


def _line(notes, samplerate, rng, glide, vibrato):
    """Phase (in periods), loudness and frequency of a sung or blown phrase, sample by sample."""
    length = int((notes[-1][0] + notes[-1][1]) * samplerate)
    time = np.arange(length) / samplerate
    pitch = np.empty(length)
    loud = np.zeros(length)
    depth = np.zeros(length)
    scoop = np.zeros(length)
    for start, seconds, note in notes:
        first, last = int(start * samplerate), int((start + seconds) * samplerate)
        here = time[first:last] - start
        pitch[first:] = note
        edges = min(0.05, 0.4 * seconds), min(0.07, 0.4 * seconds)
        loud[first:last] = (0.75 + 0.25 * rng.random()) * _swell(here, seconds, *edges)
        depth[first:last] = np.clip((here - 0.12) / 0.25, 0.0, 1.0)
        scoop[first:last] -= (0.3 + 1.2 * rng.random()) * np.exp(-here / 0.04)
    # The voice follows its notes like a damped mass: box filters are cheap and have no tail.
    width = max(1, int(glide * samplerate))
    padded = np.concatenate([np.full(width, pitch[0]), pitch])
    total = np.cumsum(padded)
    pitch = (total[width:] - total[:-width]) / width
    rate = 4.9 + 1.3 * rng.random()
    swing = np.sin(2 * np.pi * (rate * time + rng.random()))
    drift = np.sin(2 * np.pi * (0.9 * time + rng.random()))
    frequency = hertz(pitch + scoop + vibrato * depth * swing + 0.08 * drift)
    return np.cumsum(frequency) / samplerate, loud, frequency


def saxophone(notes, samplerate, rng):
    """A blown phrase: reed partials through fixed resonances near a voice's, with breath."""
    phase, loud, frequency = _line(notes, samplerate, rng, 0.03, 0.25)
    centre = float(np.median(frequency))
    partial = _partials(float(frequency.max()), samplerate) * centre
    body = 0.15 + np.exp(-(((partial - 650) / 350) ** 2))
    body += 0.7 * np.exp(-(((partial - 1500) / 500) ** 2))
    body += 0.35 * np.exp(-(((partial - 2900) / 700) ** 2))
    number = partial / centre
    bright, dark = _table(body * number**-0.3, 9), _table(body * number**-1.6, 9)
    sound = loud * loud * _read(bright, phase) + 0.6 * loud * (1 - 0.5 * loud) * _read(dark, phase)
    breath = _band(_noise(rng, len(phase)), 900, 6000, samplerate)
    return sound + 0.035 * loud * breath


def sing(notes, samplerate, rng, female, size=1.0, tilt=1.15):
    """A sung phrase: a glottal pulse train through five moving formants, with consonants.

    Args:
        notes: `(start, seconds, pitch)` of each syllable, in seconds from the phrase's start.
        samplerate: samples a second.
        rng: chooses vowels, consonants and the shape of each onset.
        female: whether the formants are a woman's.
        size: factor on all formants; singers differ by some 6 %.
        tilt: exponent of the glottal spectrum; higher is softer.
    """
    phase, loud, frequency = _line(notes, samplerate, rng, 0.06, 0.35 + 0.25 * rng.random())
    number = _partials(float(frequency.max()), samplerate)
    pulses = _table(number**-tilt, 0)
    noise = _noise(rng, len(phase))
    source = _read(pulses, phase) + 0.02 * noise
    scale = size * (np.array([1.12, 1.18, 1.17, 1.15, 1.15]) if female else np.ones(5))
    names = tuple(VOWELS)
    block = max(16, int(0.012 * samplerate))
    middle = (np.arange(-(-len(phase) // block)) + 0.5) * (block / samplerate)
    formants = np.empty((len(middle), 5))
    hiss = np.zeros(len(phase))
    for start, seconds, _ in notes:
        vowel = np.array(VOWELS[names[rng.integers(5)]]) * scale
        goal = np.array(VOWELS[names[rng.integers(5)]]) * scale
        blend = np.clip((middle - start - 0.3 * seconds) / (0.4 * seconds), 0.0, 1.0)
        if rng.random() < 0.6:
            blend = 0.0 * blend
        later = middle >= start
        formants[later] = (vowel + blend[:, None] * (goal - vowel))[later]
        if rng.random() < 0.55 and seconds > 0.15:
            kind = tuple(_CONSONANTS)[rng.integers(len(_CONSONANTS))]
            low, high, length, level = _CONSONANTS[kind]
            first = int(start * samplerate)
            stop = min(len(phase), first + int(length * samplerate))
            edge = np.sin(np.pi * (np.arange(stop - first) + 0.5) / (stop - first))
            hiss[first:stop] += level * edge * _band(noise[first:stop], low, high, samplerate)
            loud[first:stop] *= np.linspace(0.0, 1.0, stop - first) ** 3
    formants[1:-1] = (formants[:-2] + formants[1:-1] + formants[2:]) / 3.0
    return 2.2 * loud * _resonate(source, formants, block, samplerate) + 0.5 * hiss


def _resonate(source, formants, block, samplerate):
    """`source` through a cascade of resonators [Klatt 1980] that move once a block."""
    from scipy.signal import sosfilt

    keep = formants.max(axis=0) < 0.45 * samplerate
    centres, widths = formants[:, keep], _BANDWIDTHS[keep]
    radius = np.exp(-np.pi * widths / samplerate)
    linear = -2.0 * radius * np.cos(2 * np.pi * centres / samplerate)
    sections = np.zeros((*centres.shape, 6))
    sections[..., 0] = 1.0 + linear + radius**2
    sections[..., 3] = 1.0
    sections[..., 4] = linear
    sections[..., 5] = radius**2
    state = np.zeros((centres.shape[1], 2))
    sound = np.empty_like(source)
    for place, section in enumerate(sections):
        part = slice(place * block, (place + 1) * block)
        sound[part], state = sosfilt(section, source[part], zi=state)
    return sound
