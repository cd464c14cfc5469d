"""An embedded data set: short pieces of music, composed and rendered by rule, one an index.

`compose(index)` decides what a track is (genre, tempo, key, who plays) and costs microseconds;
`render(index)` also plays it. Both are pure functions of their arguments: the same index is the
same track everywhere. Nothing is recorded or sampled, so nothing needs a licence.

A track has up to four sources: a singer (syllables through moving formants, in phrases), drums
(a pattern of its genre, tuned tom-toms in fills), a bass line and one or two harmonic instruments.
Sources overlap in frequency and in time, so no fixed equaliser takes them apart. A source that
does not play is a stem of zeros; at least two do play.
"""

from dataclasses import dataclass

import numpy as np

from mss_core.data.synthetic import composition, instruments
from mss_core.data.synthetic.composition import GENRES, SOURCES, TAGS, VERSION, Song, compose

__all__ = ["ACTIVITY_RATE", "GENRES", "SOURCES", "TAGS", "VERSION", "Song", "Track", "activity", "compose", "render"]

ACTIVITY_RATE = 50  # activity frames a second

# Level of a stem against the others in dB, before a random gain of up to `_SPREAD` dB either way.
_LEVELS = {"vocals": 2.0, "drums": 0.0, "bass": -2.0, "other": -2.0}
_SPREAD = 4.5
_DRUMS = {  # maker, and loudness of a full stroke
    "kick drum": (instruments.kick, 1.0),
    "snare drum": (instruments.snare, 0.8),
    "hand clap": (instruments.clap, 0.8),
    "tom-toms": (instruments.tom, 0.8),
    "hi-hat": (instruments.closed_hat, 0.35),
    "open hi-hat": (instruments.open_hat, 0.4),
    "shaker": (instruments.shaker, 0.35),
    "cymbal": (instruments.cymbal, 0.5),
}
_TONES = {
    "guitar": instruments.guitar,
    "piano": instruments.piano,
    "organ": instruments.organ,
    "strings": instruments.strings,
    "electric bass": instruments.electric_bass,
    "synth bass": instruments.synth_bass,
    "double bass": instruments.double_bass,
}


@dataclass(frozen=True)
class Track:
    """A rendered track. The mixture is the float32 sum of the stems in the order of SOURCES."""

    name: str
    stems: dict[str, np.ndarray]  # source -> float32 (time,)
    mixture: np.ndarray  # float32 (time,), peak below 1
    activity: dict[str, np.ndarray]  # source -> uint8 (frame,), 1 where it sounds
    instruments: tuple[str, ...]  # what is heard: "female voice", "kick drum", "organ", ...
    tags: tuple[str, ...]  # a subset of TAGS, in their order
    genre: str


def render(index: int, seconds: float = 8.0, samplerate: int = 16000) -> Track:
    """The track of an index; its score depends on `seconds`, but not on `samplerate`.

    Args:
        index: any integer from 0; different ones are different tracks.
        seconds: length, 2 to 600.
        samplerate: samples a second, 8000 to 48000.
    """
    song = compose(index)
    if not 2.0 <= seconds <= 600.0:
        raise ValueError(f"synthetic track of {seconds!r} seconds: choose 2 to 600")
    if samplerate != round(samplerate) or not 8000 <= samplerate <= 48000:
        raise ValueError(f"synthetic track at {samplerate!r} Hz: choose a whole 8000 to 48000")
    samplerate = int(samplerate)
    beats = seconds * song.tempo / 60.0
    sounds = {source: np.zeros(round(seconds * samplerate)) for source in SOURCES}
    names: list[str] = []
    parts = (_vocals, _drums, _bass, _other)
    for stream, (source, part) in enumerate(zip(SOURCES, parts, strict=True), start=1):
        # Two chances: one for what is written, which must not depend on the sample rate, and one
        # for how it sounds, which draws noise by the sample.
        score = composition.generator(index, stream)
        sound = composition.generator(index, 16 + stream)
        names += part(song, beats, sounds[source], samplerate, score, sound)
    stems = _balance(sounds, samplerate, composition.generator(index, 32))
    mixture = stems[SOURCES[0]].copy()
    for source in SOURCES[1:]:
        mixture += stems[source]
    return Track(
        name=song.name,
        stems=stems,
        mixture=mixture,
        activity={source: activity(stem, samplerate) for source, stem in stems.items()},
        instruments=tuple(names),
        tags=song.tags,
        genre=song.genre,
    )


def activity(stem: np.ndarray, samplerate: int) -> np.ndarray:
    """Whether a stem sounds, ACTIVITY_RATE times a second.

    A frame is active when it or a neighbour up to 60 ms away is within 36 dB of the loudest frame.

    Shape:
        stem: (time,); returns uint8 (frame,), where frame i starts at i / ACTIVITY_RATE seconds.
    """
    frames = -(-len(stem) * ACTIVITY_RATE // samplerate)
    edges = np.arange(frames) * samplerate // ACTIVITY_RATE
    energy = np.add.reduceat(np.asarray(stem, dtype=np.float64) ** 2, edges)
    energy /= np.diff(np.append(edges, len(stem)))
    if not energy.max() > 0.0:
        return np.zeros(frames, dtype=np.uint8)
    loud = energy > energy.max() * 10.0**-3.6
    near = np.convolve(loud, np.ones(7))[3 : 3 + frames]
    return (near > 0.5).astype(np.uint8)


# ---- parts: each plays into `stem` and returns the names of what played -------------------------


def _vocals(song, beats, stem, samplerate, score, sound):
    if not song.voice:
        return []
    female = song.voice == "female"
    size, tilt = 0.94 + 0.12 * sound.random(), 0.9 + 0.35 * sound.random()
    low = (57 if female else 45) + int(score.integers(6))
    for phrase in composition.melody(song, beats, score, (low, low + 14), (3, 7), (1, 3.5)):
        start, notes = _timed(phrase, song.tempo)
        voice = instruments.sing(notes, samplerate, sound, female, size, tilt)
        _add(stem, int(start * samplerate), voice)
    return [f"{song.voice} voice"]


def _drums(song, beats, stem, samplerate, score, sound):
    if not song.drums:
        return []
    swing = composition.STYLES[song.genre].swing / 6.0  # how late every other sixteenth is
    low = 85.0 + 35.0 * score.random()  # of the tom-toms
    gains = {drum: full * 10.0 ** (0.15 * score.random()) for drum, (_, full) in _DRUMS.items()}
    kit: dict[str, list[np.ndarray]] = {}
    for count, (beat, drum, velocity) in enumerate(composition.strokes(song, beats, score)):
        if drum not in kit:  # three strokes of each, so that no two in a row are the same
            tuned = [{"frequency": ratio * low} for ratio in (1.68, 1.33, 1.0)]
            options = tuned if drum == "tom-toms" else [{}] * 3
            kit[drum] = [_DRUMS[drum][0](samplerate, sound, **option) for option in options]
        late = swing if round(beat * 4) % 2 else 0.0
        start = (beat + late) * 60.0 / song.tempo + 0.006 * score.random()
        _add(stem, int(start * samplerate), kit[drum][count % 3], velocity * gains[drum])
    return [drum for drum in _DRUMS if drum in kit]


def _bass(song, beats, stem, samplerate, score, sound):
    if not song.bass:
        return []
    notes = composition.bass_line(song, beats, score)
    _play(song.bass, notes, song.tempo, stem, samplerate, sound)
    return [song.bass]


def _other(song, beats, stem, samplerate, score, sound):
    silent = composition.rest(beats, score)
    for place, name in enumerate(song.other):
        part = np.zeros(len(stem))
        if name == "saxophone" or (place == 1 and score.random() < 0.7):
            low = 55 + int(score.integers(8))
            phrases = composition.melody(song, beats, score, (low, low + 14), (2, 6), (0.5, 3))
            notes = [(*note, 1.0) for phrase in phrases for note in phrase]
        else:
            phrases, notes = [], composition.chords(song, beats, score, name)
        if name == "saxophone":  # blown in one breath, gliding from note to note
            for phrase in phrases:
                start, blown = _timed(phrase, song.tempo)
                line = instruments.saxophone(blown, samplerate, sound)
                _add(part, int(start * samplerate), line)
        else:
            _play(name, notes, song.tempo, part, samplerate, sound)
        level = np.sqrt(np.mean(part * part))
        _add(stem, 0, part, 10.0 ** (0.3 * (score.random() - 0.5)) / level)
    stem *= _mute(silent, song.tempo, len(stem), samplerate)
    return list(song.other)


def _timed(phrase, tempo):
    """Start in seconds of a phrase in beats, and its notes in seconds from there."""
    unit, first = 60.0 / tempo, phrase[0][0]
    notes = [((beat - first) * unit, length * unit, pitch) for beat, length, pitch in phrase]
    return first * unit, notes


def _play(name, notes, tempo, stem, samplerate, rng):
    """Add notes `(beat, length, pitch, velocity)`; a note that returns sounds the same."""
    tones: dict[tuple[float, int], np.ndarray] = {}
    for beat, length, pitch, velocity in notes:
        if (length, pitch) not in tones:
            seconds = length * 60.0 / tempo
            tones[length, pitch] = _TONES[name](pitch, seconds, samplerate, rng)
        _add(stem, int(beat * 60.0 / tempo * samplerate), tones[length, pitch], velocity)


def _add(stem, start, sound, gain=1.0):
    if start < len(stem):
        stop = min(len(stem), start + len(sound))
        stem[start:stop] += gain * sound[: stop - start]


def _mute(beats, tempo, length, samplerate):
    """A gain of 0 between two beats and of 1 elsewhere, with 20 ms between."""
    if beats[0] == beats[1]:
        return 1.0
    first, last = (beat * 60.0 / tempo * samplerate for beat in beats)
    width = 0.02 * samplerate
    time = np.arange(length)
    return np.clip(np.maximum(first - time, time - last) / width, 0.0, 1.0)


# ---- balance -----------------------------------------------------------------------------------


def _balance(sounds, samplerate, rng):
    """Stems in float32 at this track's levels, edges faded, mixture peak between 0.4 and 0.9."""
    length = len(sounds[SOURCES[0]])
    time = np.arange(length)
    fade = np.clip(np.minimum(time, length - 1 - time) / (0.01 * samplerate), 0.0, 1.0)
    total = np.zeros(length)
    scaled = {}
    for source in SOURCES:
        gain = _LEVELS[source] + _SPREAD * (2.0 * rng.random() - 1.0)
        sound = sounds[source] * fade
        busy = activity(sound, samplerate).mean()
        if busy > 0.0:  # the level counts while the source sounds, however seldom that is
            sound *= 10.0 ** (gain / 20.0) * np.sqrt(busy / np.mean(sound * sound))
        scaled[source] = sound
        total += sound
    gain = (0.4 + 0.5 * rng.random()) / np.abs(total).max()
    stems = {source: (gain * sound).astype(np.float32) for source, sound in scaled.items()}
    for stem in stems.values():
        stem[np.abs(stem) < 1e-7] = 0.0  # no denormals: they slow whatever is computed later
    return stems
