"""Is a data set on disk what the papers used?  What was found, what is published, and what is wrong, by file."""

from __future__ import annotations

import runpy
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mss_core import audio
from mss_core.bad_file import BadFile
from mss_core.data.config import LABELS, ClipSet, TrackSet, read_by, split_policy
from mss_core.data.doubts import SILENCE, require_labels, twins
from mss_core.data.excerpts import holds
from mss_core.data.files import cores, facts, headers, progress, reason
from mss_core.data.fingerprints import Fingerprints, fingerprint
from mss_core.data.items import REMARKS, SPLITS, Item, Survey
from mss_core.data.levels import FAINT, FULL_SCALE, KEPT, faint, level, power_of
from mss_core.data.loaders import stem_mp4, stems
from mss_core.data.packing import in_order, memory, odd_rows, peak, whole
from mss_core.data.sets import CLIP_SETS, TRACK_SETS, survey
from mss_core.errors import choose, nearest
from mss_core.folders import AUDIO, walk

USABLE, WITH_EXCLUSIONS, UNUSABLE = 0, 1, 3
DISAGREE = 10.0
"""Mixture against the sum of all stems, in dB: mastering leaves 20 to 40, a wrong stem less than this."""
WARNINGS = ("leak", "levels", "cut", *REMARKS)
INFORMATIVE = ("split", "untagged", "subset", "unlisted")
"""Kinds of note that say what a set is, not that something is wrong with it."""


@dataclass
class Report:
    """What ``check`` found. ``levels`` are those of each track's sources (:func:`level`).
    ``excluded`` are files left out, ``warnings`` what a user must know, by file."""

    name: str
    path: str
    errors: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    items: dict[str, int] = field(default_factory=dict)
    hours: dict[str, float] = field(default_factory=dict)
    rates: dict[str, int] = field(default_factory=dict)
    channels: dict[str, int] = field(default_factory=dict)
    labels: dict[str, dict[str, int]] = field(default_factory=dict)
    agreement: dict[str, float] = field(default_factory=dict)
    levels: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    published: list[dict[str, Any]] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    fingerprint: str = ""

    @property
    def code(self) -> int:
        """0 usable, 1 usable with named exclusions or warnings, 3 not usable."""
        return UNUSABLE if self.errors else WITH_EXCLUSIONS if self.excluded or self.warnings else USABLE

    def plain(self) -> dict[str, Any]:
        return {**asdict(self), "code": self.code}


def configure(
    name: str, root: Path, labels: str = "", tolerance_ms: float | None = None, **choices: Any
) -> TrackSet | ClipSet:
    """The configuration that reads everything a set has: all of its stems, or its labels."""
    choose("data set", name, {**TRACK_SETS, **CLIP_SETS})
    if name in CLIP_SETS and name != "synthetic":
        if tolerance_ms is not None:
            raise ValueError(f"--tolerance-ms is for stems that differ in length; {name!r} holds clips")
        return ClipSet(name, labels or LABELS.get(name, ("label",))[0], **choices)
    return TrackSet(name, sources=_stems(name, root), tolerance_ms=tolerance_ms, **choices)


def _stems(name: str, root: Path) -> tuple[str, ...]:
    if name == "mm":
        return (*facts()["mm"]["instruments"], "other")
    if name == "ms21":
        return ("vocals", "percussion", "bass", "other")
    if name == "slakh2100":
        from mss_core.data.loaders.slakh import PROGRAMS

        return tuple(PROGRAMS)
    if name == "stems":
        names = stems.names(root)
        most = max(names.values(), default=0) / 2
        return tuple(sorted(name for name, count in names.items() if count > most and name != "mixture")) or ("vocals",)
    return ("vocals", "drums", "bass", "other")


def check(config: TrackSet | ClipSet, root: Path, quick: bool = False, workers: int | None = None) -> Report:
    """Survey, decode (headers only if ``quick``), count, compare with what is published, and fingerprint."""
    about = facts()["sets"][config.name]
    report = Report(config.name, str(root), not_checked=[*about["not_checked"], *_no_second_source(config, root)])
    try:
        found = survey(config, {config.name: root})
    except ValueError as error:
        report.errors.append(str(error))
        report.excluded += unusable_files(root, quick, workers or cores())
        return report
    for note in found.notes:
        if note.kind == "coverage" and isinstance(config, ClipSet):
            continue  # counted below, after decoding
        doubtful = note.kind in WARNINGS
        target = report.facts if note.kind in INFORMATIVE else report.warnings if doubtful else report.excluded
        if target is report.facts:
            target.append(f"{note.text}: {len(note.items)}")
        else:
            target += [f"{item}: {note.text}" for item in note.items]
    if config.name == "stems" and isinstance(config, TrackSet):
        names = stems.names(root)
        rare = [f"{name} (in {count})" for name, count in sorted(names.items()) if name not in config.sources]
        rare = [name for name in rare if not name.startswith("mixture ")]
        report.facts += [f"stems that most of the tracks lack, not looked at: {', '.join(rare)}"] if rare else []
    good = _headers(found, report) if quick else _decoded(config, found, report, workers or cores())
    if quick:
        report.not_checked.append("samples were not decoded (headers only)")
    _count(found, good, report)
    _compare(config, found, good, report)
    hashes = Fingerprints(None)
    report.fingerprint = fingerprint(found, root, hashes)
    report.warnings[:0] = [
        f"{names}: the same audio"
        for names in twins(
            (item.name, item.split, item.labels, "".join(map(hashes.of, item.files))) for item in good if item.files
        )
    ]
    if isinstance(config, ClipSet):
        try:
            require_labels(config.name, found.items, found.labels, fewest=2)
        except ValueError as error:
            report.errors.append(str(error))
    for split in SPLITS:
        if not report.items.get(split):
            report.errors.append(f"no usable {split} item")
    return report


def of_study(name: str, study: Path) -> list[TrackSet | ClipSet]:
    """How the variants of a study read a data set: one configuration for each way, as its stages are told.

    Raises ValueError for a file that is no study, and for a set that the study does not read.
    """
    declared = runpy.run_path(str(study)).get("study") if study.is_file() else None
    if declared is None:
        raise ValueError(f"--study {study}: no file of a study (it holds a value named 'study')")
    recipes = (declared.recipe(variant, declared.seeds[0], False, {}, lambda r: r) for variant in declared.variants())
    read = {repr(config): config for recipe in recipes for config in read_by(recipe.pipeline())}.values()
    found = [config for config in read if config.name == name and isinstance(config, TrackSet | ClipSet)]
    if not found:
        raise ValueError(
            f"study {declared.name!r} does not read it: no data set {name!r}; {nearest(name, (c.name for c in read))}"
        )
    return found


def unusable_files(root: Path, quick: bool, workers: int) -> list[str]:
    """Every sound file below a folder that cannot be decoded, with the reason: looked for where the set as a whole is
    of no use, so that mending that does not bring the next obstacle to light."""
    files = walk(root, *AUDIO, ".stem.mp4")
    look = partial(_unusable, quick=quick)
    told = zip(files, in_order(look, files, workers), strict=True)
    return [f"{path.relative_to(root)}: {why}" for path, why in told if why]


def _unusable(path: Path, quick: bool) -> str:
    try:
        if path.stat().st_size == 0:
            return "0 bytes"
        if path.name.endswith(".stem.mp4"):
            waveforms = [] if quick else stem_mp4.load(path, range(5))
            return "" if all(np.isfinite(waveform).all() for waveform in waveforms) else "samples that are not finite"
        if quick:
            return "" if audio.info(path)[0] else "empty"
        waveform, _ = audio.load(path)
    except BadFile as error:
        return reason(error)
    if not waveform.size:
        return "empty"
    return "" if np.isfinite(waveform).all() else "samples that are not finite"


def _no_second_source(config: TrackSet | ClipSet, root: Path) -> list[str]:
    """What cannot be checked because the copy on disk, or the literature, has nothing to compare it with."""
    if not facts()["sets"][config.name]["expected"]:
        return []
    told = []
    if isinstance(config, ClipSet):
        told.append("labels by class: there are no published totals here to compare them with")
        lists = [path for split in SPLITS for path in (root / f"{split}.tsv", root / f"{split}.tsv.gz")]
        if config.name != "mtat" or not (root / "annotations_final.csv").is_file():
            told.append("labels of single clips: there is one table of them, and nothing to compare it with")
        elif not any(path.is_file() for path in lists):
            told.append("labels of single clips: annotations_final.csv has no split list beside it to agree with")
    return told


def _headers(found: Survey, report: Report) -> list[Item]:
    files = [item.files[0] for item in found.items if item.files and item.files[0].suffix.lower() in AUDIO]
    known = headers(files)
    good = []
    for item in found.items:
        header = known.get(item.files[0]) if item.files else None
        if isinstance(header, str):
            report.excluded.append(f"{item.name}: {header}")
            continue
        if header is not None:
            try:
                whole(item, header[0], header[1])
            except BadFile as error:
                report.excluded.append(f"{item.name}: {reason(error)}")
                continue
            _shape(item, header[0], header[1], header[2], report)
        good.append(item)
    return good


def _shape(item: Item, frames: int, rate: int, channels: int, report: Report) -> None:
    report.hours[item.split] = report.hours.get(item.split, 0.0) + frames / rate / 3600
    for table, value in ((report.rates, rate), (report.channels, channels)):
        table[str(value)] = table.get(str(value), 0) + 1
    published = facts()["sets"][report.name]
    for what, name, value in (("Hz", "rates", rate), ("channels", "channels", channels)):
        usual = published[name]
        if usual and value not in usual:
            whose = "expected" if name in published["unverified"] else "published"
            report.warnings.append(f"{item.name}: {value} {what}; {whose} are {', '.join(map(str, usual))}")


def _decoded(config: TrackSet | ClipSet, found: Survey, report: Report, workers: int) -> list[Item]:
    good, agreements, silent = [], {}, []
    forms: dict[tuple[int, int], list[str]] = defaultdict(list)
    look = partial(_look, sources=config.sources if isinstance(config, TrackSet) else ())
    with progress(f"checking {config.name}", len(found.items)) as show:
        for number, (item, seen) in enumerate(
            zip(found.items, in_order(look, found.items, workers, memory), strict=True)
        ):
            show(number + 1)
            if isinstance(seen, str):
                report.excluded.append(f"{item.name}: {seen}")
                continue
            good.append(item)
            _shape(item, *seen["form"], report)
            forms[seen["form"][2], seen["form"][1]].append(item.name)
            report.warnings += [f"{item.name}: {odd}" for odd in (*seen["odd"], *seen["loud"])]
            if seen["levels"]:
                report.levels[item.name] = seen["levels"]
                report.warnings += [
                    f"{item.name}: {row} {FAINT}" for row, told in seen["levels"].items() if faint(told)
                ]
            silent += [f"{item.name}: {row}" for row in seen["silent"]]
            if seen["agreement"] is not None:
                agreements[item.name] = seen["agreement"]
    report.warnings += _unlike_most(config.name, forms)
    if silent:
        report.facts.append(f"silent: {len(silent)} ({', '.join(silent[:10])}{', ...' if len(silent) > 10 else ''})")
    if agreements:
        values = np.array(list(agreements.values()))
        report.agreement = {
            "lowest_db": float(values.min()),
            "median_db": float(np.median(values)),
            "highest_db": float(values.max()),
        }
        report.warnings += [
            f"{name}: the mixture differs from the sum of its stems ({value:.1f} dB)"
            for name, value in agreements.items()
            if value < DISAGREE
        ]
    return good


def _unlike_most(what: str, forms: dict[tuple[int, int], list[str]]) -> list[str]:
    """Items of other channels or another rate than most, unless the published set has both."""
    told = []
    for index, field_name, unit in ((0, "channels", "channel(s)"), (1, "rates", "Hz")):
        if len(facts()["sets"][what][field_name]) > 1:
            continue
        counts: Counter[int] = Counter()
        for form, names in forms.items():
            counts[form[index]] += len(names)
        usual = counts.most_common(1)[0][0] if counts else 0
        told += [
            f"{name}: {form[index]} {unit} among items of {usual}"
            for form, names in forms.items()
            if form[index] != usual
            for name in names
        ]
    return told


def _look(item: Item, sources: tuple[str, ...]) -> dict[str, Any] | str:
    """What the samples of an item say, or why it cannot be used."""
    exact = item.files and all(path.suffix.lower() in (".wav", ".flac") for path in item.files)  # coders overshoot
    forms: dict[str, tuple[int, bool]] = {}
    silent, loud, levels = [], [], {}
    power, rest, agreement = 0.0, None, None
    try:
        sound = item.read()
        for row in dict.fromkeys(("mixture", *sound.rows)):  # a row may be decoded each time it is asked for
            waveform = sound.rows[row]
            if row == "mixture":
                frames = waveform.shape[-1]
                whole(item, frames, sound.samplerate)
            highest = peak(waveform)
            if not np.isfinite(highest) or not np.isfinite(waveform).all():
                return f"{row}: samples that are not finite"
            forms[row] = waveform.shape[0], highest > 0
            silent += [row] if highest < SILENCE else []
            if exact and highest > FULL_SCALE:
                over = int((waveform > 1).sum() + (waveform < -1).sum())
                loud.append(
                    f"{row} is above full scale ({over} samples, peak {20 * np.log10(highest):+.1f} dB); {KEPT}"
                )
            if row in sources:
                levels[row] = level(waveform, sound.samplerate)
            if sources and row == "mixture":
                power, rest = power_of(waveform), waveform
            elif rest is not None and row in sources:
                rest = rest - waveform
    except BadFile as error:
        return reason(error)
    if rest is not None:
        agreement = min(120.0, 10 * np.log10((power + 1e-12) / (power_of(rest) + 1e-12)))
    return {
        "loud": loud,
        "levels": {source: levels[source] for source in sources},
        "form": (frames, sound.samplerate, forms["mixture"][0]),
        "silent": silent,
        "agreement": agreement,
        "odd": odd_rows(forms),
    }


def _count(found: Survey, good: list[Item], report: Report) -> None:
    report.items = {split: sum(item.split == split for item in good) for split in SPLITS}
    report.hours = {split: round(hours, 3) for split, hours in report.hours.items()}
    counts = Counter((label, item.split) for item in good for label in item.labels)
    report.labels = {label: {split: counts[label, split] for split in SPLITS} for label in found.labels}
    for label, by_split in report.labels.items():
        empty = [split for split in SPLITS if not by_split[split]]
        full = [split for split in SPLITS if by_split[split] == report.items[split] > 0]
        if empty:
            report.warnings.append(f"label {label!r}: no item in {', '.join(empty)}")
        if full and len(found.labels) > 1:
            report.warnings.append(f"label {label!r}: every item in {', '.join(full)}, so that it has no score there")


def _compare(config: TrackSet | ClipSet, found: Survey, good: list[Item], report: Report) -> None:
    expected = facts()["sets"][config.name]["expected"]
    wanted = dict(expected.get("splits", {}))
    if wanted and not set(wanted) <= {*SPLITS, "train + valid"}:
        wanted = wanted[config.labels if config.name == "mtg_jamendo" else split_policy(config)]
    if getattr(config, "subset", "") == "onsets100":
        wanted["test"] = expected["tagbox"]
    broken = sum(len(note.items) for note in found.notes if note.kind == "excluded")
    have = {**report.items, "train + valid": report.items["train"] + report.items["valid"]}
    if getattr(config, "subset", "") == "onsets100":  # TagBox takes the first 50 of them
        have["test"] = min(have["test"], expected["tagbox"])
    known = "splits" not in facts()["sets"][config.name]["unverified"]
    rows = [(f"{what} items", value, have[what], broken) for what, value in wanted.items()]
    if "hours" in expected:
        rows.append(("hours", expected["hours"], round(sum(report.hours.values()), 1), 0.1))
    if "total" in expected:
        rows.append(("items, with the known broken ones", expected["total"], len(good) + broken, 0))
    for split, counts in expected.get("with_source", {}).items():
        for source, value in counts.items():
            there = sum(item.split in split.split(" + ") and holds(item, source) for item in good)
            rows.append((f"{split} items with {source}", value, there, 0))
    splits = {f"{what} items" for what in wanted}
    report.published = [
        {
            "what": what,
            "published": value,
            "found": number,
            "agrees": abs(number - value) <= slack,
            "verified": known or what not in splits,
        }
        for what, value, number, slack in rows
    ]
