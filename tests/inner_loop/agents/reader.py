#!/usr/bin/env python3
"""An agent that is told to read program.md and does what it says, with git and one command that trains.

`reader.py [LIMIT [COMMAND…]]`: at most so many experiments, by COMMAND (default: uv run train.py). It knows nothing of
Metaloop, so it works in any repository that trains by a command and prints `val_bpb:`.
"""

import hashlib
import random
import re
import subprocess
import sys
from pathlib import Path

LIMIT = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
TRAIN = " ".join(sys.argv[2:]) or "uv run train.py"
PROGRAM = Path("program.md").read_text()
SOURCE = Path("train.py")
CONSTANT = re.compile(r"^([A-Z][A-Z_]*) = ([0-9.e-]+)$", re.M)
ideas = [(name.upper(), value) for name, value in re.findall(r"`(\w+)=([^`]+)`", PROGRAM)]
wave = int((re.search(r"^- wave: (\d+) ", PROGRAM, re.M) or [0, 1])[1])
once = "\n- no_repeat: true " in PROGRAM
luck = random.Random(hashlib.sha256(PROGRAM.encode()).hexdigest())
tried, best = set(), None


def git(*words):
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout.strip()


def measure():
    """The metric, or None where the run failed; leaves when there is nothing left to spend."""
    global best, LIMIT
    if LIMIT <= 0:
        sys.exit(0)
    LIMIT -= 1
    subprocess.run(f"{TRAIN} > run.log 2>&1", shell=True)
    said = Path("run.log").read_text()
    if "budget of this run is spent" in said:
        if best is not None:
            git("reset", "-q", "--hard", "HEAD~1")
        sys.exit(0)
    found = re.search(r"^val_bpb:\s*(\S+)", said, re.M)
    return float(found[1]) if found else None


def candidate(text):
    """The next idea of the list; without one, a constant doubled or halved."""
    while ideas:
        name, value = ideas.pop(0)
        if re.search(rf"^{name} = ", text, re.M):
            return re.sub(rf"^{name} = .*", f"{name} = {value}", text, flags=re.M), f"{name} {value}"
    known = [one for one in CONSTANT.findall(text) if one[0] != "SEED"]
    name, value = luck.choice(known)
    new = f"{float(value) * luck.choice((0.5, 2)):g}" if "." in value else str(max(1, int(value) * 2))
    return re.sub(rf"^{name} = .*", f"{name} = {new}", text, flags=re.M), f"{name} {new}"


print(f"follows: {len(ideas)} ideas, waves of {wave}, {'no' if once else 'any'} repeats", flush=True)
best = measure()
print("baseline", best, flush=True)
for _ in range(50):
    start, measured = SOURCE.read_text(), []
    for _ in range(wave):
        text, what = candidate(start)
        if text == start or (once and text in tried):
            continue
        tried.add(text)
        SOURCE.write_text(text)
        git("commit", "-q", "-am", what)
        value = measure()
        print(what, value, flush=True)
        if value is not None:
            measured.append((value, text, what))
        git("reset", "-q", "--hard", "HEAD~1")
    if measured and min(measured)[0] < best:
        best, text, what = min(measured)
        SOURCE.write_text(text)
        git("commit", "-q", "-am", f"keep {what}: {best}")
        print("kept", what, flush=True)
