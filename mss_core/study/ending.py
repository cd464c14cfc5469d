"""What a study says when it ends: what failed, and which commands somebody may want next."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from shlex import quote

from mss_core.store.failures import says_full
from mss_core.study.origin import command as typed
from mss_core.study.origin import shown
from mss_core.study.progress import BLOCKED, FAILED, Board
from mss_core.study.study import Study
from mss_core.study.until import Until

MAKE_ROOM = "make room on that disk: what is committed stays, and the same command goes on from there"


def failures(board: Board, command: str, say: Callable[[str], None], full: bool = False) -> int:
    """Name the stages that failed, and the command that tries them again; 1 where there are some, else 0. ``full`` says
    that a disk was, which an error of a stage may say too."""
    failed = [key for key, state in board.state.items() if state == FAILED]
    if not failed:
        return 0
    blocked = sum(state == BLOCKED for state in board.state.values())
    say(f"\n{len(failed)} stages failed, {blocked} more could not start:")
    for key in failed:
        say(f"  {board.stages[key].name} {key[:12]}: {board.errors[key]}")
    if full or any(says_full(board.errors[key]) for key in failed):
        say(MAKE_ROOM)
    logged = [key for key in failed if board.store.log(board.stages[key]).exists()]
    if logged:
        say(f"stop where it raised:  mss stage {logged[0][:12]} --debug --store {quote(shown(board.store.root))}")
    say(f"try again with the same command:  {command}")
    return 1


def next_steps(study: Study, words: Sequence[str], options: argparse.Namespace, page: Path) -> list[str]:
    """Three commands that somebody who has just read the result may want next."""
    again = [word for word in words if word != "--smoke"]
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    commands = [(f"{opener} {quote(shown(page))}", "the report")]
    if not isinstance(study.seeds, Until):
        commands.append(
            (typed(_with_seeds(words, 2 * len(study.seeds))), "twice the seeds; only the new ones are trained")
        )
    if options.smoke:
        commands.append((typed([*again, "--dry-run"]), "what the study itself would cost, and could find"))
    else:
        commands.append((typed([*again, "--dry-run", "--why"]), "what is in the store, and why"))
    return [
        "next     " + commands[0][0] + f"   ({commands[0][1]})",
        *(f"         {c}   ({w})" for c, w in commands[1:]),
    ]


def _with_seeds(words: Sequence[str], count: int) -> list[str]:
    """A command's words with that many seeds."""
    kept, skip = [], False
    for word in words:
        if not skip and word != "--seeds" and not word.startswith("--seeds="):
            kept.append(word)
        skip = word == "--seeds" and not skip
    return [*kept, "--seeds", str(count)]
