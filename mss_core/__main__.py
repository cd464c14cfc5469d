"""The command ``mss``: each word of it leads to a command of its own.

    mss new NAME [--without-audio]   a folder with a study to begin with
    mss run FILE [FLAGS]             a study: plan, execute, track, report (the same as python FILE)
    mss report STUDY | TABLE         a report again, or of a table of your own
    mss open STUDY                   the report in the browser
    mss listen STUDY                 a listening test of its sounds as one page, and the ratings read back
    mss compare A B                  two studies side by side: settings, tables, a test
    mss index STORE                  the page of a store again: a card per study
    mss publish STORE SITE           a folder that any web server shows: that page, reports and tables
    mss store list | show | rm ...   what a store holds
    mss stage KEY [--debug]          one stage again in this process, writing nothing into the store
    mss ui                           MLflow over a store
    mss data ...                     what a data set holds, before anything is trained
    mss metrics REFERENCES ESTIMATES scores of separated stems
    mss --version

A word followed by --help says more.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import mss_core
from reports.contract.names import nearest

COMMANDS = {
    "report": "reports.__main__",
    "open": "reports.opening",
    "compare": "reports.compared",
    "listen": "reports.listening.command",
    "index": "reports.overview.index",
    "publish": "reports.overview.publish",
    "store": "mss_core.store.command",
    "stage": "mss_core.study.one_stage",
    "ui": "mss_core.study.tracking.__main__",
    "data": "mss_core.data.__main__",
    "metrics": "mss_core.metrics.__main__",
}
"""Modules whose ``main(arguments)`` returns the exit status."""

EXTRAS = {
    **dict.fromkeys(("torch", "torchaudio", "soundfile", "sklearn", "museval", "yaml", "threadpoolctl"), "separation"),
    **dict.fromkeys(("ray", "optuna", "cmaes"), "cluster"),
    "mlflow": "tracking",
    **dict.fromkeys(("matplotlib", "jinja2", "statsmodels", "scipy"), "report"),
}
"""The extra of this package that installs a module."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; returns its exit status, 2 for a mistake."""
    word, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if word in ("-h", "--help"):
        print(__doc__)
        return 0
    if word == "--version":
        print(mss_core.__version__)
        return 0
    try:
        if word == "new":
            return new(rest)
        if word == "run":
            return start(rest)
        if word not in COMMANDS:
            raise ValueError(f"no command {word!r}; {nearest(word, [*COMMANDS, 'new', 'run'])}")
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a reader that goes away, as `| head` does, is no error
        return int(importlib.import_module(COMMANDS[word]).main([word, *rest] if word == "ui" else rest))
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(str(error.name).partition(".")[0])
        if extra is None:
            raise
        print(f"error: {error.name} is not installed: pip install 'mss-ablation[{extra}]'", file=sys.stderr)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
    return 2


def new(words: Sequence[str]) -> int:
    """Write a study that runs as it is."""
    names = [word for word in words if not word.startswith("-")]
    flags = [word for word in words if word.startswith("-")]
    if len(names) != 1 or any(flag != "--without-audio" for flag in flags):
        raise ValueError("mss new takes the name of a folder, and --without-audio for a study without torch")
    folder = Path(names[0])
    if not re.fullmatch(r"[a-z_]\w*", folder.name) or folder.name in (*sys.stdlib_module_names, "reports", "mss_core"):
        raise ValueError(f"{folder.name!r} cannot name a package of yours: letters, digits and '_', no module's name")
    if folder.exists():
        raise ValueError(f"{folder} is there already: choose another name")
    if importlib.util.find_spec(folder.name):
        raise ValueError(f"{folder.name!r} is a module that is installed, and yours would hide it: choose another name")
    example = "without_audio" if flags else "separator"
    text = (Path(__file__).parent / "examples" / f"{example}.py").read_text(encoding="utf-8")
    folder.mkdir(parents=True)
    (folder / "study.py").write_text(re.sub(r'name="\w+"', f'name="{folder.name}"', text, count=1), encoding="utf-8")
    command = f"mss run {folder / 'study.py'}"
    print(f"{folder / 'study.py'}: run it with\n  {command}")
    print(f"  {command} --in-process   (without Ray: sooner, if it is small)")
    return 0


def start(words: Sequence[str]) -> int:
    """Become the program of a study, as ``python FILE`` or ``python -m MODULE`` starts it."""
    if not words or words[0].startswith("-"):
        raise ValueError("mss run takes the file of a study, or its module, and then the study's flags (--help)")
    what, *flags = words
    if Path(what).is_file():
        program = [what]
    elif re.fullmatch(r"\w+(\.\w+)*", what):
        program = ["-m", what]
    else:
        raise ValueError(f"there is no file {what}; a module is named with points, such as my_paper.study")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *program, *flags])


if __name__ == "__main__":
    sys.exit(main())
