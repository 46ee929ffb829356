#!/usr/bin/env python3
"""A small agent that behaves: one change at a time, asked for with `experiment`, committed or reset by its answer."""

import json
import re
import subprocess
import sys
from pathlib import Path

CHANGES = [("LR", "0.1"), ("FAULT", '"raise"'), ("MOMENTUM", "0.9"), ("LR", "0.001"), ("BATCH", "16"), ("INIT", "0")]


def ask(*words):
    done = subprocess.run(["experiment", *words, "--json"], capture_output=True, text=True)
    print(done.stdout.strip(), done.stderr.strip(), flush=True)
    return done.returncode, json.loads(done.stdout)


print(sys.stdin.read())
source = Path("train.py")
for name, value in CHANGES:
    before = source.read_text()
    source.write_text(re.sub(rf"^{name} = \S+", f"{name} = {value}", before, flags=re.M))
    code, answer = ask("-m", f"{name} {value}", "--because", "2")
    if code == 3:
        source.write_text(before)
        break
    kept = answer["better"]
    if kept:
        subprocess.run(["git", "commit", "-qam", "better"], check=True)
    else:
        source.write_text(before)
