"""mss index [STORE]: the page of a store again, index.html, with a card per study.

It is written after every study that runs on the store, too. Nothing is run, and no report is written again.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from reports.contract.flags import STORE, Flags, exit_status
from reports.overview.page import write


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page and print where it lies; 2 for a mistake."""
    parser = Flags("mss index", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "store", metavar="STORE", type=Path, nargs="?", default=STORE, help="(default: MSS_STORE or ./store)"
    )
    given = parser.parse_args(arguments)
    return exit_status(lambda: print(write(given.store)))
