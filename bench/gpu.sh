#!/usr/bin/env bash
# On a machine with a GPU, by one command: is it fit, does the red team's GPU part hold, eight short experiments of the
# task gpt, and a night of four minutes on a small repository. Without a GPU it says so in one line and exits with 2.
#
#   bench/gpu.sh                 check, redteam, study, and repo bench/gpu_repository 4m
#   bench/gpu.sh check           doctor: the driver, a command in the sandbox, torch.compile
#   bench/gpu.sh redteam         the attacks that need a GPU
#   bench/gpu.sh measure         what an experiment of gpt prints (tokens/s, MFU) and its charge, warm and cold
#   bench/gpu.sh study           a run of eight short experiments, verified
#   bench/gpu.sh repo DIR [BUDGET] [FLAGS]   one night (8h) on your own repository: task init --from (with FLAGS), check,
#                                improve from DIR/program.md (PROGRAM: another one; without any, stock), apply
#
# STAND_IN=1 with `repo`: without a GPU, files stand in for its device nodes and a script for nvidia-smi, so that all but
# the driver is tried; the command then trains on the CPU. Killed, the same line resumes the study in OUT.
#
# Each stage fits into STAGE_SECONDS (590), so that machines that are lent by the call can do one after the other.
# TRAIN_SECONDS (8): of one experiment of `measure` and `study`; 300 is the task's own.
# PYTHON: the interpreter with torch. OUT: where the figures go (gpu-figures/): one file, to be put into LOG.md.
set -u -o pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-$(command -v python || command -v python3)}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
out=${OUT:-$PWD/gpu-figures}
limit=${STAGE_SECONDS:-590}
seconds=${TRAIN_SECONDS:-8}
stages=("$@")
if [ "${1:-}" = repo ]; then
  [ -d "${2:-}" ] || { echo "bench/gpu.sh: repo needs the folder of a repository" >&2; exit 2; }
  repository=$(cd "$OLDPWD" && cd "$2" && pwd) budget=${3:-8h} flags=("${@:4}") stages=(repo) limit=0
fi
if [ $# = 0 ]; then
  stages=(check redteam study repo) repository=$out/repository budget=4m
  flags=(--metric val_bpb --direction lower --seed train.py:SEED)
fi
for stage in "${stages[@]}"; do
  case $stage in
    check | redteam | measure | study | repo) ;;
    *) echo "bench/gpu.sh: no stage '$stage': check, redteam, measure, study, repo DIR" >&2; exit 2 ;;
  esac
done
if [ "${STAND_IN:-}" = 1 ] && [ "${stages[0]}" = repo ]; then
  stand_in=$(mktemp -d) && trap 'rm -rf "$stand_in"' EXIT
  "$PYTHON" -m bench.gpu stand-in "$stand_in" || exit 1
  export PATH="$stand_in:$PATH" PYTHONPATH="$stand_in:$PYTHONPATH"
  echo "a stand-in for a GPU: files for its nodes, a script for nvidia-smi; no figure here is one of a GPU"
fi
"$PYTHON" -m bench.gpu found || exit 2
mkdir -p "$out" || exit 1
if [ $# = 0 ] && [ ! -d "$repository" ]; then
  cp -r bench/gpu_repository "$repository" && git -C "$repository" init -q && git -C "$repository" add . &&
    git -C "$repository" -c user.name=bench -c user.email=bench@localhost commit -qm first || exit 1
fi
file=$out/figures.md
failed=()

carry_out() { # NAME COMMAND...: its output to the terminal and to the file
  local name=$1 began=$SECONDS status
  shift
  printf '\n## %s\n\n    %s\n\n' "$name" "$*" >>"$file"
  timeout "$limit" "$@" 2>&1 | tee "$out/$name.log"
  status=${PIPESTATUS[0]}
  sed 's/^/    /' "$out/$name.log" | tail -80 >>"$file"
  printf '\nExit status %s after %s s.\n' "$status" $((SECONDS - began)) >>"$file"
  [ "$status" = 0 ] || failed+=("$name ($status)")
}

metaloop() { # NAME WORDS...: one step of the night
  printf '\n$ metaloop %s\n' "${*:2}"
  carry_out "$1" "$PYTHON" -m meta.cli.main "${@:2}"
  [ ${#failed[@]} = 0 ]
}

night() { # the whole night, step by step; a step that fails is the last one
  local program=${PROGRAM:-$repository/program.md}
  [ -n "${PROGRAM:-}" ] || [ -f "$program" ] || program=stock
  [ -f "$repository/task.toml" ] || metaloop init task init --from "$repository" "${flags[@]}" || return
  metaloop checked task check "$repository" || return
  if [ -d "$out/night" ]; then
    metaloop improve resume "$out/night" -y || return
  else
    metaloop improve improve "$program" -t "$repository" --budget "$budget" -s "$out/night" -y || return
  fi
  metaloop apply resume "$out/night" --apply && return
  grep -q 'good enough to apply' "$out/apply.log" && failed=()
}

"$PYTHON" -m bench.gpu header >>"$file"
for stage in "${stages[@]}"; do
  case $stage in
    check)
      carry_out doctor "$PYTHON" -m meta.cli.main doctor --json
      ;;
    redteam)
      carry_out redteam "$PYTHON" -m pytest -o addopts= -q -p no:cacheprovider tests/redteam/test_system_gpu.py \
        tests/trainer/test_gpu.py
      ;;
    measure)
      carry_out task "$PYTHON" -m bench.gpu short "$out/gpt-short" "$seconds" &&
        carry_out measure "$PYTHON" -m bench.gpu measure "$out/gpt-short"
      ;;
    repo) night ;;
    study)
      carry_out task "$PYTHON" -m bench.gpu short "$out/gpt-short" "$seconds" &&
        carry_out study "$PYTHON" -m meta.cli.main run -t "$out/gpt-short" -s "$out/study" -y
      carry_out experiments "$PYTHON" -m meta.cli.main sql "$out/study" "$(cat bench/gpu.sql)"
      ;;
  esac
done
echo "figures: $file"
[ ${#failed[@]} = 0 ] || { echo "failed: ${failed[*]}" >&2; exit 1; }
