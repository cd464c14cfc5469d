"""What a listening test plays: its trials, and under which number each condition of a trial stands."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reports import media
from reports.contract import Example, Study, nearest, to_json
from reports.inputs.directory import Tables
from reports.listening.levels import ANCHORS, loudness, low_passed
from reports.text import count, listing

TESTS = ("mushra", "ab")
MOST_CONDITIONS = 12
"""Conditions of a MUSHRA trial at most, hidden reference and anchors among them [ITU-R BS.1534-3]."""
MOST_GAIN = 20.0
"""dB by which a sound is turned at most to match the reference: what is nearly silent stays so."""
HIDDEN = "hidden reference"
OPEN = ("reference", "")


@dataclass(frozen=True)
class Condition:
    """One sound to be judged.

    Attributes:
        id: the number that it has on the page.
        role: `estimate`, `hidden reference`, `low anchor` or `mid anchor`.
        variant, seed: of an estimate.
        gain: dB that it was turned by.
        loudness: LUFS before that; None where nothing sounds.
    """

    id: str
    role: str
    variant: str = ""
    seed: int | None = None
    gain: float = 0.0
    loudness: float | None = None


@dataclass(frozen=True)
class Trial:
    """Sounds that are judged together. `run` counts the runs of every variant that are heard."""

    id: str
    track: str
    target: str
    run: int
    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class Plan:
    """A listening test; `page` is the hash of all of it and of its sounds."""

    study: str
    test: str
    question: str
    seed: int
    trials: tuple[Trial, ...]
    page: str = ""


@dataclass(frozen=True)
class Test:
    """A plan with its sounds: by id of a condition, and by id of a trial its open reference. `left_out` is what could
    not be played, one sentence each."""

    plan: Plan
    sounds: Mapping[str, media.Sound]
    references: Mapping[str, media.Sound]
    left_out: tuple[str, ...]


def make(
    tables: Tables,
    test: str = "mushra",
    only: Sequence[str] = (),
    runs: int = 1,
    target: str = "",
    mid: bool = False,
    question: str = "",
    seed: int = 0,
) -> Test:
    """The listening test of a study.

    Args:
        only: the variants to hear, and what each is compared with; default: all that left sounds.
        runs: how many runs of each variant are heard, each on every song.
        target: the source to hear; default: all.
        mid: whether MUSHRA has the 7 kHz anchor, too.
        question: what listeners are asked; by default as usual.
        seed: another gives the conditions other numbers.

    Raises:
        ValueError: the study left no sounds that would do.
    """
    study = tables.study
    blocks = _blocks(study, only)
    found = [_items(tables, names, runs, target) for names in blocks]
    left_out = [line for _, lines in found for line in lines]
    trials, sounds, references = [], {}, {}
    played = [(names, *item) for names, (items, _) in zip(blocks, found, strict=True) for item in items]
    for names, track, of, run, members in played:
        loaded = _loaded(tables, members)
        if isinstance(loaded, str):
            left_out.append(f"{_item(track, of)}: {loaded}.")
            continue
        reference, estimates = loaded
        for group in [names] if test == "mushra" else [[names[0], name] for name in names[1:]]:
            chosen = {("estimate", name): estimates[name] for name in group}
            if test == "mushra":
                edges = {name: edge for name, edge in ANCHORS.items() if mid or name != "mid anchor"}
                chosen |= {(HIDDEN, ""): reference}
                chosen |= {(name, ""): low_passed(reference, edge) for name, edge in edges.items()}
            number = _number(seed, track, of, run, *group)
            levelled = matched({OPEN: reference, **chosen})
            conditions = []
            for (role, name), sound in chosen.items():
                each = Condition(
                    _number(seed, number, role, name), role, name, members[name].seed if name else None,
                    round(levelled[role, name][1], 2), _lufs(sound),
                )  # fmt: skip
                conditions.append(each)
                sounds[each.id] = levelled[role, name][0]
            references[number] = levelled[OPEN][0]
            ordered = tuple(sorted(conditions, key=lambda each: each.id))
            trials.append(Trial(number, track, of, run, ordered))
    if not trials:
        more = f" {len(left_out) - 1} more are left out." if len(left_out) > 1 else ""
        raise ValueError(f"no sound of {study.title} is there for every variant: {left_out[0]}{more}")
    most = max(len(trial.conditions) for trial in trials)
    if most > MOST_CONDITIONS:
        raise ValueError(
            f"a trial would have {most} sounds; {MOST_CONDITIONS} are the most: choose variants with --only"
        )
    plan = Plan(study.title, test, question or _question(test), seed, tuple(sorted(trials, key=lambda each: each.id)))
    page = _number(json.dumps(to_json(plan), sort_keys=True), *(_digest(sounds[name]) for name in sorted(sounds)))
    return Test(replace(plan, page=page), sounds, references, tuple(left_out))


def _question(test: str) -> str:
    if test == "ab":
        return "Which of the two sounds is nearer to the reference?"
    return "How good is each sound, compared with the reference?"


def _blocks(study: Study, only: Sequence[str]) -> list[list[str]]:
    """The variants to hear, those of one reference together and behind it: the ones named, or all that sound."""
    sounding = {example.variant for example in study.examples}
    known = [variant.name for variant in study.variants] or sorted(sounding)
    for name in only:
        if name not in [*known, *sounding]:
            raise ValueError(f"--only: no variant {name!r}; {nearest(name, [*known, *sounding])}")
        if name not in sounding:
            raise ValueError(f"--only: {name!r} left no sounds")
    if not sounding:
        raise ValueError(f"{study.title} left no sounds: none of its stages wrote examples (docs/listening.md)")
    chosen = [*only] or [name for name in known if name in sounding]
    blocks: dict[str, list[str]] = {}
    for name in chosen:
        of = study.reference_of(name)
        blocks.setdefault(of, [of]).extend([name] if name != of else [])
    if lacking := [of for of, names in blocks.items() if len(names) > 1 and of not in sounding]:
        raise ValueError(f"{lacking[0]!r}, which others are compared with, left no sounds")
    if not (out := [names for names in blocks.values() if len(names) > 1]):
        raise ValueError(f"{listing(list(blocks))} alone left sounds: there is nothing to compare it with")
    return out


def _items(
    tables: Tables, names: Sequence[str], runs: int, target: str
) -> tuple[list[tuple[str, str, int, dict[str, Example]]], list[str]]:
    """(track, target, run, example of each variant) of all that every variant has, and a sentence on each other."""
    if runs < 1:
        raise ValueError(f"--runs is {runs}; it must be 1 or more")
    examples = every_run(tables) if runs > 1 else tables.study.examples
    if target and target not in (known := {example.target for example in examples}):
        raise ValueError(f"--target: no sound of {target!r}; {nearest(target, known)}")
    found: dict[str, dict[int | None, dict[tuple[str, str], Example]]] = {name: {} for name in names}
    for example in examples:
        if example.variant in found and target in ("", example.target):
            found[example.variant].setdefault(example.seed, {})[example.track, example.target] = example
    common = set.intersection(*(set(seeds) for seeds in found.values()))
    seeds = sorted(common, key=lambda seed: -1 if seed is None else seed)
    if runs > max(1, len(seeds)):
        raise ValueError(
            f"--runs {runs}: sounds of every variant are there of {count(len(seeds), 'run')}"
            + (f" (seed{'s' * (len(seeds) > 1)} {listing([*map(str, seeds)])})" if seeds else "")
        )
    heard, left_out = [], []
    for run in range(runs):
        own = {name: found[name][seeds[run] if seeds else min(found[name], key=str)] for name in names if found[name]}
        for key in dict.fromkeys(key for items in own.values() for key in items):
            if lacking := [name for name in names if key not in own.get(name, {})]:
                left_out.append(f"{_item(*key)}: no sound of {listing(lacking, 4)}.")
            else:
                heard.append((*key, run, {name: own[name][key] for name in names}))
    return heard, left_out


def every_run(tables: Tables) -> list[Example]:
    """The sounds of all runs, as their stages left them; each artefact once."""
    found, seen = [], set()
    for trial in tables.study.trials:
        for key in trial.stages.values():
            stage = tables.study.stages.get(key)
            place = tables.stored(f"{stage.directory}/examples.json") if stage and stage.directory else None
            if stage is None or key in seen or place is None or not place.is_file():
                continue
            seen.add(key)
            for each in json.loads(place.read_text(encoding="utf-8")):
                paths = {kind: f"{stage.directory}/{each.get('folder')}/{kind}.wav" for kind in KINDS}
                told = str(each.get("track", "")), str(each.get("target", ""))
                found.append(Example(*told, trial.variant, seed=trial.seed, **paths))
    return found


KINDS = ("mixture", "reference", "estimate")


def _loaded(tables: Tables, members: Mapping[str, Example]) -> tuple[media.Sound, dict[str, media.Sound]] | str:
    """The reference and each variant's estimate, all as long as the shortest; or why they cannot be compared."""
    read: dict[tuple[str, str], media.Sound] = {}
    for name, example in members.items():
        for kind, path in (("reference", example.reference), ("estimate", example.estimate)):
            place = tables.stored(path)
            sound = media.load(place) if place else None
            if sound is None:
                return f"the {kind} of {name} could not be read"
            read[kind, name] = sound
    first = read["reference", next(iter(members))]
    for name in members:
        other = read["reference", name]
        if other.rate != first.rate or not np.array_equal(other.samples, first.samples):
            return f"{name} has another reference"
    tenths = min(len(sound.samples) * 10 // sound.rate for sound in read.values())
    if not tenths:
        return "its sounds are shorter than a tenth of a second"
    cut = {key: replace(sound, samples=sound.samples[: tenths * sound.rate // 10]) for key, sound in read.items()}
    return cut["reference", next(iter(members))], {name: cut["estimate", name] for name in members}


def matched(sounds: Mapping[tuple[str, str], media.Sound]) -> dict[tuple[str, str], tuple[media.Sound, float]]:
    """Sounds at the loudness of the first, and the gain of each in dB; all of them lower, where one would clip.

    What is silent stays as it is, and nothing is turned by more than `MOST_GAIN` against the others.
    """
    levels = {key: loudness(sound) for key, sound in sounds.items()}
    heard = [level for level in levels.values() if level > -math.inf]
    wanted = heard[0] if heard else 0.0
    own = {
        key: min(max(wanted - level, -MOST_GAIN), MOST_GAIN) if level > -math.inf else 0.0
        for key, level in levels.items()
    }
    peak = max(float(np.abs(sound.samples).max()) * 10 ** (own[key] / 20) for key, sound in sounds.items())
    gains = {key: gain - 20 * math.log10(max(peak, 1.0)) for key, gain in own.items()}
    return {key: (replace(s, samples=s.samples * 10 ** (gains[key] / 20)), gains[key]) for key, s in sounds.items()}


def _lufs(sound: media.Sound) -> float | None:
    level = loudness(sound)
    return round(level, 2) if math.isfinite(level) else None


def _item(track: str, target: str) -> str:
    return f"{track}, {target}" if target else track


def _digest(sound: media.Sound) -> str:
    return hashlib.sha256(sound.samples.tobytes() + str(sound.rate).encode()).hexdigest()


def _number(*parts: object) -> str:
    """Twelve hexadecimal digits that say nothing of what they stand for."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:12]
