"""An embedded data set: short pieces of music, composed and rendered by rule, one an index.

`compose(index)` decides what a track is (genre, tempo, key, who plays) and costs microseconds;
`render(index)` writes and plays it. Both are pure functions of their arguments: the same index is
the same track everywhere. Nothing is recorded or sampled, so nothing is licensed.

A track has up to four sources: a singer (syllables through moving formants, in phrases), drums
(a pattern of its genre, tuned tom-toms in fills), a bass line and one or two harmonic instruments.
Sources overlap in frequency and in time, so no fixed equaliser takes them apart. A source that
does not play is a stem of zeros.

Conventions: score times are in beats, pitches are MIDI numbers, scale degrees count from 0.
"""

from dataclasses import dataclass

import numpy as np

from mss_core.data import instruments as play

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
ACTIVITY_RATE = 50  # activity frames a second
FAST = 120.0  # beats a minute from which a track is tagged "fast"

# Rows of a drum pattern, a mark a sixteenth.
_BACKBEAT = "....x.......x..."
_EIGHTHS = "x.x.x.x.x.x.x.x."
_SIXTEENTHS = "xxxxxxxxxxxxxxxx"
_SKIPPING = "x.xxx.xxx.xxx.xx"
_MAJOR, _MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
_LABELS = {
    "guitar": "acoustic guitar",
    "electric": "electric bass",
    "synth": "synth bass",
    "double": "double bass",
    "kick": "kick drum",
    "snare": "snare drum",
    "clap": "hand clap",
    "closed": "hi-hat",
    "open": "hi-hat",
    "tom": "tom-toms",
    "shaker": "shaker",
    "cymbal": "cymbal",
}
_BASSES = {
    "electric": play.electric_bass,
    "synth": play.synth_bass,
    "double": play.double_bass,
}
_CHORDAL = {
    "guitar": play.guitar,
    "piano": play.piano,
    "organ": play.organ,
    "strings": play.strings,
}
# Level of a stem against the others in dB, before a random gain of up to `_SPREAD` dB either way.
_LEVELS = {"vocals": 0.0, "drums": 0.0, "bass": -2.0, "other": -1.0}
_SPREAD = 4.5


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


_STYLES = {
    "rock": Style(
        tempo=(96, 170),
        minor=0.4,
        swing=0.0,
        present={"vocals": 0.68, "drums": 0.83, "bass": 0.75, "other": 0.85},
        palette={"guitar": 0.42, "piano": 0.14, "organ": 0.24, "strings": 0.08, "saxophone": 0.12},
        basses=("electric", "electric", "synth"),
        progressions=((0, 4, 5, 3), (0, 3, 4, 4), (0, 5, 3, 4), (0, 6, 3, 0)),
        bass_lines=("rrrrrrrr", "r-rr-rrr", "r-r-rrof"),
        patterns=(
            {"kick": "x.......x.x.....", "snare": _BACKBEAT, "closed": _EIGHTHS},
            {"kick": "x..x....x.x.....", "snare": "....x.......x..x", "open": "x...x...x...x..."},
            {"kick": "x.x.....x.x...x.", "snare": _BACKBEAT, "tom": "..x...x...x...x."},
        ),
    ),
    "dance": Style(
        tempo=(104, 150),
        minor=0.6,
        swing=0.0,
        present={"vocals": 0.58, "drums": 0.87, "bass": 0.75, "other": 0.85},
        palette={"guitar": 0.08, "piano": 0.24, "organ": 0.28, "strings": 0.28, "saxophone": 0.12},
        basses=("synth", "synth", "electric"),
        progressions=((0, 5, 2, 6), (0, 0, 3, 4), (0, 3, 5, 4), (0, 2, 3, 5)),
        bass_lines=(".r.r.r.r", "r.rr.ror", "rororoff"),
        patterns=(
            {"kick": "x...x...x...x...", "clap": _BACKBEAT, "open": "..x...x...x...x."},
            {"kick": "x...x...x...x..x", "snare": _BACKBEAT, "closed": _SIXTEENTHS},
            {"kick": "x..x..x.x..x..x.", "clap": _BACKBEAT, "shaker": _SIXTEENTHS},
        ),
    ),
    "soul": Style(
        tempo=(70, 122),
        minor=0.6,
        swing=0.3,
        present={"vocals": 0.72, "drums": 0.66, "bass": 0.74, "other": 0.9},
        palette={"guitar": 0.12, "piano": 0.24, "organ": 0.22, "strings": 0.14, "saxophone": 0.28},
        basses=("electric", "double", "synth"),
        progressions=((1, 4, 0, 5), (0, 5, 1, 4), (0, 3, 1, 4), (3, 2, 1, 0)),
        bass_lines=("r--f.ro.", "r.rf.o-t", "r-tf-of-"),
        patterns=(
            {"kick": "x..x..x...x.....", "snare": "....x..x.x..x...", "closed": _SKIPPING},
            {"kick": "x.....x...x..x..", "snare": _BACKBEAT, "shaker": _SKIPPING},
            {"kick": "x......x..x.....", "clap": _BACKBEAT, "closed": "x.x.x.x.x.x.x.xx"},
        ),
    ),
    "folk": Style(
        tempo=(74, 138),
        minor=0.3,
        swing=0.15,
        present={"vocals": 0.66, "drums": 0.4, "bass": 0.5, "other": 0.97},
        palette={"guitar": 0.4, "piano": 0.2, "organ": 0.06, "strings": 0.22, "saxophone": 0.12},
        basses=("double", "double", "electric"),
        progressions=((0, 3, 0, 4), (0, 4, 5, 3), (0, 3, 4, 0), (5, 3, 0, 4)),
        bass_lines=("r---f---", "r-----f-", "r---f-t-"),
        patterns=(
            {"kick": "x.......x.......", "shaker": _SKIPPING, "tom": "......x.......x."},
            {"kick": "x.......x.......", "snare": _BACKBEAT, "shaker": _EIGHTHS},
            {"tom": "x..x..x.x..x..x.", "shaker": _SKIPPING},
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
    bass: str  # "electric", "synth", "double" or ""
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


@dataclass(frozen=True)
class Track:
    """A rendered track. The mixture is the float32 sum of the stems in the order of SOURCES."""

    name: str
    stems: dict[str, np.ndarray]  # source -> float32 (time,)
    mixture: np.ndarray  # float32 (time,), peak below 1
    activity: dict[str, np.ndarray]  # source -> uint8 (frame,), 1 where it sounds
    instruments: tuple[str, ...]  # what is heard: "female voice", "kick drum", "organ", ...
    tags: tuple[str, ...]
    genre: str


def compose(index: int) -> Song:
    """The song of an index: everything that labels need, without any audio."""
    if isinstance(index, bool) or not isinstance(index, int | np.integer) or index < 0:
        raise ValueError(f"index {index!r} of a synthetic track: give an integer of 0 or more")
    rng = _generator(index, 0)
    genre = _pick(rng, GENRES)
    style = _STYLES[genre]
    low, high = style.tempo
    # Squared evenness: a broad hump in the middle of the range, so that genres overlap.
    tempo = round(low + (high - low) * 0.5 * (rng.random() + rng.random()), 2)
    while True:
        present = {source: rng.random() < style.present[source] for source in SOURCES}
        if sum(present.values()) >= 2:
            break
    voice = _pick(rng, ("female", "male"))
    first = _weighted(rng, style.palette)
    second = _weighted(rng, {k: v for k, v in style.palette.items() if k != first})
    other = (first, second) if rng.random() < 0.6 else (first,)
    return Song(
        index=int(index),
        genre=genre,
        tempo=tempo,
        tonic=int(rng.integers(12)),
        minor=bool(rng.random() < style.minor),
        progression=_pick(rng, style.progressions),
        chord_beats=2 if rng.random() < (0.6 if tempo < 100 else 0.25) else 4,
        voice=voice if present["vocals"] else "",
        drums=present["drums"],
        bass=_pick(rng, style.basses) if present["bass"] else "",
        other=other if present["other"] else (),
    )


def render(index: int, seconds: float = 8.0, samplerate: int = 16000) -> Track:
    """The track of an index. Its score depends on `seconds`, not on `samplerate`.

    Args:
        index: any integer from 0; different ones are different tracks.
        seconds: length, at least 2.
        samplerate: samples a second, 8000 to 48000.
    """
    song = compose(index)
    if not 2.0 <= seconds <= 600.0:
        raise ValueError(f"seconds {seconds!r} of a synthetic track: give 2 to 600")
    if samplerate != int(samplerate) or not 8000 <= samplerate <= 48000:
        raise ValueError(f"samplerate {samplerate!r} of a synthetic track: give 8000 to 48000")
    samplerate = int(samplerate)
    length = int(round(seconds * samplerate))
    beats = seconds * song.tempo / 60.0
    parts = (_vocals, _drums, _bass, _other)
    names: list[str] = []
    sounds = {}
    for place, (source, part) in enumerate(zip(SOURCES, parts, strict=True)):
        sounds[source] = np.zeros(length)
        score, sound = _generator(index, 2 * place + 1), _generator(index, 2 * place + 2)
        names += part(song, beats, sounds[source], samplerate, score, sound)
    stems = _balance(sounds, samplerate, _generator(index, 9))
    mixture = stems[SOURCES[0]].copy()
    for source in SOURCES[1:]:
        mixture += stems[source]
    return Track(
        name=song.name,
        stems=stems,
        mixture=mixture,
        activity={source: activity(stem, samplerate) for source, stem in stems.items()},
        instruments=tuple(dict.fromkeys(_LABELS.get(name, name) for name in names)),
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
    near = np.convolve(loud, np.ones(7), mode="full")[3 : 3 + frames]
    return (near > 0.5).astype(np.uint8)


# ---- chance ------------------------------------------------------------------------------------


def _generator(index, stream):
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([VERSION, index, stream])))


def _pick(rng, items):
    return items[int(rng.integers(len(items)))]


def _weighted(rng, weights):
    point = rng.random() * sum(weights.values())
    for name, weight in weights.items():
        point -= weight
        if point < 0.0:
            return name
    return name


# ---- parts: each writes its score and plays it into `stem`, and returns what played ------------


def _add(stem, start, sound, gain=1.0):
    if start < len(stem):
        stop = min(len(stem), start + len(sound))
        stem[start:stop] += gain * sound[: stop - start]


def _rest(rng, beats):
    """A span of beats in which a part is silent, in two tracks of five; else an empty one."""
    start = 2.0 * int(rng.random() * beats / 2.0)
    span = 2.0 + 2.0 * int(rng.random() * beats / 6.0)
    return (start, start + span) if rng.random() < 0.4 and beats > 8.0 else (0.0, 0.0)


def _vocals(song, beats, stem, samplerate, score, sound):
    if not song.voice:
        return []
    female = song.voice == "female"
    size, tilt = 0.94 + 0.12 * sound.random(), 1.0 + 0.35 * sound.random()
    low = (57 if female else 45) + int(score.integers(6))
    for phrase in _melody(song, beats, score, low, low + 14, (3.0, 7.0), (1.0, 3.5)):
        start, notes = _timed(phrase, song.tempo)
        voice = play.sing(notes, samplerate, sound, female, size, tilt)
        _add(stem, int(start * samplerate), voice)
    return [f"{song.voice} voice"]


def _drums(song, beats, stem, samplerate, score, sound):
    if not song.drums:
        return []
    style = _STYLES[song.genre]
    strokes = _beat(style, _pick(score, style.patterns), beats, score)
    rest = _rest(score, beats)
    kit: dict[str, list[np.ndarray]] = {}
    gains = {name: 10.0 ** (0.15 * (score.random() - 0.5)) for name in _KIT}
    root = 85.0 + 35.0 * score.random()
    for count, (beat, name, velocity) in enumerate(strokes):
        if rest[0] <= beat < rest[1]:
            continue
        if name not in kit:
            kit[name] = [_stroke(name, samplerate, sound, root * x) for x in (1.0, 1.33, 1.68)]
        late = style.swing / 6.0 if int(round(beat * 4)) % 2 else 0.0
        start = (beat + late) * 60.0 / song.tempo + 0.006 * score.random()
        _add(stem, int(start * samplerate), kit[name][-count % 3], velocity * gains[name])
    return sorted(kit)


_KIT = {  # loudness of a full stroke
    "kick": 1.0,
    "snare": 0.8,
    "clap": 0.8,
    "closed": 0.35,
    "open": 0.4,
    "shaker": 0.35,
    "tom": 0.8,
    "cymbal": 0.5,
}


def _stroke(name, samplerate, rng, frequency):
    if name == "tom":
        return _KIT[name] * play.tom(samplerate, rng, frequency)
    makers = {"closed": play.closed_hat, "open": play.open_hat}
    return _KIT[name] * makers.get(name, getattr(play, name, None))(samplerate, rng)


def _beat(style, pattern, beats, rng):
    """Strokes `(beat, drum, velocity)` of a pattern with small changes, fills and cymbals."""
    strokes = []
    for bar in range(int(beats // 4) + 1):
        fill = 16
        if bar % 2 == 1 and rng.random() < 0.7:
            fill = 16 - 4 * int(rng.integers(1, 3))
        for step in range(16):
            beat = 4.0 * bar + step / 4.0
            accent = 1.0 if step % 4 == 0 else 0.7
            for name, row in pattern.items():
                chance = rng.random()
                hit = chance < 0.96 if row[step] == "x" else chance < 0.03
                if hit and (step < fill or name == "kick"):
                    strokes.append((beat, name, accent * (0.8 + 0.2 * rng.random())))
            if step >= fill and rng.random() < 0.75:
                strokes.append((beat, "tom", 0.7 + 0.3 * rng.random()))
        if bar % 4 == 0 and rng.random() < 0.6:
            strokes.append((4.0 * bar, "cymbal", 0.8))
    return sorted(stroke for stroke in strokes if stroke[0] < beats)


def _bass(song, beats, stem, samplerate, score, sound):
    if not song.bass:
        return []
    lines = _STYLES[song.genre].bass_lines
    line, other_line = _pick(score, lines), _pick(score, lines)
    rest = _rest(score, beats)
    base = -(-(28 - song.tonic) // 12)  # the octave whose tonic is E1 or the next above
    steps = {"r": 0, "f": 4, "t": 2, "o": 7}
    cache: dict[tuple[int, int], np.ndarray] = {}
    for place in range(int(2 * beats) + 1):
        beat = place / 2.0
        row = other_line if (place // 8) % 4 == 3 else line
        mark = row[place % 8]
        if mark not in steps or rest[0] <= beat < rest[1]:
            continue
        hold = 1
        while place % 8 + hold < 8 and row[place % 8 + hold] == "-":
            hold += 1
        pitch = song.pitch(song.chord(beat) + steps[mark], base)
        pitch -= 12 if pitch > 45 else 0
        if (pitch, hold) not in cache:
            length = 0.92 * hold * 30.0 / song.tempo
            cache[pitch, hold] = _BASSES[song.bass](pitch, length, samplerate, sound)
        start = beat * 60.0 / song.tempo + 0.006 * score.random()
        _add(stem, int(start * samplerate), cache[pitch, hold], 0.8 + 0.2 * score.random())
    return [song.bass]


def _other(song, beats, stem, samplerate, score, sound):
    rest = _rest(score, beats)
    for place, name in enumerate(song.other):
        part = np.zeros(len(stem))
        melodic = name == "saxophone" or (place == 1 and score.random() < 0.7)
        role = _tune if melodic else _comp
        role(song, beats, part, samplerate, score, sound, name)
        level = np.sqrt(np.mean(part * part)) + 1e-9
        _add(stem, 0, part, 10.0 ** (0.3 * (score.random() - 0.5)) / level)
    edge = int(0.02 * samplerate)
    first, last = (int(beat * 60.0 / song.tempo * samplerate) for beat in rest)
    if first < last and first < len(stem):
        first, last = max(first, edge), min(last, len(stem) - edge)
        stem[first:last] = 0.0  # a break: everything stops at once, faded to avoid a click
        stem[first - edge : first] *= np.linspace(1.0, 0.0, edge)
        stem[last : last + edge] *= np.linspace(0.0, 1.0, edge)
    return list(song.other)


def _tune(song, beats, part, samplerate, score, sound, name):
    """A melody in phrases, in the range of a voice."""
    low = 55 + int(score.integers(8))
    for phrase in _melody(song, beats, score, low, low + 14, (2.0, 6.0), (0.5, 3.0)):
        start, notes = _timed(phrase, song.tempo)
        if name == "saxophone":
            _add(part, int(start * samplerate), play.saxophone(notes, samplerate, sound))
            continue
        for offset, length, pitch in notes:
            tone = _CHORDAL[name](pitch, length, samplerate, sound)
            _add(part, int((start + offset) * samplerate), tone)


# Where chords are struck in a bar of eight eighths, and for how many eighths.
_COMPS = {
    "guitar": ("x-x-xxx-", "x--x--x-", "xxx-xxx-"),
    "piano": ("x---x---", "x--x--x-", "x-x-x-x-"),
    "organ": ("x-------", "x-----x-", ".x.x.x.x"),
    "strings": ("x-------", "x---x---"),
}


def _comp(song, beats, part, samplerate, score, sound, name):
    """Chords in a rhythm, struck or broken, each voice led to the nearest chord tone."""
    rhythm = _pick(score, _COMPS[name])
    broken = name in ("guitar", "piano") and score.random() < 0.45
    low = 48 + int(score.integers(10))
    cache: dict[tuple[int, int], np.ndarray] = {}
    for place in range(int(2 * beats) + 1):
        mark = rhythm[place % 8]
        if broken:
            hold = 2
        elif mark == "x":
            hold = 1
            while place % 8 + hold < 8 and rhythm[place % 8 + hold] == "-":
                hold += 1
            hold = min(hold, 2 * song.chord_beats)
        else:
            continue
        beat = place / 2.0
        start = beat * 60.0 / song.tempo
        root = song.chord(beat)
        tones = sorted(low + (song.pitch(root + step) - low) % 12 for step in (0, 2, 4))
        if broken:
            tones = [(*tones, tones[1] + 12, tones[2])[(0, 2, 1, 3)[place % 4]]]
        velocity = (1.0 if place % 4 == 0 else 0.75) * (0.85 + 0.15 * score.random())
        for rank, pitch in enumerate(tones):
            if (pitch, hold) not in cache:
                length = 0.95 * hold * 30.0 / song.tempo
                cache[pitch, hold] = _CHORDAL[name](pitch, length, samplerate, sound)
            strum = 0.012 * rank if name == "guitar" else 0.0
            _add(part, int((start + strum) * samplerate), cache[pitch, hold], velocity)


_CELLS = ((1.0,), (0.5, 0.5), (0.5, 0.5), (1.5, 0.5), (2.0,), (0.5, 1.0, 0.5), (0.75, 0.25))


def _melody(song, beats, rng, low, high, lengths, gaps):
    """Phrases `[(beat, beats, pitch)]` wandering by step, on chord tones where a cell starts.

    The first begins within the first quarter of the track, so that who plays is always heard.
    """
    phrases = []
    beat = 0.5 * int(2.0 * rng.random() * min(4.0, 0.25 * beats))
    ladder = [d for d in range(80) if low <= song.pitch(d) <= high]
    place = int(rng.integers(len(ladder)))
    while beat < beats - 0.5:
        end = beat + lengths[0] + (lengths[1] - lengths[0]) * rng.random()
        phrase = []
        while beat < min(end, beats):
            cell = _pick(rng, _CELLS)
            for part, length in enumerate(cell):
                place += (-2, -1, -1, 0, 1, 1, 2, 4, -4)[int(rng.integers(9))]
                place = min(max(place, 0), len(ladder) - 1)
                if part == 0:
                    root = song.chord(beat)
                    near = sorted(range(len(ladder)), key=lambda p: (abs(p - place), p))
                    place = next(p for p in near if (ladder[p] - root) % 7 in (0, 2, 4))
                phrase.append((beat, length, song.pitch(ladder[place])))
                beat += length
        phrases.append(phrase)
        beat += 0.5 * round(2.0 * (gaps[0] + (gaps[1] - gaps[0]) * rng.random()))
    return phrases


def _timed(phrase, tempo):
    """Start in seconds of a phrase in beats, and its notes in seconds from there."""
    unit = 60.0 / tempo
    first = phrase[0][0]
    notes = [((beat - first) * unit, length * unit, pitch) for beat, length, pitch in phrase]
    return first * unit, notes


# ---- balance -----------------------------------------------------------------------------------


def _balance(sounds, samplerate, rng):
    """Stems in float32 at this track's levels, edges faded, mixture peak between 0.4 and 0.9."""
    length = len(next(iter(sounds.values())))
    edge = int(0.01 * samplerate)
    fade = np.ones(length)
    fade[:edge] = np.linspace(0.0, 1.0, edge)
    fade[-edge:] = fade[:edge][::-1]
    total = np.zeros(length)
    for source in SOURCES:
        gain = _LEVELS[source] + _SPREAD * (2.0 * rng.random() - 1.0)
        sound = sounds[source] * fade
        busy = activity(sound, samplerate).mean()
        if busy > 0.0:
            level = np.sqrt(np.mean(sound * sound) / busy)
            sound = sound * (10.0 ** (gain / 20.0) / level)
        sounds[source] = sound
        total += sound
    gain = (0.4 + 0.5 * rng.random()) / np.abs(total).max()
    stems = {}
    for source in SOURCES:
        stem = (gain * sounds[source]).astype(np.float32)
        stem[np.abs(stem) < 1e-7] = 0.0  # no denormals: they slow what is computed later
        stems[source] = stem
    return stems
