#!/bin/sh
# AGENT changes train.py and prints what it did, TRAIN prints the metric in its last line, the gate decides.
# AGENT='claude -p "improve train.py"' TRAIN="python train.py" sh loop.sh 50      # results.tsv in .gitignore
row() { printf '%s\t%s\t%s\t%s\n' "$(git hash-object train.py)" "$($TRAIN | tail -n 1 || true)" "$1" "$2" >> results.tsv; }
[ -e results.tsv ] || { printf 'script_hash\tval_loss\tstatus\tdescription\n' > results.tsv; for i in 1 2 3 4; do row "" baseline; done; }
for number in $(seq "$1"); do
  what=$($AGENT | tail -n 1); row "" "$what"; line=$(wc -l < results.tsv)
  while metaloop judge results.tsv --last $JUDGE; code=$?; [ $code -eq 11 ] && [ $(wc -l < results.tsv) -lt $((line + 12)) ]; do
    row rerun "$what"; git stash -q; row rerun best; git stash pop -q; done
  if [ $code -eq 0 ]; then word=keep; git commit -qam "$what"; else word=discard; git checkout -q train.py; fi
  sed -i "${line}s/\t\t\([^\t]*\)$/\t$word\t\1/" results.tsv
done
