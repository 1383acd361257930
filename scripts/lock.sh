#!/usr/bin/env bash
# Writes requirements.lock from pyproject.toml (with the dev extra): one lock for every platform and Python >= 3.11.
#
# CUDA packages are left out and torch carries no local version, so that each machine takes the torch build it
# asks for (scripts/venv.sh); a CUDA build brings its own packages.
set -euo pipefail
cd "$(dirname "$0")/.."

uv=$(command -v uv || echo .venv/bin/uv)
new=$(mktemp)
trap 'rm -f "$new"' EXIT
"$uv" pip compile pyproject.toml --extra dev --universal --python-version 3.11 --fork-strategy fewest \
    --quiet --no-annotate --no-header --no-emit-index-url --no-emit-find-links -o "$new"
{
    echo "# Written by \`make lock\` from pyproject.toml; do not edit."
    sed -E -e '/^(nvidia-|cuda-|triton|pytorch-triton)/d' -e 's/^(torch==[0-9.]+)[^;]*(;.*)?$/\1/' "$new" | awk '!seen[$0]++'
} > requirements.lock
