"""What the synthetic data set plays: songs and their scores, composed by rule from an index.

`compose(index)` decides genre, tempo, key and players; the other functions write one part each, as
plain tuples. Conventions: times and lengths are in beats, pitches are MIDI numbers, scale degrees
count from 0, velocities lie between 0 and 1. Chance comes from `generator` alone.
"""

from dataclasses import dataclass

import numpy as np

SOURCES = ("vocals", "drums", "bass", "other")
GENRES = ("rock", "dance", "soul", "folk")
TAGS = (
    "vocals",
    "female voice",
    "male voice",
    "drums",
    "bass",
    "guitar",
    "piano",
    "organ",
    "strings",
    "saxophone",
    "minor",
    "fast",
)
VERSION = 1  # raise it when a rendered sample changes: artefacts made of tracks depend on it
FAST = 120.0  # beats a minute from which a track is tagged "fast"

# Rows of a drum pattern, one mark per sixteenth.
_BACKBEAT = "....x.......x..."
_EIGHTHS = "x.x.x.x.x.x.x.x."
_SIXTEENTHS = "xxxxxxxxxxxxxxxx"
_SKIPPING = "x.xxx.xxx.xxx.xx"
_MAJOR, _MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)


@dataclass(frozen=True)
class Style:
    """What a genre makes likely."""

    tempo: tuple[float, float]
    minor: float
    swing: float
    present: dict[str, float]
    palette: dict[str, float]
    basses: tuple[str, ...]
    progressions: tuple[tuple[int, ...], ...]
    bass_lines: tuple[str, ...]  # 8 eighths: r root, o octave, f fifth, t third, - hold, . rest
    patterns: tuple[dict[str, str], ...]  # drum -> 16 sixteenths


STYLES = {
    "rock": Style(
        tempo=(96, 170),
        minor=0.4,
        swing=0.0,
        present={"vocals": 0.68, "drums": 0.8, "bass": 0.75, "other": 0.85},
        palette={"guitar": 0.42, "piano": 0.14, "organ": 0.24, "strings": 0.08, "saxophone": 0.12},
        basses=("electric bass", "electric bass", "synth bass"),
        progressions=((0, 4, 5, 3), (0, 3, 4, 4), (0, 5, 3, 4), (0, 6, 3, 0)),
        bass_lines=("rrrrrrrr", "r-rr-rrr", "r-r-rrof"),
        patterns=(
            {"kick drum": "x.......x.x.....", "snare drum": _BACKBEAT, "hi-hat": _EIGHTHS},
            {"kick drum": "x..x....x.x.....", "snare drum": "....x.......x..x", "open hi-hat": "x...x...x...x..."},
            {"kick drum": "x.x.....x.x...x.", "snare drum": _BACKBEAT, "tom-toms": "..x...x...x...x."},
        ),
    ),
    "dance": Style(
        tempo=(104, 150),
        minor=0.6,
        swing=0.0,
        present={"vocals": 0.58, "drums": 0.84, "bass": 0.75, "other": 0.85},
        palette={"guitar": 0.08, "piano": 0.24, "organ": 0.28, "strings": 0.28, "saxophone": 0.12},
        basses=("synth bass", "synth bass", "electric bass"),
        progressions=((0, 5, 2, 6), (0, 0, 3, 4), (0, 3, 5, 4), (0, 2, 3, 5)),
        bass_lines=(".r.r.r.r", "r.rr.ror", "rororoff"),
        patterns=(
            {"kick drum": "x...x...x...x...", "hand clap": _BACKBEAT, "open hi-hat": "..x...x...x...x."},
            {"kick drum": "x...x...x...x..x", "snare drum": _BACKBEAT, "hi-hat": _SIXTEENTHS},
            {"kick drum": "x..x..x.x..x..x.", "hand clap": _BACKBEAT, "shaker": _SIXTEENTHS},
        ),
    ),
    "soul": Style(
        tempo=(70, 122),
        minor=0.6,
        swing=0.3,
        present={"vocals": 0.72, "drums": 0.64, "bass": 0.74, "other": 0.9},
        palette={"guitar": 0.12, "piano": 0.24, "organ": 0.22, "strings": 0.14, "saxophone": 0.28},
        basses=("electric bass", "double bass", "synth bass"),
        progressions=((1, 4, 0, 5), (0, 5, 1, 4), (0, 3, 1, 4), (3, 2, 1, 0)),
        bass_lines=("r--f.ro.", "r.rf.o-t", "r-tf-of-"),
        patterns=(
            {"kick drum": "x..x..x...x.....", "snare drum": "....x..x.x..x...", "hi-hat": _SKIPPING},
            {"kick drum": "x.....x...x..x..", "snare drum": _BACKBEAT, "shaker": _SKIPPING},
            {"kick drum": "x......x..x.....", "hand clap": _BACKBEAT, "hi-hat": "x.x.x.x.x.x.x.xx"},
        ),
    ),
    "folk": Style(
        tempo=(74, 138),
        minor=0.3,
        swing=0.15,
        present={"vocals": 0.66, "drums": 0.38, "bass": 0.5, "other": 0.97},
        palette={"guitar": 0.4, "piano": 0.2, "organ": 0.06, "strings": 0.22, "saxophone": 0.12},
        basses=("double bass", "double bass", "electric bass"),
        progressions=((0, 3, 0, 4), (0, 4, 5, 3), (0, 3, 4, 0), (5, 3, 0, 4)),
        bass_lines=("r---f---", "r-----f-", "r---f-t-"),
        patterns=(
            {"kick drum": "x.......x.......", "shaker": _SKIPPING, "tom-toms": "......x.......x."},
            {"kick drum": "x.......x.......", "snare drum": _BACKBEAT, "shaker": _EIGHTHS},
            {"tom-toms": "x..x..x.x..x..x.", "shaker": _SKIPPING},
        ),
    ),
}


@dataclass(frozen=True)
class Song:
    """What is decided about a track before a note is written."""

    index: int
    genre: str
    tempo: float  # beats a minute
    tonic: int  # pitch class, 0 is C
    minor: bool
    progression: tuple[int, ...]  # root of each chord, as a scale degree
    chord_beats: int
    voice: str  # "female", "male" or "" for none
    drums: bool
    bass: str  # "electric bass", "synth bass", "double bass" or ""
    other: tuple[str, ...]  # up to two of the palette

    @property
    def name(self) -> str:
        return f"synthetic-{self.index:06d}"

    @property
    def tags(self) -> tuple[str, ...]:
        """The subset of TAGS that is true, in their order."""
        true = {*self.other, f"{self.voice} voice" if self.voice else ""}
        true.add("vocals" if self.voice else "")
        true.add("drums" if self.drums else "")
        true.add("bass" if self.bass else "")
        true.add("minor" if self.minor else "")
        true.add("fast" if self.tempo >= FAST else "")
        return tuple(tag for tag in TAGS if tag in true)

    def pitch(self, degree: int, octave: int = 0) -> int:
        """MIDI pitch of a scale degree of any size; octave 0 starts at the tonic near C-1."""
        scale = _MINOR if self.minor else _MAJOR
        return self.tonic + scale[degree % 7] + 12 * (octave + degree // 7)

    def chord(self, beat: float) -> int:
        """Scale degree of the chord's root at a beat."""
        return self.progression[int(beat // self.chord_beats) % len(self.progression)]


def compose(index: int) -> Song:
    """The song of an index: everything that labels need, without any audio."""
    if isinstance(index, bool) or not isinstance(index, int | np.integer) or index < 0:
        raise ValueError(f"synthetic track number {index!r}: choose an integer from 0")
    rng = generator(index, 0)
    genre = pick(rng, GENRES)
    style = STYLES[genre]
    low, high = style.tempo
    # Two draws make a hump in the middle of the range; the ranges of genres overlap.
    tempo = round(low + (high - low) * 0.5 * (rng.random() + rng.random()), 2)
    while True:
        present = {source: rng.random() < style.present[source] for source in SOURCES}
        if sum(present.values()) >= 2:
            break
    voice = pick(rng, ("female", "male"))
    first = weighted(rng, style.palette)
    second = weighted(rng, {k: v for k, v in style.palette.items() if k != first})
    other = (first, second) if rng.random() < 0.6 else (first,)
    return Song(
        index=int(index),
        genre=genre,
        tempo=tempo,
        tonic=int(rng.integers(12)),
        minor=bool(rng.random() < style.minor),
        progression=pick(rng, style.progressions),
        chord_beats=2 if rng.random() < (0.6 if tempo < 100 else 0.25) else 4,
        voice=voice if present["vocals"] else "",
        drums=present["drums"],
        bass=pick(rng, style.basses) if present["bass"] else "",
        other=other if present["other"] else (),
    )


def generator(index, stream):
    """Chance for one use in one track: `stream` numbers the uses."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([VERSION, index, stream])))


def pick(rng, items):
    """One of a sequence, each as likely."""
    return items[int(rng.integers(len(items)))]


def weighted(rng, weights):
    """One of the names of `weights`, as likely as its weight."""
    point = rng.random() * sum(weights.values())
    for name, weight in weights.items():
        point -= weight
        if point < 0.0:
            return name
    return name


# ---- scores ------------------------------------------------------------------------------------


def rest(beats, rng):
    """Start and stop of a break in which a part is silent, in two tracks of five; else (0, 0)."""
    start = 2.0 * int(rng.random() * beats / 2.0)
    span = 2.0 + 2.0 * int(rng.random() * beats / 6.0)
    return (start, start + span) if rng.random() < 0.4 and beats > 8.0 else (0.0, 0.0)


_CELLS = ((1.0,), (0.5, 0.5), (0.5, 0.5), (1.5, 0.5), (2.0,), (0.5, 1.0, 0.5), (0.75, 0.25))


def melody(song, beats, rng, span, lengths, gaps):
    """Phrases, each a list of `(beat, length, pitch)`, that wander by step over chord tones.

    The first begins within the first quarter of the track, so that who plays is always heard.

    Args:
        span: lowest and highest pitch.
        lengths: shortest and longest phrase in beats.
        gaps: the same of the pauses between.
    """
    ladder = [degree for degree in range(80) if span[0] <= song.pitch(degree) <= span[1]]
    place = int(rng.integers(len(ladder)))
    beat = 0.5 * int(2.0 * rng.random() * min(4.0, 0.25 * beats))
    phrases = []
    while beat < beats - 0.5:
        end = min(beats, beat + lengths[0] + (lengths[1] - lengths[0]) * rng.random())
        phrase = []
        while beat < end:
            for part, length in enumerate(pick(rng, _CELLS)):
                place += (-2, -1, -1, 0, 1, 1, 2, 4, -4)[int(rng.integers(9))]
                place = min(max(place, 0), len(ladder) - 1)
                if part == 0:
                    place = _nearest_chord_tone(ladder, place, song.chord(beat))
                phrase.append((beat, length, song.pitch(ladder[place])))
                beat += length
        phrases.append(phrase)
        beat += 0.5 * round(2.0 * (gaps[0] + (gaps[1] - gaps[0]) * rng.random()))
    return phrases


def _nearest_chord_tone(ladder, place, root):
    near = sorted(range(len(ladder)), key=lambda other: (abs(other - place), other))
    return next(other for other in near if (ladder[other] - root) % 7 in (0, 2, 4))


def strokes(song, beats, rng):
    """Drum strokes `(beat, drum, velocity)`: the genre's pattern, varied, with tom fills."""
    pattern = pick(rng, STYLES[song.genre].patterns)
    silent = rest(beats, rng)
    found = []
    for bar in range(int(beats // 4) + 1):
        fill = 16
        if bar % 2 == 1 and rng.random() < 0.7:
            fill = 16 - 4 * int(rng.integers(1, 3))
        if bar % 4 == 0 and rng.random() < 0.6:
            found.append((4.0 * bar, "cymbal", 0.8))
        for step in range(16):
            beat = 4.0 * bar + step / 4.0
            accent = 1.0 if step % 4 == 0 else 0.7
            for drum, row in pattern.items():
                hit = rng.random() < (0.96 if row[step] == "x" else 0.02)
                velocity = accent * (0.8 + 0.2 * rng.random())
                if hit and (step < fill or drum == "kick drum"):
                    found.append((beat, drum, velocity))
            if step >= fill and rng.random() < 0.75:
                found.append((beat, "tom-toms", 0.7 + 0.3 * rng.random()))
    return sorted(s for s in found if s[0] < beats and not silent[0] <= s[0] < silent[1])


def bass_line(song, beats, rng):
    """Bass notes `(beat, length, pitch, velocity)` on tones of the chord, E1 to A2."""
    lines = STYLES[song.genre].bass_lines
    line, turn = pick(rng, lines), pick(rng, lines)
    silent = rest(beats, rng)
    octave = -(-(28 - song.tonic) // 12)  # of the first tonic from E1 up
    notes = []
    for place in range(int(2 * beats) + 1):
        beat = place / 2.0
        row = turn if (place // 8) % 4 == 3 else line
        mark = row[place % 8]
        if mark in ".-" or silent[0] <= beat < silent[1]:
            continue
        step = {"r": 0, "t": 2, "f": 4, "o": 7}[mark]
        pitch = song.pitch(song.chord(beat) + step, octave)
        while pitch > 45:
            pitch -= 12
        notes.append((beat, 0.46 * _held(row, place % 8), pitch, 0.8 + 0.2 * rng.random()))
    return notes


def _held(row, place):
    """Eighths for which the mark at `place` sounds: itself and the dashes behind it."""
    tail = row[place + 1 :]
    return 1 + len(tail) - len(tail.lstrip("-"))


# Where chords are struck in a bar of eight eighths, and for how long they are held.
_COMPS = {
    "guitar": ("x-x-xxx-", "x--x--x-", "xxx-xxx-"),
    "piano": ("x---x---", "x--x--x-", "x-x-x-x-"),
    "organ": ("x-------", "x-----x-", ".x.x.x.x"),
    "strings": ("x-------", "x---x---"),
}


def chords(song, beats, rng, instrument):
    """Notes `(beat, length, pitch, velocity)` of an accompaniment: struck or broken chords."""
    row = pick(rng, _COMPS[instrument])
    broken = instrument in ("guitar", "piano") and rng.random() < 0.45
    low = 48 + int(rng.integers(10))
    notes = []
    for place in range(int(2 * beats) + 1):
        beat = place / 2.0
        velocity = (1.0 if place % 4 == 0 else 0.75) * (0.85 + 0.15 * rng.random())
        root = song.chord(beat)
        tones = sorted(low + (song.pitch(root + step) - low) % 12 for step in (0, 2, 4))
        if broken:
            tone = (tones[0], tones[2], tones[1] + 12, tones[1])[place % 4]
            notes.append((beat, 1.0, tone, velocity))
        elif row[place % 8] == "x":
            length = 0.48 * min(_held(row, place % 8), 2 * song.chord_beats)
            strum = 0.025 if instrument == "guitar" else 0.0
            notes += [(beat + strum * i, length, tone, velocity) for i, tone in enumerate(tones)]
    return notes
