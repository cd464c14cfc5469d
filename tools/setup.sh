#!/usr/bin/env bash
# Makes .venv with everything the project needs. Each step says what it does; a second call does nothing.
set -euo pipefail
python=${1:-python3.11}
say() { printf '[setup] %s\n' "$*"; }

command -v "$python" >/dev/null || { say "no $python on PATH: install Python 3.11, or name another with 'make PYTHON=...'"; exit 1; }
say "1/4 virtual environment (.venv) with $($python --version)"
[ -x .venv/bin/python ] || "$python" -m venv .venv

# What CI tests is Python 3.11 on Linux: there every file must have the hash that it had when the list was made.
locked=
if [ "$(uname -sm)" = "Linux x86_64" ] && [ "$(.venv/bin/python -c 'import sys; print(sys.version_info[:2])')" = "(3, 11)" ]; then
    locked=yes
fi

say "2/4 installer"
# uv fetches in parallel: about 20 s instead of several minutes for torch with its CUDA libraries.
pip=(.venv/bin/python -m pip install --quiet --disable-pip-version-check)
if "${pip[@]}" $([ "$locked" ] && echo --require-hashes -r tools/uv.txt || echo uv); then
    installer=(.venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python)
else
    installer=(.venv/bin/python -m pip install --quiet)
fi

say "3/4 dependencies (torch, ray, mlflow, ...: about 6 GB on disk)"
install() {
    if [ -n "$locked" ]; then
        "${installer[@]}" --require-hashes -r tools/locked.txt && "${installer[@]}" --no-deps --no-build-isolation -e .
    else
        say "    no list of hashes for this system: the newest versions that pyproject.toml allows"
        "${installer[@]}" -e '.[all,dev,docs]'
    fi
}
{ install || { installer=(.venv/bin/python -m pip install) && install; }; } &
work=$! begun=$SECONDS
while sleep 1 && kill -0 "$work" 2>/dev/null; do
    taken=$((SECONDS - begun))
    [ $((taken % 10)) -ne 0 ] || say "    still at it: $taken s, $(du -sm .venv | cut -f1) MB on disk"
done
wait "$work"

say "4/4 check"
.venv/bin/python -c 'import torch, torchaudio, ray, mlflow; print("[setup]   torch", torch.__version__, "| CUDA devices:", torch.cuda.device_count())'
if ! command -v ffmpeg >/dev/null || ! command -v ffprobe >/dev/null; then
    say "ffmpeg is not on PATH. Only reading .stem.mp4 files and calling museval itself need it:"
    say "    sudo apt-get install -y ffmpeg        (macOS: brew install ffmpeg)"
fi
touch .venv/ready
say "done"
