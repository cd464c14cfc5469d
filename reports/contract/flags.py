"""Command lines that answer a mistake in one line, with the nearest flag or command there is."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from reports.contract.names import nearest

STORE = Path(os.environ.get("MSS_STORE") or "store")
"""Where studies/ is unless it is said."""
TWICE = "is given twice"


def exit_status(call: Callable[[], object]) -> int:
    """Do what a command does: 0, or 2 and one line about a mistake (ValueError) or about what a file system answers."""
    try:
        call()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror or error}", file=sys.stderr)
        return 2
    return 0


class _Once(argparse._StoreAction):
    """A flag that has one value: a second that differs is refused, where argparse would take the last."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, flag: str | None = None) -> None:
        before = parser.given.setdefault(self.dest, values)
        if repr(before) != repr(values):  # nan is not equal to itself
            raise argparse.ArgumentError(self, f"{TWICE}: {before} and {values}")
        super().__call__(parser, namespace, values, flag)


class Flags(argparse.ArgumentParser):
    """A parser whose errors name the flag, the value and the nearest choice; it ends the program with status 2."""

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self.given: dict[str, Any] = {}
        for name in (None, "store"):
            self.register("action", name, _Once)

    def parse_known_args(self, *words: Any, **options: Any) -> Any:
        """As argparse does it; what was given once begins anew."""
        self.given = {}
        return super().parse_known_args(*words, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {self._told(message)}\n")

    def _flags(self) -> set[str]:
        """The long flags of the program, those of its commands among them."""
        found = {flag for flag in self._option_string_actions if flag.startswith("--")}
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for command in action.choices.values():
                    found |= {flag for flag in command._option_string_actions if flag.startswith("--")}
        return found

    def _told(self, message: str) -> str:
        flag, _, complaint = message.removeprefix("argument ").partition(": ")
        value = complaint.partition(": ")[2]
        if message.startswith("unrecognized arguments: "):
            word = message.removeprefix("unrecognized arguments: ").split()[0].partition("=")[0]
            if not word.startswith("-"):
                return f"{word!r} belongs to no flag (--help lists them)"
            return f"no flag {word!r}; {nearest(word, sorted(self._flags()))}"
        if message.startswith("the following arguments are required: "):
            return f"{complaint} is missing (--help says what it takes)"
        if complaint.startswith("invalid choice: "):
            chosen, _, choices = value.partition(" (choose from ")
            known = re.findall(r"[\w-]+", choices)
            what = "command" if flag == "command" else flag
            return f"no {what} {chosen}; {nearest(chosen.strip(chr(39)), known)}"
        if complaint.startswith("invalid"):
            return f"{flag} takes {'a whole number' if 'invalid int' in complaint else 'a number'}, not {value}"
        if complaint in ("expected one argument", "expected at least one argument"):
            return f"{flag} needs a value after it"
        if complaint.startswith(TWICE):
            return f"{flag} {complaint}"
        if complaint.startswith("ignored explicit argument"):
            return f"{flag} takes no value"
        return message
