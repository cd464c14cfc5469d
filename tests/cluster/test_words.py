"""What is typed behind ``tools/cluster.sh submit`` reaches the study word for word."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

RAY = """#!/bin/bash
# As Ray 2.60 does: what follows `--` is joined by blanks and given to a shell.
[ "$1" = submit ] || exit 0
while [ "$1" != -- ]; do shift; done
shift
bash -c "printf '%s\\n' $*"
"""


@pytest.mark.parametrize(
    "words", [["--seeds", "1"], ["--only", "genre, musicnn", "it's $HOME"], ["--set", 'sources=["bass", "drums"]', "~"]]
)
def test_words_with_blanks_and_quotes_stay_words(tmp_path: Path, words: list[str]) -> None:
    shutil.copytree(REPOSITORY / "tools", tmp_path / "tools")
    for name, text in (("ray", RAY), ("python", "#!/bin/bash\n")):
        program = tmp_path / ".venv" / "bin" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    line = ["bash", str(tmp_path / "tools" / "cluster.sh"), "submit", "cluster.yaml", "study.py", *words]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [*words, "--lines"]
