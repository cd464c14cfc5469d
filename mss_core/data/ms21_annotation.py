"""What the tracks of a multitrack recording are: the annotation of MS21, and a guess from the name of a file.

The annotation is the authors' table (CSV, one song per row, one instrument label per column, a list of file names in
each cell) or their files of bleeding (YAML, one song per file). Names in hand-made lists miss a quote here and there;
such cells are read all the same and named. Labels are those of ``hierarchies/ms21.json``.
"""

from __future__ import annotations

import ast
import csv
import gzip
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mss_core.data import hierarchy
from mss_core.data.items import SPLITS, Note
from mss_core.errors import nearest

UNUSED, AMBIENT = "Unused", "Ambient_Microphone"
VOCALS = ("lead_vocal", "backing_vocal")
SUFFIXES = (".wav", ".flac", ".aif", ".aiff")


@dataclass(frozen=True)
class Song:
    """The tracks of one song.

    Attributes:
        tracks: label of each file, by its name; also UNUSED and AMBIENT.
        bleeding: files that hold other instruments too, with those instruments.
        clean_vocals: whether the vocal tracks hold nothing else; None where nobody says.
    """

    name: str
    tracks: dict[str, str]
    bleeding: dict[str, str] = field(default_factory=dict)
    clean_vocals: bool | None = None

    @property
    def artist(self) -> str:
        return self.name.split(" - ")[0]

    def used(self) -> dict[str, str]:
        """The 14 instruments of the files that are used at all."""
        return {file: instrument_of(label) for file, label in self.tracks.items() if label not in (UNUSED, AMBIENT)}

    @property
    def vocal(self) -> bool:
        return any(instrument in VOCALS for instrument in self.used().values())


def instrument_of(label: str) -> str:
    """One of the 14 instruments; ValueError for a label that is not among the 70."""
    for instrument, labels in hierarchy.load("ms21").labels.items():
        if label in labels:
            return instrument
    known = [name for names in hierarchy.load("ms21").labels.values() for name in names]
    raise ValueError(f"no instrument label {label!r} in MS21; {nearest(label, known)}")


# ---- the table


def read_table(path: Path) -> tuple[list[Song], list[Note]]:
    """All songs of the authors' CSV (gzipped or not). Raises ValueError for a column that is no label."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig", errors="replace")
    reader = csv.DictReader(io.StringIO(text))
    columns = list(reader.fieldnames or ())
    for needed in ("Music_Title", UNUSED):
        if needed not in columns:
            raise ValueError(f"{path}: no column {needed!r}; {nearest(needed, columns)}")
    first = columns.index("Sub_Genre") + 1 if "Sub_Genre" in columns else 1
    labels = columns[first : columns.index(UNUSED)]
    for label in labels:
        instrument_of(label)
    songs, repaired, twice = [], [], []
    for row in reader:
        name = row["Music_Title"]
        tracks: dict[str, str] = {}
        for label in (*labels, UNUSED, AMBIENT):
            files, whole = parse_list(row.get(label) or "[]")
            if not whole:
                repaired.append(f"{name}: {label}")
            for file in files:
                if tracks.setdefault(file, label) != label:
                    twice.append(f"{name}: {file} ({tracks[file]}, not {label})")
        quality = row.get("Vocal_Quality", "")
        songs.append(Song(name, tracks, clean_vocals={"1": True, "0": False}.get(quality)))
    notes = [
        Note("repaired", "cells of the table whose brackets or quotes do not match", tuple(repaired)),
        Note("twice", "files with two labels, of which the first counts", tuple(twice)),
    ]
    return songs, [note for note in notes if note.items]


def parse_list(cell: str) -> tuple[list[str], bool]:
    """File names in a cell, and whether it was a proper list.

    >>> parse_list("['01_Kick.wav', '02_Snare.wav']")
    (['01_Kick.wav', '02_Snare.wav'], True)
    >>> parse_list("[16_Vox2.wav', '17_Vox2DT.wav'")
    (['16_Vox2.wav', '17_Vox2DT.wav'], False)
    """
    try:
        value = ast.literal_eval(cell.strip())
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return value, True
    except (ValueError, SyntaxError):
        pass
    words = [word.strip().strip("'\"").strip() for word in cell.strip().strip("[]").split(",")]
    return [word for word in words if word], False


# ---- files of bleeding


def read_bleeding(path: Path) -> Song:
    """One song of the authors' bleeding files, ``<song>_track2inst_bleeding_info.yaml``."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))["Track2inst"]
    except (yaml.YAMLError, KeyError, TypeError):
        raise ValueError(f"{path}: not a bleeding annotation (no Track2inst)") from None
    tracks: dict[str, str] = {}
    bleeding: dict[str, str] = {}
    for label, files in content.items():
        if label not in (UNUSED, AMBIENT):
            instrument_of(label)
        for file, facts in (files or {}).items():
            tracks[file] = label
            if str(facts.get("Bleeding", "No")).lower() == "yes":
                bleeding[file] = str(facts.get("Bleeding_Instrument") or "")
    name = path.stem.removesuffix("_track2inst_bleeding_info")
    vocal = [
        file for file, label in tracks.items() if label not in (UNUSED, AMBIENT) and instrument_of(label) in VOCALS
    ]
    return Song(name, tracks, bleeding, not any(file in bleeding for file in vocal) if vocal else None)


def read_annotation(path: Path) -> tuple[list[Song], list[Note]]:
    """A table, a bleeding file, or a folder of bleeding files."""
    if path.is_dir():
        files = sorted(path.rglob("*_bleeding_info.yaml"))
        if not files:
            raise ValueError(f"{path} holds no *_bleeding_info.yaml")
        return [read_bleeding(file) for file in files], []
    if path.suffix in (".yaml", ".yml"):
        return [read_bleeding(path)], []
    return read_table(path)


# ---- filters on names of files

_RULES: tuple[tuple[str, str], ...] = (
    # First match wins; names are lower case, without number, spaces and extension.
    (r"roommic|mainpair|ambien[ct]e?mic|ruffmix|roughmix|audience|crowd|talkback", AMBIENT),
    (r"kicktrig|trigger|preview|fullmix|click(track)?$|reference|guidevo", UNUSED),
    (
        r"back(ing|gr?ou?nd|up)?_?vo|bg_?vo|b_?vox|bvs?\d*$|gangvo|harm(ony)?vo|vo(x|cal)s?harm|harmon(y|ies)|chant",
        "Backing_Vocal",
    ),
    (r"choir|chorus(vo|$)", "Choir"),
    (r"vox|voc(al|s|oder|$)|sing(er|ing)|rap|vo(ice)?\d*$|adlib|spoken", "Lead_Vocal"),
    (r"bass_?drum|surdo|gran_?cassa", "Bass_Drum"),
    (r"kick|(^|_)bd\d*|kik", "Drum_Kick"),
    (r"snare|snr|side_?stick|rim_?shot|(^|_)sd\d*$", "Drum_Snare"),
    (r"hi_?hat|(^|_)h_?h(at)?\d*|hats?(\d|$|[a-z]?mic)|(^|_)hat", "Drum_HiHat"),
    (r"over_?heads?|(^|_)ohs?\d*|drumsoh", "Drum_Overheads"),
    (r"(drum|kit|mono|stereo)s?_?(set)?room|(^|_)rooms?\d*", "Drum_Room"),
    (r"(^|[^a-z]|floor|rack)toms?(\d|$|[a-z]*mic|s?ample)|^tom", "Drum_Tom"),
    (r"cymb|crash|ride|splash|china", "Drum_Cymbals"),
    (r"shak(er)?|egg", "Shaker"),
    (r"tamb", "Tambourine"),
    (r"clap|snap", "Claps"),
    (r"conga", "Conga"),
    (r"bongo", "Bongo"),
    (r"djembe", "Djembe"),
    (r"wood_?block|block", "Woodblock"),
    (r"timbale", "Timbale"),
    (r"timp", "Timpani"),
    (r"taiko", "Taiko"),
    (r"gong", "Gong"),
    (r"maraca", "Maracas"),
    (r"pandeiro", "Pandeiro"),
    (r"handdrum|cajon|tabla|darbuka|bodhran", "Handdrum"),
    (r"triangle", "Triangle"),
    (r"sticks?", "Sticks"),
    (r"marimba", "Marimba"),
    (r"chime", "Chimes"),
    (r"glock|xylo|vibra?ph|vibes", "Other_Chromatic"),
    (r"bells?|celest", "Bell"),
    (r"loop|beat|break|drum_?machine|drums?(\d|$|sub|mix|rev)|groove|program", "Loop"),
    (r"guiro|guache|cabasa|clave|cowbell|agogo|perc", "Percussion"),
    (r"double_?bass|upright|contrabass|ac(oustic)?bass", "Double_Bass"),
    (r"(synth|sy|sub|moog|midi|808)_?bass|bass_?synth|(^|_)sub\d*$|808", "Synth_Bass"),
    (r"bassoon", "Bassoon"),
    (r"bass_?clar|clar", "Clarinet"),
    (r"bass", "Electric_Bass"),
    (
        r"ac(oustic)?_?g(ui)?t(a?r)|ac_?gtr|nylon|classicalg|uk[ue]lele|mando|banjo|12string|dobro|resonator",
        "Acoustic_Guitar",
    ),
    (r"g(ui)?ta?r|leslie_?g|slide|pedal_?steel|lap_?steel|ebow", "Electric_Guitar"),
    (r"rhodes|wurl|clav|e(lec|lectric)?_?piano|(^|_)ep\d*$|keys|keyb|dx7", "Electric_Piano"),
    (r"effect", "SFX"),
    (r"organ|hammond|b3|leslie|farfisa", "Electric_Organ"),
    (r"piano|(^|_)pno", "Piano"),
    (r"trumpet|tpt|flugel|cornet", "Trumpet"),
    (r"tromb", "Trombone"),
    (r"tuba|sousa", "Tuba"),
    (r"french_?horn|(^|_)horn\d*$", "French_Horn"),
    (r"brass|horns", "Brass_Section"),
    (r"sax", "Saxophone"),
    (r"flute|flt|piccolo|recorder", "Flute"),
    (r"oboe|cor_?anglais", "Oboe"),
    (r"whistle", "Whistle"),
    (r"bagpipe", "Bagpipe"),
    (r"accord", "Accordian"),
    (r"harmonica|(^|_)harp_?mic", "Harmonica"),
    (r"harp", "Harp"),
    (r"wood_?wind", "WoodWind_Section"),
    (r"fiddle", "Fiddle"),
    (r"violin|vln", "Violin"),
    (r"viola|vla", "Viola"),
    (r"cello|(^|_)vc\d*$", "Cello"),
    (r"string|orch|quartet", "String_Section"),
    (r"synth|pad|arp|moog|mellotron|lead\d*$|logue|juno|sequen|pluck", "Synthesizer"),
    (r"sfx|fx|noise|sweep|rise|impact|reverse|sample|beep|glitch|atmos|ambien|texture|drone|scratch|boom", "SFX"),
)


def label_of(file: str) -> str | None:
    """The label that a file's name suggests, or None.

    >>> label_of("11_ElecGtr1.wav"), label_of("20_BackingVox1.wav"), label_of("99_Unheard.wav")
    ('Electric_Guitar', 'Backing_Vocal', None)
    """
    stem = re.sub(r"\.[A-Za-z0-9]{2,4}$", "", file).lower()
    stem = re.sub(r"^\d+[_\- ]+", "", stem)
    stem = re.sub(r"[\s\-.]+", "_", stem)
    for pattern, label in _RULES:
        if re.search(pattern, stem) or re.search(pattern, stem.replace("_", "")):
            return label
    return None


def guess_song(name: str, files: Iterable[str]) -> tuple[Song, list[str]]:
    """A song without annotation: labels by name, and the files whose names say nothing (unused)."""
    guesses = {file: label_of(file) for file in files}
    unknown = [file for file, label in guesses.items() if label is None]
    return Song(name, {file: label or UNUSED for file, label in guesses.items()}), unknown


# ---- splits and statistics


def artist_split(
    names: Sequence[str], valid: int, test: int, seed: int = 0, fixed_test: Iterable[str] = ()
) -> dict[str, str]:
    """A split in which no artist ("Artist - Title") stands in two parts.

    ``fixed_test`` (MUSDB18's test songs, say) are put into test with all songs of their artists; then artists drawn by
    ``seed`` fill test and validation, as far as whole artists fit; the rest is training.
    """
    by_artist: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        by_artist.setdefault(name.split(" - ")[0], []).append(name)
    wanted = set(fixed_test)
    split: dict[str, str] = {}
    artists = [sorted(by_artist)[i] for i in np.random.default_rng([seed, 21]).permutation(len(by_artist))]
    for artist in artists:
        if wanted & set(by_artist[artist]):
            split.update(dict.fromkeys(by_artist[artist], "test"))
    for part, size in (("test", test), ("valid", valid)):
        for artist in artists:
            songs = by_artist[artist]
            if songs[0] not in split and sum(p == part for p in split.values()) + len(songs) <= size:
                split.update(dict.fromkeys(songs, part))
    return {name: split.get(name, "train") for name in sorted(set(names))}


def leaking_artists(split: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """Artists with songs in more than one part, with these."""
    parts: dict[str, set[str]] = {}
    for name, part in split.items():
        parts.setdefault(name.split(" - ")[0], set()).add(part)
    return {artist: tuple(p for p in SPLITS if p in found) for artist, found in sorted(parts.items()) if len(found) > 1}


PUBLISHED: dict[str, Any] = {
    "songs": 500,
    "hours": 34.2,
    "tracks_mean": 20,
    "tracks_sd": 13,
    "categories": 70,
    "vocal_percent": 84,
    "leakage_percent": 20,
}
"""The row of MS21 in Table 3 of the thesis."""


def statistics(songs: Sequence[Song], hours: float | None = None) -> dict[str, Any]:
    """Table 3's row for these songs: size, hours, used tracks a song, labels, share of songs with vocals, and of those
    the share with bleeding into the vocals."""
    counts = np.array([len(song.used()) for song in songs])
    labels = {label for song in songs for label in song.tracks.values()} - {UNUSED, AMBIENT}
    vocal = [song for song in songs if song.vocal]
    judged = [song for song in vocal if song.clean_vocals is not None]
    return {
        "songs": len(songs),
        "hours": hours,
        "tracks_mean": float(counts.mean()),
        "tracks_sd": float(counts.std()),
        "categories": len(labels),
        "vocal_percent": 100 * len(vocal) / len(songs),
        "leakage_percent": 100 * sum(not s.clean_vocals for s in judged) / len(judged) if judged else None,
    }
