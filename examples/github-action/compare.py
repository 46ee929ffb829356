"""Compare two programs on a task, and write the verdict as markdown. Exit status 1 if the new one is significantly
worse or cannot be read.

python compare.py OLD.md NEW.md [--task strokes] [--runs 8] [--budget 2.5s] [--study DIR] [--out verdict.md]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def main() -> int:
    wanted = argparse.ArgumentParser(description="compare two programs")
    wanted.add_argument("old", type=Path)
    wanted.add_argument("new", type=Path)
    wanted.add_argument("--task", default="strokes")
    wanted.add_argument("--runs", default="8")
    wanted.add_argument("--budget", default="2.5s")
    wanted.add_argument("--study", default="comparison")
    wanted.add_argument("--out", type=Path, default=Path("verdict.md"))
    given = wanted.parse_args()
    lint = subprocess.run(["metaloop", "program", "lint", str(given.new)], capture_output=True, text=True, check=False)
    if lint.returncode:
        given.out.write_text(f"**The new program cannot be read.**\n\n```\n{(lint.stdout + lint.stderr)[:3000]}\n```\n")
        return 1
    if given.old.read_bytes() == given.new.read_bytes():
        given.out.write_text("Both texts are the same; nothing was compared.\n")
        return 0
    size = ["-t", given.task, "-n", given.runs, "-b", given.budget, "-s", given.study]
    with tempfile.TemporaryDirectory() as folder:  # the names tell them apart in the standings
        texts = [shutil.copy(given.old, f"{folder}/old.md"), shutil.copy(given.new, f"{folder}/new.md")]
        words = ["metaloop", "match", *texts, "--no-controls", *size, "--yes", "--json"]
        played = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if played.returncode:
        given.out.write_text("**The programs could not be compared.** The log of the job says why.\n")
        return played.returncode
    rows = {row["name"]: row for row in json.loads(played.stdout)["items"]}
    if "new" not in rows:
        given.out.write_text("The researcher does the same under both texts, so there is nothing to compare.\n")
        return 0
    text, worse = verdict(rows["old"], rows["new"])
    if lint.stdout.strip():
        text += f"\n`metaloop program lint`:\n\n```\n{lint.stdout.strip()[:3000]}\n```\n"
    given.out.write_text(text)
    print(text)
    return int(worse)


def verdict(old: dict[str, Any], new: dict[str, Any]) -> tuple[str, bool]:
    """(the comment, whether the new program is significantly worse). Ranks that do not overlap differ at 5%."""
    better, worse = new["rank_high"] < old["rank_low"], old["rank_high"] < new["rank_low"]
    said = "better than" if better else "worse than" if worse else "not significantly different from"
    lines = [
        f"**The new program is {said} the old one** on {new['task']} (5% level).",
        "",
        f"| program | mean verified gain, {new['unit']} | 95% interval | runs |",
        "|---|---|---|---|",
    ]
    for name, row in (("new", new), ("old", old)):
        interval = "unknown" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
        lines.append(f"| {name} | {row['gain']:.3f} | {interval} | {row['n']} |")
    seconds = old["device_seconds_charged"] + new["device_seconds_charged"]
    lines += [
        "",
        f"Gains are measured on seeds and data that no run saw; {seconds:.0f} s of device time for the runs. "
        "A difference that is not significant may need more runs; `metaloop match` says how many.",
    ]
    return "\n".join(lines) + "\n", worse


if __name__ == "__main__":
    sys.exit(main())
