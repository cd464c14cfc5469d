"""mss listen STUDY [--test mushra|ab] [--only VARIANT...] [--runs N]: a blind page of a study's sounds
   mss listen STUDY --ratings FILE...: what listeners said, tested

The page is one file that asks no other machine for anything. Give it to listeners without the plan beside it, which
says what each sound is. Each listener downloads one file of ratings. They are read back together, and written as
ratings.csv, as a page and as Markdown. STUDY is a title below <store>/studies/, or a directory. docs/listening.md has
the design and the test.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from reports import study_tables
from reports.contract.flags import STORE, Flags, exit_status
from reports.inputs.directory import Tables, study_directory
from reports.listening import page, plan, ratings, result
from reports.text import count
from reports.writers import html, markdown
from reports.writers.files import replace_file


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a page, or read ratings back; returns the exit status, 2 for a mistake."""
    parser = Flags("mss listen", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", metavar="STUDY", help="a study's title or its directory")
    parser.add_argument("--store", type=Path, default=STORE, help="where studies/ is (default: MSS_STORE or ./store)")
    parser.add_argument("--test", choices=plan.TESTS, default="mushra", help="rate all together, or prefer one of two")
    parser.add_argument(
        "--only", nargs="+", default=(), metavar="VARIANT", help="these, and what they are compared with"
    )
    parser.add_argument("--runs", type=int, default=1, metavar="N", help="runs of each variant to hear (default: 1)")
    parser.add_argument("--target", default="", help="the source to hear (default: all that left sounds)")
    parser.add_argument("--mid-anchor", action="store_true", help="MUSHRA: the reference up to 7 kHz, too")
    parser.add_argument("--question", default="", help="what listeners are asked, in other words")
    parser.add_argument("--seed", type=int, default=0, help="another gives the sounds other numbers")
    parser.add_argument("--ratings", nargs="+", type=Path, metavar="FILE", help="downloads of listeners, read back")
    parser.add_argument("--out", type=Path, help="where to (default: listening/ in the study's directory)")
    given = parser.parse_args(arguments)
    return exit_status(lambda: carry_out(given))


def carry_out(given: argparse.Namespace) -> None:
    """Write the page, or read ratings back. Raises ValueError for a mistake."""
    home = study_directory(given.study, given.store)
    tables, out = study_tables(home), given.out or home / "listening"
    if given.ratings:
        return read_back(tables, given.ratings, home / "listening", out)
    made = plan.make(
        *(tables, given.test, given.only, given.runs, given.target, given.mid_anchor, given.question, given.seed)
    )
    for path in page.write(made, out):
        print(path)
    sounds = max(len(trial.conditions) for trial in made.plan.trials)
    print(f"{count(len(made.plan.trials), 'item')} of {sounds} sounds; the plan is not for listeners")
    for line in made.left_out:
        print(f"left out: {line}")


def read_back(tables: Tables, files: Sequence[Path], home: Path, out: Path) -> None:
    """Read downloads, print the test and write it below `out`; plans lie there or in `home`."""
    from reports.writers.terminal import to_text

    found, sheets = ratings.read(files, tables.study.title, page.plans(home) | page.plans(out))
    table = ratings.table(found, sheets)
    heard = result.test(tables, found, table)
    made = result.report(heard)
    out.mkdir(parents=True, exist_ok=True)
    texts = {"ratings.csv": table.to_csv(index=False), "html": html.to_html(made), "md": markdown.to_markdown(made)}
    shown = result.section(heard)
    told = (*(table.caption for table in shown.tables), *shown.points, result.headline(heard))
    print(to_text(replace(shown, paragraphs=told)))
    for name, text in texts.items():
        path = out / (f"{found.page}.{name}" if name == "ratings.csv" else f"{found.page}.result.{name}")
        replace_file(path, text)
        print(path)
