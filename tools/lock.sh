#!/usr/bin/env bash
# Writes tools/locked.txt and tools/uv.txt anew: the exact packages that CI tests, with the hashes of their files.
# "Renew" as the first word takes the newest versions that pyproject.toml allows; else what is locked stays.
# The hashes are those of the index that pip and uv are set up with here. A mirror of PyPI hands PyPI's files on, whose
# hashes they are; wheels that somebody built for himself have others, and are refused by whoever installs from PyPI.
set -euo pipefail
cd "$(dirname "$0")"
uv=../.venv/bin/uv
compile=("$uv" pip compile --quiet --generate-hashes --no-annotate --no-header --no-emit-index-url --python-version 3.11 --python-platform x86_64-unknown-linux-gnu)
[ "${1:-}" = renew ] && rm -f locked.txt uv.txt
echo 'setuptools>=77' | "${compile[@]}" ../pyproject.toml - --extra all --extra dev --extra docs -o locked.txt
echo uv | "${compile[@]}" - -o uv.txt
