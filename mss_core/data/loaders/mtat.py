"""MagnaTagATune [Law et al. 2009]: 29-s clips and the 50 most frequent of 188 tags.

``<root>/annotations_final.csv`` (tab-separated: clip_id, one column per tag, mp3_path) with the clips at
``<root>/[mp3/]<0-f>/*.mp3``. The common split goes by folder: 0-b train, c valid, d-f test, clips with none of the 50
tags left out. Everything is joined by the clip's path and the tag's NAME: the lists in circulation hold the same clips
in other row orders, and their tag orders differ ("metal" and "female voice" change places).

Split lists, where you have them: ``<root>/{train,valid,test}.tsv`` of ``path<TAB>tags``, tags by name or by number in
``<root>/tags.txt``, separated by commas. With ``split="lists"`` they decide on clips and labels; wherever a list and
annotations_final.csv are both there, they must agree on the labels, whatever the order.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from mss_core.data.config import ClipSet, split_policy
from mss_core.data.files import Clip, clip_items, facts, first_existing, read_lines
from mss_core.data.items import SPLITS, Note, Survey, hold_out, require_splits
from mss_core.errors import nearest

Labels = dict[str, tuple[str, ...]]
"""Tag names of each clip by its path without suffix, ``c/name-0-29``."""
TABLE = "annotations_final.csv"


def survey(config: ClipSet, root: Path) -> Survey:
    """The clips of the chosen split; known broken ones excluded, unreadable ones named."""
    names = tuple(facts()["mtat"]["tags"])
    table = root / TABLE
    annotated = read_annotations(table) if table.is_file() else None
    lists = read_lists(root)
    if annotated is not None:
        for split, labels in lists.items():
            problem = compare(labels, annotated)
            if problem:
                raise ValueError(f"data set 'mtat': the {split} list and {TABLE} disagree: {problem}")
    notes = []
    if split_policy(config) == "lists":
        if "train" not in lists or "test" not in lists:
            raise ValueError(f"data set 'mtat': split 'lists' needs train.tsv and test.tsv in {root}")
        wanted = [(name, split, tags) for split, labels in lists.items() for name, tags in labels.items()]
    else:
        if annotated is None:
            raise ValueError(f"data set 'mtat': no {TABLE} in {root}; put it there")
        wanted = [(name, folder_split(name), tags) for name, tags in annotated.items()]
        untagged = tuple(name for name, _, tags in wanted if not tags)
        notes = [Note("untagged", "clips with none of the 50 tags, left out", untagged)] if untagged else []
    base = root / "mp3" if (root / "mp3").is_dir() else root
    clips = [
        Clip(f"{name}.mp3", split, tags, base / f"{name}.mp3", name.split("/")[1].split("-")[0], seconds_of(name))
        for name, split, tags in wanted
        if tags
    ]
    items, more = clip_items("mtat", clips, facts()["mtat"]["broken"])
    held, held_notes = hold_out(items, config.valid_share, config.split_seed, "mtat", more)
    require_splits(held, "mtat", root, more)
    return Survey(held, (*notes, *more, *held_notes), names)


def folder_split(name: str) -> str:
    """Split of a clip by the folder it lies in.

    >>> folder_split("b/x-0-29"), folder_split("c/x-0-29"), folder_split("f/x-0-29")
    ('train', 'valid', 'test')
    """
    folder = name.split("/")[0]
    if len(folder) != 1 or folder not in "0123456789abcdef":
        raise ValueError(f"data set 'mtat': {name!r} does not lie in a folder 0 to f")
    return "train" if folder in "0123456789ab" else "valid" if folder == "c" else "test"


def seconds_of(name: str) -> float:
    """Duration by the clip's name, which ends in its start and end in the song; 0 where it does not."""
    parts = name.rsplit("-", 2)
    return float(int(parts[2]) - int(parts[1])) if len(parts) == 3 and all(p.isdigit() for p in parts[1:]) else 0.0


def tag_name(spelled: str) -> str:
    """The name of a tag however it is spelled ("femaleVoice", "female_voice"); ValueError for an unknown one."""
    table = {_bare(name): name for name in facts()["mtat"]["tags"]}
    if _bare(spelled) not in table:
        raise ValueError(f"data set 'mtat': no tag {spelled!r} among the 50; {nearest(spelled, table.values())}")
    return table[_bare(spelled)]


def _bare(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def read_annotations(path: Path) -> Labels:
    """The 50 tags of every clip by annotations_final.csv."""
    rows = csv.reader(read_lines(path), delimiter="\t")
    header = next(rows, [])
    columns = {}
    for index, name in enumerate(header):
        columns.setdefault(_bare(name), index)
    lacking = [tag for tag in facts()["mtat"]["tags"] if _bare(tag) not in columns]
    if lacking or "mp3path" not in columns:
        raise ValueError(
            f"{path}: no column {(lacking or ['mp3_path'])[0]!r}; {nearest((lacking or ['mp3_path'])[0], header)}"
        )
    where = [(tag, columns[_bare(tag)]) for tag in facts()["mtat"]["tags"]]
    found: Labels = {}
    for row in rows:
        line = rows.line_num
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            raise ValueError(f"{path}, line {line}: {len(row)} columns instead of {len(header)}; fetch the table again")
        name = row[columns["mp3path"]].rsplit(".", 1)[0]
        if name in found:
            raise ValueError(f"{path}, line {line}: {name} is named twice; remove one of its rows")
        found[name] = tuple(tag for tag, index in where if row[index] == "1")
    return found


def read_lists(root: Path) -> dict[str, Labels]:
    """The user's split lists, as far as there are any."""
    found = {}
    for split in SPLITS:
        path = first_existing(root / f"{split}.tsv")
        if path is not None:
            order = first_existing(root / "tags.txt")
            found[split] = read_list(path, read_lines(order) if order else None)
    return found


def read_list(path: Path, order: Iterable[str] | None = None) -> Labels:
    """A split list ``path<TAB>tags``; numbers are positions in ``order``, a list of tag names of any spelling."""
    names = [tag_name(line) for line in order or () if line.strip()]
    found: Labels = {}
    for line, text in enumerate(read_lines(path), start=1):
        clip, _, tags = text.partition("\t")
        if "/" not in clip:
            continue  # the heading
        name = clip.rsplit(".", 1)[0]
        if name in found:
            raise ValueError(f"{path}, line {line}: {name} is named twice; remove one of its rows")
        words = [word.strip() for word in tags.split(",") if word.strip()]
        numbered = [word for word in words if word.isdigit()]
        if numbered and not names:
            raise ValueError(f"{path}, line {line}: tags are numbers, so tags.txt must tell their order")
        if any(int(word) >= len(names) for word in numbered):
            raise ValueError(
                f"{path}, line {line}: tag number {max(map(int, numbered))}, but tags.txt names {len(names)}"
            )
        chosen = {names[int(word)] if word.isdigit() else tag_name(word) for word in words}
        found[name] = tuple(tag for tag in facts()["mtat"]["tags"] if tag in chosen)
    return found


def compare(labels: Mapping[str, tuple[str, ...]], truth: Mapping[str, tuple[str, ...]]) -> str:
    """How two tables of labels differ on the clips of the first, or nothing."""
    unknown = [name for name in labels if name not in truth]
    if unknown:
        return f"{len(unknown)} of {len(labels)} clips are not in {TABLE}, such as {unknown[0]}"
    differ = [name for name in labels if set(labels[name]) != set(truth[name])]
    if not differ:
        return ""
    tags = facts()["mtat"]["tags"]
    here = {tag: frozenset(name for name in labels if tag in labels[name]) for tag in tags}
    there = {tag: frozenset(name for name in labels if tag in truth[name]) for tag in tags}
    odd = [tag for tag in tags if here[tag] != there[tag]]
    swapped = [f"{a!r} and {b!r}" for a in odd for b in odd if a < b and here[a] == there[b] and here[b] == there[a]]
    if swapped and len(odd) == 2 * len(swapped):
        return f"the tags {', '.join(swapped)} have changed places in {len(differ)} clips (another tag order)"
    same_totals = all(len(here[tag]) == len(there[tag]) for tag in tags)
    guess = "each tag is as frequent in both, so the rows are permuted" if same_totals else f"tags {', '.join(odd[:5])}"
    return f"{len(differ)} of {len(labels)} clips have other tags, such as {differ[0]} ({guess})"
