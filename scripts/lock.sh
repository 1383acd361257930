#!/usr/bin/env bash
# Writes requirements.lock from pyproject.toml (with the dev extra): one lock for every platform and Python >= 3.11.
# The images' locks are parts of it, for Linux: docker/NAME.lock from docker/NAME.in, the pipeline's from pyproject.toml.
#
#   scripts/lock.sh images     only the images' locks: the versions of requirements.lock stay
#
# CUDA packages are left out and torch carries no local version, so that each machine takes the torch build it
# asks for (scripts/venv.sh); a CUDA build brings its own packages.
set -euo pipefail
cd "$(dirname "$0")/.."

uv=$(command -v uv || echo .venv/bin/uv)
new=$(mktemp)
trap 'rm -f "$new"' EXIT

lock() { # FILE SOURCE OPTION...
    local file=$1 source=$2
    shift 2
    "$uv" pip compile "$source" --python-version 3.11 "$@" \
        --quiet --no-annotate --no-header --no-emit-index-url --no-emit-find-links -o "$new"
    {
        echo "# Written by \`make lock\` from $source; do not edit."
        sed -E -e '/^(nvidia-|cuda-|triton|pytorch-triton)/d' -e 's/^(torch==[0-9.]+)[^;]*(;.*)?$/\1/' "$new" | awk '!seen[$0]++'
    } > "$file"
    : > "$new"
}

if [ "${1:-}" != images ]; then
    lock requirements.lock pyproject.toml --extra dev --universal --fork-strategy fewest
fi
for name in serving mlflow; do
    lock "docker/$name.lock" "docker/$name.in" -c requirements.lock --python-platform linux
done
lock docker/pipeline.lock pyproject.toml -c requirements.lock --python-platform linux
