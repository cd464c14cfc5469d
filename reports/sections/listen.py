"""Sounds of a few tracks: mixture, reference and the variants' estimates, as seen and heard."""

from collections.abc import Mapping
from typing import Any

from reports import media
from reports.contract import Example
from reports.document import Figure, Section
from reports.drawing import svg
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.text import listing, style

OPTIONS: dict[str, str] = {}

MOST = 4
SCORES = ("si_sdr", "sdr", "l1")
"""Metrics that stand under a sound beside the primary one, where it is scored by them; two in all."""
EQUAL = " (equal: "


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """One part per track and target; None where the study left no sound."""
    parts, lost = [], []
    rates: set[int] = set()
    for (track, target), members in examples(findings)[:MOST]:
        sounds, missing = load(track, target, members, tables)
        lost += missing
        rates |= {sound.rate for sound in sounds.values()}
        loudest = max((float(media.magnitudes(sound).max()) for sound in sounds.values()), default=1.0)
        power = max((float(media.levels_of(s).max()) for s in sounds.values() if len(media.levels_of(s))), default=0.0)
        notes = _notes(findings, tables, track, target, members)
        clips = tuple(
            _figure(media.clip(label, sound, loudest, power), notes.get(label.partition(EQUAL)[0], ""))
            for label, sound in distinct(sounds).items()
        )
        if clips:
            parts.append(Section(track + (f", {target}" if target else ""), figures=clips, kind="players"))
    text = (
        f"Sounds at their own rate and in their own channels. Spectrograms from 0 to {_half(rates)}, 80 dB below the "
        "loudest of each example. The bar shows where the sound is within 40 dB of the loudest moment of its example; "
        "a sound that is so nowhere is called silent. Scores are those of the run that is heard, on the whole track. "
        "Estimates that are equal, sample by sample, are shown once."
    )
    return Section("Listen", (text,), points=tuple(lost), parts=tuple(parts)) if parts or lost else None


def examples(findings: Findings) -> list[tuple[tuple[str, str], list[Example]]]:
    """Examples by track and target: one of each target before a second of any, tracks that drive an effect first."""
    groups: dict[tuple[str, str], list[Example]] = {}
    for example in findings.study.examples:
        groups.setdefault((example.track, example.target), []).append(example)
    reach: dict[str, float] = {}
    for effects in findings.by_track.values():
        for effect in effects:
            reach[effect.target] = max(reach.get(effect.target, 0.0), abs(effect.difference))
    ordered = sorted(groups.items(), key=lambda group: -reach.get(group[0][0], 0.0))
    earlier: dict[str, int] = {}
    turns = []
    for (_, target), _ in ordered:
        turns.append(earlier.get(target, 0))
        earlier[target] = turns[-1] + 1
    return [group for _, group in sorted(zip(turns, ordered, strict=True), key=lambda pair: pair[0])]


def _half(rates: set[int]) -> str:
    """The highest frequency that is drawn.

    >>> _half({44_100}), _half({16_000, 44_100})
    ('22.05 kHz', 'half of the rate of each')
    """
    return f"{rates.copy().pop() / 2000:g} kHz" if len(rates) == 1 else "half of the rate of each"


def load(track: str, target: str, members: list[Example], tables: Tables) -> tuple[dict[str, media.Sound], list[str]]:
    """Sounds by what they are, and a sentence per sound that could not be read."""
    paths = {"mixture": members[0].mixture, f"reference {target}".strip(): members[0].reference}
    paths |= {f"estimate, {example.variant}": example.estimate for example in members}
    places = {label: tables.stored(path) for label, path in paths.items() if path}
    sounds = {label: media.load(place) if place else None for label, place in places.items()}
    lost = [
        f"The audio {paths[label]} ({track}, {label}) "
        + ("could not be read." if places[label] else "lies outside of the store and was not read.")
        for label, sound in sounds.items()
        if sound is None
    ]
    return {label: sound for label, sound in sounds.items() if sound is not None}, lost


def distinct(sounds: Mapping[str, media.Sound]) -> dict[str, media.Sound]:
    """Each sound once, under the labels of all that are equal to it."""
    labels: dict[tuple[bytes, int], list[str]] = {}
    for label, sound in sounds.items():
        labels.setdefault((sound.samples.tobytes(), sound.rate), []).append(label)
    return {_together(names): sounds[names[0]] for names in labels.values()}


def _together(labels: list[str]) -> str:
    first, *others = labels
    names = [label.removeprefix("estimate, ") for label in others]
    return f"{first}{EQUAL}{listing(names)})" if names else first


def _notes(findings: Findings, tables: Tables, track: str, target: str, members: list[Example]) -> dict[str, str]:
    """By label, what the track scores in the run that is heard: the mixture as an estimate, and each variant's."""
    frame = tables.scores.frame
    here = frame[(frame["track"] == track) & (frame["target"] == target)]
    metrics = [m for m in dict.fromkeys((findings.main.style.name, *SCORES)) if m in set(here["metric"])][:2]
    notes: dict[str, str] = {}
    for example in members:
        own = here[(here["variant"] == example.variant) & (here["seed"] == example.seed)].set_index("metric")["score"]
        for label, suffix in ((f"estimate, {example.variant}", ""), ("mixture", "_mixture")):
            shown = [(style(metric), own[metric + suffix]) for metric in metrics if metric + suffix in own]
            if shown:
                told = [f"{how.label} {how.value(float(score))} {how.unit}".rstrip() for how, score in shown]
                notes.setdefault(label, ", ".join(told))
    return notes


def _figure(clip: media.Clip, note: str) -> Figure:
    """Spectrogram, activity bar and player; a sound that nobody can hear is called silent."""
    return Figure(
        svg.bar(clip.activity, f"Activity of {clip.label}"),
        clip.spectrogram,
        f"{clip.label}, {clip.seconds:.1f} s",
        clip.audio,
        clip.rate,
        ", ".join(filter(None, ["" if clip.activity else "silent", note])),
    )
