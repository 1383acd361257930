#!/usr/bin/env bash
# Makes .venv from requirements.lock in one step; `make` calls it when the lock or the project changed.
#
#   PYTHON=python3.12     which interpreter (default: the first Python >= 3.11 on PATH, 3.11 preferred)
#   TORCH_BACKEND=cu130   a CUDA build of torch through uv (default: cpu)
#   PIP_FIND_LINKS=DIR    take torch's wheel from this folder instead
#
# uv does the work: the one on PATH, else one that pip puts into the new environment. Where neither can be had,
# plain pip does it, slower, and then torch on Linux is PyPI's CUDA build (several GB) unless PIP_FIND_LINKS
# holds a CPU wheel or PIP_EXTRA_INDEX_URL names an index with one.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
ready="$venv/.ready${TORCH_BACKEND:+-$TORCH_BACKEND}"

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
fail() { printf '\033[31m%s\033[0m\n' "$*" >&2; exit 1; }
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    local name
    for name in ${PYTHON:-python3.11 python3.12 python3.13 python3 python}; do
        if new_enough "$name"; then echo "$name"; return; fi
    done
    fail "Python 3.11 or newer is needed, with its venv module; ${PYTHON:-python3} is not.
Install it, or name it: make PYTHON=/path/to/python3.11 ..."
}

make_venv() {
    if [ -x "$venv/bin/python" ] && new_enough "$venv/bin/python"; then return; fi
    local python
    python=$(find_python)
    say "Making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv" \
        || fail "$python cannot make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv"
}

find_uv() {
    if [[ "$(uv pip install --help 2>/dev/null)" == *--torch-backend* ]]; then command -v uv; return; fi
    if [ ! -x "$venv/bin/uv" ]; then
        "$venv/bin/python" -m pip install --quiet "$(grep -o '^uv==[0-9.]*' requirements.lock)" >&2 || return 0
    fi
    echo "$venv/bin/uv"
}

torch_options() {
    if [ -n "${TORCH_BACKEND:-}" ]; then
        echo "--torch-backend $TORCH_BACKEND --reinstall-package torch"
    elif [ -n "${PIP_FIND_LINKS:-}" ]; then
        echo "--find-links $PIP_FIND_LINKS"
    else
        echo "--torch-backend cpu"
    fi
}

install_with_uv() {
    # shellcheck disable=SC2046  # the options are words
    "$1" pip install --python "$venv/bin/python" $(torch_options) -r requirements.lock \
        && "$1" pip install --python "$venv/bin/python" --quiet --no-deps --no-build-isolation --editable .
}

install_with_pip() {
    [ -z "${TORCH_BACKEND:-}" ] || fail "TORCH_BACKEND needs uv, which could not be installed. Put uv on PATH."
    "$venv/bin/python" -m pip install ${PIP_FIND_LINKS:+--find-links "$PIP_FIND_LINKS"} -r requirements.lock \
        && "$venv/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable .
}

started=$SECONDS
make_venv
rm -f "$venv"/.ready*
uv=$(find_uv)
say "Installing $(grep -c '==' requirements.lock) pinned packages with ${uv:-pip (uv could not be had)}"
if [ -n "$uv" ]; then install_with_uv "$uv"; else install_with_pip; fi \
    || fail "The installation failed; the reason stands above. If it is the network or a package index, mend that and
run the same command again: what was downloaded is kept. To begin afresh: rm -rf $venv"
touch "$ready"
say "Installed in $((SECONDS - started)) s"
