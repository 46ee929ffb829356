#!/bin/bash
# The stock protocol, to the letter: commit, `uv run train.py > run.log 2>&1`, grep, results.tsv, keep the commit or reset.
git checkout -q -b autoresearch/nov20
printf 'commit\tval_bpb\tmemory_gb\tstatus\tdescription\n' > results.tsv
trap 'cat results.tsv; git log --oneline; git status --short' EXIT
best=
try() {
  [ -n "$1" ] && sed -i "$1" train.py && git commit -q -a -m "$2"
  uv run train.py > run.log 2>&1
  value=$(grep "^val_bpb:" run.log | awk '{print $2}')
  memory=$(grep "^peak_vram_mb:" run.log | awk '{print $2 / 1024}')
  commit=$(git rev-parse --short=7 HEAD)
  if [ -z "$value" ]; then
    tail -n 50 run.log | grep -q "budget of this run is spent" && { git reset -q --hard HEAD~1; exit 0; }
    printf '%s\t0.000000\t0.0\tcrash\t%s\n' "$commit" "$2" >> results.tsv
    git reset -q --hard HEAD~1
  elif [ -z "$best" ] || awk "BEGIN { exit !($value < $best) }"; then
    best=$value
    printf '%s\t%s\t%s\tkeep\t%s\n' "$commit" "$value" "$memory" "$2" >> results.tsv
  else
    printf '%s\t%s\t%s\tdiscard\t%s\n' "$commit" "$value" "$memory" "$2" >> results.tsv
    git reset -q --hard HEAD~1
  fi
}
try "" baseline
try 's/^LR = .*/LR = 0.1/' "larger steps"
try 's/^FAULT = .*/FAULT = "raise"/' "an idea that breaks"
try 's/^LR = .*/LR = 0.001/' "smaller steps"
try 's/^MOMENTUM = .*/MOMENTUM = 0.9/' "momentum"
try 's/^INIT = .*/INIT = "large"/' "wide start"
