"""python -m reports STUDY [--store DIR] [--format html,md,csv,tex,json]
   python -m reports table.csv --factor F --reference LEVEL [--metric M] [--target T]
   python -m reports FOLDER --reference METHOD [--metric SDR] [--target T]

STUDY is a title below <store>/studies/, or a directory. A table of your own needs columns for the
factor, `seed` and `score`, and optionally `track`, `group` (the song, album or artist that tracks
share), `target`, `metric`. A table of predictions (CSV or parquet) has `item`, `truth` (0 or 1) and
`score`, and optionally `target` and `group`; what is compared is their ROC-AUC. --columns names columns
that are called otherwise in a table of scores. FOLDER holds museval's files, as METHOD/test/TRACK.json or
METHOD/SEED/test/TRACK.json. A report is written beside a table or such a folder only with --out.
"""

import argparse
import json
import signal
import sys
from pathlib import Path

import pandas as pd

from reports import FORMATS, index, read, study_tables, summary, write
from reports.ablation import analyse
from reports.contract import CORRECTIONS, SPELLINGS, TESTS, check_metric
from reports.contract.flags import STORE, Flags, exit_status
from reports.export import contrast_objects
from reports.findings import Findings
from reports.inputs import museval
from reports.inputs import predictions as predicted
from reports.inputs.directory import Tables, study_directory
from reports.inputs.foreign import AS_OURS, WIDE, layout
from reports.inputs.study import with_declaration
from reports.inputs.tables import EMPTY, Scores, bare_study, parted, read_scores
from reports.statistics.auc import of_runs
from reports.text import directed


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = Flags("python -m reports", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("study", help="a study's title, its directory, or a CSV table")
    out.add_argument("--store", type=Path, default=STORE, help="where studies/ is (default: MSS_STORE or ./store)")
    out.add_argument("--format", default=None, help=f"comma-separated, of {', '.join(FORMATS)}")
    out.add_argument("--out", type=Path, help="directory to write to (default: the study's own)")
    out.add_argument("--json", metavar="PATH", help="write the contrasts as JSON; - prints them")
    out.add_argument("--factor", help="column that names the variant (tables)")
    out.add_argument("--reference", help="level to compare with (tables)")
    out.add_argument("--metric", help="metric to report (tables)")
    out.add_argument(
        "--columns",
        default="",
        metavar="THEIRS=OURS,...",
        help="other names of columns, e.g. song=track,run=seed; SDR=score,SIR=score reads a column per metric (tables)",
    )
    out.add_argument(
        "--wide",
        choices=WIDE,
        default="",
        help="what columns of scores are called after: the metric, or the target (vocals=score,drums=score) (tables)",
    )
    out.add_argument("--one-run", action="store_true", help="every variant was trained once: no column seed (tables)")
    better = out.add_mutually_exclusive_group()
    for flag, value, words in (
        ("--higher-is-better", True, "direction of the metric (tables)"),
        ("--lower-is-better", False, "for errors: WER, perplexity, ... (tables)"),
    ):
        better.add_argument(flag, action="store_const", dest="higher_is_better", const=value, help=words)
    out.add_argument("--target", default="", help="target to report (tables)")
    out.add_argument("--test", choices=TESTS, help="primary test (tables)")
    out.add_argument("--alpha", type=float, default=0.05, help="level (tables)")
    out.add_argument(
        "--correction", choices=(*CORRECTIONS, *SPELLINGS), default="bonferroni", help="for the family (tables)"
    )
    out.add_argument("--margin", type=float, help="equivalence margin in the metric's unit (tables)")
    return out


def of_table(path: Path, args: argparse.Namespace) -> Findings:
    """The findings of anybody's own long table."""
    if of_one_method(path):
        raise ValueError(
            f"{path} holds the scores of one method, and nothing to compare it with: run python -m mss_core.metrics "
            "for each method with --table METHODS.csv --label METHOD, then python -m reports METHODS.csv "
            "--factor method --reference METHOD"
        )
    for name in ("factor", "reference"):
        if getattr(args, name) is None:
            raise ValueError(f"{path} is a table: --{name} is needed to know what to compare")
    predictions = predicted.read_table(path, args.factor) if predicted.holds_predictions(path) else None
    names = layout(args.columns, args.one_run, args.wide)
    if predictions is not None and names != AS_OURS:
        raise ValueError(f"{path} holds predictions: --columns, --one-run and --wide are of tables of scores")
    scores = read_scores(path, args.factor, names) if predictions is None else parted(of_runs(predictions))
    return of_scores(scores, path, args, args.factor, predictions)


def of_folder(folder: Path, args: argparse.Namespace) -> Findings:
    """The findings of museval's files of several methods."""
    for name in ("columns", "one_run", "wide", "factor"):
        if getattr(args, name):
            flag = name.replace("_", "-")
            raise ValueError(f"{folder} holds museval's files, whose folders say the method: --{flag} is of tables")
    scores = museval.read_folder(folder)
    if args.reference is None:
        names = ", ".join(scores.variants())
        raise ValueError(f"{folder} holds museval's files: --reference says which method to compare with, of {names}")
    return of_scores(scores, folder, args, museval.FACTOR, None)


def of_scores(
    scores: Scores, path: Path, args: argparse.Namespace, factor: str, predictions: pd.DataFrame | None
) -> Findings:
    """The findings of scores that came without a study."""
    reference = args.reference.strip() or EMPTY
    metrics = scores.metrics()
    if not metrics and predictions is not None:
        raise ValueError(
            f"{path}: no target has items with truth 0 and items with truth 1; an area under the ROC curve needs both"
        )
    if not metrics and not scores.undefined.empty:
        raise ValueError(f"{path} holds no defined score: every one is empty or not finite")
    metric = args.metric or (metrics[0] if len(metrics) == 1 else "")
    if not metrics:
        raise ValueError(f"{path} holds no scores: there is no row below its head")
    if not metric:
        raise ValueError(f"{path} holds several metrics; say which with --metric: {', '.join(metrics)}")
    check_metric(metric, metrics)
    if len(levels := {*scores.variants(), *scores.undefined["variant"]}) == 1:
        raise ValueError(
            f"{path} has one level of {factor!r}, {levels.pop()!r}: there is nothing to compare it with; add the rows "
            "of another"
        )
    study = bare_study(scores, path.stem, factor, reference, metric, args.target)
    if not directed(metric, args.higher_is_better):
        raise ValueError(
            f"whether more {metric!r} is better or worse is not known: say --higher-is-better or --lower-is-better"
        )
    correction = SPELLINGS.get(args.correction, args.correction)
    return analyse(
        scores,
        with_declaration(
            study,
            test=args.test or "",
            alpha=args.alpha,
            correction=correction,
            margin=args.margin,
            higher_is_better=args.higher_is_better,
        ),
        predictions,
    )


OF_TABLES = (
    *("factor", "reference", "metric", "columns", "wide", "one_run", "higher_is_better", "target", "test", "alpha"),
    *("correction", "margin"),
)
"""What is said of a table, and declared by a study."""


def as_declared(args: argparse.Namespace) -> None:
    """Refuse what would change the report of a study from what it declared: nothing of it would be read."""
    usual = parser()
    for name in OF_TABLES:
        if getattr(args, name) != usual.get_default(name):
            flag = "lower-is-better" if args.higher_is_better is False and name == "higher_is_better" else name
            raise ValueError(
                f"{args.study} is a study, whose report is as it was declared: --{flag.replace('_', '-')} is of "
                "tables. To explore its scores otherwise, name its scores.csv with --factor variant"
            )


def of_one_method(path: Path) -> bool:
    """Whether a table is the scores.csv of python -m mss_core.metrics, which names no method."""
    if path.suffix.lower() == ".parquet":
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        columns = {name.strip().strip('"') for name in file.readline().split(",")}
    return {"track", "target", "metric", "score", "ill_conditioned"} <= columns and not {"method", "seed"} & columns


def main(argv: list[str] | None = None) -> int:
    """Render or print; returns the exit status."""
    args = parser().parse_args(argv)
    return exit_status(lambda: carry_out(args))


def carry_out(args: argparse.Namespace) -> None:
    """Render or print. Raises ValueError for a mistake."""
    table = Path(args.study)
    named = table.suffix.lower() in (".csv", ".tsv", ".tab", ".txt", ".parquet")
    if named or (table.is_file() and not (args.store / "studies" / args.study).is_dir()):
        if not table.is_file():
            raise ValueError(f"there is no table {table}")
        home, found = table.parent, of_table(table, args)
        tables = Tables(None, home)
        formats: tuple[str, ...] = ()
    elif table.is_dir() and museval.holds_museval(table):
        home, found = table, of_folder(table, args)
        tables = Tables(None, home)
        formats = ()
    else:
        home = study_directory(args.study, args.store)
        as_declared(args)
        tables = study_tables(home)
        found, formats = read(tables), tuple(FORMATS)
    contrasts = [c for comparison in found.comparisons for c in contrast_objects(comparison)]
    if args.json:
        text = json.dumps(contrasts, indent=1, ensure_ascii=False, allow_nan=False)
        if args.json == "-":
            print(text)
        else:
            Path(args.json).write_text(text + "\n", encoding="utf-8")
    if args.format is not None:
        formats = tuple(args.format.split(",")) if args.format else ()
    elif args.json or (args.out and not formats):
        formats = tuple(FORMATS) if args.out else ()
    out = args.out or home
    if formats:
        out.mkdir(parents=True, exist_ok=True)
        paths = write(found, tables, out, formats)
        if out == home and tables.directory is not None and home.parent.name == "studies":
            index(home.parent.parent)
    if args.json != "-":
        print(summary(found))
        for path in paths.values() if formats else ():
            print(path)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a reader that goes away, as `| head` does, is no error
    sys.exit(main())
