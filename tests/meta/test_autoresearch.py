"""An unchanged autoresearch program.md and an agent that follows it to the letter, in the sandbox and without one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.study import query
from tests.meta.cli_study import ALONE
from tests.meta.test_improve_no_sandbox import RENTED
from tests.trainer import foreign_repos
from trainer.sandbox import bwrap

PROGRAM = """# A night of research

You train a small model again and again and keep what makes it better.

## Setup

Agree with the user on a run tag, for instance today's date (`nov27`), and then:

1. Create the branch: `git checkout -b autoresearch/<tag>`.
2. Read the files, there are few: `prepare.py` has the data and the evaluation and is fixed; `train.py` is yours.
3. Start `results.tsv` with its header, `commit	val_bpb	memory_gb	status	description`. Do not commit it.

## The experimentation loop

The first run trains `train.py` as it is. Then, forever:

1. Edit `train.py` with one idea, and `git commit`.
2. Run `uv run train.py > run.log 2>&1`. Send everything to the file.
3. Read the result: `grep '^val_bpb:' run.log`. If that prints nothing, the run crashed: `tail -n 50 run.log` says why.
4. Add a line to `results.tsv`; the status is `keep`, `discard` or `crash`.
5. If val_bpb went down, keep the commit and go on from it. Else `git reset --hard HEAD~1`.

Lower val_bpb is the only goal. No new packages. Once the loop has begun, do not ask whether to go on, and never stop:
the user may be asleep.
"""
AGENT = r"""#!/bin/bash
cat > /dev/null
cmp program.md - << 'END' && echo "program.md is as it was"
%s
END
git checkout -q -b autoresearch/nov27
printf 'commit\tval_bpb\tmemory_gb\tstatus\tdescription\n' > results.tsv
best=
attempt() {
  uv run train.py > run.log 2>&1
  value=$(grep '^val_bpb:' run.log | awk '{print $2}')
  memory=$(grep '^peak_vram_mb:' run.log | awk '{print $2 / 1024}')
  status=discard
  [ -z "$value" ] && status=crash && tail -n 50 run.log
  [ -n "$value" ] && { [ -z "$best" ] || awk "BEGIN { exit !($value < $best) }"; } && best=$value status=keep
  commit=$(git rev-parse --short HEAD)
  printf '%%s\t%%s\t%%s\t%%s\t%%s\n' $commit "${value:-0}" "${memory:-0}" $status "$1" >> results.tsv
  tail -n 1 results.tsv
  [ $status = keep ] || [ -z "$1" ] || git reset -q --hard HEAD~1
}
attempt ""
for idea in 's/^LEARNING_RATE = .*/LEARNING_RATE = 0.02/' 's/^BATCH_SIZE = .*/BATCH_SIZE = none/' \
            's/^MOMENTUM = .*/MOMENTUM = 0.9/' 's/^LEARNING_RATE = .*/LEARNING_RATE = 0.0001/'; do
  sed -i "$idea" train.py && git commit -qam "$idea" && attempt "$idea"
done
while true; do  # it never stops, and each new idea is a bad one
  n=$((n + 1))
  sed -i "s/^LEARNING_RATE = .*/LEARNING_RATE = 0.0001$n/" train.py && git commit -qam "tiny $n" && attempt "tiny $n"
done
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("rented", [False, True], ids=["sandbox", "rented container"])
def test_the_best_kept_source_is_what_is_verified(tmp_path: Path, rented: bool) -> None:
    if not rented and bwrap.probe():
        pytest.skip(str(bwrap.probe()))
    repository = foreign_repos.original(tmp_path / "repo")
    (repository / "program.md").write_text(PROGRAM)
    agent = tmp_path / "bin" / "agent"
    agent.parent.mkdir()
    agent.write_text(AGENT % PROGRAM.rstrip("\n"))
    agent.chmod(0o755)

    def metaloop(*words: str) -> str:
        command = [sys.executable, "-m", "meta.cli.main", *words, *(["--no-sandbox"] if rented else [])]
        if rented:
            command = ["unshare", "-Ur", "sh", "-c", f'{RENTED} "$@"', "sh", *command]
        own = {**os.environ, "METALOOP_CACHE": str(tmp_path / "cache")}
        done = subprocess.run(command, cwd=tmp_path, env=own, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    metaloop("task", "init", "--from", "repo", "--command", "uv run train.py", "--metric", "val_bpb",
             "--editable", "train.py", "--budget", "1s")  # fmt: skip
    words = ["--set", f"agent={agent}", "-b", "5s", "-s", "night", "-y"]
    told = metaloop("match", "repo/program.md", *ALONE, "-t", "repo", *words)
    study = tmp_path / "night"
    heard = "".join(path.read_text() for path in study.glob("runs/*/agent/session-*.out"))
    assert "program.md is as it was" in heard
    (row,) = query(study, "SELECT final_source_id, verified_gain, trust, state FROM runs")
    kept = query(study, "SELECT source_id, metric, decision FROM experiments WHERE metric IS NOT NULL ORDER BY metric")
    assert row["state"] == "finished" and row["final_source_id"] == kept[0]["source_id"] != kept[-1]["source_id"]
    assert kept[0]["decision"] == "keep" and row["verified_gain"] > 0
    assert f"\t{kept[0]['metric']:.6f}\t" in heard and re.search(r"\tcrash\ts/\^BATCH_SIZE", heard)
    assert ("\tunverified\t" in told) == rented == (row["trust"] == "unverified")
