"""A disk that is full when a study ends: what failed is listed all the same, with what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mss_core.study import Factor, run
from tests.study import toy


def test_what_failed_is_listed_where_the_tables_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "count").write_text("100")
    monkeypatch.setenv("TOY_CRASHES", f"a:{tmp_path / 'count'}")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "scores.csv")

    monkeypatch.setattr("mss_core.study.looks.left_over", full)  # what comes right before they are
    with pytest.raises(SystemExit) as ended:
        run(
            toy.study(None, (Factor("kind", {"a": {}, "b": {"kind": "b"}}),)),
            ["--in-process", "--lines", "--store", str(tmp_path / "store")],
        )
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert "no report: [Errno 28] No space left on device: 'scores.csv'" in said
    assert "stages failed, " in said and "try again with the same command" in said, said
    assert "make room on that disk" in said
