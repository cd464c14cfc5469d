"""Where a store may be, and flags that would otherwise be taken in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from mss_core.store.place import check_place
from mss_core.study import flags
from mss_core.study.ending import next_steps
from tests.study import toy


def parsed(*words: str):
    options = flags.parser(toy.study(None)).parse_args(words)
    flags.check(options)
    return options


@pytest.mark.parametrize("place", ["s4://bucket/x", "S3://bucket/x", "http://host/x", "gcs://bucket"])
def test_a_url_that_is_no_object_store_is_no_folder(place: str) -> None:
    with pytest.raises(ValueError, match=f"--store {place}: no object store is named"):
        check_place(place, objects=True)


def test_a_store_does_not_lie_among_the_files_of_another(tmp_path: Path) -> None:
    for name in ("drivers", "studies"):
        (tmp_path / name).mkdir()
    for within in ("studies", "studies/mine", "drivers/a/b"):
        with pytest.raises(ValueError, match="lies among the files of the store"):
            check_place(str(tmp_path / within))
    for beside in ("", "again", "again/studies"):
        check_place(str(tmp_path / beside))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--seeds 2 --seeds 3", "--seeds is given twice: 2 and 3"),
        ("--store a --store=b", "--store is given twice: a and b"),
        ("--search baseline --search each_variant", "--search is given twice: baseline and each_variant"),
    ],
)
def test_a_flag_of_one_value_is_given_once(words: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(*words.split())
    assert capsys.readouterr().err == f"error: {told}\n"


def test_a_flag_may_be_repeated_as_it_was_and_lists_grow() -> None:
    options = parsed("--seeds", "3", "--seeds", "3", "--set", "a=1", "--set", "b=2", "--only", "x", "--only", "y")
    assert (options.seeds, options.set, options.only) == (3, ["a=1", "b=2"], ["x", "y"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--nodes-seconds -1", "--nodes-seconds takes a number of seconds of at least 0, not -1"),
        ("--nodes-seconds nan", "--nodes-seconds takes a number of seconds of at least 0, not nan"),
        ("--nodes 2 --in-process", "--nodes is for a cluster"),
        ("--nodes-seconds 5 --in-process", "--nodes-seconds is for a cluster"),
    ],
)
def test_flags_of_a_cluster(words: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parsed(*words.split())


def test_commands_to_go_on_with_can_be_pasted() -> None:
    page = Path("my store/#1/report.html")
    lines = next_steps(toy.study(None), ["--store", "my store/#1"], parsed("--store", "my store/#1"), page)
    assert "'my store/#1/report.html'" in lines[0]
