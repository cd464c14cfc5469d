"""What a store holds, on the command line.

    python -m mss_core.store list                   by study and by stage: artefacts, disk, hours
    python -m mss_core.store verify                 every file against its checksum
    python -m mss_core.store prune [--delete]       what no study names: shown, deleted only when asked
    python -m mss_core.store show KEY               how one artefact was made, and the command that makes it
    python -m mss_core.store export KEY FILE        trained weights as safetensors
    python -m mss_core.store rm KEY                 one artefact; whatever still needs it computes it again

KEY is the start of a key, as long as it needs to be to mean one artefact.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mss_core import disk
from mss_core.errors import Flags
from mss_core.folders import place
from mss_core.graph import OURS, package
from mss_core.store.catalogue import KEY, Artefact, artefacts, find, folders, named, size_of, size_of_all, stage_folders
from mss_core.store.drivers import living
from mss_core.store.manifest import SELF, damaged_file
from mss_core.store.place import check_place
from mss_core.store.pruning import discard, prune

# ---- the commands


def list_all(root: Path, keys: bool) -> int:
    """Print a table of studies, one of stages, and with ``keys`` a line for each artefact."""
    held = artefacts(root)
    owners = named(root, held)
    print(f"{'study':<44}{'trials':>12}{'artefacts':>11}{'disk':>10}")
    for study in sorted({study for each in held for study in owners.get(each.key, ())}):
        theirs = [each for each in held if study in owners.get(each.key, ())]
        print(f"{study:<44}{_trials(root / 'studies' / study):>12}{len(theirs):>11}{size_of_all(theirs):>10}")
    free = [each for each in held if not owners.get(each.key)]
    if free:
        print(f"{'(no study)':<44}{'':>12}{len(free):>11}{size_of_all(free):>10}")
    unfinished, damaged = Counter[str](), Counter[str]()
    for folder in folders(root):
        unfinished[folder.parent.name] += folder.name.endswith(".partial")
        damaged[folder.parent.name] += ".damaged-" in folder.name
    print(f"\n{'stage':<24}{'artefacts':>10}{'disk':>10}{'hours':>10}{'unfinished':>12}{'damaged':>9}")
    for stage in sorted({each.stage for each in held} | set(+unfinished) | set(+damaged)):
        mine = [each for each in held if each.stage == stage]
        hours = sum(each.manifest.get("seconds") or 0 for each in mine) / 3600
        print(
            f"{stage:<24}{len(mine):>10}{size_of_all(mine):>10}{hours:>10.2f}{unfinished[stage]:>12}{damaged[stage]:>9}"
        )
    for each in held if keys else ():
        print(
            f"{each.stage:<24}{each.key[:16]}  {size_of_all([each]):>9}  {each.manifest.get('finished', ''):<21} "
            f"{', '.join(sorted(owners.get(each.key, ()))) or '(no study)'}"
        )
    return 0


def verify(root: Path) -> int:
    """Check every file of every artefact, and that what has the name of one, or of a stage, is one or a stage's folder;
    1 where something is damaged."""
    held = artefacts(root)
    wrong = {each.folder: damage(each) for each in held}
    for path in (path for stage in stage_folders(root) for path in disk.entries(stage)):
        if KEY.fullmatch(path.name) and path not in wrong:
            wrong[path] = "it has no valid manifest"
    for path in disk.entries(root):
        if path.name.isidentifier() and not disk.is_folder(path):
            wrong[path] = "it is no folder, and results of a stage would lie in one"
    bad = {path: reason for path, reason in wrong.items() if reason}
    for path, reason in bad.items():
        name = path.name[:16] if KEY.fullmatch(path.name) else path.name
        print(f"damaged: {' '.join([*path.relative_to(root).parts[:-1], name])}: {reason}")
    unsealed = sum(SELF not in each.manifest for each in held)
    print(
        f"{len(held)} artefacts, {size_of_all(held)}: {len(bad)} damaged"
        + (" (the next run of a study that needs one computes it again)" if bad else "")
        + (f"; the manifests of {unsealed} are from before manifests had a checksum" if unsealed else "")
    )
    return 1 if bad else 0


def damage(each: Artefact) -> str:
    """The first thing wrong with an artefact's files, empty where nothing is. Every file is read."""
    return damaged_file(each.folder, each.manifest, {}) or ""


def show(root: Path, start: str) -> int:
    """Print what one artefact is, what it was made of and by which command."""
    each = find(root, start)
    facts = each.manifest
    print(f"{each.stage} {each.key}\n  {each.folder}")
    print(
        f"  {facts.get('finished')}, {facts.get('seconds')} s on {facts.get('device')} ({facts.get('device_name')}), "
        f"{_code(facts)}"
    )
    if cost := facts.get("cost"):
        taken = f"{cost['joules']} J by {cost['counter']}, share {cost['share']:g}" if "joules" in cost else ""
        print(f"  held {cost['devices']:g} of {facts.get('device')}; {taken or 'no energy: ' + cost['unmeasured']}")
    print(f"  function {facts['function']}")
    for path, value in _flat(facts["arguments"]):
        print(f"    {path} = {json.dumps(value)}")
    for name, upstream in facts.get("inputs", {}).items():
        print(f"  input {name}: {upstream['stage']} {upstream['key'][:16]}")
    for name, file in facts["files"].items():
        print(f"  file {name}  {size_of(file['size'])}  sha256 {file['sha256'][:16]}")
    readers = [
        other
        for other in artefacts(root)
        if any(up["key"] == each.key for up in other.manifest.get("inputs", {}).values())
    ]
    print(f"  read by {', '.join(f'{other.stage} {other.key[:12]}' for other in readers) or 'nothing here'}")
    commands: dict[str, list[str]] = defaultdict(list)
    owners = named(root, artefacts(root)).get(each.key, set())
    for study in sorted(owners):
        try:
            told = json.loads((root / "studies" / study / "study.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        below = {other.key for other in _readers_of(each, artefacts(root))} | {each.key}
        for trial in told["trials"]:
            if below & set(trial["stages"].values()):
                commands[trial["command"]].append(f"{study}: {trial['trial']}")
    for command, trials in commands.items():
        more = f" and {len(trials) - 3} more" if len(trials) > 3 else ""
        print(f"  made by: {command}\n    for {'; '.join(trials[:3])}{more}")
    if not commands:
        print("  no study names it: nothing says which command made it")
    return 0


def _readers_of(each: Artefact, held: list[Artefact]) -> list[Artefact]:
    found, keys = [], {each.key}
    for _ in held:
        new = [
            other
            for other in held
            if other.key not in keys and any(up["key"] in keys for up in other.manifest.get("inputs", {}).values())
        ]
        if not new:
            break
        found += new
        keys |= {other.key for other in new}
    return found


def export(root: Path, start: str, target: Path) -> int:
    """Write an artefact's weights as safetensors, its model's description and origin in the header.

    Raises ValueError where the artefact holds no weights, or would not load again.
    """
    each = find(root, start)
    if not (each.folder / "weights.pt").exists():
        raise ValueError(f"{each.stage} {each.key[:16]} holds no weights.pt: it is no trained model")
    if not target.parent.is_dir() or target.is_dir():
        raise ValueError(f"{target} is no file that could be written: its folder is not there, or it is one itself")
    wrong = damage(each)
    if wrong:
        raise ValueError(f"{each.stage} {each.key[:16]} is damaged: {wrong}")
    try:
        from safetensors.torch import save_file
    except ModuleNotFoundError:
        raise ValueError("safetensors is not installed: pip install safetensors") from None
    import torch

    weights = torch.load(each.folder / "weights.pt", map_location="cpu", weights_only=True)
    origin = {"stage": each.stage, "key": each.key, "commit": each.manifest.get("environment", {}).get("commit") or ""}
    described = each.folder / "model.json"
    if described.exists():
        origin["model"] = described.read_text(encoding="utf-8")
    tensors = {name: value.clone().contiguous() for name, value in weights.items() if isinstance(value, torch.Tensor)}
    if len(tensors) < len(weights):
        raise ValueError(f"{each.stage} {each.key[:16]}: weights.pt holds more than tensors")
    save_file(tensors, target, metadata=origin)
    print(f"{target}: {len(tensors)} tensors, {size_of(target.stat().st_size)}")
    return 0


def remove(root: Path, start: str) -> int:
    """Remove one artefact and say who had it. Raises ValueError where some study is running on the store."""
    each = find(root, start)
    running = living(root)
    if running:
        raise ValueError(f"a study is running on {root} ({', '.join(sorted(running))}): remove nothing meanwhile")
    owners = sorted(named(root, artefacts(root)).get(each.key, ()))
    discard(each.folder)
    print(f"removed {each.stage} {each.key} ({size_of_all([each])}); of {', '.join(owners) or 'no study'}")
    return 0


# ---- pieces


def _code(facts: Mapping[str, Any]) -> str:
    """Commits or versions of this project and, where the stage is another package's, of that."""
    made_by, given = package(facts["function"]), facts.get("environment", {})
    packages = {"": given, **({f"{made_by} ": given.get("packages", {}).get(made_by, {})} if made_by != OURS else {})}
    return ", ".join(
        f"{name}commit {code['commit']}{' with uncommitted changes' if code.get('dirty') else ''}"
        if code.get("commit")
        else f"{name}{'version' if code.get('version') else 'commit'} {code.get('version', 'unknown')}"
        for name, code in packages.items()
    )


def _trials(folder: Path) -> str:
    try:
        trials = json.loads((folder / "study.json").read_text(encoding="utf-8"))["trials"]
    except (OSError, ValueError, KeyError):
        return ""
    return f"{sum(trial['status'] == 'done' for trial in trials)}/{len(trials)}"


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value and "$stage" not in value:
        for name, part in value.items():
            yield from _flat(part, f"{prefix}.{name}" if prefix else name)
    elif isinstance(value, list) and any(isinstance(part, dict | list) for part in value):
        for number, part in enumerate(value):
            yield from _flat(part, f"{prefix}.{number}")
    else:
        yield prefix, value["$stage"][:16] if isinstance(value, dict) and "$stage" in value else value


def main(arguments: list[str] | None = None) -> int:
    """``python -m mss_core.store``; exits 2 for a mistake."""
    parser = Flags(prog="python -m mss_core.store", description="What a store holds")
    commands = parser.add_subparsers(dest="command", required=True)
    held = commands.add_parser("list", help="artefacts by study and by stage")
    held.add_argument("--keys", action="store_true", help="a line for each artefact too")
    commands.add_parser("verify", help="check every file against its checksum")
    cut = commands.add_parser("prune", help="what no study names: shown, and deleted only when asked")
    cut.add_argument("--delete", action="store_true")
    told = commands.add_parser("show", help="how one artefact was made, and the command that makes it")
    out = commands.add_parser("export", help="trained weights as safetensors")
    gone = commands.add_parser("rm", help="remove one artefact, which is computed again where it is needed")
    for command in (told, out, gone):
        command.add_argument("key", metavar="KEY")
    out.add_argument("file", type=Path, metavar="FILE")
    for command in commands.choices.values():
        command.add_argument("--store", default=os.environ.get("MSS_STORE", "store"))
    options = parser.parse_args(arguments)
    root = place(options.store).absolute()
    try:
        check_place(options.store)
        if not root.is_dir():
            raise ValueError(f"{options.store} is no folder: name the store with --store")
        if any(root.iterdir()) and not (root / "studies").is_dir() and not any(root.glob("*/*/manifest.json")):
            raise ValueError(f"{options.store} is no store: no study has run there; name the store with --store")
        if options.command == "list":
            return list_all(root, options.keys)
        if options.command == "verify":
            return verify(root)
        if options.command == "prune":
            return prune(root, options.delete)
        if options.command == "show":
            return show(root, options.key)
        if options.command == "rm":
            return remove(root, options.key)
        return export(root, options.key, options.file)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or root}: {error.strerror or error}", file=sys.stderr)
        return 2
