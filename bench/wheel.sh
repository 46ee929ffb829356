#!/usr/bin/env bash
# The README's first command from a wheel, in empty environments: pip, pipx and uv. Prints seconds with the install.
# bash bench/wheel.sh [FOLDER]      default: a new one; nothing outside it is changed
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
folder=$(realpath "${1:-$(mktemp -d)}")
mkdir -p "$folder/source" "$folder/empty"
git -C "$here" archive HEAD | tar -x -C "$folder/source"
cd "$folder"
export METALOOP_CACHE="$folder/cache" TMPDIR="$folder"
python3 -m venv tools && tools/bin/pip install -q build pipx uv 2> tools.log
tools/bin/python -m build -q --wheel --outdir dist source > build.log 2>&1
wheel=$(echo "$folder"/dist/*.whl)
echo "wheel_megabytes: $(du -m "$wheel" | cut -f1)"

first() {  # the first command of the README, in a folder without sources
    (cd "$folder/empty" && "$1" evolve --quick -s "$folder/study-$2" > "$folder/$2.out" 2> "$folder/$2.log")
    test -s "$folder/study-$2/champion.md"
}

timed() {  # NAME COMMAND...: the install, then the first command
    local name=$1 began=$SECONDS
    shift
    "$@" > "$folder/$name.log" 2>&1
    local installed=$((SECONDS - began))
    first "$(command -v "$folder/bin-$name/metaloop")" "$name"
    echo "$name: installed in $installed s, ended after $((SECONDS - began)) s   (goal <= 240)"
}

with_pip() {
    python3 -m venv venv && venv/bin/pip install -q -c source/constraints.txt "$wheel[train]"
    mkdir -p bin-pip && ln -sf "$folder/venv/bin/metaloop" bin-pip/metaloop
}
with_pipx() {
    PIPX_HOME="$folder/pipx" PIPX_BIN_DIR="$folder/bin-pipx" PIP_CONSTRAINT="$folder/source/constraints.txt" \
        tools/bin/pipx install "$wheel[train]"
}
with_uv() {
    UV_TOOL_DIR="$folder/uv" UV_TOOL_BIN_DIR="$folder/bin-uv" UV_CACHE_DIR="$folder/uv-cache" \
        tools/bin/uv tool install -c source/constraints.txt "$wheel[train]"
}
timed pip with_pip
timed pipx with_pipx
timed uv with_uv
