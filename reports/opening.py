"""mss open STUDY [--store DIR]: the report of a study in the browser.

STUDY is a title below <store>/studies/, or a directory that holds a report.html.
"""

import argparse
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from reports import FORMATS
from reports.contract.flags import STORE, Flags
from reports.inputs.directory import study_directory


def main(arguments: Sequence[str] | None = None) -> int:
    """Open the page, and print where it lies; 1 where no browser could be started, 2 for a mistake."""
    parser = Flags("mss open", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", metavar="STUDY", help="a study's title or its directory")
    parser.add_argument("--store", type=Path, default=STORE, help="where studies/ is (default: MSS_STORE or ./store)")
    given = parser.parse_args(arguments)
    try:
        page = study_directory(given.study, given.store) / FORMATS["html"]
        if not page.is_file():
            raise ValueError(f"{page} is not there: mss report {given.study} writes it, once the study has scores")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(page)
    if not webbrowser.open(page.resolve().as_uri()):
        print("no browser could be started here: open that file in one", file=sys.stderr)
        return 1
    return 0
